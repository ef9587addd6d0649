# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The words of the collection as immutable values: a flow, a set of flows, the packet types they stand for.

This is private to the collection. Everything that reaches a rule or a policy line passes through here once.
"""

import re
import uuid
from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional, Tuple

PROTOCOLS = ("tcp", "udp", "sctp", "dccp")
ENFORCE = "enforce"
OBSERVE = "observe"
MODES = (ENFORCE, OBSERVE)
DEFAULT_PACKET_TYPE = "senet_default_packet_t"

_NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")
# A type inside a CIL block (what udica writes) has dots: my_app.process
_DOMAIN = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,127}(\.[A-Za-z0-9_]{1,127})*")
_TOKEN = re.compile(r"[a-z0-9]{1,32}")
_PORTS = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")


class SenetError(Exception):
    """What a user is told: one sentence with the object, what is wrong with it, and what to do."""


class PortRange(NamedTuple):
    """Ports low to high, both included, 1 to 65535."""

    low: int
    high: int

    def __str__(self) -> str:
        return str(self.low) if self.low == self.high else "{0}-{1}".format(self.low, self.high)

    def overlaps(self, other: "PortRange") -> bool:
        return self.low <= other.high and other.low <= self.high

    def holds(self, port: int) -> bool:
        return self.low <= port <= self.high


class Flow(NamedTuple):
    """One permitted conversation. Domains are sorted and unique, ports are sorted and do not overlap.

    In the mode ``observe`` everybody else is permitted too, and logged.
    """

    name: str
    source: Tuple[str, ...]
    destination: Tuple[str, ...]
    protocol: str
    ports: Tuple[PortRange, ...]
    mode: str = ENFORCE

    @property
    def client_type(self) -> str:
        """The type on packets at the client's side: the source domains send and receive it."""
        return "senet_{0}_client_packet_t".format(self.name)

    @property
    def server_type(self) -> str:
        """The type on packets at the server's side: the destination domains receive and send it."""
        return "senet_{0}_server_packet_t".format(self.name)

    @property
    def domains(self) -> Tuple[str, ...]:
        return tuple(sorted(set(self.source + self.destination)))

    def has_port(self, port: int) -> bool:
        return any(ports.holds(port) for ports in self.ports)

    def as_dict(self) -> Dict[str, Any]:
        """The flow as the module's options spell it."""
        return {
            "name": self.name,
            "source": list(self.source),
            "destination": list(self.destination),
            "protocol": self.protocol,
            "ports": [str(ports) for ports in self.ports],
            "mode": self.mode,
        }


class FlowSet(NamedTuple):
    """All flows of a host, sorted by name; names are unique and no protocol and port belongs to two flows."""

    flows: Tuple[Flow, ...]

    @property
    def domains(self) -> Tuple[str, ...]:
        return tuple(sorted({domain for flow in self.flows for domain in flow.domains}))

    @property
    def packet_types(self) -> Tuple[str, ...]:
        types = [packet_type for flow in self.flows for packet_type in (flow.client_type, flow.server_type)]
        return (DEFAULT_PACKET_TYPE,) + tuple(types)

    def with_flows(self, flows: Iterable[Flow]) -> "FlowSet":
        """This set with flows added, each in place of the one of the same name.

        :raises SenetError: two flows claim one protocol and port.
        """
        merged = {flow.name: flow for flow in self.flows}
        merged.update((flow.name, flow) for flow in flows)
        return flow_set(merged.values())

    def without(self, names: Iterable[str]) -> "FlowSet":
        """This set less the flows of these names; a name it does not have is no error."""
        gone = set(names)
        return FlowSet(tuple(flow for flow in self.flows if flow.name not in gone))


def flow_set(flows: Iterable[Flow]) -> FlowSet:
    """The set of flows.

    :raises SenetError: a name stands twice, or two flows claim one protocol and port.
    """
    ordered = tuple(sorted(flows, key=lambda flow: flow.name))
    for first, second in zip(ordered, ordered[1:]):
        if first.name == second.name:
            raise SenetError(
                "The flow '{0}' is listed twice; give each flow a name of its own, or list all its ports "
                "in one flow.".format(first.name)
            )
    claims = sorted((flow.protocol, ports, flow.name) for flow in ordered for ports in flow.ports)
    for (protocol, ports, name), (protocol2, ports2, name2) in zip(claims, claims[1:]):
        if protocol == protocol2 and ports.overlaps(ports2):
            shared = PortRange(max(ports.low, ports2.low), min(ports.high, ports2.high))
            raise SenetError(
                "The flows '{0}' and '{1}' both claim {2}/{3}, and a packet can carry one label only; "
                "join them into one flow or change the ports of one.".format(name, name2, protocol, shared)
            )
    return FlowSet(ordered)


def parse_flow(raw: Mapping[str, Any]) -> Flow:
    """A flow from the module's options (keys as in :meth:`Flow.as_dict`).

    :raises SenetError: a part is missing or malformed.
    """
    name = parse_name(raw.get("name"))
    protocol = raw.get("protocol") or "tcp"
    if protocol not in PROTOCOLS:
        raise SenetError(
            "The flow '{0}' has the protocol '{1}', which carries no ports here; use one of {2}.".format(
                name, protocol, ", ".join(PROTOCOLS)
            )
        )
    mode = raw.get("mode") or ENFORCE
    if mode not in MODES:
        raise SenetError(
            "The flow '{0}' has the mode '{1}'; use one of {2}.".format(name, mode, ", ".join(MODES))
        )
    return Flow(
        name,
        _domains(name, "source", raw.get("source")),
        _domains(name, "destination", raw.get("destination")),
        protocol,
        _port_ranges(name, raw.get("ports")),
        mode,
    )


def parse_name(name: Any) -> str:
    """A flow's name, which becomes part of its packet types.

    :raises SenetError: it is not a lower-case identifier of at most 31 characters.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise SenetError(
            "The flow name {0!r} cannot become part of a type name; use a lower-case letter, then up to 30 "
            "lower-case letters, digits or '_'.".format(name)
        )
    return name


def parse_token(token: Optional[str]) -> str:
    """The name of a change, made up if none is given.

    :raises SenetError: it is not of lower-case letters and digits.
    """
    if token is None:
        return uuid.uuid4().hex[:12]
    if not _TOKEN.fullmatch(token):
        raise SenetError(
            "The token {0!r} cannot name a change; use 1 to 32 lower-case letters and digits.".format(token)
        )
    return token


def packet_context(packet_type: str, mls: bool) -> str:
    """The context of packets of a type.

    The level is exactly s0: the policy's MCS constraint on packet recv wants it dominated by every domain.
    """
    return "system_u:object_r:{0}{1}".format(packet_type, ":s0" if mls else "")


def _domains(flow: str, side: str, raw: Optional[Iterable[Any]]) -> Tuple[str, ...]:
    domains = list(raw or ())
    if not domains:
        raise SenetError(
            "The flow '{0}' has no {1}; name at least one SELinux domain, such as httpd_t.".format(flow, side)
        )
    for domain in domains:
        if not isinstance(domain, str) or not _DOMAIN.fullmatch(domain):
            raise SenetError(
                "The {1} {2!r} of the flow '{0}' is not a SELinux type; give the type alone, such as httpd_t "
                "out of system_u:system_r:httpd_t:s0.".format(flow, side, domain)
            )
    return tuple(sorted(set(domains)))


def _port_ranges(flow: str, raw: Optional[Iterable[Any]]) -> Tuple[PortRange, ...]:
    texts = [str(port) for port in raw or ()]
    if not texts:
        raise SenetError("The flow '{0}' has no ports; list at least one, such as 5432 or 8000-8010.".format(flow))
    ranges = sorted(_port_range(flow, text) for text in texts)
    joined = ranges[:1]  # type: List[PortRange]
    for ports in ranges[1:]:
        last = joined[-1]
        if ports.low <= last.high + 1:
            joined[-1] = PortRange(last.low, max(last.high, ports.high))
        else:
            joined.append(ports)
    return tuple(joined)


def _port_range(flow: str, text: str) -> PortRange:
    match = _PORTS.fullmatch(text)
    if match:
        low = int(match.group(1))
        high = int(match.group(2) or low)
        if 1 <= low <= high <= 65535:
            return PortRange(low, high)
    raise SenetError(
        "The port {1!r} of the flow '{0}' is not a port; use a number from 1 to 65535, or a range of them with "
        "the lower one first, such as 8000-8010.".format(flow, text)
    )
