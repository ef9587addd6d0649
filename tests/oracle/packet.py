# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A packet as netfilter's rules see it, and the way of a packet through chains of rules, whoever wrote them down."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

HOOKS = ("INPUT", "OUTPUT", "FORWARD")
PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17, "dccp": 33, "gre": 47, "esp": 50, "ah": 51, "icmpv6": 58, "sctp": 132}
TCP_FLAGS = {"fin": 1, "syn": 2, "rst": 4, "psh": 8, "ack": 16, "urg": 32, "ecn": 64, "cwr": 128}
STATES = ("INVALID", "NEW", "ESTABLISHED", "RELATED", "UNTRACKED")


class Unknown(Exception):
    """A construct that the evaluators do not understand, which must never pass as nothing."""


class Ends(NamedTuple):
    """Addresses as numbers, and ports; what has no ports has 0."""

    saddr: int
    daddr: int
    sport: int
    dport: int


class Connection:
    """An entry of conntrack: its two tuples, and what rules may remember in it."""

    __slots__ = ("labels", "mark", "original", "protocol", "reply", "secmark")

    def __init__(self, protocol: int, original: Ends, reply: Ends) -> None:
        self.protocol = protocol
        self.original = original
        self.reply = reply
        self.forget()

    def forget(self) -> None:
        self.mark = 0
        self.labels: frozenset[str] = frozenset()
        self.secmark = ""


class Packet:
    """A packet at one hook. ``connection`` is None where conntrack has no entry, and ``state`` says why.

    ``assured``: conntrack has seen both ends of the connection speak. ``over``: so many packets have come that this one
    is beyond every rate.
    """

    __slots__ = (
        "assured", "chunk", "connection", "ends", "family", "flags", "hook", "interface", "mark", "over", "protocol",
        "reply", "secmark", "state",
    )  # fmt: skip

    def __init__(
        self,
        hook: str,
        family: int,
        protocol: int,
        interface: str,
        ends: Ends,
        state: str,
        connection: Connection | None = None,
        reply: bool = False,
        flags: int = 0,
        chunk: str = "",
        assured: bool = False,
        over: bool = False,
    ) -> None:
        self.hook = hook
        self.family = family
        self.protocol = protocol
        self.interface = interface
        self.ends = ends
        self.state = state
        self.connection = connection
        self.reply = reply
        self.flags = flags
        self.chunk = chunk
        self.assured = assured
        self.over = over
        self.mark = 0
        self.secmark = ""


class Verdict(NamedTuple):
    """``jump`` and ``goto`` name a chain; ``return``, ``accept`` and ``drop`` do not."""

    kind: str
    chain: str = ""


# A step of a rule matches (True), does not (False, which ends the rule), or ends the rule with a verdict.
Step = Callable[[Packet], "bool | Verdict"]
Rule = Sequence[Step]
Chains = Mapping[str, Sequence[Rule]]

DROPPED = "dropped"
_MAX_DEPTH = 32


class Ruleset:
    """All rules of one host and family: for each hook the chains that it enters, in the order of their priority."""

    def __init__(self, chains: Chains, entries: Mapping[str, Sequence[str]]) -> None:
        self.chains = chains
        self.entries = entries

    def label(self, packet: Packet) -> str:
        """The context that a packet leaves its hook with, empty without one. The packet keeps it."""
        for name in self.entries.get(packet.hook, ()):
            if _walk(self.chains, name, packet, 0) == "drop":
                packet.secmark = DROPPED
                break
        return packet.secmark


def _walk(chains: Chains, name: str, packet: Packet, depth: int) -> str | None:
    """The verdict that ends the traversal of the whole table, None where the chain comes to its end."""
    if depth > _MAX_DEPTH:
        raise Unknown(f"chains that lead to each other: {name}")
    for rule in chains[name]:
        for step in rule:
            result = step(packet)
            if result is True:
                continue
            if result is False:
                break
            assert isinstance(result, Verdict)
            if result.kind == "jump":
                end = _walk(chains, result.chain, packet, depth + 1)
                if end is not None:
                    return end
                break
            if result.kind == "goto":
                return _walk(chains, result.chain, packet, depth + 1)
            return None if result.kind == "return" else result.kind
    return None
