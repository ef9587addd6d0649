# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The expressions of nft: what they load from a packet, and what it is compared with. See nft(8)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from ipaddress import ip_address, ip_network

from .packet import PROTOCOLS, TCP_FLAGS, Packet, Step, Unknown

# What an expression loads; None where the packet has no such thing, which ends the rule.
Selector = Callable[[Packet], object]
# Lowest and highest value of a key that match
Range = tuple[object, object]

_STATES = ("invalid", "established", "related", "new", "untracked")
_STATE_OF = {state.upper(): 1 << bit for bit, state in enumerate(_STATES)}
_ASSURED = 4
_NUMBERS = {**PROTOCOLS, "ipv6-icmp": 58, "udplite": 136}
_PORTS = ("tcp", "udp", "sctp", "dccp", "th")
_TYPES = {
    "inet_service": "port", "inet_proto": "protocol", "ipv4_addr": "ip", "ipv6_addr": "ip6", "ifname": "name",
    "mark": "number", "ct_dir": "direction", "ct_state": "state", "nf_proto": "family",
}  # fmt: skip
_BITS = ("state", "flags", "label")


class Cursor:
    """Tokens, and the place up to which they are read."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
        self.at = 0

    def __bool__(self) -> bool:
        return self.at < len(self._tokens)

    def words(self) -> list[str]:
        return self._tokens

    def peek(self, ahead: int = 0) -> str:
        return self._tokens[self.at + ahead] if self.at + ahead < len(self._tokens) else ""

    def next(self) -> str:
        self.at += 1
        return self._tokens[self.at - 1]

    def take(self, count: int) -> list[str]:
        self.at += count
        if self.at > len(self._tokens):
            raise Unknown(f"end of nft: {' '.join(self._tokens)}")
        return self._tokens[self.at - count : self.at]

    def skip(self, *tokens: str) -> bool:
        """Pass over these; whether anything is left."""
        while self and self.peek() in tokens:
            self.at += 1
        return bool(self)

    def until(self, *tokens: str) -> list[str]:
        words = []
        while self and self.peek() not in tokens:
            words.append(self.next())
        return words

    def braces(self) -> list[str]:
        """What stands between the brace here and the one that closes it."""
        start, depth = self.at + 1, 0
        while self:
            depth += {"{": 1, "}": -1}.get(self.next(), 0)
            if not depth:
                return self._tokens[start : self.at - 1]
        raise Unknown("brace left open in nft")

    def statement(self) -> list[str]:
        """Up to the end of the line or a semicolon, with braces as a whole."""
        start, depth = self.at, 0
        while self and (depth or self.peek() not in ("\n", ";")):
            depth += {"{": 1, "}": -1}.get(self.next(), 0)
        return [token for token in self._tokens[start : self.at] if token != "\n"]

    def split(self, separator: str) -> Iterator[list[str]]:
        while self:
            words = [word for word in self.until(separator) if word != "\n"]
            if words:
                yield words
            self.at += 1


class Concatenation:
    """One selector or several joined by dots, and the kind of each."""

    def __init__(self, selectors: list[Selector], kinds: list[str]) -> None:
        self.selectors = selectors
        self.kinds = kinds
        self.values: Selector = selectors[0] if len(selectors) == 1 else self._all

    def _all(self, packet: Packet) -> object:
        found = tuple(selector(packet) for selector in self.selectors)
        return None if None in found else found

    @classmethod
    def declared(cls, words: list[str], typeof: bool) -> Concatenation:
        """From the type of a set."""
        if typeof:
            return expression(Cursor(words))
        names = [word for word in words if word != "."]
        for name in names:
            if name not in _TYPES:
                raise Unknown(f"type of nft: {name}")
        return cls([lambda packet: None] * len(names), [_TYPES[name] for name in names])


class Lookup:
    """The elements of a set or a map. Answers are remembered: elements do not change."""

    def __init__(self, keys: Concatenation) -> None:
        self._keys = keys
        self._elements: list[tuple[list[Range], object]] = []
        self._found: dict[object, object] = {}

    def add(self, words: list[str], value: object) -> None:
        parts = list(Cursor(words).split("."))
        if len(parts) != len(self._keys.kinds):
            raise Unknown(f"element of nft: {' '.join(words)}")
        self._elements.append(
            ([element(kind, part) for kind, part in zip(self._keys.kinds, parts, strict=True)], value)
        )

    def find(self, key: object) -> object:
        if key is None:
            return None
        if key not in self._found:
            single = key if isinstance(key, tuple) else (key,)
            self._found[key] = next((value for ranges, value in self._elements if _inside(single, ranges)), None)
        return self._found[key]


def _inside(key: tuple[object, ...], ranges: list[Range]) -> bool:
    if len(key) != len(ranges):
        raise Unknown(f"key of nft with {len(key)} parts for a set of {len(ranges)}")
    return all(
        value.startswith(str(low)[:-1]) if isinstance(value, str) and str(low).endswith("*") else low <= value <= high  # type: ignore[operator]
        for value, (low, high) in zip(key, ranges, strict=True)
    )


def element(kind: str, words: list[str]) -> Range:
    """A value, a range or a prefix of a kind."""
    text = " ".join(words)
    if kind == "name":
        return text.strip('"'), text.strip('"')
    if kind == "secmark":
        return _no_secmark(text), 0
    if kind in ("ip", "ip6"):
        low, dash, high = text.partition("-")
        if dash:
            return int(ip_address(low)), int(ip_address(high))
        network = ip_network(text, strict=False)
        if network.version != (4 if kind == "ip" else 6):
            raise Unknown(f"address of nft of the other family: {text}")
        return int(network.network_address), int(network.broadcast_address)
    if kind in ("port", "number", "protocol"):
        low, _dash, high = text.partition("-")
        return _number(kind, low), _number(kind, high or low)
    return _named(kind, text), _named(kind, text)


def _no_secmark(text: str) -> int:
    """Numbers of contexts are the kernel's own, so that only whether there is one can be asked."""
    if text not in ("0", "0x0", "0x00000000"):
        raise Unknown(f"number of a secmark in nft: {text}")
    return 0


def _number(kind: str, text: str) -> int:
    if kind == "protocol" and text in _NUMBERS:
        return _NUMBERS[text]
    if not re.fullmatch("[0-9]+|0x[0-9a-f]+", text):
        raise Unknown(f"{kind} of nft: {text}")
    return int(text, 0)


def _named(kind: str, text: str) -> object:
    of_kind: Mapping[str, Mapping[str, object]] = {
        "direction": {"original": False, "reply": True, "0": False, "1": True},
        "family": {"ipv4": 4, "ipv6": 6, "2": 4, "10": 6},
        "ether": {"ip": 4, "ip6": 6},
        "state": {state: _STATE_OF[state.upper()] for state in _STATES},
        "status": {"assured": _ASSURED},
        "flags": TCP_FLAGS,
    }
    names = of_kind.get(kind, {})
    if kind in ("label", "chunk"):
        return text.strip('"')
    if text not in names:
        raise Unknown(f"{kind} of nft: {text}")
    return names[text]


def expression(cursor: Cursor) -> Concatenation:
    """A selector, or several joined by dots."""
    selectors, kinds = [], []
    while True:
        selector, kind = _selector(cursor)
        selectors.append(selector)
        kinds.append(kind)
        if cursor.peek() != ".":
            return Concatenation(selectors, kinds)
        cursor.take(1)


def _selector(cursor: Cursor) -> tuple[Selector, str]:
    word = cursor.next()
    if word == "meta":
        return _meta(cursor.next())
    if word in ("iifname", "oifname", "iif", "oif", "mark"):
        return _meta(word)
    if word == "ct":
        return _ct(cursor.next(), cursor)
    if word in ("ip", "ip6"):
        return _header(word, cursor.next())
    if word in _PORTS and cursor.peek() in ("sport", "dport"):
        return _port(word, cursor.next()), "port"
    if (word, cursor.peek()) == ("tcp", "flags"):
        cursor.take(1)
        return (lambda packet: packet.flags if packet.protocol == 6 else None), "flags"
    if (word, cursor.peek()) == ("dccp", "type"):
        cursor.take(1)
        return (lambda packet: packet.chunk.lower() if packet.protocol == 33 else None), "chunk"
    if (word, cursor.peek()) == ("sctp", "chunk"):
        chunk = cursor.take(2)[1].upper()
        return (lambda packet: packet.chunk == chunk if packet.protocol == 132 else None), "exists"
    raise Unknown(f"expression of nft: {word} {cursor.peek()}")


def _meta(word: str) -> tuple[Selector, str]:
    if word == "l4proto":
        return (lambda packet: packet.protocol), "protocol"
    if word in ("nfproto", "protocol"):
        return (lambda packet: packet.family), "family" if word == "nfproto" else "ether"
    if word in ("iifname", "iif"):
        return (lambda packet: packet.interface if packet.hook != "OUTPUT" else ""), "name"
    if word in ("oifname", "oif"):
        return (lambda packet: packet.interface if packet.hook == "OUTPUT" else ""), "name"
    if word == "mark":
        return (lambda packet: packet.mark), "number"
    if word == "secmark":
        return (lambda packet: int(bool(packet.secmark))), "secmark"
    raise Unknown(f"expression of nft: meta {word}")


def _ct(word: str, cursor: Cursor) -> tuple[Selector, str]:
    if word in ("original", "reply"):
        return _tuple_part(word, cursor)
    if word == "state":
        return (lambda packet: _STATE_OF[packet.state]), "state"
    if word == "status":
        return (lambda packet: packet.assured * _ASSURED if packet.connection is not None else None), "status"
    if word == "direction":
        return (lambda packet: packet.reply if packet.connection is not None else None), "direction"
    if word == "mark":
        return (lambda packet: packet.connection.mark if packet.connection is not None else None), "number"
    if word == "label":
        return (lambda packet: packet.connection.labels if packet.connection is not None else None), "label"
    if word == "secmark":
        return (
            lambda packet: int(bool(packet.connection.secmark)) if packet.connection is not None else None
        ), "secmark"
    if word == "l3proto":
        return (lambda packet: packet.family if packet.connection is not None else None), "family"
    if word == "protocol":
        return (lambda packet: packet.connection.protocol if packet.connection is not None else None), "protocol"
    raise Unknown(f"expression of nft: ct {word}")


def _tuple_part(way: str, cursor: Cursor) -> tuple[Selector, str]:
    word = cursor.next()
    if word in ("l3proto", "protocol"):
        return _ct(word, cursor)
    kind = "port"
    if word in ("ip", "ip6"):
        kind, word = word, cursor.next()
    places = {"saddr": 0, "daddr": 1, "proto-src": 2, "proto-dst": 3}
    if word not in places or (kind == "port") != word.startswith("proto-"):
        raise Unknown(f"expression of nft: ct {way} {word}")
    at, family = places[word], {"ip": 4, "ip6": 6}.get(kind, 0)

    def select(packet: Packet) -> int | None:
        entry = packet.connection
        if entry is None or (family and packet.family != family):
            return None
        return entry.original[at] if way == "original" else entry.reply[at]

    return select, kind


def _header(protocol: str, field: str) -> tuple[Selector, str]:
    family = 4 if protocol == "ip" else 6
    if field in ("saddr", "daddr"):
        at = 0 if field == "saddr" else 1
        return (lambda packet: packet.ends[at] if packet.family == family else None), protocol
    if (protocol, field) in (("ip", "protocol"), ("ip6", "nexthdr")):
        return (lambda packet: packet.protocol if packet.family == family else None), "protocol"
    raise Unknown(f"expression of nft: {protocol} {field}")


def _port(protocol: str, field: str) -> Selector:
    at = 2 if field == "sport" else 3
    numbers = [PROTOCOLS[protocol]] if protocol != "th" else [PROTOCOLS[name] for name in _PORTS[:-1]]
    return lambda packet: packet.ends[at] if packet.protocol in numbers else None


def number_expression(cursor: Cursor) -> Selector:
    """Marks joined by operators, all of one strength, from the left."""
    result = _operand(cursor)
    while cursor.peek() in _OPERATORS:
        result = _joined(_OPERATORS[cursor.next()], result, _operand(cursor))
    return result


_OPERATORS: dict[str, Callable[[int, int], int]] = {
    "&": int.__and__, "and": int.__and__, "|": int.__or__, "or": int.__or__, "^": int.__xor__, "xor": int.__xor__,
}  # fmt: skip


def _operand(cursor: Cursor) -> Selector:
    if cursor.peek() == "(":
        cursor.take(1)
        inner = number_expression(cursor)
        if cursor.next() != ")":
            raise Unknown("bracket left open in nft")
        return inner
    if cursor.peek() in ("meta", "ct", "mark"):
        selector, kind = _selector(cursor)
        if kind != "number":
            raise Unknown(f"number of nft: {kind}")
        return selector
    value = _number("number", cursor.next())
    return lambda packet: value


def _joined(operator: Callable[[int, int], int], left: Selector, right: Selector) -> Selector:
    def select(packet: Packet) -> int | None:
        values = left(packet), right(packet)
        return None if None in values else operator(*values)  # type: ignore[arg-type]

    return select


def matching(keys: Concatenation, cursor: Cursor, lookups: Mapping[str, Lookup]) -> Step:
    """The comparison that follows an expression."""
    load, kind = keys.values, keys.kinds[0]
    mask = None
    if kind in ("number", "flags") and cursor.peek() in ("&", "and"):
        cursor.take(1)
        mask = _bits(kind, cursor)
    operator = cursor.next() if cursor.peek() in ("==", "!=", "<", ">", "<=", ">=", "!") else ""
    if cursor.peek() == "{":
        lookup = Lookup(keys)
        for words in Cursor(cursor.braces()).split(","):
            lookup.add(words, True)
        return _member(load, lookup, operator)
    if cursor.peek().startswith("@"):
        name = cursor.next()[1:]
        if name not in lookups:
            raise Unknown(f"set of nft: {name}")
        return _member(load, lookups[name], operator)
    if len(keys.kinds) > 1:
        raise Unknown("concatenation of nft without a set")
    if kind == "exists":
        wanted = cursor.next() == "exists"
        return lambda packet: load(packet) is wanted
    if kind == "label":
        label = cursor.next().strip('"')
        return _labelled(load, label, operator)
    if kind in ("state", "status", "flags") or mask is not None:
        return _bitwise(load, kind, mask, operator, cursor)
    return _compared(load, element(kind, [cursor.next()]), operator)


def _member(load: Selector, lookup: Lookup, operator: str) -> Step:
    def step(packet: Packet) -> bool:
        key = load(packet)
        return key is not None and (lookup.find(key) is None) == (operator == "!=")

    return step


def _labelled(load: Selector, label: str, operator: str) -> Step:
    def step(packet: Packet) -> bool:
        labels = load(packet)
        return isinstance(labels, frozenset) and (label in labels) != (operator in ("!=", "!"))

    return step


def _bits(kind: str, cursor: Cursor) -> int:
    """Bits joined by commas or bars."""
    bracket = cursor.peek() == "("
    cursor.take(int(bracket))
    value = 0
    while True:
        word = cursor.next()
        value |= int(word, 0) if word[0].isdigit() else int(_named(kind, word))  # type: ignore[call-overload]
        if cursor.peek() not in (",", "|"):
            break
        cursor.take(1)
    if bracket and cursor.next() != ")":
        raise Unknown("bracket left open in nft")
    return value


def _bitwise(load: Selector, kind: str, mask: int | None, operator: str, cursor: Cursor) -> Step:
    """Without an operator any of the bits will do; "value / mask" and "& mask" compare all of them."""
    value = _bits(kind, cursor)
    if cursor.peek() == "/":
        cursor.take(1)
        mask = _bits(kind, cursor)
    if operator not in ("", "==", "!=", "!"):
        raise Unknown(f"comparison of bits in nft: {operator}")
    exact = mask is not None or operator in ("==", "!=")
    bits = -1 if mask is None else mask
    unwanted = operator in ("!=", "!")

    def step(packet: Packet) -> bool:
        found = load(packet)
        if found is None:
            return False
        assert isinstance(found, int)
        return (found & bits == value if exact else bool(found & value)) != unwanted

    return step


def _compared(load: Selector, wanted: Range, operator: str) -> Step:
    low, high = wanted
    if operator in ("", "==", "!="):
        ranges, unwanted = [wanted], operator == "!="

        def step(packet: Packet) -> bool:
            found = load(packet)
            return found is not None and _inside((found,), ranges) != unwanted

        if not unwanted and low == high and not str(low).endswith("*"):
            return lambda packet: load(packet) == low
        return step
    compare = {"<": int.__lt__, ">": int.__gt__, "<=": int.__le__, ">=": int.__ge__}.get(operator)
    if compare is None or not isinstance(low, int):
        raise Unknown(f"comparison in nft: {operator}")
    return lambda packet: isinstance(found := load(packet), int) and compare(found, low)
