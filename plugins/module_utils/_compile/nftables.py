# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A set of flows as the table ``inet senet`` of nftables, and what nft says of it. No I/O.

One table serves both families. A packet meets the same few rules however many flows there are: the flows stand in
maps from ports to labels, two a protocol.
"""

import re
from typing import Iterable, Iterator, List, Sequence, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._compile import nft_text
from ansible_collections.senet.firewall.plugins.module_utils._compile.nft_text import (
    Blocks,
    Table,
    address_matches,
    one_of,
    parse_table,
    table_lines,
)
from ansible_collections.senet.firewall.plugins.module_utils._model import (
    DEFAULT_PACKET_TYPE,
    ENFORCE,
    Flow,
    FlowSet,
    Network,
    packet_context,
)

TABLE = "inet senet"
# Without counters and element states; names and not numbers, because -n turns connection states into hexadecimal.
LIST_FLAGS = ("-s", "list", "ruleset")

_HOOKS = ("input", "output")
_DIRECTIONS = ("original", "reply")
# Where each phase finds the service's port: that port, the server's address, and the client's.
_ENDS = {
    "sport": ("{0} sport", "{0} saddr", "{0} daddr"),
    "dport": ("{0} dport", "{0} daddr", "{0} saddr"),
    "original": ("ct original proto-src", "ct original {0} saddr", "ct reply {0} saddr"),
    "reply": ("ct reply proto-src", "ct reply {0} saddr", "ct original {0} saddr"),
}
# Rules of iptables-nft are an opaque target to nft, which releases spell in three ways.
_RELABELS = re.compile(r'\b(?:meta|ct) secmark set\b|(?:\bxt target "?|# ?(?:xt_)?)(?:CONN)?SECMARK\b')
_TABLE_LINE = re.compile(r"table (\S+ \S+) \{")
_CHAIN_LINE = re.compile(r"\s+chain (\S+) \{")
# What the iptables backend installs, as nft names it
_OWN_XTABLES = re.compile(r"ip6? security SENET_(?:INPUT|OUTPUT)(?:_[a-z]+_[a-z]+_[0-9]+)?")
_SECMARK_LINE = re.compile(r"\s+secmark (\S+) \{")
_XT_SECMARK = re.compile(r'(?:\bxt target "?|# ?(?:xt_)?)SECMARK\b')
_WORD = re.compile(r'[^\s",{}]+')


def compile_rules(flows: FlowSet, mls: bool) -> Tuple[str, ...]:
    """The whole table as the lines of one nft file: what nft 1.0.6 lists, with an element of a map a line.

    A label is a secmark object named like its packet type, which no word of nft's can be mistaken for. A later
    statement overrides an earlier one, and a port that is not in a map leaves the label as it is: a default label;
    then packets without a conntrack entry, by port, what they are sent *to* deciding last; then connections whose
    tuple is reversed; then the real tuple, whose reply source is the port that answers. Flows with addresses or
    interfaces have rules of their own at the end of each of these.
    """
    contexts = {packet_type: packet_context(packet_type, mls) for packet_type in flows.packet_types}
    blocks = {("secmark", name): ['"{0}"'.format(context)] for name, context in contexts.items()}  # type: Blocks
    protocols = sorted({flow.protocol for flow in flows.flows if flow.everywhere})
    for protocol in protocols:
        for side in ("client", "server"):
            blocks["map", "{0}_{1}".format(protocol, side)] = list(_map_lines(flows, protocol, side))
    for hook in _HOOKS:
        blocks["chain", hook] = list(_chain_lines(hook, protocols, flows))
    return table_lines(TABLE, blocks)


def parse_list(text: str) -> Table:
    """What ``nft -s list table`` says about our table."""
    return nft_text.parse_list(TABLE, text)


def foreign_labels(text: str) -> List[str]:
    """The rules in what ``nft`` with :data:`LIST_FLAGS` prints that label packets or connections and are not ours, each
    as ``family table chain: rule``."""
    foreign = []
    table, chain = "", ""
    for line in text.splitlines():
        if not line.startswith(("\t", " ")):
            match = _TABLE_LINE.match(line)
            if match:
                table = match.group(1)
        if table == TABLE:
            if line == "}":
                table = ""
            continue
        match = _CHAIN_LINE.match(line)
        if match:
            chain = match.group(1)
        elif "secmark" in line.lower() and _RELABELS.search(line):
            place = "{0} {1}".format(table, chain)
            if not _OWN_XTABLES.fullmatch(place):
                foreign.append("{0}: {1}".format(place, line.strip()))
    return foreign


def checking_labels(text: str, ours: bool) -> List[str]:
    """What turns the kernel's packet checks on, in what ``nft`` with :data:`LIST_FLAGS` prints: labels, used or not, as
    ``family table: secmark name``, and rules of iptables-nft. Without ``ours`` our table is left out."""
    found = []
    table = ""
    for line in text.splitlines():
        match = _TABLE_LINE.match(line)
        if match:
            table = match.group(1)
        match = _SECMARK_LINE.match(line)
        if match and (ours or table != TABLE):
            found.append("{0}: secmark {1}".format(table, match.group(1)))
    return found + [rule for rule in foreign_labels(text) if _XT_SECMARK.search(rule)]


def without_types(rules: Iterable[str], types: Iterable[str]) -> Tuple[str, ...]:
    """The table less everything that puts one of these packet types on packets."""
    gone = set(types)
    blocks = parse_table("\n".join(rules))
    lost = {
        name
        for (kind, name), lines in blocks.items()
        if kind == "secmark" and gone.intersection(part for line in lines for part in line.strip('"').split(":"))
    }
    return table_lines(
        TABLE,
        {
            (kind, name): [line for line in lines if not lost.intersection(_WORD.findall(line))]
            for (kind, name), lines in blocks.items()
            if not (kind == "secmark" and name in lost)
        },
    )


def _map_lines(flows: FlowSet, protocol: str, side: str) -> Iterator[str]:
    elements = sorted(
        (ports, flow.client_type if side == "client" else flow.server_type)
        for flow in flows.flows
        if flow.protocol == protocol and flow.everywhere
        for ports in flow.ports
    )
    yield "type inet_service : secmark"
    if any(ports.low != ports.high for ports, dummy in elements):
        yield "flags interval"
    for ports, packet_type in elements:
        yield '{0} : "{1}",'.format(ports, packet_type)


def _chain_lines(hook: str, protocols: Iterable[str], flows: FlowSet) -> Iterator[str]:
    # What leaves is sent by the connection's own side, what arrives comes from the other side.
    originator, replier = ("client", "server") if hook == "output" else ("server", "client")
    yield "type filter hook {0} priority security;".format(hook)
    yield "policy accept;"
    yield 'meta secmark set "{0}"'.format(DEFAULT_PACKET_TYPE)
    for port, side in (("sport", replier), ("dport", originator)):
        for protocol in protocols:
            yield "ct state invalid,untracked meta secmark set {0} {1} map @{0}_{2}".format(protocol, port, side)
        yield from _placed_lines(hook, flows, port, (("ct state invalid,untracked ", side),))
    for place, sides in (("original", (replier, originator)), ("reply", (originator, replier))):
        for protocol in protocols:
            for direction, side in zip(_DIRECTIONS, sides):
                yield "meta l4proto {0} ct direction {1} meta secmark set ct {2} proto-src map @{0}_{3}".format(
                    protocol, direction, place, side
                )
        answers = [("ct direction {0} ".format(direction), side) for direction, side in zip(_DIRECTIONS, sides)]
        yield from _placed_lines(hook, flows, place, answers)


def _placed_lines(hook: str, flows: FlowSet, place: str, answers: Sequence[Tuple[str, str]]) -> Iterator[str]:
    """The rules of the flows that ports alone do not tell: first whom they refuse, so that each flow's own clients,
    whose label comes after, are not among them."""
    # What one flow enforces is not for another that only observes to permit.
    placed = sorted((flow for flow in flows.flows if not flow.everywhere), key=lambda flow: flow.mode == ENFORCE)
    for flow in placed:
        if flow.source_addresses:
            entry = "ct state invalid,untracked " if place in ("sport", "dport") else ""
            for match in _placed_matches(hook, flow, place, entry, ()):
                yield '{0}meta secmark set "{1}"'.format(match, flow.refused_type)
    for flow in placed:
        for answer, side in answers:
            for match in _placed_matches(hook, flow, place, answer, flow.source_addresses):
                packet_type = flow.client_type if side == "client" else flow.server_type
                yield '{0}meta secmark set "{1}"'.format(match, packet_type)


def _placed_matches(hook: str, flow: Flow, place: str, answer: str, clients: Sequence[Network]) -> Iterator[str]:
    """Each combination of a family and ports."""
    interfaces = ['"{0}"'.format(name) for name in flow.interfaces]
    at = one_of("oifname" if hook == "output" else "iifname", interfaces)
    port, server, client = _ENDS[place]
    for ends in address_matches(server, flow.destination_addresses, client, clients):
        for ports in flow.ports:
            found = port.format(flow.protocol) + " {0} ".format(ports)
            # As nft lists it: "tcp sport" says the protocol by itself.
            protocol = "" if place in ("sport", "dport") else "meta l4proto {0} ".format(flow.protocol)
            yield at + protocol + answer + ends + found
