# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looking at a host through its edges, and turning a request into what the host shall have. It writes nothing."""

from typing import Dict, Iterable, List, NamedTuple, Optional, Tuple, Union

from ansible_collections.senet.firewall.plugins.module_utils import _backends, _plan
from ansible_collections.senet.firewall.plugins.module_utils._access import (
    CHECKED,
    UNLABELED_TYPE,
    Access,
    contexts_by_domain,
    cut_domains,
    deviations,
)
from ansible_collections.senet.firewall.plugins.module_utils._compile import cil
from ansible_collections.senet.firewall.plugins.module_utils._host.host import Host
from ansible_collections.senet.firewall.plugins.module_utils._host.service import INTENT_PATH
from ansible_collections.senet.firewall.plugins.module_utils._intent import Intent, compile_intent, parse_intent
from ansible_collections.senet.firewall.plugins.module_utils._model import (
    DEFAULT_PACKET_TYPE,
    Flow,
    FlowSet,
    SenetError,
    packet_context,
)
from ansible_collections.senet.firewall.plugins.module_utils._processes import Process


class Replace(NamedTuple):
    """Ask for exactly these flows; none of them takes everything of ours off the host."""

    flows: FlowSet


class Merge(NamedTuple):
    """Ask for these flows, leaving those of other names as they are."""

    flows: Tuple[Flow, ...]


class Remove(NamedTuple):
    """Ask that the flows of these names be gone, leaving the others as they are."""

    names: Tuple[str, ...]


Request = Union[Replace, Merge, Remove]


def families_to_read(host: Host, backend: Optional[str], recorded: Optional[str]) -> Tuple[str, ...]:
    """The families where something of ours is or will be; without a record, all that the host has."""
    backends = set(host.netfilter.backends()) if recorded is None else {recorded}
    if backend is not None:
        backends.add(backend)
    return tuple(family for name in sorted(backends) for family in _backends.FAMILIES[name])


def observe(host: Host, mls: bool, families: Iterable[str]) -> _plan.HostState:
    """One read of everything of ours on the host, as far as the packet labels go in these families.

    :raises SenetError: a part cannot be read, or is not as we wrote it and cannot be trusted.
    """
    policy = host.store.module()
    loaded = all(
        host.selinux.canonical(packet_context(packet_type, mls)) for packet_type in cil.declared_types(policy)
    )
    tables = {family: _backends.parse(family, host.netfilter.save(family)) for family in families}
    return _plan.HostState(policy, loaded, tables, host.service.intent(), host.service.in_place())


def wanted(request: Request, observed: _plan.HostState) -> FlowSet:
    """The whole set of flows that a request asks for.

    :raises SenetError: it refers to present flows, and those cannot be told.
    """
    if isinstance(request, Replace):
        return request.flows
    current = cil.parse_policy(observed.policy) if observed.policy is not None else FlowSet(())
    return current.with_flows(request.flows) if isinstance(request, Merge) else current.without(request.names)


def desired_state(flows: FlowSet, mls: bool, backend: str, families: Iterable[str]) -> _plan.Desired:
    """What a host shall have for a set of flows: rules of the backend, and none in the other families."""
    rules = dict.fromkeys(families)  # type: Dict[str, _backends.Rules]
    if not flows.flows:
        return _plan.Desired(None, rules, None)
    rules.update(_backends.compile_rules(backend, flows, mls))
    return _plan.Desired(cil.compile_policy(flows), rules, compile_intent(Intent(flows, backend)))


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
    for domain in flows.domains:
        user = next(flow.name for flow in flows.flows if domain in flow.domains)
        context = host.selinux.canonical(packet_context(domain, mls))
        if context is None:
            raise SenetError(
                "The domain '{0}' of the flow '{1}' is not in the loaded policy; check the spelling with "
                "process_context_info, or install the policy module that declares it.".format(domain, user)
            )
        # Every domain may fork, and nothing else is ever the object of a process permission (domain.te).
        if "fork" not in host.selinux.access(context, context, "process").allowed:
            raise SenetError(
                "The type '{0}' of the flow '{1}' is no domain, so no process ever runs in it; name the type that "
                "process_context_info shows for the program.".format(domain, user)
            )
        names[domain] = context.split(":")[2]
    return FlowSet(
        tuple(
            flow._replace(
                source=tuple(sorted({names[domain] for domain in flow.source})),
                destination=tuple(sorted({names[domain] for domain in flow.destination})),
            )
            for flow in flows.flows
        )
    )


def access_matrix(host: Host, flows: FlowSet, processes: Iterable[Process], mls: bool) -> List[Access]:
    """The kernel's answer for each flow and each domain that runs or that a flow names."""
    contexts = {domain: packet_context(domain, mls) for domain in flows.domains}
    contexts.update(contexts_by_domain(processes))
    matrix = []
    for flow in flows.flows:
        for domain, context in sorted(contexts.items()):
            client = host.selinux.access(context, packet_context(flow.client_type, mls), "packet")
            server = host.selinux.access(context, packet_context(flow.server_type, mls), "packet")
            matrix.append(
                Access(flow.name, domain, client.allowed & CHECKED, server.allowed & CHECKED, client.permissive)
            )
    return matrix


def check_access(flows: FlowSet, matrix: Iterable[Access]) -> None:
    """Hold the kernel's answers against the flows.

    :raises SenetError: it grants more or less than they say.
    """
    found = deviations(flows, list(matrix))
    if found:
        raise SenetError(
            "The kernel does not enforce the flows: {0}; another policy module decides otherwise, find its rule with "
            "'sesearch -A -c packet'.".format("; ".join(found))
        )


def check_nobody_is_cut(host: Host, processes: Iterable[Process], mls: bool) -> None:
    """Ask the kernel whether every running domain may use the packets that no flow names.

    :raises SenetError: some may not, and would be cut off by the first rule.
    """
    cut = cut_domains(host.selinux.access, processes, (DEFAULT_PACKET_TYPE, UNLABELED_TYPE), mls)
    if cut:
        raise SenetError(
            "The rules would cut off the running domains {0}, which the loaded policy lets neither send nor receive "
            "ordinary packets; see with 'sesearch -A -t {1} -c packet' what it grants.".format(
                ", ".join(cut), DEFAULT_PACKET_TYPE
            )
        )


def find_warnings(mode: str, flows: FlowSet, access: Iterable[Access], processes: Iterable[Process]) -> List[str]:
    """What keeps flows that are in place from being enforced or used, each a sentence."""
    warnings = []
    if flows.flows and mode == "permissive":
        warnings.append(
            "SELinux is permissive on this host: the flows are in place, but nothing is enforced until 'setenforce 1'."
        )
    permissive = sorted({row.domain for row in access if row.permissive})
    if permissive and mode == "enforcing":
        warnings.append(
            "The policy declares the domains {0} permissive: nothing is enforced for them until 'semanage permissive "
            "-d'.".format(", ".join(permissive))
        )
    running = set(contexts_by_domain(processes))
    for flow in flows.flows:
        if not running.intersection(flow.domains):
            warnings.append(
                "No process runs in a domain of the flow '{0}' ({1}) on this host; start its services, or check their "
                "domains with process_context_info.".format(flow.name, ", ".join(flow.domains))
            )
    return warnings
