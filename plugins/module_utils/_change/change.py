# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A change that is worked out, and not yet made."""

from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._compile import rule_sets
from ansible_collections.senet.firewall.plugins.module_utils._compile.owner import Accounts
from ansible_collections.senet.firewall.plugins.module_utils._compile.rule_sets import RULE_SETS
from ansible_collections.senet.firewall.plugins.module_utils._decisions import plan, preflight
from ansible_collections.senet.firewall.plugins.module_utils._decisions.backend import AUTO_BACKEND, Choice
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import FlowSet
from ansible_collections.senet.firewall.plugins.module_utils._values.layers import AUTO, Owners, labelled
from ansible_collections.senet.firewall.plugins.module_utils._values.peers import Peering
from ansible_collections.senet.firewall.plugins.module_utils._values.processes import Process
from ansible_collections.senet.firewall.plugins.module_utils._values.requests import Replace, Request


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
    """What there is, what is wanted, and the steps between them.

    ``request`` and ``options`` are what was asked for, with an earlier set in place of going back to it; ``mode`` is
    SELinux's status, ``recorded`` the layers of before, ``left_over`` the sets of rules that are not on record and yet
    in force, ``present`` and ``flows`` the flows before and after,
    ``previous`` the options that ask for those of before.
    """

    request: Request
    options: Options
    mode: str
    backend: Choice
    layers: Tuple[str, ...]
    recorded: Tuple[str, ...]
    left_over: Tuple[str, ...]
    observed: plan.HostState
    desired: plan.Desired
    steps: Tuple[plan.Step, ...]
    present: FlowSet
    flows: FlowSet
    accounts: Accounts
    processes: List[Process]
    cuts: Tuple[preflight.Cut, ...]
    peers: Peering
    previous: Optional[Dict[str, Any]]

    @property
    def labelled(self) -> FlowSet:
        """What SELinux enforces."""
        return labelled(self.flows, self.layers)

    @property
    def reverts(self) -> bool:
        """Whether it goes back to an earlier set of flows."""
        return isinstance(self.request, Replace) and self.request.reverts


def is_forgetful(change: Change) -> bool:
    """Whether the rules do without labels on connections."""
    sets = rule_sets.names_of(change.backend.backend)
    return not all(RULE_SETS[name].remember(change.desired.rules.get(name)) for name in sets)


def is_guarded(change: Change) -> bool:
    return any(step.action == plan.ARM_GUARD for step in change.steps)
