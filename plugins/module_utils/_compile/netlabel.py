# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Peer labels as NetLabel's configuration, and what netlabelctl lists of it. No I/O.

A rule is a line of netlabelctl's words without the verb, such as ``map domain:httpd_t address:127.0.0.0/8
protocol:cipsov4,5477``. Ours are what names our DOI, our domain mappings' fallback, and static labels of types that we
declare.
"""

import re
from typing import Dict, FrozenSet, Iterable, List, NamedTuple, Optional, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._values.fields import Network, address_text
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import type_context
from ansible_collections.senet.firewall.plugins.module_utils._values.peers import Peering

# CIPSO's local tag carries the sender's whole context within a host; the number tells our definition from others.
DOI = "5477"
LISTS = ("cipsov4", "map", "unlbl")

_CIPSO = "cipsov4 local doi:" + DOI
_MAPPED = ("address:0.0.0.0/0 protocol:unlbl", "address:127.0.0.0/8 protocol:cipsov4," + DOI)
# What a kernel has that nobody configured
_STOCK = {"cipsov4": (), "map": ("domain:DEFAULT,UNLABELED",), "unlbl": ("accept:on",)}
_OWN_LABEL = re.compile(r"label:[^: ]+:[^: ]+:senet_[a-z0-9_-]+_peer_t(?::|$)")
_TYPE = re.compile(r" label:[^: ]+:[^: ]+:([^: ]+)")


class Table(NamedTuple):
    """NetLabel's configuration: ``rules`` as far as it is ours, None where nothing is, ``foreign`` what others set."""

    rules: Optional[Tuple[str, ...]]
    foreign: Tuple[str, ...] = ()

    @property
    def ours(self) -> bool:
        """Whether anything of ours is there."""
        return self.rules is not None

    def installed(self, rules: Tuple[str, ...]) -> bool:
        """Whether exactly these rules are in force; the kernel keeps no order."""
        return set(self.rules or ()) == set(rules)


def compile_rules(peering: Peering) -> Tuple[str, ...]:
    """The rules, in the order in which they can be added.

    A domain's mapping begins with what leaves its other packets alone: for a domain that has a mapping which names
    no destination of a packet, the kernel sends nothing.
    """
    rules = [_CIPSO] if peering.mapped else []
    rules.extend("map domain:{0} {1}".format(domain, words) for domain in peering.mapped for words in _MAPPED)
    for label in peering.labels:
        where = "interface:" + label.interface if label.interface else "default"
        context = type_context(label.type)
        rules.append("unlbl {0} address:{1} label:{2}".format(where, _prefixed(label.network), context))
    return tuple(rules)


def parse_lists(text: str, types: Iterable[str] = ()) -> Table:
    """What ``netlabelctl cipsov4 list``, ``map list`` and ``unlbl list`` print, each after a line ``# name``.

    Static labels of these types are ours, beside those that flows need.
    """
    ours = frozenset(types)
    rules = []  # type: List[str]
    foreign = []
    for name, listed in _sections(text).items():
        for item in listed.split():
            own = _own_rules(name, item, ours)
            rules.extend(own)
            if not own and item not in _STOCK[name]:
                foreign.append("{0} {1}".format(name, item))
    return Table(tuple(rules) if rules else None, tuple(foreign))


def restore_text(observed: Table, rules: Optional[Tuple[str, ...]]) -> str:
    """Commands of netlabelctl, a line each, that lead from what is there to these rules; None and none are the same.

    A mapping that changes is made anew, since the kernel adds addresses to it but does not take one away.
    """
    have, want = observed.rules or (), rules or ()
    gone = [rule for rule in have if rule not in want]
    stale = [domain for domain in _domains(have) if _mapping(have, domain) != _mapping(want, domain)]
    lines = [_delete(rule) for rule in gone if rule.startswith("unlbl ")]
    lines.extend("map del domain:" + domain for domain in stale)
    lines.extend(_delete(rule) for rule in gone if rule.startswith("cipsov4 "))
    for rule in want:
        domain = _domain(rule)
        if rule not in have or domain in stale:
            name, dummy, rest = rule.partition(" ")
            lines.append("{0} add {1}".format(name, rest))
    return "".join(line + "\n" for line in lines)


def restored(observed: Table, rules: Tuple[str, ...]) -> Table:
    """The configuration once those commands have run."""
    return observed._replace(rules=rules or None)


def without_types(rules: Iterable[str], types: Iterable[str]) -> Tuple[str, ...]:
    """The rules less the static labels of these types; without a static label on loopback less the mappings too.

    Any of it turns on the checks that only a policy with peer types lets traffic pass.
    """
    gone = set(types)
    kept = tuple(rule for rule in rules if not gone.intersection(_TYPE.findall(rule)))
    if any(rule.startswith("unlbl interface:lo ") for rule in kept):
        return kept
    return tuple(rule for rule in kept if rule.startswith("unlbl "))


def _sections(text: str) -> Dict[str, str]:
    sections = {}  # type: Dict[str, str]
    name = ""
    for line in text.splitlines():
        if line.startswith("# "):
            name = line[2:]
        else:
            sections[name] = sections.get(name, "") + line + " "
    return sections


def _own_rules(name: str, item: str, types: FrozenSet[str]) -> List[str]:
    """The rules that one listed item stands for; none if it is not ours."""
    if name == "cipsov4":
        return [_CIPSO] if item == DOI + ",LOCAL" else []
    if name == "unlbl":
        words = item.replace('"', "").split(",", 2)
        where = "default" if words[0] == "interface:DEFAULT" else words[0]
        rule = " ".join(["unlbl", where] + words[1:])
        own = _OWN_LABEL.search(rule) or types.intersection(_TYPE.findall(rule))
        return [rule] if len(words) == 3 and own else []
    found = re.fullmatch(r'domain:"([^",]+)"((?:,address:[^,]+,protocol:[A-Za-z0-9]+(?:,[0-9]+)?)+)', item)
    if not found:
        return []
    entries = {
        "address:{0} protocol:{1}".format(address, "unlbl" if protocol == "UNLABELED" else protocol.lower())
        for address, protocol in re.findall(r",address:([^,]+),protocol:([A-Za-z0-9]+(?:,[0-9]+)?)", found.group(2))
    }
    if not entries.issubset(_MAPPED):
        return []
    return ["map domain:{0} {1}".format(found.group(1), own) for own in _MAPPED if own in entries]


def _domain(rule: str) -> str:
    return rule.split(" ")[1][len("domain:"):] if rule.startswith("map ") else ""


def _domains(rules: Iterable[str]) -> List[str]:
    return sorted({_domain(rule) for rule in rules} - {""})


def _mapping(rules: Iterable[str], domain: str) -> List[str]:
    return sorted(rule for rule in rules if _domain(rule) == domain)


def _delete(rule: str) -> str:
    words = [word for word in rule.split(" ") if word != "local" and not word.startswith("label:")]
    return " ".join([words[0], "del"] + words[1:])


def _prefixed(network: Network) -> str:
    text = address_text(network)
    return text if "/" in text else "{0}/{1}".format(text, network.prefixlen)
