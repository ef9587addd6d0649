# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sets of rules that a host can have of ours, in one table.

iptables keeps one set for IPv4 and one for IPv6, nftables one for both. The layer owner has sets of its own, and the
configuration of NetLabel is one beside those of any backend.
"""

import re
from typing import Any, Callable, Dict, FrozenSet, Iterable, NamedTuple, Optional, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._compile import (
    iptables,
    netlabel,
    nft_text,
    nftables,
    owner,
    xtables,
)
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import FlowSet
from ansible_collections.senet.firewall.plugins.module_utils._values.intent import IPTABLES, NFTABLES
from ansible_collections.senet.firewall.plugins.module_utils._values.layers import OWNER, SELINUX
from ansible_collections.senet.firewall.plugins.module_utils._values.peers import Peering

NETLABEL = "netlabel"
PEERS = "peers"

Rules = Optional[Tuple[str, ...]]

_TYPE = re.compile(r"\bsystem_u:object_r:([^:\s\"]+)")


class RuleSet(NamedTuple):
    """What one tool replaces in one commit.

    ``name`` is that of records and messages. ``layer`` is whose rules they are, ``peers`` for those of NetLabel, which
    have no ``backend``. ``source`` is the set whose save has these rules in it: iptables-save prints all tables.
    ``read`` makes a table of what the tool prints, ``text`` is the module that writes the tool's input, ``labels`` the
    one that writes rules with labels.
    """

    name: str
    layer: str
    backend: str
    source: str
    read: Callable[[str, Iterable[str]], Any]
    text: Any
    labels: Any = None
    iptables_table: Optional[str] = None

    @property
    def labels_packets(self) -> bool:
        """Whether the rules put labels on packets."""
        return self.layer == SELINUX

    @property
    def nft_table(self) -> Optional[str]:
        """What nft calls the table of these rules where iptables keeps them in nf_tables."""
        if self.iptables_table is None:
            return None
        return "{0} {1}".format(xtables.NFT_FAMILIES[self.source], self.iptables_table)

    def parse(self, text: str, peer_types: Iterable[str] = ()) -> Any:
        """The table in what the host's tool prints; static labels of these types are ours."""
        return self.read(text, peer_types)

    def restore_text(self, table: Any, rules: Rules) -> str:
        """The tool's input that puts rules in the place of those in a table, in one commit.

        No rules at all release every packet; None takes everything of ours away.
        """
        text = self.text.restore_text(table, rules)  # type: str
        return text

    def restored(self, table: Any, rules: Rules) -> Any:
        """The table as it is once that input has been committed, as far as it is ours."""
        return self.parse("") if rules is None else self.text.restored(table, rules)

    def without_types(self, rules: Tuple[str, ...], types: Iterable[str]) -> Tuple[str, ...]:
        """The rules less everything that puts one of these types on packets or peers."""
        return tuple(self.labels.without_types(rules, types)) if self.labels is not None else rules

    def remember(self, rules: Rules) -> bool:
        """Whether some of the rules use labels of connections."""
        return self.labels_packets and bool(self.labels.remember(rules or ()))

    def forgetful(self, rules: Rules) -> Rules:
        """The rules for a kernel that keeps no labels on connections."""
        return tuple(self.labels.forgetful(rules or ()))

    def leaves_empty_table(self, table: Any) -> bool:
        """Whether taking our rules away leaves an empty table behind that was not there before us."""
        return self.iptables_table is not None and bool(table.marked and table.bare)


def _iptables(name: str, layer: str, source: str) -> RuleSet:
    place, labels = (iptables.PLACE, iptables) if layer == SELINUX else (owner.PLACE, None)
    return RuleSet(
        name, layer, IPTABLES, source, lambda text, types: xtables.parse_save(place, text), xtables, labels, place.table
    )


def _nftables(name: str, layer: str) -> RuleSet:
    table, labels = (nftables.TABLE, nftables) if layer == SELINUX else (owner.TABLE, None)
    return RuleSet(name, layer, NFTABLES, name, lambda text, types: nft_text.parse_list(table, text), nft_text, labels)


RULE_SETS = {
    row.name: row
    for row in (
        _iptables("ipv4", SELINUX, "ipv4"),
        _iptables("ipv6", SELINUX, "ipv6"),
        _nftables("inet", SELINUX),
        _iptables("owner_ipv4", OWNER, "ipv4"),
        _iptables("owner_ipv6", OWNER, "ipv6"),
        _nftables("owner_inet", OWNER),
        RuleSet(NETLABEL, PEERS, "", NETLABEL, netlabel.parse_lists, netlabel, netlabel),
    )
}  # type: Dict[str, RuleSet]


def names_of(backend: str, layer: str = SELINUX) -> Tuple[str, ...]:
    """The sets of a backend for a layer."""
    return tuple(row.name for row in RULE_SETS.values() if (row.backend, row.layer) == (backend, layer))


def compile_rules(backend: str, flows: FlowSet) -> Dict[str, Rules]:
    """The rules of a backend by set. Their contexts have a level."""
    if backend == NFTABLES:
        return {"inet": nftables.compile_rules(flows)}
    rules = {}  # type: Dict[str, Rules]
    for family in ("ipv4", "ipv6"):
        # Most sets name no address, and compile to the same rules twice.
        same = rules and all(flow.everywhere for flow in flows.flows)
        rules[family] = rules["ipv4"] if same else iptables.compile_rules(flows, family)
    return rules


def compile_peer_rules(peering: Peering) -> Dict[str, Rules]:
    """NetLabel's rules; none where no peer has a label."""
    return {} if peering.empty else {NETLABEL: netlabel.compile_rules(peering)}


def compile_owner_rules(backend: str, flows: FlowSet, accounts: owner.Accounts, labelled: bool) -> Dict[str, Rules]:
    """The rules of the layer owner by set, alone or where packets are ``labelled`` too."""
    if backend == NFTABLES:
        return {"owner_inet": owner.compile_nftables(flows, accounts, labelled)}
    return {
        name: owner.compile_iptables(flows, accounts, RULE_SETS[name].source, labelled)
        for name in names_of(IPTABLES, OWNER)
    }


def carried_types(rules: Iterable[str]) -> FrozenSet[str]:
    """The types that rules of any set put on packets and peers."""
    return frozenset(_TYPE.findall("\n".join(rules)))
