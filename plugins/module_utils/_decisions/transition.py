# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A set of flows on the way from one set to another, for changes that one rebuild of the policy cannot make. No I/O.

Between the policy and the rules, packets carry the old labels under the new policy. That is right where a type means
the same to both. It is not where a flow keeps its name and changes both its place and its domains, or where a domain
becomes confined whose flows have no rules yet.
"""

from typing import Any, Iterator, Optional, Set, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._values.flows import ENFORCE, Flow, FlowSet

# No interface has this name
_NOWHERE = ("",)


def bridge(before: FlowSet, after: FlowSet) -> Optional[FlowSet]:
    """The set in between; None where there is no need of one.

    It is the later set with other names for the flows that would be mistaken, and without the confinement that would
    come too early.
    """
    if not before.labels_packets or not after.labels_packets:
        return None
    old = {flow.name: flow for flow in before.flows}
    kept = [(old[flow.name], flow) for flow in after.flows if flow.name in old]
    mistaken = {flow.name for earlier, flow in kept if _mistaken(earlier, flow, before, after)}
    early = {domain for domain, mode in after.confine if mode == ENFORCE and _too_early(domain, before, after)}
    if not mistaken and not early:
        return None
    names = _new_names({flow.name for flow in before.flows + after.flows})
    flows = (flow._replace(name=next(names)) if flow.name in mistaken else flow for flow in after.flows)
    confined = tuple(item for item in before.confine if item[0] in early)
    return after._replace(
        flows=tuple(sorted(flows, key=lambda flow: flow.name)),
        confine=tuple(sorted(tuple(item for item in after.confine if item[0] not in early) + confined)),
    )


def of_unknown_addresses(flows: FlowSet) -> FlowSet:
    """The set for :func:`bridge` where the flows' addresses may not be those in force: a flow that has some is then in
    no place that another is in."""
    return flows._replace(
        flows=tuple(
            flow._replace(interfaces=_NOWHERE) if flow.source_addresses or flow.destination_addresses else flow
            for flow in flows.flows
        )
    )


def _mistaken(old: Flow, new: Flow, before: FlowSet, after: FlowSet) -> bool:
    """Whether packets with the labels of the old flow would be judged by the new one where that has no say."""
    if (old.source, old.destination, old.mode) == (new.source, new.destination, new.mode):
        return False
    if _place(old) != _place(new):
        return True
    # Clients whom several flows on a port refuse carry the label of one of them, which depends on all their modes.
    return bool(new.source_addresses) and old.mode != new.mode and any(
        flow.name != new.name and _share_ports(flow, new) for flow in before.flows + after.flows
    )


def _too_early(domain: str, before: FlowSet, after: FlowSet) -> bool:
    """Whether a domain that becomes confined has flows whose packets do not carry a label yet that it may use."""
    if dict(before.confine).get(domain) == ENFORCE:
        return False
    return any(
        _names(flow, domain)
        and not any(
            _place(other) == _place(flow) and (other.name == flow.name or _names(other, domain))
            for other in before.flows
        )
        for flow in after.flows
    )


def _names(flow: Flow, domain: str) -> bool:
    return flow.is_source(domain) or flow.is_destination(domain)


def _place(flow: Flow) -> Tuple[Any, ...]:
    return (flow.protocol, flow.ports, flow.source_addresses, flow.destination_addresses, flow.interfaces)


def _share_ports(first: Flow, second: Flow) -> bool:
    return first.protocol == second.protocol and any(
        ports.low <= other.high and other.low <= ports.high for ports in first.ports for other in second.ports
    )


def _new_names(taken: Set[str]) -> Iterator[str]:
    number = 0
    while True:
        number += 1
        name = "changing{0}".format(number)
        if name not in taken:
            yield name
