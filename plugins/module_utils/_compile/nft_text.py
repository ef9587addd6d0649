# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A table of nftables as text: what nft lists, laid out in one way, and its input. No I/O."""

import re
from typing import Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._values.fields import (
    PROTOCOL_NUMBERS,
    Network,
    address_text,
)

_NUMBERS = {name: str(number) for name, number in PROTOCOL_NUMBERS.items()}
# What a block of the table may refer to stands above it; what is not ours comes between maps and chains.
_RANKS = {"": 0, "secmark": 1, "map": 2, "set": 3, "chain": 5}
_TOKEN = re.compile(r'"[^"]*"|\#[^\n]*|[{};,\n]|[^\s{};,"]+')
_PORT_MATCH = re.compile(r"\b(th|tcp|udp|dccp|sctp) ([sd]port)\b")
_L4PROTO = re.compile(r"\bmeta l4proto (\S+) ")
# What plain "reject" is listed as beside an address of one family
_UNREACHABLE = re.compile(r"\breject with icmp(?:v6|x)?(?: type)? port-unreachable\b")
_SET = re.compile(r"\{ ([^{}]+) \}")
# A host may have names for the labels of connections, in connlabel.conf.
_LABEL = re.compile(r'\bct label (set )?(?:"[^"]*"|[0-9]+)')
# The same flags under a mask in other words
_FLAGS = re.compile(r"\btcp flags (!= )?syn / (?:syn,ack|ack,syn)(?= |$)")

Blocks = Dict[Tuple[str, str], List[str]]


class Table(NamedTuple):
    """A table of ours as nft lists it.

    ``rules`` are its lines as :func:`table_lines` lays them out, None where ``present`` is False.
    """

    name: str
    present: bool
    rules: Optional[Tuple[str, ...]]

    @property
    def ours(self) -> bool:
        """Whether anything of ours is there."""
        return self.present

    def installed(self, rules: Tuple[str, ...]) -> bool:
        """Whether exactly these rules are in force, however this release of nft spells them."""
        return self.rules is not None and (self.rules == rules or _canonical(self.rules) == _canonical(rules))


def parse_list(name: str, text: str) -> Table:
    """The table of this name in what ``nft list table`` prints, which is nothing where it is not there."""
    return Table(name, bool(text.strip()), table_lines(name, parse_table(text)) if text.strip() else None)


def find_table(name: str, ruleset: str) -> str:
    """What ``nft list table`` prints of a table, out of what ``nft list ruleset`` prints; empty if it is not there."""
    start = ("\n" + ruleset).find("\ntable {0} {{\n".format(name))
    return "" if start < 0 else ruleset[start : ruleset.find("\n}", start) + 2] + "\n"


def heads(text: str) -> List[str]:
    """The heads of all tables in what nft lists, such as ``table ip filter {``, and whatever else is not inside one."""
    return [line for line in text.splitlines() if line != "}" and not line.startswith(("\t", " "))]


def chain_parts(table: str, text: str) -> List[Tuple[str, str]]:
    """The chains in what nft lists of one table, each as ``family table chain`` with its text."""
    parts = text.split("\n\tchain ")[1:]
    return [("{0} {1}".format(table, part.partition(" ")[0]), part) for part in parts]


def table_parts(text: str) -> List[Tuple[str, str]]:
    """The tables in what nft lists, each as ``family table`` with its text."""
    return [(" ".join(part.split(None, 2)[:2]), part) for part in ("\n" + text).split("\ntable ")[1:]]


def chains(text: str) -> List[str]:
    """The chains of all tables in what nft lists, each as ``family table chain``."""
    return [chain for table, part in table_parts(text) for chain, dummy in chain_parts(table, part)]


def restore_text(observed: Table, rules: Optional[Tuple[str, ...]]) -> str:
    """The input of ``nft -f`` that puts this table in the place of ours in one transaction; None takes it away."""
    lines = ["table {0}".format(observed.name), "delete table {0}".format(observed.name)] if observed.present else []
    lines.extend(rules or ())
    return "".join(line + "\n" for line in lines)


def restored(observed: Table, rules: Tuple[str, ...]) -> Table:
    """The table once :func:`restore_text` has been committed."""
    return observed._replace(present=bool(rules), rules=rules or None)


def parse_table(text: str) -> Blocks:
    """The statements of each block of a table, those of the table itself under two empty words."""
    blocks = {}  # type: Blocks
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


def address_matches(
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
            parts.append(one_of(option.format(name), texts) if all(network.prefixlen for network in own) else "")
        else:
            yield "".join(parts) or "meta nfproto ipv{0} ".format(version)


def one_of(what: str, values: Sequence[str]) -> str:
    """What matches any of these values; nothing for none."""
    if not values:
        return ""
    return "{0} {1} ".format(what, values[0] if len(values) == 1 else "{{ {0} }}".format(", ".join(values)))


def table_lines(name: str, blocks: Blocks) -> Tuple[str, ...]:
    """A table as the lines of one nft file, each block's statements a line each, an element of a map a line."""
    lines = ["table {0} {{".format(name)]
    for (kind, block), statements in sorted(blocks.items(), key=lambda item: (_RANKS.get(item[0][0], 4), item[0])):
        if not kind:
            lines.extend("\t" + statement for statement in statements)
            continue
        lines.append("\t{0} {1} {{".format(kind, block))
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
    return [_canonical_line(_LABEL.sub(r"ct label \1", line).replace('"', "")) for line in lines]


def _canonical_line(line: str) -> str:
    line = line.replace("priority security;", "priority 50;").replace("priority filter;", "priority 0;")
    line = _UNREACHABLE.sub("reject", line)
    line = _FLAGS.sub(lambda match: "tcp flags & (syn | ack) {0}syn".format(match.group(1) or "== "), line)
    # nft sorts names of interfaces by their bytes as a number, which is another order on each architecture.
    line = _SET.sub(lambda match: ", ".join(sorted(match.group(1).split(", "))), line)
    protocol, port = _L4PROTO.search(line), _PORT_MATCH.search(line)
    if port is not None and (protocol is not None or port.group(1) != "th"):
        # "tcp sport" says "meta l4proto tcp" by itself.
        name = port.group(1) if protocol is None else protocol.group(1)
        line = _PORT_MATCH.sub("{0} {1}".format(_NUMBERS.get(name, name), port.group(2)), line)
        return _L4PROTO.sub("", line)
    if protocol is not None:
        name = protocol.group(1)
        return _L4PROTO.sub("meta l4proto {0} ".format(_NUMBERS.get(name, name)), line)
    return line
