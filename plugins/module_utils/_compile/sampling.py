# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What both backends log of flows that are observed. No I/O.

The first packets of a connection keep the flow's types, by which the policy logs whoever would be refused. Once it is
assured, which conntrack says when both ends have spoken, of UDP after two seconds, a packet beyond the rate gets an
unlogged type of the same flow, which grants the same: sampling takes records away, and neither opens nor cuts anything.
"""

from typing import Dict, List, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._values.fields import PortRange
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import OBSERVE, Flow, FlowSet

# A second, at each hook and in each direction. Every release of nft prints a burst other than 5.
RATE, BURST = 10, 20


def samples(flows: FlowSet, real: bool) -> bool:
    """Whether some packets get an unlogged type: those found by the ``real`` port that answers, or those of connections
    that conntrack met in mid-stream, by which port may mean another flow or none where a domain is confined."""
    return any(flow.mode == OBSERVE and (real or not flows.parts_midstream(flow)) for flow in flows.flows)


def sampled_ports(flows: FlowSet) -> Dict[str, List[PortRange]]:
    """The ports of the flows that are observed by protocol, in order. Ranges that overlap or stand side by side are
    one, so that no release of nft lists them in another way."""
    ports = {}  # type: Dict[str, List[PortRange]]
    for protocol, low, high in sorted(
        (flow.protocol, own.low, own.high) for flow in flows.flows if flow.mode == OBSERVE for own in flow.ports
    ):
        found = ports.setdefault(protocol, [])
        if found and low <= found[-1].high + 1:
            found[-1] = PortRange(found[-1].low, max(found[-1].high, high))
        else:
            found.append(PortRange(low, high))
    return ports


def placed(flows: FlowSet) -> FlowSet:
    """The flows with addresses or interfaces that are observed, and others on the same ports: which of them a packet
    belongs to, their rules tell together."""
    own = [flow for flow in flows.flows if not flow.everywhere]
    observed = [(flow.protocol, ports) for flow in own if flow.mode == OBSERVE for ports in flow.ports]
    return flows._replace(
        flows=tuple(
            flow
            for flow in own
            if any(
                flow.protocol == protocol and any(ports.overlaps(other) for other in flow.ports)
                for protocol, ports in observed
            )
        )
    )


def packet_types(flow: Flow, unlogged: bool) -> Tuple[str, ...]:
    """The types of a flow's client, server and refused clients; the unlogged ones if it has some and they are asked."""
    return flow.unlogged_types if unlogged and flow.mode == OBSERVE else flow.packet_types
