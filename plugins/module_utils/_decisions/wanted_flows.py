# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole set of flows that a request makes of the present one."""

from contextlib import suppress
from typing import Optional, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._compile import cil
from ansible_collections.senet.firewall.plugins.module_utils._decisions import plan
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import FlowSet
from ansible_collections.senet.firewall.plugins.module_utils._values.intent import Intent
from ansible_collections.senet.firewall.plugins.module_utils._values.layers import SELINUX
from ansible_collections.senet.firewall.plugins.module_utils._values.requests import Alter, Merge, Replace, Request


def present(observed: plan.HostState, recorded: Optional[Intent]) -> FlowSet:
    """What is asked of the host now, as far as it can be told."""
    with suppress(SenetError):
        return asked_before(observed.policy, recorded)
    return recorded.flows if recorded is not None else FlowSet(())


def removed(before: FlowSet, after: FlowSet) -> Tuple[str, ...]:
    """The names of the flows that are gone."""
    kept = {flow.name for flow in after.flows}
    return tuple(flow.name for flow in before.flows if flow.name not in kept)


def wanted(request: Request, observed: plan.HostState, recorded: Optional[Intent]) -> FlowSet:
    """The whole set of flows that a request asks for. Those present are in the policy module, or on record.

    :raises SenetError: it refers to present flows, and those cannot be told.
    """
    if isinstance(request, Replace):
        current = FlowSet(())
        with suppress(SenetError):  # what cannot be told is replaced as a whole
            current = asked_before(observed.policy, recorded)
        return current.with_the_flows_of(request.flows)
    current = asked_before(observed.policy, recorded)
    if isinstance(request, Alter):
        return request.change(current)
    if isinstance(request, Merge):
        return current.with_flows(request.flows, request.confine)
    return current.without(request.names, request.confine)


def asked_before(policy: Optional[str], recorded: Optional[Intent]) -> FlowSet:
    """The module has the types of interfaces, which are not on record, and flows only if SELinux is their layer."""
    if policy is None:
        return recorded.flows if recorded is not None else FlowSet(())
    declared = cil.parse_policy(policy)
    if recorded is not None and SELINUX not in recorded.layers:
        return declared.with_the_flows_of(recorded.flows)
    return declared
