# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the change on the host, comes back over a new connection, and only then confirms it."""

from __future__ import annotations

from ansible_collections.senet.firewall.plugins.plugin_utils._guarded import GuardedAction


class ActionModule(GuardedAction):
    module_name = "senet.firewall.interface_context"
