# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hypothesis for machines of any speed: an example that waits for a busy disk is no failure."""

import os

from hypothesis import settings

# A gate says the same of the same tree; whoever works on it gets other examples each time.
settings.register_profile("unit", deadline=None, derandomize="CI" in os.environ)
# make unit asks for this one: many examples of everything are for `make unit-all`.
settings.register_profile("few", settings.get_profile("unit"), max_examples=15)
settings.load_profile("unit")
