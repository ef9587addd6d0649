# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module imports to get its host. It imports all code that a host gets, so that Ansible packs it."""

# pylint: disable=unused-import
from ansible_collections.senet.firewall.plugins.module_utils._agent import commands, module_call
from ansible_collections.senet.firewall.plugins.module_utils._agent.this_host import this_host
