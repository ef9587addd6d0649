# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of every backend and layer, behind one set of functions.

A backend keeps its rules by *family*: iptables has one set for ipv4 and one for ipv6, nftables one for inet, both.
The rules of the layer owner are families of their own, owner_ipv4 and so on. Peer labels are a family beside those of
any backend, netlabel, whose rules are NetLabel's configuration.
"""

import re
from typing import Any, Dict, FrozenSet, Iterable, Mapping, Optional, Tuple

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
from ansible_collections.senet.firewall.plugins.module_utils._values.peers import Peering

NETLABEL = "netlabel"
FAMILIES = {IPTABLES: ("ipv4", "ipv6"), NFTABLES: ("inet",)}
OWNER_FAMILIES = {IPTABLES: ("owner_ipv4", "owner_ipv6"), NFTABLES: ("owner_inet",)}

Rules = Optional[Tuple[str, ...]]

_INET = ("inet", "owner_inet")
_TYPE = re.compile(r"\bsystem_u:object_r:([^:\s\"]+)")


def compile_rules(backend: str, flows: FlowSet) -> Dict[str, Rules]:
    """The rules of a backend by family."""
    if backend == NFTABLES:
        return {"inet": nftables.compile_rules(flows)}
    rules = {}  # type: Dict[str, Rules]
    for family in FAMILIES[backend]:
        # Most sets name no address, and compile to the same rules twice.
        same = rules and all(flow.everywhere for flow in flows.flows)
        rules[family] = rules[FAMILIES[backend][0]] if same else iptables.compile_rules(flows, family)
    return rules


def compile_peer_rules(peering: Peering) -> Dict[str, Rules]:
    """The rules of the family netlabel; none where no peer has a label."""
    return {} if peering.empty else {NETLABEL: netlabel.compile_rules(peering)}


def compile_owner_rules(backend: str, flows: FlowSet, accounts: owner.Accounts, labelled: bool) -> Dict[str, Rules]:
    """The rules of the layer owner by family, alone or where packets are ``labelled`` too."""
    if backend == NFTABLES:
        return {"owner_inet": owner.compile_nftables(flows, accounts, labelled)}
    return {
        family: owner.compile_iptables(flows, accounts, source(family), labelled)
        for family in OWNER_FAMILIES[IPTABLES]
    }


def source(family: str) -> str:
    """The family whose save has the rules of this one in it: iptables-save prints all tables."""
    return family[len("owner_"):] if family in OWNER_FAMILIES[IPTABLES] else family


def is_owner(family: str) -> bool:
    """Whether a family has the rules of the layer owner."""
    return any(family in families for families in OWNER_FAMILIES.values())


def parse(family: str, text: str, peer_types: Iterable[str] = ()) -> Any:
    """The table of a family in what the host's tool prints; static labels of these types are ours."""
    if family == NETLABEL:
        return netlabel.parse_lists(text, peer_types)
    if family in _INET:
        return nft_text.parse_list(owner.TABLE if family == "owner_inet" else nftables.TABLE, text)
    return xtables.parse_save(iptables.PLACE if family in FAMILIES[IPTABLES] else owner.PLACE, text)


def restore_text(family: str, table: Any, rules: Rules) -> str:
    """The tool's input that puts rules in the place of those in a table, in one commit.

    No rules at all release every packet; None takes everything of ours away.
    """
    text = _writer(family).restore_text(table, rules)  # type: str
    return text


def restored(family: str, table: Any, rules: Rules) -> Any:
    """The table as it is once that input has been committed, as far as it is ours."""
    return parse(family, "") if rules is None else _writer(family).restored(table, rules)


def labels_packets(family: str) -> bool:
    """Whether a family's rules put labels on packets."""
    return any(family in families for families in FAMILIES.values())


def carried_types(rules: Iterable[str]) -> FrozenSet[str]:
    """The types that rules of any family put on packets and peers."""
    return frozenset(_TYPE.findall("\n".join(rules)))


def without_types(family: str, rules: Tuple[str, ...], types: Iterable[str]) -> Tuple[str, ...]:
    """The rules less everything that puts one of these packet types on packets."""
    compilers = {"ipv4": iptables, "ipv6": iptables, "inet": nftables, NETLABEL: netlabel}  # type: Mapping[str, Any]
    if family not in compilers:
        return rules
    kept = compilers[family].without_types(rules, types)  # type: Tuple[str, ...]
    return kept


def remember(family: str, rules: Rules) -> bool:
    """Whether some of the rules use labels of connections."""
    if family not in FAMILIES[IPTABLES] + FAMILIES[NFTABLES]:
        return False
    return (nftables if family in _INET else iptables).remember(rules or ())


def forgetful(family: str, rules: Rules) -> Rules:
    """The rules for a kernel that keeps no labels on connections."""
    return (nftables if family in _INET else iptables).forgetful(rules or ())


def leaves_empty_table(family: str, table: Any) -> bool:
    """Whether taking our rules away leaves an empty table behind that was not there before us."""
    return source(family) in FAMILIES[IPTABLES] and table.marked and table.bare


def table_name(family: str) -> str:
    """The table of iptables that a family's rules stand in."""
    return (iptables.PLACE if family in FAMILIES[IPTABLES] else owner.PLACE).table


def _writer(family: str) -> Any:
    if family == NETLABEL:
        return netlabel
    return nft_text if family in _INET else xtables
