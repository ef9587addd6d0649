# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bounded model of packets: whole journeys of connections, each with what the host can know of it.

The model has each port in and out of every flow at both ends, translated or not; addresses and interfaces in and out;
both families; connections seen from their beginning, or from the middle, by either end; untracked and invalid packets;
few packets and many; and the caller, the called end or both on this host. It takes the flows from the wish and nothing
from the compilers.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from ipaddress import ip_address, ip_network
from itertools import product
from random import Random
from typing import NamedTuple

from .packet import PROTOCOLS, TCP_FLAGS, Connection, Ends, Packet
from .promise import End, Flow, Seen, Wish

ADDRESSES = {4: ("192.0.2.77", "198.51.100.77"), 6: ("2001:db8:77::1", "2001:db8:77::2")}
_TRANSLATED = {4: "203.0.113.200", 6: "2001:db8:200::1"}
_FREE_PORTS = (22, 40000)
_INTERFACE, _LOOPBACK = "eth7", "lo"

SYN, SYN_ACK, ACK, FIN_ACK, RST = "syn", "syn,ack", "ack", "fin,ack", "rst"
# By protocol: who sends what, True for the caller; from the beginning, then from the middle.
_BEGUN = {
    "tcp": (
        ((True, SYN), (False, SYN_ACK), (True, ACK), (False, ACK), (True, FIN_ACK), (False, RST)),
        ((True, SYN), (False, SYN), (True, SYN_ACK), (False, ACK)),
    ),
    "sctp": (((True, "INIT"), (False, "INIT_ACK"), (True, "DATA"), (False, "DATA")),),
    "dccp": (((True, "REQUEST"), (False, "RESPONSE"), (True, "DATA"), (False, "DATA")),),
    "udp": (((True, ""), (False, ""), (True, "")),),
}
_MIDDLE = {
    "tcp": (
        ((True, ACK), (False, ACK), (True, ACK)),
        # A SYN on an entry that is there already begins nothing.
        ((True, ACK), (False, SYN), (True, ACK), (False, ACK)),
        ((True, ACK), (False, ACK), (True, SYN), (False, ACK)),
    ),
    "sctp": (((True, "HEARTBEAT"), (False, "HEARTBEAT_ACK"), (True, "DATA")),),
    "dccp": (((True, "DATA"), (False, "ACK"), (True, "DATA")),),
    "udp": (),
}
_LONE = {
    "tcp": (SYN, SYN_ACK, ACK, RST),
    "sctp": ("INIT", "DATA"),
    "dccp": ("REQUEST", "DATA"),
    "udp": ("",),
}


class Step(NamedTuple):
    """A packet at a hook. ``carries``: it comes from the step before, with the marks that it got there."""

    packet: Packet
    seen: Seen
    carries: bool = False


Journey = list[Step]


class Frame(NamedTuple):
    """What all packets of a connection share."""

    protocol: str
    family: int
    interface: str
    caller: End
    called: End
    # A port that a translation may use
    other: int


def journeys(wish: Wish, limit: int, random: Random) -> Iterator[Journey]:
    """The model of a wish: of all frames, or of so many of them, every journey."""
    frames = list(_frames(wish, random))
    if len(frames) > limit:
        frames = random.sample(frames, limit)
    # What is beyond a rate matters to what is logged alone
    rates = (False, True) if any(flow.observe for flow in wish.flows) else (False,)
    for frame in frames:
        yield from _of_frame(frame, random, rates)


def _frames(wish: Wish, random: Random) -> Iterator[Frame]:
    protocols = sorted({flow.protocol for flow in wish.flows})
    protocols += [name for name in ("tcp", "udp") if name not in protocols][:1]
    interfaces = sorted({name for flow in wish.flows for name in flow.interfaces} | {_INTERFACE, _LOOPBACK})
    for family in (4, 6):
        callers = _addresses(family, wish.flows, "source_addresses", random)
        called = _addresses(family, wish.flows, "destination_addresses", random)
        places = list(product(interfaces, callers, called))
        for protocol in protocols:
            ports = _ports(wish.flows, protocol, random)
            for (interface, source, target), one, other in product(places, ports, ports):
                third = random.choice(ports)
                yield Frame(protocol, family, interface, End(source, one), End(target, other), third)
        yield Frame(
            "icmp" if family == 4 else "icmpv6", family, _INTERFACE, End(callers[0], None), End(called[0], None), 0
        )


def _ports(flows: tuple[Flow, ...], protocol: str, random: Random) -> list[int]:
    """One in each flow, the edges of some, and some in none of this protocol."""
    own = [flow for flow in flows if flow.protocol == protocol]
    ports = {random.choice(_edges(flow))[0] for flow in own}
    edges = [edge for flow in own for edge in _edges(flow)]
    for inner, outer in random.sample(edges, min(2, len(edges))):
        ports.update((inner, outer))
    others = [low for flow in flows for low, _high in flow.ports if flow.protocol != protocol]
    ports.update(random.sample(others, min(1, len(others))))
    return sorted(port for port in ports.union(_FREE_PORTS) if 0 < port < 65536)


def _edges(flow: Flow) -> list[tuple[int, int]]:
    """The ports at the edge of the flow's ranges, each with its neighbour outside."""
    return [edge for low, high in flow.ports for edge in ((low, low - 1), (high, high + 1))]


def _addresses(family: int, flows: tuple[Flow, ...], field: str, random: Random) -> list[str]:
    """Some in the networks of the flows, and one in none."""
    inside: set[str] = set()
    for flow in flows:
        for text in getattr(flow, field):
            network = ip_network(text)
            if network.version == family:
                inside.update(
                    (str(network[0] if network.prefixlen else network[9]), str(network[-2 % network.num_addresses]))
                )
    chosen = random.sample(sorted(inside), min(3, len(inside)))
    outside = ADDRESSES[family][field == "destination_addresses"]
    return sorted({*chosen, outside})


def _of_frame(frame: Frame, random: Random, rates: tuple[bool, ...]) -> Iterator[Journey]:
    if frame.called.port is None:
        yield from _portless(frame)
        return
    for steps in _BEGUN[frame.protocol]:
        began = frame.protocol == "tcp"
        for original, reply in _tuples(frame, random):
            yield from _tracked(frame, steps, original, reply, began, rates)
    for steps in _MIDDLE[frame.protocol]:
        original, reply = _untranslated(frame)
        # Conntrack meets it now, or has known it before the rules were there.
        new = random.choice((0, 1))
        yield from _tracked(frame, steps, original, reply, False, rates, new)
    for state in ("UNTRACKED", "INVALID"):
        for word in _LONE[frame.protocol]:
            seen = Seen(frame.protocol, frame.interface, frame.caller, frame.called, True, False, opens=word == SYN)
            yield from _hosts(frame, [_packet(frame, seen, word, state, None)])
    yield from _encapsulated(frame, random)


@cache
def _number(address: str) -> int:
    return int(ip_address(address))


def _untranslated(frame: Frame) -> tuple[Ends, Ends]:
    """The two tuples of a connection as it is."""
    caller, called = _number(frame.caller.address), _number(frame.called.address)
    here, there = frame.caller.port or 0, frame.called.port or 0
    return Ends(caller, called, here, there), Ends(called, caller, there, here)


def _tuples(frame: Frame, random: Random) -> Iterator[tuple[Ends, Ends]]:
    """The two tuples of a connection: as it is, with a translated target, with a translated source."""
    plain, answer = _untranslated(frame)
    translated = _number(_TRANSLATED[frame.family])
    yield plain, answer
    yield plain._replace(daddr=random.choice((answer.saddr, translated)), dport=frame.other), answer
    yield plain, answer._replace(daddr=translated, dport=frame.other)


def _tracked(
    frame: Frame,
    steps: tuple[tuple[bool, str], ...],
    original: Ends,
    reply: Ends,
    began: bool,
    rates: tuple[bool, ...],
    new: int = 2,
) -> Iterator[Journey]:
    """A connection of so many packets before it is assured; at each rate all of them, or none, are beyond it."""
    journey = []
    answered = False
    entry = Connection(PROTOCOLS[frame.protocol], original, reply)
    for number, (from_caller, word) in enumerate(steps):
        answered = answered or not from_caller
        seen = Seen(frame.protocol, frame.interface, frame.caller, frame.called, from_caller, began, word == SYN)
        step = _packet(frame, seen, word, "ESTABLISHED" if answered else "NEW", entry)
        step.packet.assured = number >= new
        journey.append(step)
    for over in rates:
        yield from _hosts(frame, journey, over)


def _packet(frame: Frame, seen: Seen, word: str, state: str, entry: Connection | None) -> Step:
    source, target = (seen.caller, seen.called) if seen.from_caller else (seen.called, seen.caller)
    # The table security sees the ends as they are: targets are translated before it, sources after it.
    ends = Ends(_number(source.address), _number(target.address), source.port or 0, target.port or 0)
    flags = sum(TCP_FLAGS[flag] for flag in word.split(",")) if frame.protocol == "tcp" else 0
    packet = Packet(
        "",
        frame.family,
        PROTOCOLS[frame.protocol],
        frame.interface,
        ends,
        state,
        entry,
        not seen.from_caller,
        flags,
        word,
    )
    return Step(packet, seen)


def _hosts(frame: Frame, journey: Journey, over: bool = False) -> Iterator[Journey]:
    """The journey on the caller's host and on that of the called end; on loopback each packet meets both hooks."""
    if frame.interface == _LOOPBACK:
        yield [step for one in journey for step in (_at(one, "OUTPUT", False, over), _at(one, "INPUT", True, over))]
        return
    for here in (True, False):
        yield [_at(one, "OUTPUT" if one.seen.from_caller == here else "INPUT", False, over) for one in journey]


def _at(step: Step, hook: str, carries: bool, over: bool = False) -> Step:
    old = step.packet
    packet = Packet(
        hook,
        old.family,
        old.protocol,
        old.interface,
        old.ends,
        old.state,
        old.connection,
        old.reply,
        old.flags,
        old.chunk,
        old.assured,
        over,
    )
    return step._replace(packet=packet, carries=carries)


def _portless(frame: Frame) -> Iterator[Journey]:
    """ICMP of its own, and as an error of a connection whose ports a flow may have."""
    seen = Seen(frame.protocol, frame.interface, frame.caller, frame.called, True, began=True)
    bare = _packet(frame, seen, "", "NEW", None).packet.ends
    entry = Connection(PROTOCOLS[frame.protocol], bare, Ends(bare.daddr, bare.saddr, 0, 0))
    yield from _hosts(frame, [_packet(frame, seen, "", "NEW", entry)])
    yield from _hosts(frame, [_packet(frame, seen, "", "UNTRACKED", None)])


def _encapsulated(frame: Frame, random: Random) -> Iterator[Journey]:
    """A packet that IPsec takes: it leaves OUTPUT, and comes there again as ESP."""
    if frame.interface == _LOOPBACK or random.randrange(4):
        return
    original, reply = _untranslated(frame)
    inner = Connection(PROTOCOLS[frame.protocol], original, reply)
    word = {"tcp": SYN, "sctp": "INIT", "dccp": "REQUEST", "udp": ""}[frame.protocol]
    seen = Seen(frame.protocol, frame.interface, frame.caller, frame.called, True, began=frame.protocol == "tcp")
    first = _at(_packet(frame, seen, word, "NEW", inner), "OUTPUT", False)
    # Of IPv6, AH is an extension header: netfilter looks through it and sees the packet once more.
    yield [first, _at(first, "OUTPUT", True)] if frame.family == 6 else [first]
    for number in (PROTOCOLS["esp"], PROTOCOLS["ah"])[: 2 if frame.family == 4 else 1]:
        ends = first.packet.ends._replace(sport=0, dport=0)
        entry = Connection(number, ends, Ends(ends.daddr, ends.saddr, 0, 0))
        outer = Packet("OUTPUT", frame.family, number, frame.interface, ends, "NEW", entry)
        yield [first, Step(outer, seen, carries=True)]
