# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A set of flows as the table ``inet senet`` of nftables, and what nft says of it. No I/O.

One table serves both families. A packet meets the same few rules however many flows there are: the flows stand in
maps from ports to labels, two a protocol.
"""

import re
from typing import Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._model import (
    DEFAULT_PACKET_TYPE,
    ENFORCE,
    Flow,
    FlowSet,
    Network,
    address_text,
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
_PROTOCOL_NUMBERS = {"tcp": "6", "udp": "17", "dccp": "33", "sctp": "132"}
# What a block of the table may refer to stands above it; what is not ours comes between maps and chains.
_RANKS = {"": 0, "secmark": 1, "map": 2, "chain": 4}
_TOKEN = re.compile(r'"[^"]*"|\#[^\n]*|[{};,\n]|[^\s{};,"]+')
# Rules of iptables-nft are an opaque target to nft, which releases spell in three ways.
_RELABELS = re.compile(r'\b(?:meta|ct) secmark set\b|(?:\bxt target "?|# ?(?:xt_)?)(?:CONN)?SECMARK\b')
_TABLE_LINE = re.compile(r"table (\S+ \S+) \{")
_CHAIN_LINE = re.compile(r"\s+chain (\S+) \{")
# What the iptables backend installs, as nft names it
_OWN_XTABLES = re.compile(r"ip6? security SENET_(?:INPUT|OUTPUT)(?:_[a-z]+_[a-z]+_[0-9]+)?")
_PORT_MATCH = re.compile(r"\b(th|tcp|udp|dccp|sctp) ([sd]port)\b")
_L4PROTO = re.compile(r"\bmeta l4proto (\S+) ")
_WORD = re.compile(r'[^\s",{}]+')

_Blocks = Dict[Tuple[str, str], List[str]]


class Table(NamedTuple):
    """Our table as nft lists it.

    ``rules`` are its lines as :func:`compile_rules` lays them out, None where ``present`` is False; ``foreign`` are
    other people's rules that label packets or connections, each as ``family table chain: rule``.
    """

    present: bool
    rules: Optional[Tuple[str, ...]]
    foreign: Tuple[str, ...]

    @property
    def ours(self) -> bool:
        """Whether anything of ours is there."""
        return self.present

    def installed(self, rules: Tuple[str, ...]) -> bool:
        """Whether exactly these rules are in force, however this release of nft spells them."""
        return self.rules is not None and (self.rules == rules or _canonical(self.rules) == _canonical(rules))


def compile_rules(flows: FlowSet, mls: bool) -> Tuple[str, ...]:
    """The whole table as the lines of one nft file: what nft 1.0.6 lists, with an element of a map a line.

    A label is a secmark object named like its packet type, which no word of nft's can be mistaken for. A later
    statement overrides an earlier one, and a port that is not in a map leaves the label as it is: a default label;
    then packets without a conntrack entry, by port, what they are sent *to* deciding last; then connections whose
    tuple is reversed; then the real tuple, whose reply source is the port that answers. Flows with addresses or
    interfaces have rules of their own at the end of each of these.
    """
    contexts = {packet_type: packet_context(packet_type, mls) for packet_type in flows.packet_types}
    blocks = {("secmark", name): ['"{0}"'.format(context)] for name, context in contexts.items()}  # type: _Blocks
    protocols = sorted({flow.protocol for flow in flows.flows if flow.everywhere})
    for protocol in protocols:
        for side in ("client", "server"):
            blocks["map", "{0}_{1}".format(protocol, side)] = list(_map_lines(flows, protocol, side))
    for hook in _HOOKS:
        blocks["chain", hook] = list(_chain_lines(hook, protocols, flows))
    return _table_lines(blocks)


def parse_list(text: str) -> Table:
    """What ``nft`` with :data:`LIST_FLAGS` says about our table and about labels that others put on packets."""
    ours = []  # type: List[str]
    foreign = []
    table, chain = "", ""
    for line in text.splitlines():
        if not line.startswith(("\t", " ")):
            match = _TABLE_LINE.match(line)
            if match:
                table = match.group(1)
        if table == TABLE:
            ours.append(line)
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
    return Table(bool(ours), _table_lines(_parse_table("\n".join(ours))) if ours else None, tuple(foreign))


def without_types(rules: Iterable[str], types: Iterable[str]) -> Tuple[str, ...]:
    """The table less everything that puts one of these packet types on packets."""
    gone = set(types)
    blocks = _parse_table("\n".join(rules))
    lost = {
        name
        for (kind, name), lines in blocks.items()
        if kind == "secmark" and gone.intersection(part for line in lines for part in line.strip('"').split(":"))
    }
    return _table_lines(
        {
            (kind, name): [line for line in lines if not lost.intersection(_WORD.findall(line))]
            for (kind, name), lines in blocks.items()
            if not (kind == "secmark" and name in lost)
        }
    )


def restore_text(observed: Table, rules: Optional[Tuple[str, ...]]) -> str:
    """The input of ``nft -f`` that puts this table in the place of ours in one transaction; None takes it away."""
    lines = ["table {0}".format(TABLE), "delete table {0}".format(TABLE)] if observed.present else []
    lines.extend(rules or ())
    return "".join(line + "\n" for line in lines)


def restored(observed: Table, rules: Tuple[str, ...]) -> Table:
    """The table once :func:`restore_text` has been committed."""
    return Table(bool(rules), rules or None, observed.foreign)


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
    at = _one_of("oifname" if hook == "output" else "iifname", interfaces)
    port, server, client = _ENDS[place]
    for ends in _address_matches(server, flow.destination_addresses, client, clients):
        for ports in flow.ports:
            found = port.format(flow.protocol) + " {0} ".format(ports)
            # As nft lists it: "tcp sport" says the protocol by itself.
            protocol = "" if place in ("sport", "dport") else "meta l4proto {0} ".format(flow.protocol)
            yield at + protocol + answer + ends + found


def _address_matches(
    server: str, servers: Sequence[Network], client: str, clients: Sequence[Network]
) -> Iterator[str]:
    """What matches both ends, for each family that both can have."""
    if not servers and not clients:
        yield ""
        return
    for version, name in ((4, "ip"), (6, "ip6")):
        parts = []
        for option, networks in ((server, servers), (client, clients)):
            own = [network for network in networks if network.version == version]
            if networks and not own:
                break
            texts = [address_text(network) for network in own]
            parts.append(_one_of(option.format(name), texts) if all(network.prefixlen for network in own) else "")
        else:
            yield "".join(parts) or "meta nfproto ipv{0} ".format(version)


def _one_of(what: str, values: Sequence[str]) -> str:
    if not values:
        return ""
    return "{0} {1} ".format(what, values[0] if len(values) == 1 else "{{ {0} }}".format(", ".join(values)))


def _parse_table(text: str) -> _Blocks:
    """The statements of each block of a table, those of the table itself under two empty words."""
    blocks = {}  # type: _Blocks
    block = None  # type: Optional[Tuple[str, str]]
    words = []  # type: List[str]
    depth = 0
    for token in _TOKEN.findall(text):
        if token.startswith("#") or (token == "\n" and depth):
            continue
        if token == "{" and block is None:
            if words[0] != "table":
                block = (words[0], " ".join(words[1:]))
                blocks[block] = []
            words = []
        elif depth or token not in ("}", ";", "\n"):
            depth += {"{": 1, "}": -1}.get(token, 0)
            words.append(token)
        else:
            if words:
                blocks.setdefault(block or ("", ""), []).extend(_statements(words, token))
            words = []
            if token == "}":
                block = None
    return blocks


def _statements(words: List[str], end: str) -> List[str]:
    """A statement as the lines that stand for it: one, but one an element for a map's."""
    if words[:3] == ["elements", "=", "{"]:
        elements = [element.strip() for element in " ".join(words[3:-1]).split(" , ")]
        return [element.rstrip(" ,") + "," for element in sorted(elements, key=_first_port)]
    joined = []  # type: List[str]
    depth = 0
    for word in words:
        if word == "," and joined:
            joined[-1] += ","
        elif joined and joined[-1].endswith(",") and not depth:
            joined[-1] = ",".join(sorted(joined[-1][:-1].split(",") + [word]))
        else:
            joined.append(word)
        depth += {"{": 1, "}": -1}.get(word, 0)
    # Without a semicolon some releases take the rules that follow for a part of the chain's head.
    return [" ".join(joined) + (";" if joined[0] in ("type", "policy") and end == ";" else "")]


def _first_port(element: str) -> Tuple[int, str]:
    match = re.match("[0-9]+", element)
    return (int(match.group()) if match else -1, element)


def _table_lines(blocks: _Blocks) -> Tuple[str, ...]:
    lines = ["table {0} {{".format(TABLE)]
    for (kind, name), statements in sorted(blocks.items(), key=lambda item: (_RANKS.get(item[0][0], 3), item[0])):
        if not kind:
            lines.extend("\t" + statement for statement in statements)
            continue
        lines.append("\t{0} {1} {{".format(kind, name))
        lines.extend("\t\t" + statement for statement in statements if not statement.endswith(","))
        elements = [statement for statement in statements if statement.endswith(",")]
        if elements:
            lines.append("\t\telements = {")
            lines.extend("\t\t\t" + element for element in elements)
            lines.append("\t\t}")
        lines.append("\t}")
    return tuple(lines) + ("}",)


def _canonical(lines: Iterable[str]) -> List[str]:
    """The lines with what releases of nft spell in different ways spelled in one."""
    return [_canonical_line(line.replace('"', "")) for line in lines]


def _canonical_line(line: str) -> str:
    line = line.replace("priority security;", "priority 50;")
    protocol, port = _L4PROTO.search(line), _PORT_MATCH.search(line)
    if port is not None and (protocol is not None or port.group(1) != "th"):
        # "tcp sport" says "meta l4proto tcp" by itself.
        name = port.group(1) if protocol is None else protocol.group(1)
        line = _PORT_MATCH.sub("{0} {1}".format(_PROTOCOL_NUMBERS.get(name, name), port.group(2)), line)
        return _L4PROTO.sub("", line)
    if protocol is not None:
        name = protocol.group(1)
        return _L4PROTO.sub("meta l4proto {0} ".format(_PROTOCOL_NUMBERS.get(name, name)), line)
    return line
