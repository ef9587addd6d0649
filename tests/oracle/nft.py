# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What nft -f makes of a file on a host without tables. A statement or expression that does not stand here is an error
that names it."""

from __future__ import annotations

import re

from .nft_expression import Concatenation, Cursor, Lookup, Selector, expression, matching, number_expression
from .packet import Chains, Packet, Rule, Ruleset, Step, Unknown, Verdict

_TOKEN = re.compile(r'"[^"]*"|\#[^\n]*|\\\n|==|!=|<=|>=|<<|[{};,\n()!=<>&|^]|[^\s{};,"()!=<>&|^]+')
_HOOKS = {"input": "INPUT", "output": "OUTPUT", "forward": "FORWARD"}
_PRIORITIES = {"raw": -300, "mangle": -150, "filter": 0, "security": 50}
_VERDICTS = ("accept", "drop", "return", "continue")

# A block is its statements, each a list of tokens; a block inside it is one statement that ends with the inner block.
Block = list[list[str]]


def read(text: str) -> Rules:
    """The rules in force once nft has taken this."""
    rules = Rules()
    tokens = [token for token in _TOKEN.findall(text) if not token.startswith(("#", "\\\n"))]
    cursor = Cursor(tokens)
    while cursor.skip("\n", ";"):
        words = cursor.until("{", "\n", ";")
        if cursor.peek() != "{":
            if words[0] not in ("table", "delete") or words[-3:-2] not in ([], ["table"], ["delete"]):
                raise Unknown(f"command of nft: {' '.join(words)}")
            continue
        if len(words) != 3 or words[0] != "table" or words[1] not in ("inet", "ip", "ip6"):
            raise Unknown(f"command of nft: {' '.join(words)}")
        cursor.next()
        rules.table(words[1], words[2], cursor)
    return rules


class Rules:
    """All tables of a file."""

    def __init__(self) -> None:
        self._chains: dict[str, list[Rule]] = {}
        self._entries: list[tuple[int, str, str, str]] = []

    def of_family(self, family: int) -> Ruleset:
        """The rules that packets of IPv4 or IPv6 meet."""
        of_table = ("inet", "ip" if family == 4 else "ip6")
        entries: dict[str, list[str]] = {}
        for _priority, hook, table, chain in sorted(self._entries):
            if table in of_table:
                entries.setdefault(hook, []).append(chain)
        return Ruleset(self._chains, entries)

    def table(self, family: str, name: str, cursor: Cursor) -> None:
        scope = _Table(f"{family} {name}")
        blocks: list[tuple[str, str, Cursor]] = []
        while cursor.skip("\n", ";") and cursor.peek() != "}":
            words = cursor.until("{", "\n", ";", "}")
            if cursor.peek() != "{" or len(words) != 2:
                raise Unknown(f"line in a table of nft: {' '.join(words)}")
            blocks.append((words[0], words[1], Cursor(cursor.braces())))
        cursor.next()
        # What a rule refers to may stand below it.
        for kind, block, body in blocks:
            if kind == "secmark":
                scope.labels[block] = "".join(body.statement() if body.skip("\n") else ()).strip('"')
        for kind, block, body in blocks:
            if kind in ("map", "set"):
                scope.lookups[block] = _lookup(scope, kind, block, body)
        scope.chains = {block for kind, block, _body in blocks if kind == "chain"}
        for kind, block, body in blocks:
            if kind == "chain":
                self._chain(scope, family, block, body)
            elif kind not in ("secmark", "map", "set"):
                raise Unknown(f"block of nft: {kind}")

    def _chain(self, scope: _Table, family: str, name: str, body: Cursor) -> None:
        full = scope.chain(name)
        rules = self._chains.setdefault(full, [])
        while body.skip("\n", ";"):
            words = body.statement()
            if words[0] == "type":
                hook, priority = _base(words)
                self._entries.append((priority, hook, family, full))
            elif words[0] == "policy":
                if words != ["policy", "accept"]:
                    raise Unknown(f"policy of nft: {' '.join(words)}")
            else:
                rules.append(_Rule(scope, words).steps())


class _Table:
    """The names of a table."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.labels: dict[str, str] = {}
        self.lookups: dict[str, Lookup] = {}
        self.chains: set[str] = set()

    def chain(self, name: str) -> str:
        return f"{self.name} {name}"

    def label(self, name: str) -> str:
        if name.strip('"') not in self.labels:
            raise Unknown(f"secmark object of nft: {name}")
        return self.labels[name.strip('"')]

    def verdict(self, words: list[str]) -> Verdict:
        if len(words) == 2 and words[0] in ("jump", "goto") and words[1] in self.chains:
            return Verdict(words[0], self.chain(words[1]))
        if len(words) == 1 and words[0] in _VERDICTS:
            return Verdict(words[0])
        raise Unknown(f"verdict of nft: {' '.join(words)}")


def _base(words: list[str]) -> tuple[str, int]:
    """The hook and the priority of a chain's head."""
    if words[:3] != ["type", "filter", "hook"] or words[3] not in _HOOKS or words[4] != "priority":
        raise Unknown(f"chain of nft: {' '.join(words)}")
    first, *rest = words[5:]
    priority = _PRIORITIES[first] if first in _PRIORITIES else int(first)
    return _HOOKS[words[3]], priority + (int("".join(rest)) if rest else 0)


def _lookup(scope: _Table, kind: str, name: str, body: Cursor) -> Lookup:
    """A named set or map."""
    keys: Concatenation | None = None
    values = ""
    elements: list[str] = []
    while body.skip("\n", ";"):
        words = body.statement()
        if words[0] in ("type", "typeof"):
            middle = words.index(":") if ":" in words else len(words)
            keys = Concatenation.declared(words[1:middle], typeof=words[0] == "typeof")
            values = " ".join(words[middle + 1 :])
        elif words[0] == "elements":
            elements = words[words.index("{") + 1 : -1]
        elif words[0] not in ("flags", "size", "auto-merge", "comment") or "timeout" in words or "dynamic" in words:
            raise Unknown(f"line in a {kind} of nft: {' '.join(words)}")
    if keys is None or (kind == "map") != bool(values):
        raise Unknown(f"type of the {kind} of nft: {name}")
    return _filled(scope, keys, values, elements)


def _filled(scope: _Table, keys: Concatenation, values: str, elements: list[str]) -> Lookup:
    lookup = Lookup(keys)
    for words in Cursor(elements).split(","):
        if ":" not in words:
            lookup.add(words, True)
            continue
        middle = words.index(":")
        lookup.add(words[:middle], _value(scope, values, words[middle + 1 :]))
    return lookup


def _value(scope: _Table, kind: str, words: list[str]) -> object:
    if kind == "verdict":
        return scope.verdict(words)
    if kind == "secmark":
        return scope.label(" ".join(words))
    if kind == "mark":
        return int(words[0], 0)
    raise Unknown(f"values of a map of nft: {kind}")


class _Rule:
    """The statements of a rule, one after the other; one that does not match ends the rule."""

    def __init__(self, scope: _Table, words: list[str]) -> None:
        self.scope = scope
        self.cursor = Cursor(words)

    def steps(self) -> Rule:
        steps = []
        while self.cursor:
            step = self._step()
            if step is not None:
                steps.append(step)
        return tuple(steps)

    def _step(self) -> Step | None:
        cursor = self.cursor
        word = cursor.peek()
        if word == "comment":
            cursor.take(2)
            return None
        if word == "counter":
            cursor.take(1)
            if cursor.peek() == "packets":
                cursor.take(4)
            return None
        if word == "limit":
            return self._limit()
        if word in ("jump", "goto", *_VERDICTS):
            verdict = self.scope.verdict(cursor.take(2 if word in ("jump", "goto") else 1))
            return None if verdict.kind == "continue" else lambda packet: verdict
        if cursor.peek(2) == "set" and word in ("meta", "ct"):
            return self._set()
        if cursor.peek(1) == "set" and word == "mark":
            cursor.words().insert(cursor.at, "meta")
            return self._set()
        keys = expression(cursor)
        if cursor.peek() == "vmap":
            cursor.take(1)
            return _verdict_step(keys, self._map(keys, "verdict"))
        return matching(keys, cursor, self.scope.lookups)

    def _limit(self) -> Step:
        """Whatever the rate is: a packet of the model is within all of them or beyond all."""
        self.cursor.take(1)
        if self.cursor.take(1) != ["rate"]:
            raise Unknown("limit of nft by name")
        over = self.cursor.peek() == "over"
        self.cursor.take(1 + over)
        if self.cursor.peek() == "burst":
            self.cursor.take(3)
        return lambda packet: packet.over == over

    def _map(self, keys: Concatenation, values: str) -> Lookup:
        """The map after "map" or "vmap"."""
        word = self.cursor.peek()
        if word == "{":
            return _filled(self.scope, keys, values, self.cursor.braces())
        self.cursor.take(1)
        if word[0] != "@" or word[1:] not in self.scope.lookups:
            raise Unknown(f"map of nft: {word}")
        return self.scope.lookups[word[1:]]

    def _set(self) -> Step:
        where, what, _verb = self.cursor.take(3)
        if what == "secmark":
            return self._set_secmark(where)
        if what == "mark":
            return _set_mark(where, number_expression(self.cursor))
        if (where, what) == ("ct", "label"):
            label = self.cursor.take(1)[0].strip('"')
            return lambda packet: _set_label(packet, label)
        raise Unknown(f"statement of nft: {where} {what} set")

    def _set_secmark(self, where: str) -> Step:
        words = self.cursor.peek(0), self.cursor.peek(1)
        if where == "ct":
            if words != ("meta", "secmark"):
                raise Unknown(f"statement of nft: ct secmark set {words[0]}")
            self.cursor.take(2)
            return _keep_secmark
        if words == ("ct", "secmark"):
            self.cursor.take(2)
            return _kept_secmark
        if words[0].strip('"') in self.scope.labels:
            label = self.scope.label(self.cursor.take(1)[0])
            return lambda packet: _set_secmark(packet, label)
        keys = expression(self.cursor)
        if self.cursor.take(1) != ["map"]:
            raise Unknown(f"statement of nft: meta secmark set {' '.join(words)}")
        return _mapped_secmark(keys, self._map(keys, "secmark"))


def _verdict_step(keys: Concatenation, lookup: Lookup) -> Step:
    def step(packet: Packet) -> bool | Verdict:
        verdict = lookup.find(keys.values(packet))
        if verdict is None:
            return False
        assert isinstance(verdict, Verdict)
        return verdict.kind == "continue" or verdict

    return step


def _mapped_secmark(keys: Concatenation, lookup: Lookup) -> Step:
    find, values = lookup.find, keys.values

    def step(packet: Packet) -> bool:
        label = find(values(packet))
        if label is None:
            return False
        packet.secmark = str(label)
        return True

    return step


def _set_secmark(packet: Packet, label: str) -> bool:
    packet.secmark = label
    return True


def _keep_secmark(packet: Packet) -> bool:
    if packet.connection is not None:
        packet.connection.secmark = packet.secmark
    return True


def _kept_secmark(packet: Packet) -> bool:
    if packet.connection is None:
        return False
    packet.secmark = packet.connection.secmark
    return True


def _set_label(packet: Packet, label: str) -> bool:
    if packet.connection is not None:
        packet.connection.labels |= {label}
    return True


def _set_mark(where: str, value: Selector) -> Step:
    def step(packet: Packet) -> bool:
        mark = value(packet)
        if mark is None:
            return False
        assert isinstance(mark, int)
        if where == "meta":
            packet.mark = mark
        elif packet.connection is not None:
            packet.connection.mark = mark
        return True

    return step


__all__ = ["Chains", "Rules", "read"]
