# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The matches of iptables, as iptables-extensions(8) and the kernel have them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import ip_network
from typing import ClassVar

from .packet import PROTOCOLS, STATES, TCP_FLAGS, Connection, Packet, Step, Unknown

Test = Callable[[Packet], bool]
_NUMBERS = {**PROTOCOLS, "all": 0, "ipv6-icmp": 58, "udplite": 136}
_OF_PROTOCOL = {
    "tcp": {"--tcp-flags": 2, "--syn": 0},
    "sctp": {"--chunk-types": 2},
    "dccp": {"--dccp-types": 1},
}
_WITH_PORTS = ("tcp", "udp", "sctp", "dccp")


class Match:
    """A match of a rule. ``options`` maps each of its options to the number of its values."""

    options: ClassVar[dict[str, int]] = {}

    def __init__(self, family: int) -> None:
        self.family = family
        self.taken: list[tuple[str, list[str], bool]] = []

    def arity(self, option: str) -> int | None:
        return self.options.get(option)

    def take(self, option: str, values: list[str], inverted: bool) -> None:
        self.taken.append((option, values, inverted))

    def steps(self) -> Iterator[Step]:
        for option, values, inverted in self.taken:
            test = self.test(option, values)
            yield _inverted(test) if inverted else test

    def test(self, option: str, values: list[str]) -> Test:
        raise NotImplementedError


class Basic(Match):
    """What every rule can match without a module."""

    options = dict.fromkeys(
        ("-p", "--protocol", "-s", "--source", "-d", "--destination", "-i", "--in-interface", "-o", "--out-interface"),
        1,
    )

    @property
    def protocol(self) -> str:
        return next((values[0] for option, values, _inverted in self.taken if option in ("-p", "--protocol")), "all")

    def test(self, option: str, values: list[str]) -> Test:
        (value,) = values
        if option in ("-p", "--protocol"):
            number = protocol_number(value)
            return (lambda packet: packet.protocol == number) if number else (lambda packet: True)
        if option in ("-s", "--source"):
            low, high = network(value, self.family)
            return lambda packet: low <= packet.ends.saddr <= high
        if option in ("-d", "--destination"):
            low, high = network(value, self.family)
            return lambda packet: low <= packet.ends.daddr <= high
        hooks = ("INPUT", "FORWARD", "PREROUTING") if option in ("-i", "--in-interface") else ("OUTPUT", "POSTROUTING")
        if value.endswith("+"):
            return lambda packet: packet.hook in hooks and packet.interface.startswith(value[:-1])
        return lambda packet: packet.hook in hooks and packet.interface == value


class Ports(Match):
    """The ports, and what else a protocol's own match knows."""

    options = dict.fromkeys(("--sport", "--source-port", "--dport", "--destination-port"), 1)

    def __init__(self, family: int, protocol: str) -> None:
        super().__init__(family)
        self.protocol = protocol

    def arity(self, option: str) -> int | None:
        return _OF_PROTOCOL.get(self.protocol, {}).get(option, self.options.get(option))

    def steps(self) -> Iterator[Step]:
        number = protocol_number(self.protocol)
        # The kernel takes such a match in rules of its protocol only.
        yield lambda packet: packet.protocol == number
        yield from super().steps()

    def test(self, option: str, values: list[str]) -> Test:
        if option in ("--sport", "--source-port"):
            low, high = ports(values[0])
            return lambda packet: low <= packet.ends.sport <= high
        if option in ("--dport", "--destination-port"):
            low, high = ports(values[0])
            return lambda packet: low <= packet.ends.dport <= high
        if option == "--dccp-types":
            types = values[0].split(",")
            return lambda packet: packet.chunk in types
        if option == "--chunk-types":
            # Each packet of the model has one chunk, so any, all and only ask the same.
            if values[0] not in ("any", "all", "only") or ":" in values[1]:
                raise Unknown(f"chunk types of iptables: {' '.join(values)}")
            chunks = values[1].split(",")
            return lambda packet: packet.chunk in chunks
        mask, wanted = (tcp_flags(value) for value in (values or ["FIN,SYN,RST,ACK", "SYN"]))
        return lambda packet: packet.flags & mask == wanted


class Multiport(Match):
    options = dict.fromkeys(("--sports", "--source-ports", "--dports", "--destination-ports", "--ports"), 1)

    def test(self, option: str, values: list[str]) -> Test:
        ranges = [ports(text) for text in values[0].split(",")]

        def among(port: int) -> bool:
            return any(low <= port <= high for low, high in ranges)

        if option in ("--sports", "--source-ports"):
            return lambda packet: among(packet.ends.sport)
        if option in ("--dports", "--destination-ports"):
            return lambda packet: among(packet.ends.dport)
        return lambda packet: among(packet.ends.sport) or among(packet.ends.dport)


class Conntrack(Match):
    options = dict.fromkeys(
        (
            "--ctstate", "--ctstatus", "--ctproto", "--ctdir", "--ctorigsrc", "--ctorigdst", "--ctreplsrc",
            "--ctrepldst", "--ctorigsrcport", "--ctorigdstport", "--ctreplsrcport", "--ctrepldstport",
        ),
        1,
    )  # fmt: skip

    def steps(self) -> Iterator[Step]:
        """One step: of a packet without an entry the kernel asks the state alone, and takes the rest as matched."""
        state = [(values[0], inverted) for option, values, inverted in self.taken if option == "--ctstate"]
        rest: list[Callable[[Packet, Connection], bool]] = []
        for option, values, inverted in self.taken:
            if option == "--ctdir":
                rest.append(_inverted_of(_direction(values[0]), inverted))
            elif option == "--ctstatus":
                rest.append(_inverted_of(_status(values[0]), inverted))
            elif option != "--ctstate":
                rest.append(_inverted_of(self._of_entry(option, values[0]), inverted))
        wanted = frozenset(state[0][0].split(",")) if state else frozenset()
        if wanted.difference(STATES, ("SNAT", "DNAT")):
            raise Unknown(f"state of iptables: {state[0][0]}")
        unwanted = bool(state and state[0][1])

        def step(packet: Packet) -> bool:
            if state and _has_state(packet, wanted) == unwanted:
                return False
            entry = packet.connection
            if entry is None:
                return bool(state)
            for test in rest:  # noqa: SIM110 (a loop, for speed)
                if not test(packet, entry):
                    return False
            return True

        yield step

    def _of_entry(self, option: str, value: str) -> Callable[[Packet, Connection], bool]:
        if option == "--ctproto":
            number = protocol_number(value)
            return lambda packet, entry: entry.protocol == number
        if option.endswith("port"):
            low, high = ports(value)
        else:
            low, high = network(value, self.family)
        at = {"src": 0, "dst": 1}[option[8:11]] + (2 if option.endswith("port") else 0)
        if option.startswith("--ctorig"):
            return lambda packet, entry: low <= entry.original[at] <= high
        return lambda packet, entry: low <= entry.reply[at] <= high


class State(Conntrack):
    """The older name of --ctstate."""

    options: ClassVar[dict[str, int]] = {"--state": 1}

    def take(self, option: str, values: list[str], inverted: bool) -> None:
        super().take("--ctstate", values, inverted)


class Connlabel(Match):
    options: ClassVar[dict[str, int]] = {"--label": 1, "--set": 0}

    def steps(self) -> Iterator[Step]:
        values = {option: (value, inverted) for option, value, inverted in self.taken}
        (label,), inverted = values["--label"]
        sets = "--set" in values

        def step(packet: Packet) -> bool:
            entry = packet.connection
            if entry is None:
                return inverted
            if sets:
                entry.labels |= {label}
            return (label in entry.labels) != inverted

        yield step


class Limit(Match):
    """Whatever the rate is: a packet of the model is within all of them or beyond all."""

    options: ClassVar[dict[str, int]] = {"--limit": 1, "--limit-burst": 1}

    def steps(self) -> Iterator[Step]:
        if any(inverted for _option, _values, inverted in self.taken):
            raise Unknown("inverted limit of iptables")
        yield lambda packet: not packet.over


class Mark(Match):
    options: ClassVar[dict[str, int]] = {"--mark": 1}

    def test(self, option: str, values: list[str]) -> Test:
        value, mask = value_and_mask(values[0])
        return lambda packet: packet.mark & mask == value


class Connmark(Match):
    options: ClassVar[dict[str, int]] = {"--mark": 1}

    def steps(self) -> Iterator[Step]:
        for _option, values, inverted in self.taken:
            value, mask = value_and_mask(values[0])
            yield _connmark(value, mask, inverted)


class Comment(Match):
    options: ClassVar[dict[str, int]] = {"--comment": 1}

    def steps(self) -> Iterator[Step]:
        return iter(())


_MATCHES: dict[str, type[Match]] = {
    "multiport": Multiport,
    "conntrack": Conntrack,
    "state": State,
    "connlabel": Connlabel,
    "limit": Limit,
    "mark": Mark,
    "connmark": Connmark,
    "comment": Comment,
}


def named(name: str, family: int) -> Match:
    """The match of a name after -m."""
    if name in _WITH_PORTS:
        return Ports(family, name)
    if name not in _MATCHES:
        raise Unknown(f"match of iptables: {name}")
    return _MATCHES[name](family)


def implied(basic: Match, option: str, family: int) -> Match:
    """The match that iptables loads by itself for an option of the rule's protocol."""
    assert isinstance(basic, Basic)
    if basic.protocol in _WITH_PORTS:
        match = Ports(family, basic.protocol)
        if match.arity(option) is not None:
            return match
    raise Unknown(f"option of iptables: {option}")


def protocol_number(text: str) -> int:
    if text.isdigit():
        return int(text)
    if text not in _NUMBERS:
        raise Unknown(f"protocol of iptables: {text}")
    return _NUMBERS[text]


def ports(text: str) -> tuple[int, int]:
    low, colon, high = text.partition(":")
    return int(low or 0), int(high or (65535 if colon else low))


def network(text: str, family: int) -> tuple[int, int]:
    if "," in text:
        raise Unknown(f"list of addresses of iptables: {text}")
    found = ip_network(text, strict=False)
    if found.version != family:
        raise Unknown(f"address of the other family: {text}")
    return int(found.network_address), int(found.broadcast_address)


def tcp_flags(text: str) -> int:
    if text in ("ALL", "NONE"):
        return 63 if text == "ALL" else 0
    return sum(TCP_FLAGS[name.lower()] for name in text.split(","))


def value_and_mask(text: str) -> tuple[int, int]:
    value, _slash, mask = text.partition("/")
    return int(value, 0), int(mask or "0xffffffff", 0)


def _inverted(test: Test) -> Test:
    return lambda packet: not test(packet)


def _inverted_of(test: Callable[[Packet, Connection], bool], inverted: bool) -> Callable[[Packet, Connection], bool]:
    return (lambda packet, entry: not test(packet, entry)) if inverted else test


def _direction(text: str) -> Callable[[Packet, Connection], bool]:
    if text not in ("ORIGINAL", "REPLY"):
        raise Unknown(f"direction of iptables: {text}")
    reply = text == "REPLY"
    return lambda packet, entry: packet.reply == reply


def _status(text: str) -> Callable[[Packet, Connection], bool]:
    if text != "ASSURED":
        raise Unknown(f"status of iptables: {text}")
    return lambda packet, entry: packet.assured


def _has_state(packet: Packet, wanted: frozenset[str]) -> bool:
    if packet.state in wanted:
        return True
    entry = packet.connection
    if entry is None:
        return False
    source = entry.original.saddr, entry.original.sport
    target = entry.original.daddr, entry.original.dport
    return ("SNAT" in wanted and source != (entry.reply.daddr, entry.reply.dport)) or (
        "DNAT" in wanted and target != (entry.reply.saddr, entry.reply.sport)
    )


def _connmark(value: int, mask: int, inverted: bool) -> Test:
    def test(packet: Packet) -> bool:
        entry = packet.connection
        return entry is not None and (entry.mark & mask == value) != inverted

    return test
