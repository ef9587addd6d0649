# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The promise itself: which domain may send, and which may receive, what packet. It knows no rules and no policy.

A *flow* has a place: a protocol, ports, the server's addresses and interfaces (all, where it names none). What belongs
to a flow's place is for the flow to decide; what belongs to none is for every domain but the confined ones.

Whose place a packet is in follows from who called whom. Where the host saw the beginning, it knows. Where it did not,
both ends may be the server, and the promise is: the end that was sent to first, then the other one. What is left open
there is left open by name, and only between what the two ways to read the packet say.
"""

from __future__ import annotations

from enum import Enum
from functools import cache
from ipaddress import ip_address, ip_network
from typing import NamedTuple

KERNEL = "kernel_t"
EVERYBODY = "domain"


class Flow(NamedTuple):
    """A flow, in plain words. Empty addresses and interfaces are all of them."""

    name: str
    source: tuple[str, ...]
    destination: tuple[str, ...]
    protocol: str
    ports: tuple[tuple[int, int], ...]
    observe: bool = False
    source_addresses: tuple[str, ...] = ()
    destination_addresses: tuple[str, ...] = ()
    interfaces: tuple[str, ...] = ()


class Wish(NamedTuple):
    """What a host is asked for: flows, and the domains that may use nothing else. The watched ones are only logged."""

    flows: tuple[Flow, ...] = ()
    confined: tuple[str, ...] = ()
    watched: tuple[str, ...] = ()


class End(NamedTuple):
    address: str
    port: int | None


class Seen(NamedTuple):
    """What a host can know of a packet. The caller sent the first packet that the host saw, the called one got it.

    ``began``: that was the connection's true beginning. ``opens``: this packet says of itself that it begins a
    connection. The caller's address is that before a translation, the called end is the one that answers.
    """

    protocol: str
    interface: str
    caller: End
    called: End
    from_caller: bool
    began: bool
    opens: bool = False


class Word(Enum):
    """What the promise says: yes, no, or one of the few things that it leaves open."""

    YES = "allowed"
    NO = "refused"
    # A packet keeps its sender's label on the way to another network namespace, so both sides may receive both.
    EITHER_SIDE_RECEIVES = "the flow's other side receives"
    # A packet from a flow's port to a port of none, of a connection whose beginning was not seen, or of a protocol that
    # does not mark it: the flow's answer, or a call of a confined domain. The flow lets it through, but may be
    # closed to confined domains here.
    BEGINNING_NOT_SEEN = "from a flow's port, beginning not seen, the domain confined"
    # Both ends have a flow's port, the beginning was not seen, and the flow of the end that was sent to has no
    # objection.
    BETWEEN_TWO_FLOWS = "between the ports of two flows, beginning not seen"
    # A SYN of a connection that is not tracked, or that was there before: what follows it cannot be known as the
    # caller's.
    SYN_NOT_REMEMBERED = "SYN from a flow's port, untracked or of a connection that was there before"


def promise(wish: Wish, seen: Seen, domain: str, sends: bool) -> Word:
    """Whether a domain may send this packet, or receive it."""
    if domain == KERNEL and sends:
        return Word.YES  # resets and the last acknowledgements of everybody's connections
    forward, forward_flow = _reading(wish, seen, domain, sends, backward=False)
    if seen.began and (seen.from_caller or not seen.opens):
        return forward
    # Either end may be the server: the beginning was not seen, or the called end calls as well.
    backward, backward_flow = _reading(wish, seen, domain, sends, backward=True)
    if forward == backward or not backward_flow:
        return forward
    if forward_flow:
        return Word.NO if forward is Word.NO else Word.BETWEEN_TWO_FLOWS
    if seen.opens and forward is Word.NO:
        return Word.NO
    if seen.opens and not seen.began:
        return Word.SYN_NOT_REMEMBERED
    return Word.BEGINNING_NOT_SEEN if forward is Word.NO else backward


def enforced(wish: Wish) -> Wish:
    """The wish with nothing only observed. Whoever it refuses and this one does not is logged, once a connection: by
    its first packets. Of those after, many in a short time need leave no record."""
    flows = tuple(flow._replace(observe=False) for flow in wish.flows)
    return Wish(flows, (*wish.confined, *wish.watched))


def promise_elsewhere(wish: Wish, domain: str) -> Word:
    """The same for a packet of another network namespace, which has no label that would tell what it is."""
    return Word.NO if domain in wish.confined else Word.YES


def _reading(wish: Wish, seen: Seen, domain: str, sends: bool, backward: bool) -> tuple[Word, bool]:
    """What follows if the called end is the server, or the caller's end if backward; and whether a flow said so."""
    client, server = (seen.called, seen.caller) if backward else (seen.caller, seen.called)
    by_client = seen.from_caller != backward
    place = [flow for flow in wish.flows if in_place(flow, seen, server)]
    if not place:
        return (Word.NO if domain in wish.confined else Word.YES), False
    own = [flow for flow in place if not flow.source_addresses or _among(client.address, flow.source_addresses)]
    word = _of_flow(own[0], domain, sends, as_client=by_client == sends) if own else Word.NO
    # Observing refuses nobody. A confined domain has its flows and no others, whether they are observed or not.
    observed = all(flow.observe for flow in own or place)
    return (Word.YES if observed and domain not in wish.confined else word), True


def in_place(flow: Flow, seen: Seen, server: End) -> bool:
    """Whether a packet is in a flow's place if this end is the server."""
    return (
        flow.protocol == seen.protocol
        and server.port is not None
        and any(low <= server.port <= high for low, high in flow.ports)
        and (not flow.destination_addresses or _among(server.address, flow.destination_addresses))
        and (not flow.interfaces or seen.interface in flow.interfaces)
    )


def _of_flow(flow: Flow, domain: str, sends: bool, as_client: bool) -> Word:
    own, other = (flow.source, flow.destination) if as_client else (flow.destination, flow.source)
    if domain in own or EVERYBODY in own:
        return Word.YES
    return Word.EITHER_SIDE_RECEIVES if not sends and (domain in other or EVERYBODY in other) else Word.NO


@cache
def _among(address: str, networks: tuple[str, ...]) -> bool:
    return any(ip_address(address) in ip_network(network) for network in networks)
