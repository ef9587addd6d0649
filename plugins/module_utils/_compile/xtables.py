# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Chains of our own in a table of iptables: what iptables-save says of them, and iptables-restore's input. No I/O.

A jump to them is the first rule of each hook, and they change in one commit.
"""

import re
from functools import lru_cache
from typing import Dict, Iterable, List, NamedTuple, Optional, Pattern, Set, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._values.fields import PROTOCOL_NUMBERS

HOOKS = ("INPUT", "OUTPUT")
# What nft calls the families of iptables and ip6tables
NFT_FAMILIES = {"ipv4": "ip", "ipv6": "ip6"}

# A host may have names for the labels of connections, in connlabel.conf.
_LABEL = re.compile(r' --label (?:"[^"]*"|\S+)')
_CHAIN = re.compile(r"^-A (\S+)", re.MULTILINE)
# iptables-nft-save puts such a line on stdout: in the place of a table that it cannot read, and, since 1.8.8, above one
# with base chains that are not its own, which it leaves out.
_UNREAD = re.compile(r"^# Table `(\S+)' ", re.MULTILINE)
_DECLARED = re.compile(r"^:(\S+) (\S+)", re.MULTILINE)
_GOTO = re.compile(r" -[jg] (SENET_\S+)$", re.MULTILINE)


class Place(NamedTuple):
    """Where chains of ours stand: a table, the start of their names, and what those names can be."""

    table: str
    prefix: str
    own: Pattern[str]

    @property
    def mark(self) -> str:
        """An empty chain that says: the table was not there before us, and goes when we go."""
        return self.prefix + "TABLE"

    def chain(self, hook: str) -> str:
        """Our chain for a hook."""
        return self.prefix + hook


class Saved(NamedTuple):
    """What a variant's save command printed; ``command`` is what an administrator calls to change it."""

    family: str
    command: str
    variant: str
    default: bool
    text: str


class Table(NamedTuple):
    """A table of one family as far as it is ours.

    ``rules`` are the rules of our chains in iptables-save's words, chain by chain in the order of their names, None
    where there is no chain of ours, and none where a hook's is missing; ``jumps`` maps each hook to the places (from
    0) of its jumps to our chain; ``present`` says the table is there at all, ``marked`` that we created it, ``bare``
    that nothing but our own stands in it; ``chains`` are the names of our chains.
    """

    place: Place
    present: bool
    marked: bool
    bare: bool
    rules: Optional[Tuple[str, ...]]
    jumps: Dict[str, Tuple[int, ...]]
    chains: Tuple[str, ...]

    @property
    def ours(self) -> bool:
        """Whether anything of ours is there."""
        return self.marked or self.rules is not None or any(self.jumps.values())

    def installed(self, rules: Tuple[str, ...]) -> bool:
        """Whether exactly these rules are in force, each hook's first rule being the jump to them."""
        in_place = all(self.jumps.get(hook) == (0,) for hook in HOOKS)
        if not in_place or self.rules is None or set(self.chains) != _chain_names(self.place, rules):
            return False
        return self.rules == rules or _canonical(self.rules) == _canonical(rules)


def parse_save(place: Place, text: str) -> Table:
    """What ``iptables-save`` (all tables) says about our chains in one table."""
    present, marked, bare = False, False, True
    chains = {}  # type: Dict[str, List[str]]
    jumps = {hook: [] for hook in HOOKS}  # type: Dict[str, List[int]]
    places = dict.fromkeys(HOOKS, 0)
    for line in _lines_of(place.table, text):
        if line.startswith("*"):
            present = True
        elif line.startswith(":"):
            name, policy = line[1:].split(" ")[:2]
            if place.own.fullmatch(name):
                chains[name] = []
            elif name == place.mark:
                marked = True
            elif policy != "ACCEPT":
                bare = False
        elif line.startswith("-A "):
            name = line.split(" ", 2)[1]
            if name in chains:
                chains[name].append(line)
                continue
            if name in jumps and line == "-A {0} -j {1}".format(name, place.chain(name)):
                jumps[name].append(places[name])
            else:
                bare = False
            if name in places:
                places[name] += 1
    names = sorted(chains, key=name_order)
    complete = all(place.chain(hook) in chains for hook in HOOKS)
    return Table(
        place,
        present,
        marked,
        bare,
        tuple(rule for name in names for rule in chains[name] if complete) if chains else None,
        {hook: tuple(at) for hook, at in jumps.items()},
        tuple(names),
    )


def own_rules(place: Place, text: str) -> List[str]:
    """The rules of our chains in what ``iptables-save`` prints, in force or not."""
    lines = _lines_of(place.table, text)
    return [line for line in lines if line.startswith("-A ") and place.own.fullmatch(line.split(" ", 2)[1])]


def saved_tables(text: str) -> List[Tuple[str, str]]:
    """The tables in what ``iptables-save`` prints, each with its text."""
    return [(part.partition("\n")[0], part) for part in ("\n" + text).split("\n*")[1:]]


def nft_tables(family: str, text: str) -> List[str]:
    """What nft calls these tables of iptables-nft."""
    return ["{0} {1}".format(NFT_FAMILIES[family], name) for name, dummy in saved_tables(text)]


def nft_chains(family: str, text: str) -> List[str]:
    """What nft calls the chains whose rules these are, as ``family table chain``.

    iptables-nft leaves out base chains that are not its own, and not every release tells of it. Where it does, they may
    have the names of its own, so that of this table only chains without a hook count.
    """
    unread = set(_UNREAD.findall(text))
    return [
        "{0} {1} {2}".format(NFT_FAMILIES[family], table, chain)
        for table, part in saved_tables(text)
        for chain, policy in _DECLARED.findall(part.partition("\n-A ")[0])
        if policy == "-" or table not in unread
    ]


def _lines_of(table: str, text: str) -> List[str]:
    """The lines of one table, its name after a star first."""
    return [line for name, part in saved_tables(text) if name == table for line in ("*" + part).split("\n")]


def restore_text(observed: Table, rules: Optional[Tuple[str, ...]]) -> str:
    """The input of ``iptables-restore --noflush`` that swaps our chains' rules in one commit; None takes all away.

    A chain that is declared is emptied or created, so what stood there before needs no mention.
    """
    place = observed.place
    wanted = _chains(place, rules or ())
    stale = sorted(set(observed.chains).difference(wanted), key=name_order)
    lines = ["*" + place.table]
    lines.extend(":{0} - [0:0]".format(name) for name in wanted + stale)
    if observed.marked or not observed.present:
        lines.append(":{0} - [0:0]".format(place.mark))
    for hook in HOOKS:
        jump = "{0} -j {1}".format(hook, place.chain(hook))
        at = observed.jumps.get(hook, ())
        if rules is not None and at == (0,):
            continue
        lines.extend("-D " + jump for dummy in at)
        if rules is not None:
            lines.append("-I {0} 1 -j {1}".format(hook, place.chain(hook)))
    lines.extend("-X {0}".format(name) for name in stale)
    if rules is None:
        lines.extend("-X {0}".format(name) for name in wanted)
        if observed.marked or not observed.present:
            lines.append("-X {0}".format(place.mark))
    else:
        lines.extend(rules)
    lines.append("COMMIT")
    return "\n".join(lines) + "\n"


def restored(observed: Table, rules: Tuple[str, ...]) -> Table:
    """The table once :func:`restore_text` has been committed."""
    return observed._replace(
        present=True,
        marked=observed.marked or not observed.present,
        rules=rules,
        jumps=dict.fromkeys(HOOKS, (0,)),
        chains=tuple(_chains(observed.place, rules)),
    )


# Both families have the same names
@lru_cache(maxsize=None)
def name_order(name: str) -> Tuple[Tuple[int, str], ...]:
    """Names in the order of their parts, numbers by their value."""
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in name.split("_"))


def _chains(place: Place, rules: Iterable[str]) -> List[str]:
    return sorted(_chain_names(place, rules), key=name_order)


def _chain_names(place: Place, rules: Iterable[str]) -> Set[str]:
    """The chains that these rules stand in or lead to, the hooks' among them."""
    text = "\n".join(rules)
    return {place.chain(hook) for hook in HOOKS}.union(_CHAIN.findall(text), _GOTO.findall(text))


def _canonical(rules: Iterable[str]) -> Dict[str, List[List[str]]]:
    """Each chain's rules by their words: releases of iptables differ in the order of a match's options, in names, and
    in what they quote."""
    numbers = {name: str(number) for name, number in PROTOCOL_NUMBERS.items()}
    result = {}  # type: Dict[str, List[List[str]]]
    for rule in rules:
        words = _LABEL.sub(" --label", rule).replace('"', "").split()
        result.setdefault(words[1], []).append(sorted(numbers.get(word, word) for word in words))
    return result
