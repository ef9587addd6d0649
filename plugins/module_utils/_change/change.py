# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A change that is worked out, and not yet made."""

from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._compile import rule_families
from ansible_collections.senet.firewall.plugins.module_utils._compile.owner import Accounts
from ansible_collections.senet.firewall.plugins.module_utils._decisions import plan, preflight
from ansible_collections.senet.firewall.plugins.module_utils._decisions.backend import AUTO_BACKEND, Choice
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import FlowSet
from ansible_collections.senet.firewall.plugins.module_utils._values.layers import AUTO, Owners, labelled
from ansible_collections.senet.firewall.plugins.module_utils._values.peers import Peering
from ansible_collections.senet.firewall.plugins.module_utils._values.processes import Process


class Options(NamedTuple):
    """How to go about a change: seconds until it is undone unless confirmed (0: no guard), its name, the backend, the
    layers, by flow the clients that the catalogue knows, and the directory for metrics: "none" for none, None for that
    of before."""

    confirm_timeout: int
    token: str
    backend: str = AUTO_BACKEND
    layers: Tuple[str, ...] = (AUTO,)
    owners: Mapping[str, Owners] = {}
    metrics_directory: Optional[str] = None


class Change(NamedTuple):
    """What there is, what is wanted, and the steps between them."""

    mode: str
    mls: bool
    backend: Choice
    observed: plan.HostState
    layers: Tuple[str, ...]
    recorded: Tuple[str, ...]
    present: FlowSet
    flows: FlowSet
    accounts: Accounts
    desired: plan.Desired
    steps: Tuple[plan.Step, ...]
    processes: List[Process]
    cuts: Tuple[preflight.Cut, ...]
    peers: Peering
    previous: Optional[Dict[str, Any]]

    @property
    def labelled(self) -> FlowSet:
        """What SELinux enforces."""
        return labelled(self.flows, self.layers)


def is_forgetful(change: Change) -> bool:
    """Whether the rules do without labels on connections."""
    families = rule_families.FAMILIES[change.backend.backend]
    return not all(rule_families.remember(family, change.desired.rules.get(family)) for family in families)


def is_guarded(change: Change) -> bool:
    return any(step.action == plan.ARM_GUARD for step in change.steps)
