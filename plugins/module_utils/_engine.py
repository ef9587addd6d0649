# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what is wanted to what is in force: observe, plan, apply, verify. The one place that orders them."""

from typing import Any, Dict, Iterable, List, NamedTuple, Tuple, Union

from ansible_collections.senet.firewall.plugins.module_utils import _plan, _preflight
from ansible_collections.senet.firewall.plugins.module_utils._access import (
    CHECKED,
    UNLABELED_TYPE,
    Access,
    contexts_by_domain,
    cut_domains,
    deviations,
)
from ansible_collections.senet.firewall.plugins.module_utils._compile import cil, iptables
from ansible_collections.senet.firewall.plugins.module_utils._host.host import Host
from ansible_collections.senet.firewall.plugins.module_utils._host.policystore import locked_message
from ansible_collections.senet.firewall.plugins.module_utils._host.selinuxfs import SELinuxFS
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


class Outcome(NamedTuple):
    """What was done, or in check mode would be; ``access`` is empty while the kernel cannot be asked yet."""

    changed: bool
    flows: FlowSet
    steps: Tuple[str, ...]
    access: Tuple[Access, ...]
    cuts: Tuple[_preflight.Cut, ...]
    diffs: List[Dict[str, Any]]
    warnings: Tuple[str, ...]
    selinux: str


def run(host: Host, request: Request, check_mode: bool) -> Outcome:
    """Bring the host to what is requested, or say what that would take.

    :raises SenetError: the request cannot be met; the host is then as it was, or the message says what is not.
    """
    mode = host.selinux.status()
    if mode == "disabled":
        raise SenetError(
            "SELinux is disabled on this host, so no domain can be told from another; enable it in "
            "/etc/selinux/config and on the kernel command line, and reboot."
        )
    mls = host.selinux.mls()
    observed = _observe(host, mls)
    flows = _resolve_domains(host, _wanted(request, observed), mls)
    desired = _desired(flows, mls)
    steps = _plan.plan(observed, desired)

    processes = host.processes()
    cuts = tuple(_preflight.find_cuts(flows, processes, host.pid)) if steps else ()
    if steps:
        _refuse(host, observed, flows, cuts)
        if not check_mode:
            _apply_or_undo(host, observed, desired, steps, processes, flows, mls)

    pending = bool(steps) and check_mode
    access = () if pending else tuple(_matrix(host, flows, processes, mls))
    if not steps:
        _verify_access(flows, access)
    return Outcome(
        bool(steps),
        flows,
        tuple(str(step) for step in steps),
        access,
        cuts,
        _plan.diffs(observed, desired) if steps else [],
        _warnings(mode, flows, access, processes),
        mode,
    )


def _observe(host: Host, mls: bool) -> _plan.HostState:
    policy = host.store.module()
    loaded = all(
        host.selinux.canonical(packet_context(packet_type, mls)) for packet_type in cil.declared_types(policy)
    )
    tables = {family: iptables.parse_save(host.netfilter.save(family)) for family in _plan.FAMILIES}
    return _plan.HostState(policy, loaded, tables)


def _wanted(request: Request, observed: _plan.HostState) -> FlowSet:
    if isinstance(request, Replace):
        return request.flows
    current = cil.parse_policy(observed.policy) if observed.policy is not None else FlowSet(())
    return current.with_flows(request.flows) if isinstance(request, Merge) else current.without(request.names)


def _desired(flows: FlowSet, mls: bool) -> _plan.Desired:
    if not flows.flows:
        return _plan.Desired(None, {family: None for family in _plan.FAMILIES})
    rules = iptables.compile_rules(flows, mls)
    return _plan.Desired(cil.compile_policy(flows), {family: rules for family in _plan.FAMILIES})


def _resolve_domains(host: Host, flows: FlowSet, mls: bool) -> FlowSet:
    """The flows with each domain as the loaded policy spells it: an alias becomes the type it stands for."""
    names = {}
    for domain in flows.domains:
        context = host.selinux.canonical(packet_context(domain, mls))
        if context is None:
            raise SenetError(
                "The domain '{0}' of the flow '{1}' is not in the loaded policy; check the spelling with "
                "process_context_info, or install the policy module that declares it.".format(
                    domain, _user_of(flows, domain)
                )
            )
        # Every domain may fork, and nothing else is ever the object of a process permission (domain.te).
        if "fork" not in host.selinux.access(context, context, "process").allowed:
            raise SenetError(
                "The type '{0}' of the flow '{1}' is no domain, so no process ever runs in it; name the type that "
                "process_context_info shows for the program.".format(domain, _user_of(flows, domain))
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


def _user_of(flows: FlowSet, domain: str) -> str:
    return next(flow.name for flow in flows.flows if domain in flow.domains)


def _refuse(host: Host, observed: _plan.HostState, flows: FlowSet, cuts: Iterable[_preflight.Cut]) -> None:
    """Raise for whatever speaks against the change, before anything is written."""
    foreign = [rule for family in _plan.FAMILIES for rule in observed.tables[family].foreign]
    if foreign and flows.flows:
        raise SenetError(
            "Another rule on this host labels packets too, and the last label wins: '{0}'. Nothing was changed; "
            "remove that rule first.".format(foreign[0])
        )
    error = _preflight.refusal(cuts)
    if error:
        raise SenetError(error)
    holder = host.store.lock_holder()
    if holder:
        raise SenetError(locked_message(host.selinux.policy_name() or "", holder) + " Nothing was changed.")


def _apply_or_undo(
    host: Host,
    observed: _plan.HostState,
    desired: _plan.Desired,
    steps: Iterable[_plan.Step],
    processes: List[Process],
    flows: FlowSet,
    mls: bool,
) -> None:
    try:
        _apply(host, steps, processes, mls)
        left = _plan.plan(_observe(host, mls), desired)
        if left:
            raise SenetError(
                "The change did not hold: read back, the host still needs to {0}; look for another program that "
                "changes the same rules.".format(", ".join(str(step) for step in left))
            )
        _verify_access(flows, _matrix(host, flows, processes, mls))
    except (SenetError, OSError) as exc:
        try:
            before = _plan.Desired(
                observed.policy,
                {family: table.rules if table.ours else None for family, table in observed.tables.items()},
            )
            _apply(host, _plan.plan(_observe(host, mls), before), processes, mls)
        except (SenetError, OSError) as second:
            raise SenetError(
                "{0} Undoing it failed as well: {1} To let all traffic through, run 'iptables -t security -F "
                "SENET_OUTPUT; iptables -t security -F SENET_INPUT', and the same with ip6tables.".format(exc, second)
            )
        raise SenetError("{0} What had been done was undone.".format(exc))


def _apply(host: Host, steps: Iterable[_plan.Step], processes: List[Process], mls: bool) -> None:
    for step in steps:
        if step.action == _plan.INSTALL_POLICY:
            host.store.install(step.payload or "")
        elif step.action == _plan.REMOVE_POLICY:
            host.store.remove()
        elif step.action == _plan.CHECK_ACCESS:
            _check_nobody_is_cut(host, processes, mls)
        elif step.action == _plan.RESTORE_RULES:
            host.netfilter.restore(step.family or "", step.payload or "")
        elif step.action == _plan.DROP_TABLE:
            host.netfilter.drop_empty_table(step.family or "")


def _check_nobody_is_cut(host: Host, processes: List[Process], mls: bool) -> None:
    """Ask the kernel whether every running domain may use the packets that no flow names, before a rule is loaded."""
    cut = cut_domains(host.selinux.access, processes, (DEFAULT_PACKET_TYPE, UNLABELED_TYPE), mls)
    if cut:
        raise SenetError(
            "The rules would cut off the running domains {0}, which the loaded policy lets neither send nor receive "
            "ordinary packets; see with 'sesearch -A -t {1} -c packet' what it grants.".format(
                ", ".join(cut), DEFAULT_PACKET_TYPE
            )
        )


def _matrix(host: Host, flows: FlowSet, processes: List[Process], mls: bool) -> Iterable[Access]:
    contexts = dict((domain, packet_context(domain, mls)) for domain in flows.domains)
    contexts.update(contexts_by_domain(processes))
    for flow in flows.flows:
        for domain, context in sorted(contexts.items()):
            client = host.selinux.access(context, packet_context(flow.client_type, mls), "packet")
            server = host.selinux.access(context, packet_context(flow.server_type, mls), "packet")
            yield Access(
                flow.name, domain, client.allowed & CHECKED, server.allowed & CHECKED, client.permissive
            )


def _verify_access(flows: FlowSet, matrix: Iterable[Access]) -> None:
    found = deviations(flows, list(matrix))
    if found:
        raise SenetError(
            "The kernel does not enforce the flows: {0}; another policy module decides otherwise, find its rule with "
            "'sesearch -A -c packet'.".format("; ".join(found))
        )


def _warnings(
    mode: str, flows: FlowSet, access: Iterable[Access], processes: List[Process]
) -> Tuple[str, ...]:
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
    return tuple(warnings)
