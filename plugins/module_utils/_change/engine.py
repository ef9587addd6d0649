# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order of a change: observe, plan, apply, verify, wait for the confirmation."""

from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._change import (
    kernel_answers,
    load,
    metrics,
    names,
    observation,
    take,
    target,
    undo,
)
from ansible_collections.senet.firewall.plugins.module_utils._change.change import Change, Options, is_guarded
from ansible_collections.senet.firewall.plugins.module_utils._change.change_warnings import change_warnings
from ansible_collections.senet.firewall.plugins.module_utils._change.refusals import check_labels, refuse, unconfirmed
from ansible_collections.senet.firewall.plugins.module_utils._decisions import plan, preflight, wanted_flows
from ansible_collections.senet.firewall.plugins.module_utils._decisions.access import Access, Elsewhere
from ansible_collections.senet.firewall.plugins.module_utils._decisions.backend import Choice, choose_backend
from ansible_collections.senet.firewall.plugins.module_utils._decisions.layers import (
    OwnerRow,
    choose_layers,
    owner_rows,
    refuse_what_owner_cannot,
    with_owners,
)
from ansible_collections.senet.firewall.plugins.module_utils._decisions.peers import LabelAccess, ReceiverAccess
from ansible_collections.senet.firewall.plugins.module_utils._host.guard import Pending, boot_id, clock
from ansible_collections.senet.firewall.plugins.module_utils._host.host import Host
from ansible_collections.senet.firewall.plugins.module_utils._values import requests
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.fields import NO_METRICS
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import FlowSet
from ansible_collections.senet.firewall.plugins.module_utils._values.intent import Intent
from ansible_collections.senet.firewall.plugins.module_utils._values.layers import (
    OWNER,
    SELINUX,
    labelled,
    without_types,
)
from ansible_collections.senet.firewall.plugins.module_utils._values.peers import peering
from ansible_collections.senet.firewall.plugins.module_utils._values.processes import Process

# How long a run may take before the guard looks whether it is dead, and undoes what it did; a live one gets longer.
APPLY_SECONDS = 300
_LOCK_SECONDS = 5


class Outcome(NamedTuple):
    """What was done, or in check mode would be.

    ``access``, ``confined``, ``peers`` and ``peer_labels`` are empty while the kernel cannot be asked yet, and without
    the layer selinux, ``owners`` without the layer owner; ``pending`` says that the change waits for confirmation;
    ``interfaces`` has the context before and after of each that was asked about; ``previous`` are the options that ask
    for the flows of before.
    """

    changed: bool
    flows: FlowSet
    removed: Tuple[str, ...]
    steps: Tuple[str, ...]
    access: Tuple[Access, ...]
    confined: Tuple[Elsewhere, ...]
    peers: Tuple[ReceiverAccess, ...]
    peer_labels: Tuple[LabelAccess, ...]
    owners: Tuple[OwnerRow, ...]
    cuts: Tuple[preflight.Cut, ...]
    diffs: List[Dict[str, Any]]
    warnings: Tuple[str, ...]
    selinux: str
    backend: Choice
    layers: Tuple[str, ...]
    pending: bool
    interfaces: Mapping[str, Tuple[Optional[str], Optional[str]]] = {}
    previous: Optional[Dict[str, Any]] = None


def run(host: Host, request: requests.Request, options: Options, check_mode: bool) -> Outcome:
    """Bring the host to what is requested, or say what that would take.

    :raises SenetError: the request cannot be met; the host is then as it was, or the message says what is not.
    """
    left_over = unconfirmed(host, check_mode)
    change = _prepare(host, request, options)
    warnings = []  # type: List[str]
    if not check_mode and (change.steps or left_over):
        with host.guard.lock(_LOCK_SECONDS):
            dead = unconfirmed(host, check_mode)
            if dead:
                warnings.append(_undo_dead(host, dead))
            # What was seen without the lock may be somebody else's half-way house.
            change = _prepare(host, request, options)
            if change.steps:
                _apply(host, change, options)
        if change.steps and change.steps[-1].action == plan.PERSIST and not is_guarded(change):
            take.start_service(host, change.desired)

    asked = FlowSet(()) if change.steps and check_mode else change.labelled
    answers = kernel_answers.ask(host, asked, change.processes, change.mls)
    if not change.steps:
        check_labels(host, change)
        kernel_answers.check_access(asked, answers.access, answers.confined)
        kernel_answers.check_peer_access(answers.receivers, answers.peer_labels)
    warnings.extend(change_warnings(host, request, options, change, answers))
    if not check_mode:
        host.decisions.keep()
        host.service.keep()
    return Outcome(
        bool(change.steps),
        change.flows,
        wanted_flows.removed(change.present, change.flows),
        tuple(str(step) for step in change.steps),
        tuple(answers.access),
        tuple(answers.confined),
        tuple(answers.receivers),
        tuple(answers.peer_labels),
        tuple(owner_rows(change.flows, change.accounts) if OWNER in change.layers else ()),
        change.cuts,
        plan.diffs(change.observed, change.desired, change.steps) if change.steps else [],
        tuple(warnings),
        change.mode,
        change.backend,
        change.layers,
        is_guarded(change) and not check_mode,
        {name: (change.observed.interfaces.get(name), text) for name, text in change.desired.interfaces.items()},
        change.previous,
    )


def _undo_dead(host: Host, dead: Pending) -> str:
    """Undo a change that nobody will confirm any more; returns a sentence on it."""
    if not dead.complete:
        undo.undo_pending(host, dead, "the run ended at the step '{0}'".format(dead.step))
        return "An earlier run ended at the step '{0}'; what it had done was undone first.".format(dead.step)
    undo.undo_pending(host, dead, "it was not confirmed in time")
    return (
        "The earlier change {0} was not confirmed in time, and the host had not managed to undo it; it was undone "
        "first.".format(dead.token)
    )


def nothing_done(host: Host, flows: FlowSet) -> Outcome:
    """What is told of a request for which a host needs no change, and no look at it either."""
    backend = Choice("", "nothing is to be done")
    return Outcome(
        False, flows, (), (), (), (), (), (), (), (), [], (), host.selinux.status(), backend, (), False
    )


def _prepare(host: Host, request: requests.Request, options: Options) -> Change:
    mode = host.selinux.status()
    if mode == "disabled" and isinstance(request, requests.Alter):
        raise SenetError(names.DISABLED)
    mls = observation.mls(host)
    intent = observation.stored_intent(host)
    layers = choose_layers(options.layers, intent.layers if intent is not None else None, mode != "disabled")
    recorded = intent.backend if intent is not None else None
    backend = choose_backend(options.backend, recorded, host.netfilter.backends())
    asked = requests.asked_flows(request)
    families = observation.families_to_read(host, backend.backend, intent, layers, requests.asks_peers(request))
    interfaces = request.interfaces if isinstance(request, requests.Alter) else {}
    observed = observation.observe(host, mls, families, interfaces)
    present = wanted_flows.present(observed, intent)
    flows = wanted_flows.wanted(request, observed, intent)
    if mode == "disabled":
        flows = without_types(flows)
    if SELINUX in layers:
        flows = names.resolve_domains(host, flows, mls)
    else:
        refuse_what_owner_cannot(flows)
        types = names.resolve_domains(host, labelled(flows, layers), mls)
        flows = types.with_the_flows_of(flows)
    if OWNER in layers:
        names.check_owners(host, asked)
        before = intent.flows if intent is not None else None
        cgroups = host.accounts.matches_cgroups()
        flows = with_owners(flows, options.owners, before, host.processes(False), cgroups, mode != "disabled")
    directory = metrics.choose(host, options.metrics_directory, intent, flows, request)
    wanted = Intent(flows, backend.backend, layers, directory)
    accounts = target.look_up(host, wanted)
    names.check_types(host, flows, observed.policy, mls)
    desired = target.fit(host, observed.tables, target.desired_state(wanted, mls, accounts, families))
    desired = desired._replace(interfaces=interfaces)
    between = target.state_between(observed, desired, wanted, mls, intent)
    if between is not None:
        between = target.fit(host, observed.tables, between)
    steps = plan.plan(observed, desired, options.confirm_timeout > 0, between)
    # Only a change can cut somebody's sockets.
    processes = host.processes(bool(steps))
    cuts = _cuts(host, wanted.labelled, interfaces, processes, mls) if steps else ()
    change = Change(
        mode, mls, backend, observed, layers, intent.layers if intent is not None else (), present, flows, accounts,
        desired, steps, processes, cuts, peering(wanted.labelled), _previous(observed, intent, directory),
    )
    if steps:
        refuse(host, change)
    return change


def _previous(
    observed: plan.HostState, recorded: Optional[Intent], directory: Optional[str]
) -> Optional[Dict[str, Any]]:
    """The options that bring back what the host has, and the directory for metrics if that is to change."""
    options = wanted_flows.previous(observed, recorded)
    if recorded is not None and options is not None and recorded.metrics_directory != directory:
        options["metrics_directory"] = recorded.metrics_directory or NO_METRICS
    return options


def _cuts(
    host: Host, flows: FlowSet, interfaces: Mapping[str, Optional[str]], processes: List[Process], mls: bool
) -> Tuple[preflight.Cut, ...]:
    """The sockets that lose their traffic: by labels, and by the contexts of interfaces that change, or that begin to
    count with peer labels."""
    peers = peering(flows)
    cuts = preflight.find_cuts(flows, processes, host.pid)
    if interfaces:
        cuts += kernel_answers.interface_cuts(host, interfaces, peers, processes, mls)
    elif not peers.empty:
        contexts = host.store.interface_contexts()
        cuts += kernel_answers.interface_cuts(host, contexts, peering(FlowSet(())), processes, mls)
    return tuple(cuts)


def _apply(host: Host, change: Change, options: Options) -> None:
    """Take the steps, undoing those taken if one fails. A guarded change stops short of what confirming does."""
    before = plan.as_desired(change.observed)
    pending = Pending(
        options.token, boot_id(), False, "", 0.0, plan.as_record(before), plan.as_record(change.desired)
    )
    armed = False
    try:
        for step in change.steps:
            if is_guarded(change) and step.action == plan.PERSIST:
                break
            pending = pending._replace(step=str(step))
            if armed or step.action == plan.ARM_GUARD:
                host.guard.write(pending)
                armed = True
            _take(host, change, options, pending, step)
    except (SenetError, OSError) as exc:
        try:
            if armed:
                undo.undo_pending(host, pending, str(exc))
            else:
                undo.roll_back(host, before)
        except (SenetError, OSError) as second:
            raise SenetError(
                "{0} Undoing it failed as well: {1} To let all traffic through, run 'systemctl stop "
                "senet-firewall-watch', then 'iptables -t security -F SENET_OUTPUT; iptables -t security -F "
                "SENET_INPUT; iptables -F SENET_OWNER_OUTPUT; iptables -F SENET_OWNER_INPUT', the same with ip6tables, "
                "and 'nft delete table inet senet; nft delete table inet senet_owner'; peer labels are in 'netlabelctl "
                "unlbl list' and 'netlabelctl map list'.".format(exc, second)
            ) from second
        raise SenetError("{0} What had been done was undone.".format(exc)) from exc
    host.guard.forget_repairs()


def _take(host: Host, change: Change, options: Options, pending: Pending, step: plan.Step) -> None:
    if step.action == plan.ARM_GUARD:
        # The boot unit is the guard's other half: it undoes the change if the host restarts meanwhile.
        units = observation.units_of(change.observed.intent) + observation.units_of(change.desired.intent)
        host.service.install(sorted(set(units)))
        host.guard.prove(options.token)
        rebuilds = sum(step.action == plan.INSTALL_POLICY for step in change.steps)
        host.guard.arm(options.token, "apply", options.confirm_timeout + APPLY_SECONDS * max(1, rebuilds))
    elif step.action == plan.CHECK_ACCESS:
        kernel_answers.check_nobody_is_cut(host, change.labelled, change.processes, change.mls)
        kernel_answers.check_peers_are_received(
            host, change.peers, change.processes, change.mls, change.labelled.labels_packets
        )
        # Of types that were not declared before the kernel could not be asked
        if change.desired.interfaces:
            cuts = kernel_answers.interface_cuts(
                host, change.desired.interfaces, change.peers, change.processes, change.mls
            )
            error = preflight.refusal(cuts)
            if error:
                raise SenetError(error)
    elif step.action == plan.VERIFY:
        _verify(host, change)
    elif step.action == plan.AWAIT_CONFIRMATION:
        host.guard.write(pending._replace(complete=True, deadline=clock() + options.confirm_timeout))
        host.guard.arm(options.token, "confirm", options.confirm_timeout)
        if OWNER in change.layers:
            # A unit that was started meanwhile has asked in vain: we held the lock.
            load.refresh(host)
    elif step.action == plan.PERSIST:
        take.persist(host, change.desired)
        take.remove_service(host, change.desired)
    else:
        take.take(host, step)


def _seen(host: Host, change: Change) -> plan.HostState:
    return observation.observe(host, change.mls, change.desired.rules, change.desired.interfaces)


def _verify(host: Host, change: Change) -> None:
    left = plan.enforcement_steps(_seen(host, change), change.desired)
    if left:
        raise SenetError(
            "The change did not take effect: after it, the host still needs to {0}; look for another program that "
            "changes the same rules.".format(", ".join(str(step) for step in left))
        )
    kernel_answers.check_access(
        change.labelled,
        kernel_answers.access_matrix(host, change.labelled, change.processes, change.mls),
        kernel_answers.confined_access(host, change.labelled, change.mls),
    )
    kernel_answers.check_peer_access(
        kernel_answers.receiver_access(host, change.peers, change.mls),
        kernel_answers.label_access(host, change.flows, change.processes, change.mls),
    )
