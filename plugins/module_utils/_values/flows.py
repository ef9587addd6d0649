# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The words of the collection as immutable values: a flow, a set of flows, the packet types they stand for.

This is private to the collection. Everything that reaches a rule or a policy line passes through here once.
"""

import re
from typing import Any, Dict, Iterable, List, NamedTuple, Sequence, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.fields import (
    EVERY_DOMAIN,
    Network,
    PortRange,
    address_text,
)

PROTOCOLS = ("tcp", "udp", "sctp", "dccp")
ENFORCE = "enforce"
OBSERVE = "observe"
MODES = (ENFORCE, OBSERVE)
# Where the server's host holds the client's own domain against the flow, beside what the client's host does
VERIFY_NONE = "none"
VERIFY_LOOPBACK = "loopback"
VERIFY_ADDRESS = "address"
VERIFY_IPSEC = "ipsec"
VERIFY = (VERIFY_NONE, VERIFY_LOOPBACK, VERIFY_ADDRESS, VERIFY_IPSEC)
DEFAULT_PACKET_TYPE = "senet_default_packet_t"
# The type of packets that no rule has labelled, on both policy families
UNLABELED_TYPE = "unlabeled_t"
_LEVEL = re.compile(r"(\bsystem_u:object_r:[\w-]+):s0\b")


class Flow(NamedTuple):
    """One permitted conversation. Domains are sorted and unique, ports are sorted and do not overlap.

    Its *place* is the protocol, the ports, the server's addresses (``destination_addresses``) and the interfaces, each
    of the last two everywhere if empty: the flow does not affect what is elsewhere. In its place the domains and the
    clients' addresses (``source_addresses``, any if empty) say who may. ``users`` and ``units`` are the client's, for
    the layer owner. In the mode ``observe`` everybody else is permitted too, and logged.
    """

    name: str
    source: Tuple[str, ...]
    destination: Tuple[str, ...]
    protocol: str
    ports: Tuple[PortRange, ...]
    mode: str = ENFORCE
    source_addresses: Tuple[Network, ...] = ()
    destination_addresses: Tuple[Network, ...] = ()
    interfaces: Tuple[str, ...] = ()
    users: Tuple[str, ...] = ()
    units: Tuple[str, ...] = ()
    verify_source: str = VERIFY_NONE

    @property
    def client_type(self) -> str:
        """The type on packets at the client's side: the source domains send and receive it."""
        return "senet_{0}_client_packet_t".format(self.name)

    @property
    def server_type(self) -> str:
        """The type on packets at the server's side: the destination domains receive and send it."""
        return "senet_{0}_server_packet_t".format(self.name)

    @property
    def refused_type(self) -> str:
        """The type on packets of the flow's place whose client has another address: nobody may send or receive it."""
        return "senet_{0}_refused_packet_t".format(self.name)

    @property
    def packet_types(self) -> Tuple[str, ...]:
        """The types that rules of this flow put on packets, whatever domains are confined."""
        return (self.client_type, self.server_type) + ((self.refused_type,) if self.source_addresses else ())

    @property
    def midstream_types(self) -> Tuple[str, str]:
        """The client's and the server's type on packets that may be of another connection, made from the flow's port:
        confined domains may not use these. See :meth:`FlowSet.parts_midstream`."""
        return (
            "senet_{0}_client_midstream_packet_t".format(self.name),
            "senet_{0}_server_midstream_packet_t".format(self.name),
        )

    @property
    def unlogged_types(self) -> Tuple[str, ...]:
        """The types in place of :attr:`packet_types` on what is not logged of a busy connection that is only observed:
        everybody may use them who may use those."""
        return tuple(name[: -len("packet_t")] + "unlogged_packet_t" for name in self.packet_types)

    @property
    def domains(self) -> Tuple[str, ...]:
        """The domains that are named one by one."""
        return tuple(sorted(set(self.source + self.destination) - {EVERY_DOMAIN}))

    @property
    def everywhere(self) -> bool:
        """Whether ports alone tell the flow's packets from others."""
        return not (self.source_addresses or self.destination_addresses or self.interfaces)

    def is_source(self, domain: str) -> bool:
        return domain in self.source or EVERY_DOMAIN in self.source

    def is_destination(self, domain: str) -> bool:
        return domain in self.destination or EVERY_DOMAIN in self.destination

    def has_port(self, port: int) -> bool:
        return any(ports.holds(port) for ports in self.ports)

    def disjoint(self, other: "Flow") -> bool:
        """Whether no packet can belong to both flows, whatever its ports."""
        return self._elsewhere(other) or _no_overlap(self.source_addresses, other.source_addresses)

    def shares_place(self, other: "Flow") -> bool:
        """Whether a packet can be in the places of both flows, so that only the addresses of their clients differ."""
        return (
            self.protocol == other.protocol
            and any(own.overlaps(ports) for ports in other.ports for own in self.ports)
            and not self._elsewhere(other)
        )

    def _elsewhere(self, other: "Flow") -> bool:
        """Whether no packet can be at the interfaces and the servers' addresses of both flows."""
        return _disjoint(self.interfaces, other.interfaces) or _no_overlap(
            self.destination_addresses, other.destination_addresses
        )

    def as_dict(self) -> Dict[str, Any]:
        """The flow as the module's options spell it; options beyond the first six only where they are set."""
        result = {
            "name": self.name,
            "source": list(self.source),
            "destination": list(self.destination),
            "protocol": self.protocol,
            "ports": [str(ports) for ports in self.ports],
            "mode": self.mode,
        }  # type: Dict[str, Any]
        lists = {
            "source_addresses": [address_text(network) for network in self.source_addresses],
            "destination_addresses": [address_text(network) for network in self.destination_addresses],
            "interfaces": list(self.interfaces),
            "users": list(self.users),
            "units": list(self.units),
        }
        result.update((key, value) for key, value in lists.items() if value)
        if self.verify_source != VERIFY_NONE:
            result["verify_source"] = self.verify_source
        return result


class PeerLabel(NamedTuple):
    """A type, declared by us alone, for what arrives from these networks. Its name is the type.

    ``receivers`` are the domains that may receive from these peers, every domain if empty; ``interface_type`` is the
    type of the network interfaces by which their packets may arrive, any if empty.
    """

    type: str
    addresses: Tuple[Network, ...]
    receivers: Tuple[str, ...] = ()
    interface_type: str = ""

    def as_dict(self) -> Dict[str, Any]:
        """The label as the module's options spell it."""
        result = {"type": self.type, "addresses": [address_text(net) for net in self.addresses]}  # type: Dict[str, Any]
        if self.receivers:
            result["receivers"] = list(self.receivers)
        if self.interface_type:
            result["interface_type"] = self.interface_type
        return result


class FlowSet(NamedTuple):
    """All that is asked of a host: the flows, sorted by name, and the domains that may use nothing but their flows.

    Names are unique, and no packet belongs to two flows. ``confine`` has (domain, mode), each domain once.
    ``interface_types`` are types of network interfaces that no other policy module declares, sorted. ``peers`` are
    sorted by type, each once; packets of the ``loopback_domains`` carry their own label over IPv4 loopback.
    """

    flows: Tuple[Flow, ...]
    confine: Tuple[Tuple[str, str], ...] = ()
    interface_types: Tuple[str, ...] = ()
    peers: Tuple[PeerLabel, ...] = ()
    loopback_domains: Tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether nothing is asked, not even a type."""
        return not self.labels_packets and not self.labels_peers and not self.interface_types

    @property
    def labels_packets(self) -> bool:
        """Whether packets get labels, which turns on packet checks."""
        return bool(self.flows or self.confine)

    @property
    def labels_peers(self) -> bool:
        """Whether peers get labels, which turns on checks of peers, interfaces and nodes."""
        verified = any(flow.verify_source != VERIFY_NONE for flow in self.flows)
        return bool(verified or self.peers or self.loopback_domains)

    @property
    def domains(self) -> Tuple[str, ...]:
        """The domains that are named one by one, confined ones among them."""
        named = {domain for flow in self.flows for domain in flow.domains}.union(dict(self.confine))
        received = (domain for label in self.peers for domain in label.receivers)
        return tuple(sorted(named.union(received, self.loopback_domains)))

    @property
    def packet_types(self) -> Tuple[str, ...]:
        types = tuple(packet_type for flow in self.flows for packet_type in self.types_of(flow))
        return ((DEFAULT_PACKET_TYPE,) if self.labels_packets else ()) + types

    def types_of(self, flow: Flow) -> Tuple[str, ...]:
        """The types that rules of one of these flows put on packets."""
        midstream = flow.midstream_types if self.parts_midstream(flow) else ()
        return flow.packet_types + midstream + (flow.unlogged_types if flow.mode == OBSERVE else ())

    def parts_midstream(self, flow: Flow) -> bool:
        """Whether a confined domain may use a flow, so that packets which may be of another connection need types of
        their own."""
        confined = set(dict(self.confine))
        anybody = flow.mode == OBSERVE or EVERY_DOMAIN in flow.source + flow.destination
        return bool(confined) if anybody else bool(confined.intersection(flow.domains))

    def midstream_types(self, flow: Flow) -> Tuple[str, str]:
        """The client's and the server's type where only a source port speaks for a flow."""
        return flow.midstream_types if self.parts_midstream(flow) else (flow.client_type, flow.server_type)

    def with_flows(self, flows: Iterable[Flow], confine: Iterable[Tuple[str, str]] = ()) -> "FlowSet":
        """This set with flows added, each in place of the one of the same name, and domains confined.

        :raises SenetError: two flows claim one packet.
        """
        merged = {flow.name: flow for flow in self.flows}
        merged.update((flow.name, flow) for flow in flows)
        return self.with_the_flows_of(flow_set(merged.values(), self.confine + tuple(confine)))

    def with_the_flows_of(self, other: "FlowSet") -> "FlowSet":
        """This set with the flows and the confined domains of another in place of its own."""
        return self._replace(flows=other.flows, confine=other.confine)

    def without(self, names: Iterable[str], confine: Iterable[str] = ()) -> "FlowSet":
        """This set less the flows of these names, and with these domains free; what it does not have is left out."""
        gone = set(names)
        free = set(confine)
        return self._replace(
            flows=tuple(flow for flow in self.flows if flow.name not in gone),
            confine=tuple((domain, mode) for domain, mode in self.confine if domain not in free),
        )

    def with_interface_types(self, new: Iterable[str], gone: Iterable[str] = ()) -> "FlowSet":
        """This set with types of interfaces added, and others taken away."""
        return self._replace(interface_types=tuple(sorted(set(self.interface_types).union(new).difference(gone))))

    def with_peers(self, labels: Iterable[PeerLabel], domains: Iterable[str] = ()) -> "FlowSet":
        """This set with peer labels added, each in place of the one of the same type, and domains on loopback."""
        merged = {label.type: label for label in self.peers}
        merged.update((label.type, label) for label in labels)
        return self._replace(
            peers=tuple(merged[name] for name in sorted(merged)),
            loopback_domains=tuple(sorted(set(self.loopback_domains).union(domains))),
        )

    def without_peers(self, types: Iterable[str], domains: Iterable[str] = ()) -> "FlowSet":
        """This set less the peer labels of these types, and these domains on loopback."""
        gone = set(types)
        return self._replace(
            peers=tuple(label for label in self.peers if label.type not in gone),
            loopback_domains=tuple(sorted(set(self.loopback_domains).difference(domains))),
        )

    def as_dict(self) -> Dict[str, Any]:
        """The set as plain data, for :func:`parse_flow_set`."""
        result = {"flows": [flow.as_dict() for flow in self.flows]}  # type: Dict[str, Any]
        if self.confine:
            result["confine"] = dict(self.confine)
        if self.interface_types:
            result["interface_types"] = list(self.interface_types)
        if self.peers:
            result["peers"] = [label.as_dict() for label in self.peers]
        if self.loopback_domains:
            result["loopback_domains"] = list(self.loopback_domains)
        return result


def flow_set(flows: Iterable[Flow], confine: Iterable[Tuple[str, str]] = ()) -> FlowSet:
    """The set of flows; of a domain that is confined twice, the last mode counts.

    :raises SenetError: a name stands twice, or two flows claim one packet.
    """
    ordered = tuple(sorted(flows, key=lambda flow: flow.name))
    for first, second in zip(ordered, ordered[1:]):
        if first.name == second.name:
            raise SenetError(
                "The flow '{0}' is listed twice; give each flow a name of its own, or list all its ports "
                "in one flow.".format(first.name)
            )
    claims = sorted(((flow.protocol, ports, flow.name), flow) for flow in ordered for ports in flow.ports)
    open_claims = []  # type: List[Tuple[PortRange, Flow]]
    last = ""
    for (protocol, ports, dummy), flow in claims:
        open_claims = [claim for claim in open_claims if protocol == last and claim[0].high >= ports.low]
        for ports2, flow2 in open_claims:
            if flow2 is not flow and not flow.disjoint(flow2):
                raise SenetError(
                    "The flows '{0}' and '{1}' both claim {2}/{3}, and a packet can carry one label only; join them "
                    "into one flow, change the ports of one, or limit each to other addresses or interfaces.".format(
                        flow2.name, flow.name, protocol, PortRange(ports.low, min(ports.high, ports2.high))
                    )
                )
        open_claims.append((ports, flow))
        last = protocol
    return FlowSet(ordered, tuple(sorted(dict(confine).items())))


def same_but_for_addresses(first: FlowSet, second: FlowSet) -> bool:
    """Whether two sets differ in nothing but the addresses of flows that have some in both."""
    return _without_addresses(first) == _without_addresses(second)


def type_context(name: str) -> str:
    """The context of a type, such as that of packets; :func:`without_levels` is for a policy that has no levels.

    The level is exactly s0: the policy's MCS constraint on packet recv wants it dominated by every domain.
    """
    return "system_u:object_r:{0}:s0".format(name)


def without_levels(text: str) -> str:
    """A text with the contexts in it as a policy without levels spells them."""
    return _LEVEL.sub(r"\1", text)


def _without_addresses(flows: FlowSet) -> Any:
    rest = [
        (
            flow._replace(source_addresses=(), destination_addresses=()),
            bool(flow.source_addresses),
            bool(flow.destination_addresses),
        )
        for flow in flows.flows
    ]
    return rest, flows._replace(flows=())


def _disjoint(first: Sequence[str], second: Sequence[str]) -> bool:
    """Whether both lists limit something, and have nothing in common."""
    return bool(first) and bool(second) and not set(first).intersection(second)


def _no_overlap(first: Sequence[Network], second: Sequence[Network]) -> bool:
    """The same for networks."""
    return (
        bool(first)
        and bool(second)
        and not any(net.version == other.version and net.overlaps(other) for net in first for other in second)
    )
