# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules of other programs that label packets, from what every tool that can hold one says. No I/O."""

import re
from typing import Container, Iterable, List, Mapping, NamedTuple, Set

from ansible_collections.senet.firewall.plugins.module_utils._compile import iptables, nftables, owner, xtables
from ansible_collections.senet.firewall.plugins.module_utils._compile.rule_sets import RuleSet
from ansible_collections.senet.firewall.plugins.module_utils._compile.xtables import Saved
from ansible_collections.senet.firewall.plugins.module_utils._values.intent import BACKENDS, IPTABLES, NFTABLES

_NFT_OWNER = re.compile("ip6? {0} (?:{1})".format(owner.PLACE.table, owner.PLACE.own.pattern))
_OWN_TYPE = re.compile(r":object_r:(senet_[a-z0-9_]+_packet_t)\b")
# Our table of nft
_INET = "inet"


def asleep(sets: Iterable[RuleSet], families: Container[str], dormant: Container[str]) -> List[str]:
    """The dormant tables, as nft calls them, among those of these sets of rules. Iptables keeps the rules of these
    families in nf_tables."""
    tables = {each.nft_table for each in sets if each.source in families}
    return sorted(table for table in tables if table is not None and table in dormant)


def lasting_labels(saves: Iterable[Saved], ruleset: str, families: Container[str]) -> List[str]:
    """What keeps the kernel's packet checks on when our rules of these families have gone, as :func:`foreign_labels`
    says it: one rule or label object, used or not, is enough."""
    rules = []  # type: List[str]
    read = []  # type: List[str]
    for saved in saves:
        ours = not (saved.default and saved.family in families)
        rules.extend("{0} {1}".format(saved.command, rule) for rule in iptables.checking_rules(saved.text, ours))
        read.extend(_chains_read(saved))
    return rules + ["nft " + found for found in nftables.checking_labels(ruleset, _INET not in families, read)]


def foreign_labels(saves: Iterable[Saved], ruleset: str, backends: Container[str] = BACKENDS) -> List[str]:
    """Each such rule as ``command table: rule``, or ``nft family table chain: rule``; rules of ours are not foreign
    where they are of these backends.

    Chains of ours under the variant that is not the default one are foreign too: they label packets, and no run ever
    looks at them again. nft lists the rules of iptables-nft as well: its output counts for tables and base
    chains that iptables-nft cannot read, since somebody put something of nft's own there, and for all that are not
    iptables'.
    """
    rules = []  # type: List[str]
    known = {nftables.TABLE} if NFTABLES in backends else set()
    for saved in saves:
        ours = saved.default and IPTABLES in backends
        found = iptables.foreign_labels(saved.text) if ours else iptables.label_rules(saved.text)
        rules.extend("{0} {1}".format(saved.command, rule) for rule in found)
        known.update(_chains_read(saved))
    return rules + ["nft " + rule for rule in nftables.label_rules(ruleset, known)]


class StrayRule(NamedTuple):
    """A rule of ours that no run looks at, and the command that empties its chain."""

    rule: str
    remove: str


def stray_owner_rules(saves: Iterable[Saved], ruleset: str) -> List[StrayRule]:
    """The rules of the layer owner under the variant of iptables that is not the default one, or that nft alone shows:
    they refuse, and no run changes them."""
    found = []  # type: List[StrayRule]
    read = set()  # type: Set[str]
    for saved in saves:
        read.update(_chains_read(saved))
        for rule in [] if saved.default else xtables.own_rules(owner.PLACE, saved.text):
            text = "{0} {1}: {2}".format(saved.command, owner.PLACE.table, rule)
            found.append(StrayRule(text, "{0} -F {1}".format(saved.command, rule.split(" ")[1])))
    for place, rule in nftables.listed_rules(ruleset, read) if owner.PLACE.prefix in ruleset else ():
        if _NFT_OWNER.fullmatch(place):
            found.append(StrayRule("nft {0}: {1}".format(place, rule), "nft flush chain " + place))
    return found


def stale_files(texts: Mapping[str, str], wanted: Container[str]) -> List[str]:
    """The files of saved rules, by their paths, that put types of ours on packets which are not wanted any more: each a
    sentence that tells the first such line."""
    warnings = []
    for path, text in texts.items():
        found = [
            (number, name)
            for number, line in enumerate(text.splitlines(), 1)
            for name in _OWN_TYPE.findall(line)
            if name not in wanted
        ]
        if found:
            more = " (and {0} more)".format(len(found) - 1) if found[1:] else ""
            warnings.append(
                "{0} has rules of this collection, saved by another program: line {1}{2} names the packet type '{3}', "
                "which no flow has any more. When the policy no longer has that type, the file cannot be loaded at "
                "boot, and the host starts without its own rules; remove the chains SENET_..., the jumps to them and "
                "the table inet senet from the file.".format(path, found[0][0], more, found[0][1])
            )
    return warnings


def _chains_read(saved: Saved) -> List[str]:
    """The chains that iptables-nft has told of already, as nft calls them."""
    return xtables.nft_chains(saved.family, saved.text) if saved.variant == "nf_tables" else []
