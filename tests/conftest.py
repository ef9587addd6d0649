# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The import path of the collection, for every test below."""

import os
import sys

from tests.collection_tree import link

collections = str(link())
sys.path.insert(0, collections)
os.environ["ANSIBLE_COLLECTIONS_PATH"] = collections
