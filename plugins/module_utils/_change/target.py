# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host shall have: policy module, rules and record, compiled for this host. It writes nothing."""

from typing import Any, Dict, Iterable, Mapping, Optional

from ansible_collections.senet.firewall.plugins.module_utils._compile import cil, owner, rule_sets
from ansible_collections.senet.firewall.plugins.module_utils._compile.rule_sets import RULE_SETS
from ansible_collections.senet.firewall.plugins.module_utils._decisions import plan, transition, wanted_flows
from ansible_collections.senet.firewall.plugins.module_utils._host.host import Host
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import without_levels
from ansible_collections.senet.firewall.plugins.module_utils._values.intent import Intent, compile_intent
from ansible_collections.senet.firewall.plugins.module_utils._values.layers import OWNER, SELINUX, without_types
from ansible_collections.senet.firewall.plugins.module_utils._values.peers import peering


def desired_state(intent: Intent, accounts: owner.Accounts, sets: Iterable[str]) -> plan.Desired:
    """What a host shall have: the rules of the intent's backend and layers, no rules in the other sets.

    :raises SenetError: peer labels cannot tell what flows with verify_source ask for.
    """
    rules = dict.fromkeys(sets)  # type: Dict[str, rule_sets.Rules]
    rules.update(compile_rules(intent, accounts))
    # Types of interfaces are in the policy store alone: nothing of them is to be loaded at boot
    kept = intent._replace(flows=intent.flows._replace(interface_types=()))
    return plan.Desired(
        None if intent.labelled.empty else cil.compile_policy(intent.labelled),
        rules,
        None if kept.flows.empty else compile_intent(kept),
    )


def recorded_state(host: Host, intent: Intent, observed: plan.HostState) -> plan.Desired:
    """What a host shall have by its record, but for the types of interfaces, which are in its policy alone."""
    flows = intent.flows._replace(interface_types=wanted_flows.present(observed, None).interface_types)
    if host.selinux.status() == "disabled" and SELINUX not in intent.layers:
        flows = without_types(flows)
    wanted = intent._replace(flows=flows)
    return fit(host, observed.tables, desired_state(wanted, look_up(host, wanted), observed.tables))


def state_between(
    observed: plan.HostState, desired: plan.Desired, intent: Intent, recorded: Optional[Intent]
) -> Optional[plan.Desired]:
    """What a host shall have on the way from what is recorded to what is desired for an intent; None where there is no
    need of it.

    Its policy module says that it is for the intent, so that a run that dies there leaves nothing else to be merged.
    """
    if observed.policy is None or desired.policy is None:
        return None
    try:
        before = wanted_flows.installed(observed.policy, recorded)
    except SenetError:  # it is replaced as a whole
        return None
    if recorded is None:
        before = transition.of_unknown_addresses(before)
    way = transition.bridge(before, intent.labelled)
    if way is None:
        return None
    rules = rule_sets.compile_rules(intent.backend, way)
    rules.update(rule_sets.compile_peer_rules(peering(way)))
    return desired._replace(
        policy=cil.compile_policy(way, intent.labelled),
        # Those of the layer owner mean the same by any name
        rules=dict(desired.rules, **rules),
    )


def compile_rules(intent: Intent, accounts: owner.Accounts) -> Dict[str, rule_sets.Rules]:
    """The rules of all layers by set."""
    rules = compile_owner_rules(intent, accounts)
    if intent.labelled.labels_packets:
        rules.update(rule_sets.compile_rules(intent.backend, intent.flows))
    rules.update(rule_sets.compile_peer_rules(peering(intent.labelled)))
    return rules


def fit(host: Host, tables: Mapping[str, Any], desired: plan.Desired) -> plan.Desired:
    """What a host with these tables shall have, as far as its kernel can."""
    rules = {name: fitted(host, name, tables[name], own) for name, own in desired.rules.items()}
    return desired._replace(rules=rules)


def fitted(host: Host, name: str, table: Any, rules: rule_sets.Rules) -> rule_sets.Rules:
    """The rules of a set as this host's kernel takes them; ``table`` is what is there now."""
    if rules and not host.selinux.has_levels():
        rules = tuple(without_levels(rule) for rule in rules)
    if not RULE_SETS[name].remember(rules) or RULE_SETS[name].remember(table.rules):
        return rules
    return rules if host.netfilter.remembers(name) else RULE_SETS[name].forgetful(rules)


def compile_owner_rules(intent: Intent, accounts: owner.Accounts) -> Dict[str, rule_sets.Rules]:
    """The rules of the layer owner by set; none where it is not among the layers."""
    if OWNER not in intent.layers or not intent.flows.flows:
        return {}
    return rule_sets.compile_owner_rules(intent.backend, intent.flows, accounts, SELINUX in intent.layers)


def look_up(host: Host, intent: Intent) -> owner.Accounts:
    """The users and units of the layer owner, as far as they are on the host."""
    if OWNER not in intent.layers:
        return owner.Accounts({}, {})
    return host.accounts.look_up({user for flow in intent.flows.flows for user in flow.users}, intent.units)
