# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looking at a host through its edges, and turning a request into what the host shall have. It writes nothing."""

from contextlib import suppress
from typing import Any, Callable, Dict, Iterable, List, Mapping, NamedTuple, Optional, Tuple, Union

from ansible_collections.senet.firewall.plugins.module_utils import _backends, _bridge, _plan
from ansible_collections.senet.firewall.plugins.module_utils._compile import cil, owner
from ansible_collections.senet.firewall.plugins.module_utils._fields import parse_new_type
from ansible_collections.senet.firewall.plugins.module_utils._host.host import Host
from ansible_collections.senet.firewall.plugins.module_utils._host.service import INTENT_PATH
from ansible_collections.senet.firewall.plugins.module_utils._intent import Intent, compile_intent, parse_intent
from ansible_collections.senet.firewall.plugins.module_utils._interface import IfContext, altered_types
from ansible_collections.senet.firewall.plugins.module_utils._layers import OWNER, SELINUX
from ansible_collections.senet.firewall.plugins.module_utils._model import (
    Flow,
    FlowSet,
    SenetError,
    packet_context,
)
from ansible_collections.senet.firewall.plugins.module_utils._peers import peering

DISABLED = (
    "SELinux is disabled on this host, so peers and interfaces have no types; enable it in /etc/selinux/config and on "
    "the kernel command line, and reboot."
)


class Replace(NamedTuple):
    """Ask for exactly these flows, and confined domains; none takes all flows off the host."""

    flows: FlowSet


class Merge(NamedTuple):
    """Ask for these flows and confined domains, leaving those of other names as they are."""

    flows: Tuple[Flow, ...]
    confine: Tuple[Tuple[str, str], ...] = ()


class Remove(NamedTuple):
    """Ask that the flows of these names be gone and these domains be free, leaving the others as they are."""

    names: Tuple[str, ...]
    confine: Tuple[str, ...] = ()


class Alter(NamedTuple):
    """Ask for what a function makes of all that is asked of the host now; ``peers`` says that it adds peer labels.
    ``interfaces`` are the contexts that interfaces shall have, None for that of every other."""

    change: Callable[[FlowSet], FlowSet]
    peers: bool = False
    interfaces: Mapping[str, Optional[str]] = {}


Request = Union[Replace, Merge, Remove, Alter]


def families_to_read(
    host: Host,
    backend: Optional[str],
    recorded: Optional[Intent],
    layers: Iterable[str] = (),
    asks_peers: bool = False,
) -> Tuple[str, ...]:
    """The families where something of ours is, or will be for what is asked for in these layers; without a record, all
    that the host has."""
    backends = set(host.netfilter.backends()) if recorded is None else {recorded.backend}
    if backend is not None:
        backends.add(backend)
    held = set(recorded.layers if recorded is not None else (SELINUX, OWNER)).union(layers)
    layouts = ([_backends.FAMILIES] if SELINUX in held else []) + ([_backends.OWNER_FAMILIES] if OWNER in held else [])
    families = tuple(family for layout in layouts for name in sorted(backends) for family in layout[name])
    present = recorded.flows.labels_peers if recorded is not None else host.netlabel.available()
    return families + ((_backends.NETLABEL,) if asks_peers or present else ())


def asked_flows(request: Request) -> Tuple[Flow, ...]:
    """The flows that a request names in full."""
    if isinstance(request, Replace):
        return request.flows.flows
    return request.flows if isinstance(request, Merge) else ()


def asks_peers(request: Request) -> bool:
    """Whether a request asks for peer labels."""
    if isinstance(request, Alter):
        return request.peers
    if isinstance(request, Replace):
        return request.flows.labels_peers
    return isinstance(request, Merge) and FlowSet(request.flows).labels_peers


def mls(host: Host) -> bool:
    """Whether contexts carry a level on this host; they are of no use where SELinux is disabled."""
    return host.selinux.status() != "disabled" and host.selinux.mls()


def units_of(intent: Optional[str]) -> Tuple[str, ...]:
    """The units that the text of flows.json goes by; none where it is damaged, which is for others to tell."""
    try:
        return parse_intent(intent, INTENT_PATH).units if intent is not None else ()
    except SenetError:
        return ()


def interface_request(host: Host, interface: str, context: Optional[IfContext], create_type: bool) -> Alter:
    """Ask for an interface's context, None for what the policy says of it; ``create_type`` declares its type where that
    is missing, and takes away the created types that are of no use any longer.

    :raises SenetError: the loaded policy does not know the context.
    """
    if host.selinux.status() == "disabled":
        raise SenetError(DISABLED)
    new = context is not None and _is_new(host, interface, context, create_type)
    given = host.store.interface_contexts()
    return Alter(
        lambda current: altered_types(current, given, interface, context, new, create_type),
        interfaces={interface: None if context is None else str(context)},
    )


def _is_new(host: Host, interface: str, context: IfContext, create_type: bool) -> bool:
    """Whether the type of a context is missing in the loaded policy, and may be created."""
    if host.selinux.canonical(str(context)) is not None:
        return False
    said = "The context '{0}' of the interface '{1}' is not valid in the loaded policy".format(context, interface)
    known = host.selinux.initial("netif").split(":")[2]
    if host.selinux.canonical(str(context._replace(type=known))) is None:
        raise SenetError("{0}, which has no level '{1}'; name a level that it has.".format(said, context.level))
    if not create_type:
        raise SenetError(
            "{0}, which has no type '{1}'; name a type that it has, or have it created with create_type=true.".format(
                said, context.type
            )
        )
    parse_new_type("the interface '{0}'".format(interface), context.type)
    return True


def observe(
    host: Host, mls: bool, families: Iterable[str], interfaces: Iterable[str] = ()
) -> _plan.HostState:
    """One read of everything of ours on the host, as far as the labels go in these families, and of the contexts of
    these interfaces.

    :raises SenetError: a part cannot be read, or is not as we wrote it and cannot be trusted.
    """
    # Where SELinux is disabled there may be no store, and what is in one is not in force.
    policy = host.store.module() if host.selinux.status() != "disabled" else None
    declared = cil.declared_types(policy)
    loaded = all(host.selinux.canonical(packet_context(name, mls)) for name in declared)
    saved = {}  # type: Dict[str, str]
    for family in families:
        source = _backends.source(family)
        if source not in saved:
            saved[source] = host.save(source)
    tables = {family: _backends.parse(family, saved[_backends.source(family)], declared) for family in families}
    intent = host.service.intent()
    contexts = host.store.interface_contexts() if interfaces else {}
    return _plan.HostState(
        policy,
        loaded,
        tables,
        intent,
        host.service.in_place(units_of(intent)),
        saved,
        {name: contexts.get(name) for name in interfaces},
    )


def present(observed: _plan.HostState, recorded: Optional[Intent]) -> FlowSet:
    """What is asked of the host now, as far as it can be told."""
    with suppress(SenetError):
        return _present(observed.policy, recorded)
    return recorded.flows if recorded is not None else FlowSet(())


def removed(before: FlowSet, after: FlowSet) -> Tuple[str, ...]:
    """The names of the flows that are gone."""
    kept = {flow.name for flow in after.flows}
    return tuple(flow.name for flow in before.flows if flow.name not in kept)


def purge_warnings(request: Request, before: FlowSet, after: FlowSet) -> List[str]:
    """What a whole set opens because it does not list it, each a sentence."""
    if not isinstance(request, Replace) or request.flows.empty:
        return []
    found = []
    gone = removed(before, after)
    if gone:
        found.append(
            "With purge=true these flows are removed, since they are not listed: {0}. What only they protected is open "
            "to everybody.".format(", ".join(gone))
        )
    free = sorted({domain for domain, dummy in before.confine}.difference(dict(after.confine)))
    if free:
        found.append("With purge=true these domains are confined no longer: {0}.".format(", ".join(free)))
    return found


def wanted(request: Request, observed: _plan.HostState, recorded: Optional[Intent]) -> FlowSet:
    """The whole set of flows that a request asks for. Those present are in the policy module, or on record.

    :raises SenetError: it refers to present flows, and those cannot be told.
    """
    if isinstance(request, Replace):
        current = FlowSet(())
        with suppress(SenetError):  # what cannot be told is replaced as a whole
            current = _present(observed.policy, recorded)
        return current.with_the_flows_of(request.flows)
    current = _present(observed.policy, recorded)
    if isinstance(request, Alter):
        return request.change(current)
    if isinstance(request, Merge):
        return current.with_flows(request.flows, request.confine)
    return current.without(request.names, request.confine)


def installed(host: Host) -> FlowSet:
    """What our policy module was made from.

    :raises SenetError: it does not say.
    """
    return _present(host.store.module(), None)


def _present(policy: Optional[str], recorded: Optional[Intent]) -> FlowSet:
    """The module has the types of interfaces, which are not on record, and flows only if SELinux is their layer."""
    if policy is None:
        return recorded.flows if recorded is not None else FlowSet(())
    declared = cil.parse_policy(policy)
    if recorded is not None and SELINUX not in recorded.layers:
        return declared.with_the_flows_of(recorded.flows)
    return declared


def desired_state(intent: Intent, mls: bool, accounts: owner.Accounts, families: Iterable[str]) -> _plan.Desired:
    """What a host shall have: the rules of the intent's backend and layers, none in the other families.

    :raises SenetError: peer labels cannot tell what flows with verify_source ask for.
    """
    rules = dict.fromkeys(families)  # type: Dict[str, _backends.Rules]
    rules.update(compile_rules(intent, mls, accounts))
    # Types of interfaces are in the policy store alone: nothing of them is to be loaded at boot
    kept = intent._replace(flows=intent.flows._replace(interface_types=()))
    return _plan.Desired(
        None if intent.labelled.empty else cil.compile_policy(intent.labelled),
        rules,
        None if kept.flows.empty else compile_intent(kept),
    )


def state_between(
    observed: _plan.HostState, desired: _plan.Desired, intent: Intent, mls: bool
) -> Optional[_plan.Desired]:
    """What a host shall have on the way to what is desired for an intent; None where there is no need of it.

    Its policy module says that it is for the intent, so that a run that dies there leaves nothing else to be merged.
    """
    if observed.policy is None or desired.policy is None:
        return None
    try:
        before = cil.parse_policy(observed.policy)
    except SenetError:  # it is replaced as a whole
        return None
    way = _bridge.bridge(before, intent.labelled)
    if way is None:
        return None
    rules = _backends.compile_rules(intent.backend, way, mls)
    rules.update(_backends.compile_peer_rules(peering(way), mls))
    return desired._replace(
        policy=cil.compile_policy(way, intent.labelled),
        # Those of the layer owner mean the same by any name
        rules=dict(desired.rules, **rules),
    )


def compile_rules(intent: Intent, mls: bool, accounts: owner.Accounts) -> Dict[str, _backends.Rules]:
    """The rules of all layers by family."""
    rules = compile_owner_rules(intent, accounts)
    if intent.labelled.labels_packets:
        rules.update(_backends.compile_rules(intent.backend, intent.flows, mls))
    rules.update(_backends.compile_peer_rules(peering(intent.labelled), mls))
    return rules


def fit(host: Host, tables: Mapping[str, Any], desired: _plan.Desired) -> _plan.Desired:
    """What a host with these tables shall have, as far as its kernel can."""
    rules = {family: fitted(host, family, tables[family], own) for family, own in desired.rules.items()}
    return desired._replace(rules=rules)


def fitted(host: Host, family: str, table: Any, rules: _backends.Rules) -> _backends.Rules:
    """The rules of a family as this host's kernel takes them; ``table`` is what is there now."""
    if not _backends.remember(family, rules) or _backends.remember(family, table.rules):
        return rules
    return rules if host.netfilter.remembers(family) else _backends.forgetful(family, rules)


def compile_owner_rules(intent: Intent, accounts: owner.Accounts) -> Dict[str, _backends.Rules]:
    """The rules of the layer owner by family; none where it is not among the layers."""
    if OWNER not in intent.layers or not intent.flows.flows:
        return {}
    return _backends.compile_owner_rules(intent.backend, intent.flows, accounts, SELINUX in intent.layers)


def look_up(host: Host, intent: Intent) -> owner.Accounts:
    """The users and units of the layer owner, as far as they are on the host."""
    if OWNER not in intent.layers:
        return owner.Accounts({}, {})
    return host.accounts.look_up({user for flow in intent.flows.flows for user in flow.users}, intent.units)


def check_owners(host: Host, asked: Iterable[Flow]) -> None:
    """Hold the users and units that a request names against the host.

    :raises SenetError: a user or a unit is unknown, or units cannot be matched.
    """
    for flow in asked:
        for user in flow.users:
            if host.accounts.uid(user) is None:
                raise SenetError(
                    "The user '{0}' of the flow '{1}' is not on this host; check the name with 'getent passwd {0}', or "
                    "give the uid.".format(user, flow.name)
                )
        if flow.units and not host.accounts.matches_cgroups():
            raise SenetError(
                "The units of the flow '{0}' cannot be told apart on this host, whose control groups are not those of "
                "version 2 alone; leave units out, or boot with systemd.unified_cgroup_hierarchy=1.".format(flow.name)
            )
        for unit in host.accounts.unknown_units(flow.units):
            raise SenetError(
                "The unit '{0}' of the flow '{1}' is not known to systemd on this host; check the name with 'systemctl "
                "status {0}'.".format(unit, flow.name)
            )


def stored_intent(host: Host) -> Optional[Intent]:
    """What /etc/senet/flows.json asks for.

    :raises SenetError: the file is damaged or not root's alone.
    """
    text = host.service.intent()
    return None if text is None else parse_intent(text, INTENT_PATH)


def resolve_domains(host: Host, flows: FlowSet, mls: bool) -> FlowSet:
    """The flows with each domain as the loaded policy spells it: an alias becomes the type it stands for.

    :raises SenetError: a type is not in the loaded policy, or no domain.
    """
    names = {}
    users = dict.fromkeys(flows.loopback_domains, "loopback_domains")
    for label in flows.peers:
        users.update(dict.fromkeys(label.receivers, "the peer label '{0}'".format(label.type)))
    users.update((domain, "confine") for domain, dummy in flows.confine)
    users.update((domain, "the flow '{0}'".format(flow.name)) for flow in flows.flows for domain in flow.domains)
    for domain in flows.domains:
        user = users[domain]
        context = host.selinux.canonical(packet_context(domain, mls))
        if context is None:
            raise SenetError(
                "The domain '{0}' of {1} is not in the loaded policy; check the spelling with "
                "process_context_info, or install the policy module that declares it.".format(domain, user)
            )
        # Every domain may fork, and nothing else is ever the object of a process permission (domain.te).
        if "fork" not in host.selinux.access(context, context, "process").allowed:
            raise SenetError(
                "The type '{0}' of {1} is no domain, so no process ever runs in it; name the type that "
                "process_context_info shows for the program.".format(domain, user)
            )
        names[domain] = context.split(":")[2]
    return flows._replace(
        flows=tuple(
            flow._replace(
                source=tuple(sorted({names.get(domain, domain) for domain in flow.source})),
                destination=tuple(sorted({names.get(domain, domain) for domain in flow.destination})),
            )
            for flow in flows.flows
        ),
        confine=tuple(sorted({names[domain]: mode for domain, mode in flows.confine}.items())),
        peers=tuple(
            label._replace(receivers=tuple(sorted({names[domain] for domain in label.receivers})))
            for label in flows.peers
        ),
        loopback_domains=tuple(sorted({names[domain] for domain in flows.loopback_domains})),
    )


def check_types(host: Host, flows: FlowSet, policy: Optional[str], mls: bool) -> None:
    """Hold the types that peer labels declare, and those of interfaces that they name, against the loaded policy;
    ``policy`` is our module's text.

    :raises SenetError: the policy has one of the former already, or has not one of the latter.
    """
    own = cil.declared_types(policy)
    for label in flows.peers:
        if label.type in flows.interface_types or (
            label.type not in own and host.selinux.canonical(packet_context(label.type, mls)) is not None
        ):
            raise SenetError(
                "The type '{0}' of a peer label is in the loaded policy already, where other rules may speak of it; "
                "choose another name, which the label then declares for your own policy to use.".format(label.type)
            )
        place = label.interface_type
        if place and host.selinux.canonical(packet_context(place, mls)) is None:
            raise SenetError(
                "The interface_type '{0}' of the peer label '{1}' is not in the loaded policy; give an interface that "
                "type first, with interface_context and create_type=true.".format(place, label.type)
            )
