# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole set of flows that a request makes of the present one."""

from contextlib import suppress
from typing import Any, Dict, Iterable, Mapping, Optional, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._compile import cil
from ansible_collections.senet.firewall.plugins.module_utils._compile.rule_sets import RULE_SETS
from ansible_collections.senet.firewall.plugins.module_utils._decisions import plan
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import Flow, FlowSet, same_but_for_addresses
from ansible_collections.senet.firewall.plugins.module_utils._values.intent import Intent
from ansible_collections.senet.firewall.plugins.module_utils._values.layers import OWNER, SELINUX
from ansible_collections.senet.firewall.plugins.module_utils._values.requests import (
    Alter,
    Merge,
    Replace,
    Request,
    asked_flows,
)


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
    if recorded is None:
        _refuse_unknown_owners(observed.tables)
    current = asked_before(observed.policy, recorded)
    if isinstance(request, Alter):
        flows = request.change(current)
    elif isinstance(request, Merge):
        flows = current.with_flows(request.flows, request.confine)
    else:
        flows = current.without(request.names, request.confine)
    if recorded is None:
        _refuse_old_addresses(set(flows.flows).intersection(current.flows).difference(asked_flows(request)))
    return flows


def asked_before(policy: Optional[str], recorded: Optional[Intent]) -> FlowSet:
    """The module has the types of interfaces, which are not on record, and flows only if SELinux is their layer."""
    if policy is None:
        return recorded.flows if recorded is not None else FlowSet(())
    declared = installed(policy, recorded)
    if recorded is not None and SELINUX not in recorded.layers:
        return declared.with_the_flows_of(recorded.flows)
    return declared


def previous(observed: plan.HostState, recorded: Optional[Intent]) -> Optional[Dict[str, Any]]:
    """The options of the module flows that ask for the flows that the host has now; None where they cannot be told, or
    where one call cannot ask for them: confined domains without flows, or in two modes."""
    try:
        flows = asked_before(observed.policy, recorded)
        if recorded is None:
            _refuse_old_addresses(flows.flows)
    except SenetError:
        return None
    if not flows.labels_packets:
        return {"state": "absent"}
    modes = {mode for dummy, mode in flows.confine}
    if not flows.flows or len(modes) > 1:
        return None
    options = {"flows": [flow.as_dict() for flow in flows.flows], "purge": True}  # type: Dict[str, Any]
    if modes:
        options.update(confine=[domain for domain, dummy in flows.confine], mode=modes.pop())
    if recorded is not None:
        options.update(layers=list(recorded.layers), backend=recorded.backend)
    return options


def installed(policy: str, recorded: Optional[Intent]) -> FlowSet:
    """What a policy module was made for, with the addresses on record: a change of addresses alone leaves the module as
    it is. Where the two differ in more, the module is the later one, of a run that died.

    :raises SenetError: the module does not say.
    """
    declared = cil.parse_policy(policy)
    if recorded is None:
        return declared
    kept = declared.with_the_flows_of(recorded.labelled)
    return kept if same_but_for_addresses(declared, kept) else declared


def _refuse_unknown_owners(tables: Mapping[str, Any]) -> None:
    """The rules of the layer owner do not say which flows they were made from."""
    if any(table.rules for name, table in tables.items() if RULE_SETS[name].layer == OWNER):
        raise SenetError(
            "The file /etc/senet/flows.json is missing, so the flows of the layer owner are not known, whose rules are "
            "in force on this host. Nothing was changed; give the whole set of flows with purge=true."
        )


def _refuse_old_addresses(kept: Iterable[Flow]) -> None:
    """Without a record, the addresses in the module may be older than those in force, and let others in."""
    for flow in sorted(kept):
        if flow.source_addresses or flow.destination_addresses:
            raise SenetError(
                "The file /etc/senet/flows.json is missing, so the addresses of the flow '{0}' are not known; give "
                "this flow as well, or the whole set of flows with purge=true.".format(flow.name)
            )
