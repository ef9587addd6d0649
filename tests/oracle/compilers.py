# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the compilers emit for a wish, as the texts that the tools on a host are given. Nothing else knows them."""

from __future__ import annotations

from typing import Any, NamedTuple

from ansible_collections.senet.firewall.plugins.module_utils._compile import cil, iptables, nftables, xtables
from ansible_collections.senet.firewall.plugins.module_utils._compile.rule_sets import RULE_SETS
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import FlowSet
from ansible_collections.senet.firewall.plugins.module_utils._values.parsing import parse_flow_set

from .promise import Flow, Wish


class Emitted(NamedTuple):
    """Texts for iptables-restore, ip6tables-restore, nft and secilc."""

    ipv4: str
    ipv6: str
    nft: str
    cil: str


def emitted(wish: Wish) -> Emitted:
    """What is installed on a host that has nothing of ours yet."""
    flows = _flow_set(wish)
    none = RULE_SETS["ipv4"].parse("")
    rules = {family: iptables.compile_rules(flows, family) for family in ("ipv4", "ipv6")}
    return Emitted(
        xtables.restore_text(none, rules["ipv4"]),
        xtables.restore_text(none, rules["ipv6"]),
        "\n".join(nftables.compile_rules(flows)) + "\n",
        cil.compile_policy(flows),
    )


def refused(wish: Wish) -> bool:
    """Whether the collection takes no such wish: two flows claim one packet."""
    try:
        _flow_set(wish)
    except SenetError:
        return True
    return False


def _flow_set(wish: Wish) -> FlowSet:
    confine = {**dict.fromkeys(wish.watched, "observe"), **dict.fromkeys(wish.confined, "enforce")}
    return parse_flow_set({"flows": [_options(flow) for flow in wish.flows], "confine": confine})


def _options(flow: Flow) -> dict[str, Any]:
    return {
        "name": flow.name,
        "source": list(flow.source),
        "destination": list(flow.destination),
        "protocol": flow.protocol,
        "ports": [f"{low}-{high}" if low != high else low for low, high in flow.ports],
        "mode": "observe" if flow.observe else "enforce",
        "source_addresses": list(flow.source_addresses),
        "destination_addresses": list(flow.destination_addresses),
        "interfaces": list(flow.interfaces),
    }
