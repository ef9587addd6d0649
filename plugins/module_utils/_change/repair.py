# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host does by itself where its flows are not enforced any more although its rules are in place."""

from contextlib import suppress
from typing import List, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._change import load, observation, target, undo
from ansible_collections.senet.firewall.plugins.module_utils._compile import cil, rule_sets
from ansible_collections.senet.firewall.plugins.module_utils._compile.rule_sets import NETLABEL, RULE_SETS
from ansible_collections.senet.firewall.plugins.module_utils._decisions import foreign_rules
from ansible_collections.senet.firewall.plugins.module_utils._host.host import Host
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import DEFAULT_PACKET_TYPE
from ansible_collections.senet.firewall.plugins.module_utils._values.intent import IPTABLES, Intent
from ansible_collections.senet.firewall.plugins.module_utils._values.layers import OWNER
from ansible_collections.senet.firewall.plugins.module_utils._values.peers import peering


def types_lost(host: Host) -> Tuple[str, ...]:
    """The types that flows and peer labels of this host need and the loaded policy does not have.

    :raises SenetError: the file with the flows is damaged, or the kernel does not answer.
    """
    intent = observation.stored_intent(host)
    if intent is None or host.selinux.status() == "disabled":
        return ()
    return tuple(name for name in _types(intent) if host.selinux.canonical(host.selinux.context(name)) is None)


def let_through(host: Host, lost: Tuple[str, ...]) -> None:
    """Take labels away that the loaded policy does not know: their packets count as unlabelled, which base policies let
    few domains use. Flows that it knows keep theirs.

    :raises SenetError: the rules cannot be read or changed.
    """
    intent = observation.stored_intent(host)
    if DEFAULT_PACKET_TYPE in lost:
        sets = observation.sets_to_read(host, None, intent)
        sets += tuple(observation.left_over(host, sets))
        undo.release(host, [name for name in sets if RULE_SETS[name].layer != OWNER])
    else:
        load.load(host)


def bring_policy_back(host: Host) -> None:
    """Install the policy module again, that of the store if it is whole, else one made of what is on record.

    :raises SenetError: the store does not take it.
    """
    intent = observation.stored_intent(host)
    if intent is None:
        return
    text = None
    with suppress(SenetError):
        text = host.store.module()
    if text is None or not cil.declared_types(text).issuperset(_types(intent)):
        text = cil.compile_policy(intent.labelled)
    host.store.install(text)


def return_to_record(host: Host) -> bool:
    """Undo a change of the policy module of which there is no record any more; says whether there was one.

    :raises SenetError: the record of the flows is damaged, or a part could not be brought back.
    """
    intent = observation.stored_intent(host)
    if intent is None or host.selinux.status() == "disabled":
        return False
    # Such a change may have labelled peers, which need its policy
    sets = observation.sets_to_read(host, None, intent, asks_peers=host.netlabel.available())
    observed = observation.with_left_over(host, observation.observe(host, sets))
    desired = target.recorded_state(host, intent, observed)
    if observed.policy == desired.policy:
        return False
    undo.roll_back(host, desired._replace(intent=observed.intent))
    return True


def foreign_labels(host: Host) -> List[str]:
    """The rules that label packets on a host whose packets we label and are not those on record.

    :raises SenetError: the file with the flows is damaged, or rules cannot be read.
    """
    intent = observation.stored_intent(host)
    if intent is None or not intent.labelled.labels_packets:
        return []
    return foreign_rules.foreign_labels(host.netfilter.saves(), host.netfilter.ruleset(), (intent.backend,))


def dormant_tables(host: Host) -> List[str]:
    """The tables with rules of ours that the kernel passes over, as nft calls them.

    :raises SenetError: the file with the flows is damaged, or the kernel does not tell.
    """
    intent = observation.stored_intent(host)
    if intent is None or intent.backend != IPTABLES:
        return []
    tools = {family: host.netfilter.iptables(family) for family in ("ipv4", "ipv6")}
    families = {family for family, tool in tools.items() if tool is not None and tool.variant == "nf_tables"}
    sets = [RULE_SETS[name] for layer in intent.layers for name in rule_sets.names_of(IPTABLES, layer)]
    return foreign_rules.asleep(sets, families, host.netfilter.dormant() if families else ())


def foreign_peer_labels(host: Host) -> List[str]:
    """What others have configured of NetLabel on a host whose peers we label.

    :raises SenetError: the file with the flows is damaged, or the configuration cannot be read.
    """
    intent = observation.stored_intent(host)
    if intent is None or host.selinux.status() == "disabled" or peering(intent.labelled).empty:
        return []
    types = peering(intent.labelled).types
    return list(RULE_SETS[NETLABEL].parse(host.save(NETLABEL), types).foreign)


def _types(intent: Intent) -> Tuple[str, ...]:
    return intent.labelled.packet_types + peering(intent.labelled).types
