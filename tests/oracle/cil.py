# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a CIL module grants beside a base policy, as secilc would read it. A statement that does not stand here is an
error that names it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeAlias

from .packet import Unknown

Tree: TypeAlias = "str | list[Tree]"
Perms = dict[tuple[str, str, str], frozenset[str]]

_TOKEN = re.compile(r';[^\n]*|"[^"]*"|[()]|[^\s()";]+')
_DECLARED = ("type", "typeattribute")
_RULES = ("allow", "auditallow", "deny", "dontaudit")
_CONTEXT = re.compile(r"system_u:object_r:([^:]+)(?::s0)?")


class Base(NamedTuple):
    """The policy that is there already: its types, what its attributes hold, and what it allows."""

    types: frozenset[str]
    attributes: dict[str, frozenset[str]]
    rules: str = ""


class Policy:
    """A base policy and a module."""

    def __init__(self, base: Base, text: str) -> None:
        statements = list(parse(text))
        self._base = base
        known = base.types.union(base.attributes, ("self", "all"))
        live = list(_live(statements, known))
        self.types = set(base.types).union(_name(one) for one in live if one[0] == "type")
        self._attributes = {name: set(types) for name, types in base.attributes.items()}
        self._attributes.update((_name(one), set()) for one in live if one[0] == "typeattribute")
        self._fill([one for one in live if one[0] == "typeattributeset"])
        self.objects = {
            name for one in live if one[0] == "roletype" and one[1] == "object_r" for name in self._resolve(one[2])
        }
        rules = [*parse(base.rules), *live]
        self.allowed = self._vectors(rules, "allow", "deny")
        self.audited = self._vectors(rules, "auditallow", "")

    def may(self, domain: str, target: str, permission: str) -> bool:
        """Whether the kernel lets a domain do that to a packet of a type."""
        return permission in self.allowed.get((domain, target, "packet"), ())

    def type_of(self, context: str) -> str:
        """The type of a label; empty where the kernel would take no such label."""
        match = _CONTEXT.fullmatch(context)
        return match.group(1) if match and match.group(1) in self.types & self.objects else ""

    def _fill(self, statements: list[list[Tree]]) -> None:
        """Sets may stand in any order: each waits until the attributes that it speaks of are whole."""
        pending = list(statements)
        while pending:
            left = {_name(one) for one in pending}
            ready = [one for one in pending if not left.intersection(_words(one[2]))]
            if not ready:
                raise Unknown(f"typeattributeset that needs itself: {pending[0]}")
            for one in ready:
                self._attributes[_name(one)].update(self._resolve(one[2]))
            pending = [one for one in pending if one not in ready]

    def _resolve(self, tree: Tree) -> set[str]:
        if isinstance(tree, str):
            if tree == "all":
                return set(self.types)
            if tree in self._attributes:
                return set(self._attributes[tree])
            if tree in self.types:
                return {tree}
            raise Unknown(f"type or attribute in CIL: {tree}")
        operator = tree[0] if tree else ""
        if operator == "all" and len(tree) == 1:
            return set(self.types)
        if operator == "not":
            return self.types - self._union(tree[1:])
        if operator in ("and", "or", "xor") and len(tree) == 3:
            left, right = self._resolve(tree[1]), self._resolve(tree[2])
            return left & right if operator == "and" else left | right if operator == "or" else left ^ right
        return self._union(tree)

    def _union(self, trees: Iterable[Tree]) -> set[str]:
        return set().union(*(self._resolve(tree) for tree in trees))

    def _vectors(self, statements: list[list[Tree]], grants: str, takes: str) -> Perms:
        result: Perms = {}
        for kind in (grants, takes):
            for one in (one for one in statements if one[0] == kind):
                for source in self._resolve(one[1]):
                    for target in {source} if one[2] == "self" else self._resolve(one[2]):
                        for object_class, perms in _permissions(one[3]):
                            key = (source, target, object_class)
                            old = result.get(key, frozenset())
                            result[key] = old | perms if kind == grants else old - perms
        return result


def parse(text: str) -> Iterator[list[Tree]]:
    """The statements of a CIL text."""
    stack: list[list[Tree]] = [[]]
    for token in _TOKEN.findall(text):
        if token.startswith(";"):
            continue
        if token == "(":
            stack.append([])
        elif token == ")":
            done = stack.pop()
            if not stack:
                raise Unknown("closing bracket too many in CIL")
            stack[-1].append(done)
        else:
            stack[-1].append(token)
    if len(stack) != 1:
        raise Unknown("bracket left open in CIL")
    for statement in stack[0]:
        if not isinstance(statement, list) or not statement:
            raise Unknown(f"statement in CIL: {statement}")
        yield statement


def _live(statements: list[list[Tree]], known: frozenset[str]) -> Iterator[list[Tree]]:
    """The statements in force: an optional block with a name that is not there is left out as a whole."""
    blocks = [_block(one) for one in statements if one[0] == "optional"]
    plain = [one for one in statements if one[0] != "optional"]
    while True:
        names = known.union(_name(one) for one in [*plain, *_all(blocks)] if one[0] in _DECLARED)
        left = [block for block in blocks if all(names.issuperset(_needs(one)) for one in block)]
        if len(left) == len(blocks):
            break
        blocks = left
    for one in plain:
        missing = set(_needs(one)) - names
        if missing:
            raise Unknown(f"name in CIL outside an optional block: {sorted(missing)[0]}")
        yield one
    yield from _all(blocks)


def _all(blocks: list[list[list[Tree]]]) -> Iterator[list[Tree]]:
    return (one for block in blocks for one in block)


def _block(statement: list[Tree]) -> list[list[Tree]]:
    inner = [one for one in statement[2:] if isinstance(one, list)]
    if any(one[0] == "optional" for one in inner) or len(inner) != len(statement) - 2:
        raise Unknown(f"optional block in CIL: {statement[1]}")
    return inner


def _needs(statement: list[Tree]) -> Iterator[str]:
    """The types and attributes that a statement speaks of."""
    kind = statement[0]
    if kind in _DECLARED:
        return
    if kind == "typeattributeset":
        yield _name(statement)
        yield from _words(statement[2])
    elif kind == "roletype":
        yield from _words(statement[2])
    elif kind in _RULES:
        yield from _words(statement[1])
        yield from _words(statement[2])
    else:
        raise Unknown(f"statement in CIL: {kind}")


def _words(tree: Tree) -> Iterator[str]:
    if isinstance(tree, str):
        yield tree
    else:
        for one in tree:
            yield from (word for word in _words(one) if word not in ("and", "or", "xor", "not"))


def _name(statement: list[Tree]) -> str:
    assert isinstance(statement[1], str)
    return statement[1]


def _permissions(tree: Tree) -> Iterator[tuple[str, frozenset[str]]]:
    if not isinstance(tree, list) or len(tree) != 2 or not isinstance(tree[0], str) or not isinstance(tree[1], list):
        raise Unknown(f"permissions in CIL: {tree}")
    words = [word for word in tree[1] if isinstance(word, str)]
    if len(words) != len(tree[1]) or {"all", "and", "or", "not", "xor"}.intersection(words):
        raise Unknown(f"permissions in CIL: {tree}")
    yield tree[0], frozenset(words)
