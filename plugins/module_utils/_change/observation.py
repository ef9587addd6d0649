# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One look at the host: its policy module, its rules, its record. It writes nothing."""

from typing import Any, Dict, Iterable, Optional, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._compile import cil, nft_text, rule_sets
from ansible_collections.senet.firewall.plugins.module_utils._compile.rule_sets import RULE_SETS
from ansible_collections.senet.firewall.plugins.module_utils._decisions import plan
from ansible_collections.senet.firewall.plugins.module_utils._decisions.wanted_flows import asked_before
from ansible_collections.senet.firewall.plugins.module_utils._host.host import Host
from ansible_collections.senet.firewall.plugins.module_utils._host.service import INTENT_PATH
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import FlowSet
from ansible_collections.senet.firewall.plugins.module_utils._values.intent import NFTABLES, Intent, parse_intent
from ansible_collections.senet.firewall.plugins.module_utils._values.layers import OWNER, SELINUX

# What nft lists of all tables, among the texts of a state
RULESET = "ruleset"


def sets_to_read(
    host: Host,
    backend: Optional[str],
    recorded: Optional[Intent],
    layers: Iterable[str] = (),
    asks_peers: bool = False,
) -> Tuple[str, ...]:
    """The sets of rules where something of ours is, or will be for what is asked for in these layers; without a record,
    all that the host has."""
    backends = set(host.netfilter.backends()) if recorded is None else {recorded.backend}
    if backend is not None:
        backends.add(backend)
    held = set(recorded.layers if recorded is not None else (SELINUX, OWNER)).union(layers)
    in_use = [layer for layer in (SELINUX, OWNER) if layer in held]
    names = [name for layer in in_use for each in sorted(backends) for name in rule_sets.names_of(each, layer)]
    present = recorded.flows.labels_peers if recorded is not None else host.netlabel.available()
    return tuple(names) + ((rule_sets.NETLABEL,) if asks_peers or present else ())


def recorded_layers(host: Host, recorded: Optional[Intent]) -> Optional[Tuple[str, ...]]:
    """The layers on record. Without a record those with something of ours in force, if owner is among them; else None.

    :raises SenetError: the rules cannot be read.
    """
    if recorded is not None:
        return recorded.layers
    names = [name for each in sorted(host.netfilter.backends()) for name in rule_sets.names_of(each, OWNER)]
    if not any(RULE_SETS[name].parse(host.save(RULE_SETS[name].source)).rules for name in names):
        return None
    labels = host.selinux.status() != "disabled" and host.store.module() is not None
    return (SELINUX, OWNER) if labels else (OWNER,)


def left_over(host: Host, sets: Iterable[str], saved: Optional[Dict[str, str]] = None) -> Dict[str, Any]:
    """The tables with rules of ours in sets other than these, by any backend of the host: saved rules that were loaded,
    or a change of the backend that did not reach this network namespace. ``saved`` has what the tools printed, and gets
    what else they print.

    A tool that fails shows none: by it nothing was loaded here.
    """
    texts = {} if saved is None else saved
    known = set(sets)
    found = {}  # type: Dict[str, Any]
    for name in (name for each in host.netfilter.backends() for name in _names_of(each) if name not in known):
        source = RULE_SETS[name].source
        try:
            if source not in texts:
                texts[source] = host.save(source)
        except SenetError:
            continue
        table = RULE_SETS[name].parse(texts[source])
        if table.ours:
            found[name] = table
    return found


def _names_of(backend: str) -> Tuple[str, ...]:
    return rule_sets.names_of(backend, SELINUX) + rule_sets.names_of(backend, OWNER)


def with_left_over(host: Host, observed: plan.HostState) -> plan.HostState:
    """What is observed, with the tables that :func:`left_over` finds, and what nft lists of all tables, unless
    iptables has told of them all.

    :raises SenetError: nft fails on a host whose iptables keeps its rules in nf_tables.
    """
    texts = dict(observed.texts)
    texts[RULESET] = host.netfilter.ruleset(observed.texts)
    # It is needed for labels of others too, and has our tables in it
    for name in _names_of(NFTABLES):
        texts.setdefault(name, nft_text.find_table(RULE_SETS[name].parse("").name, texts[RULESET]))
    found = left_over(host, observed.tables, texts)
    return observed._replace(tables=dict(observed.tables, **found), texts=texts)


def units_of(intent: Optional[str]) -> Tuple[str, ...]:
    """The units that the text of flows.json goes by; none where it is damaged, which is for others to tell."""
    try:
        return parse_intent(intent, INTENT_PATH).units if intent is not None else ()
    except SenetError:
        return ()


def observe(
    host: Host, sets: Iterable[str], interfaces: Iterable[str] = ()
) -> plan.HostState:
    """One read of everything of ours on the host, of rules in these sets alone, and of the contexts of these
    interfaces.

    :raises SenetError: a part cannot be read, or is not as we wrote it and cannot be trusted.
    """
    # Where SELinux is disabled there may be no store, and what is in one is not in force.
    policy = host.store.module() if host.selinux.status() != "disabled" else None
    declared = cil.declared_types(policy)
    loaded = all(host.selinux.canonical(host.selinux.context(name)) for name in declared)
    saved = {}  # type: Dict[str, str]
    for name in sets:
        source = RULE_SETS[name].source
        if source not in saved:
            saved[source] = host.save(source)
    tables = {name: RULE_SETS[name].parse(saved[RULE_SETS[name].source], declared) for name in sets}
    intent = host.service.intent()
    contexts = host.store.interface_contexts() if interfaces else {}
    return plan.HostState(
        policy,
        loaded,
        tables,
        intent,
        host.service.in_place(units_of(intent)),
        saved,
        {name: contexts.get(name) for name in interfaces},
    )


def installed(host: Host) -> FlowSet:
    """What our policy module was made from.

    :raises SenetError: it does not say.
    """
    return asked_before(host.store.module(), None)


def stored_intent(host: Host) -> Optional[Intent]:
    """What /etc/senet/flows.json asks for.

    :raises SenetError: the file is damaged or not root's alone.
    """
    text = host.service.intent()
    return None if text is None else parse_intent(text, INTENT_PATH)
