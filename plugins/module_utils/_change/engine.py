# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order of a change: observe, plan, apply, verify, wait for the confirmation."""

from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._change import (
    history,
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
from ansible_collections.senet.firewall.plugins.module_utils._change.refusals import check_others, refuse, unconfirmed
from ansible_collections.senet.firewall.plugins.module_utils._decisions import plan, preflight, wanted_flows
from ansible_collections.senet.firewall.plugins.module_utils._decisions.backend import Choice, choose_backend
from ansible_collections.senet.firewall.plugins.module_utils._decisions.layers import (
    OwnerRow,
    choose_layers,
    owner_rows,
    refuse_what_owner_cannot,
    with_owners,
)
from ansible_collections.senet.firewall.plugins.module_utils._decisions.opened import Opened, opened
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

    ``answers`` is empty while the kernel cannot be asked yet, and without the layer selinux, ``owners`` without the
    layer owner; ``pending`` says that the change waits for confirmation; ``interfaces`` has the context before and
    after of each that was asked about; ``previous`` are the options that ask for the flows of before.
    """

    flows: FlowSet
    selinux: str
    changed: bool = False
    removed: Tuple[str, ...] = ()
    opened: Tuple[Opened, ...] = ()
    steps: Tuple[str, ...] = ()
    answers: kernel_answers.Answers = kernel_answers.NOT_ASKED
    owners: Tuple[OwnerRow, ...] = ()
    cuts: Tuple[preflight.Cut, ...] = ()
    diffs: Tuple[Dict[str, Any], ...] = ()
    warnings: Tuple[str, ...] = ()
    backend: Choice = Choice("", "nothing is to be done")
    layers: Tuple[str, ...] = ()
    pending: bool = False
    interfaces: Mapping[str, Tuple[Optional[str], Optional[str]]] = {}
    previous: Optional[Dict[str, Any]] = None


def run(host: Host, request: requests.Asked, options: Options, check_mode: bool) -> Outcome:
    """Bring the host to what is requested, or say what that would take.

    :raises SenetError: the request cannot be met; the host is then as it was, or the message says what is not.
    """
    left_over = unconfirmed(host, check_mode)
    change = _prepare(host, *history.resolved(host, request, options))
    warnings = []  # type: List[str]
    if not check_mode and (change.steps or left_over):
        with host.guard.lock(_LOCK_SECONDS):
            dead = unconfirmed(host, check_mode)
            if dead:
                warnings.append(_undo_dead(host, dead))
            # What was seen without the lock may be somebody else's half-way house.
            change = _prepare(host, *history.resolved(host, request, options))
            if change.steps:
                _apply(host, change)
        if change.steps and change.steps[-1].action == plan.PERSIST and not is_guarded(change):
            take.start_service(host, change.desired)

    answers = _answers(host, change, check_mode)
    opens = opened(change.present, change.flows, OWNER in change.recorded and OWNER in change.layers)
    warnings.extend(change_warnings(host, change, answers, opens))
    if not check_mode:
        host.decisions.keep()
        host.service.keep()
    return _outcome(change, answers, opens, warnings, check_mode)


def nothing_done(host: Host, flows: FlowSet) -> Outcome:
    """What is told of a request for which a host needs no change, and no look at it either."""
    return Outcome(flows=flows, selinux=host.selinux.status())


def _answers(host: Host, change: Change, check_mode: bool) -> kernel_answers.Answers:
    """What the kernel grants the flows of a change.

    :raises SenetError: nothing was to be changed, and yet it does not enforce them.
    """
    if change.steps and check_mode:
        return kernel_answers.NOT_ASKED
    answers = kernel_answers.ask(host, change.labelled, change.processes)
    if not change.steps:
        check_others(host, change)
        kernel_answers.check_access(change.labelled, answers.access, answers.confined)
        kernel_answers.check_peer_access(answers.receivers, answers.peer_labels)
    return answers


def _outcome(
    change: Change,
    answers: kernel_answers.Answers,
    opens: Tuple[Opened, ...],
    warnings: List[str],
    check_mode: bool,
) -> Outcome:
    before, after = change.observed.interfaces, change.desired.interfaces
    return Outcome(
        flows=change.flows,
        selinux=change.mode,
        changed=bool(change.steps),
        removed=wanted_flows.removed(change.present, change.flows),
        opened=opens,
        steps=tuple(str(step) for step in change.steps),
        answers=answers,
        owners=tuple(owner_rows(change.flows, change.accounts) if OWNER in change.layers else ()),
        cuts=change.cuts,
        diffs=tuple(plan.diffs(change.observed, change.desired, change.steps) if change.steps else ()),
        warnings=tuple(warnings),
        backend=change.backend,
        layers=change.layers,
        pending=is_guarded(change) and not check_mode,
        interfaces={name: (before.get(name), context) for name, context in after.items()},
        previous=change.previous,
    )


def _undo_dead(host: Host, dead: Pending) -> str:
    """Undo a change that nobody will confirm any more; returns a sentence on it."""
    if not dead.complete:
        undo.undo_pending(host, dead, "the run ended at the step '{0}'".format(dead.step))
        return "An earlier run ended at the step '{0}'; what it had done was undone first.".format(dead.step)
    undo.undo_pending(host, dead, dead.reason)
    what = "was not confirmed in time" if dead.deadline else "was to be undone"
    return "The earlier change {0} {1}, and the host had not managed to undo it; it was undone first.".format(
        dead.token, what
    )


def _prepare(host: Host, request: requests.Request, options: Options) -> Change:
    mode = host.selinux.status()
    if mode == "disabled" and isinstance(request, requests.Alter):
        raise SenetError(names.DISABLED)
    intent = observation.stored_intent(host)
    held = observation.recorded_layers(host, intent)
    layers = choose_layers(options.layers, held, mode != "disabled")
    recorded = intent.backend if intent is not None else None
    backend = choose_backend(options.backend, recorded, host.netfilter.backends())
    sets = observation.sets_to_read(host, backend.backend, intent, layers, requests.asks_peers(request))
    interfaces = request.interfaces if isinstance(request, requests.Alter) else {}
    observed = observation.with_left_over(host, observation.observe(host, sets, interfaces))
    if isinstance(request, requests.Replace) and request.reverts:
        history.refuse_unrecorded(intent, observed)
    asked = wanted_flows.wanted(request, observed, intent)
    flows = _known_flows(host, asked if mode != "disabled" else without_types(asked), layers)
    if OWNER in layers:
        names.check_owners(host, requests.asked_flows(request))
        before = intent.flows if intent is not None else None
        cgroups = host.accounts.matches_cgroups()
        flows = with_owners(flows, options.owners, before, host.processes(False), cgroups, mode != "disabled")
    directory = metrics.choose(host, options.metrics_directory, intent, flows, request)
    wanted = Intent(flows, backend.backend, layers, directory)
    accounts = target.look_up(host, wanted)
    names.check_types(host, flows, observed.policy)
    desired = target.fit(host, observed.tables, target.desired_state(wanted, accounts, observed.tables))
    desired = desired._replace(interfaces=interfaces)
    between = target.state_between(observed, desired, wanted, intent)
    if between is not None:
        between = target.fit(host, observed.tables, between)
    steps = plan.plan(observed, desired, options.confirm_timeout > 0, between)
    # Only a change can cut somebody's sockets.
    processes = host.processes(bool(steps))
    present = wanted_flows.present(observed, intent)
    change = Change(
        request=request,
        options=options,
        mode=mode,
        backend=backend,
        layers=layers,
        recorded=held or (),
        left_over=tuple(name for name in observed.tables if name not in sets),
        observed=observed,
        desired=desired,
        steps=steps,
        present=present,
        flows=flows,
        accounts=accounts,
        processes=processes,
        cuts=_cuts(host, present, wanted.labelled, interfaces, processes) if steps else (),
        peers=peering(wanted.labelled),
        previous=_previous(observed, intent, directory),
    )
    if steps:
        refuse(host, change)
    return change


def _known_flows(host: Host, flows: FlowSet, layers: Tuple[str, ...]) -> FlowSet:
    """The flows with the domains as the loaded policy spells them, as far as these layers compare domains.

    :raises SenetError: the policy does not know one, or the layer owner cannot limit a flow alone.
    """
    if SELINUX in layers:
        return names.resolve_domains(host, flows)
    refuse_what_owner_cannot(flows)
    return names.resolve_domains(host, labelled(flows, layers)).with_the_flows_of(flows)


def _previous(
    observed: plan.HostState, recorded: Optional[Intent], directory: Optional[str]
) -> Optional[Dict[str, Any]]:
    """The options that bring back what the host has, and the directory for metrics if that is to change; None where one
    call cannot."""
    options = wanted_flows.previous(observed, recorded)
    if recorded is not None and options is not None and recorded.metrics_directory != directory:
        if "flows" not in options:
            return None
        options["metrics_directory"] = recorded.metrics_directory or NO_METRICS
    return options


def _cuts(
    host: Host,
    before: FlowSet,
    flows: FlowSet,
    interfaces: Mapping[str, Optional[str]],
    processes: List[Process],
) -> Tuple[preflight.Cut, ...]:
    """The sockets that lose their traffic: by labels, for want of labelled IPsec, and by the contexts of interfaces
    that change, or that begin to count with peer labels."""
    peers = peering(flows)
    cuts = preflight.find_cuts(flows, processes, host.pid)
    if peers.associated and not host.ipsec_labels():
        cuts += preflight.ipsec_cuts(before, flows, processes, host.pid, host.addresses())
    if interfaces:
        cuts += kernel_answers.interface_cuts(host, interfaces, peers, processes)
    elif not peers.empty:
        contexts = host.store.interface_contexts()
        cuts += kernel_answers.interface_cuts(host, contexts, peering(FlowSet(())), processes)
    return tuple(cuts)


def _apply(host: Host, change: Change) -> None:
    """Take the steps, undoing those taken if one fails. A guarded change stops short of what confirming does."""
    before = plan.as_desired(change.observed)
    token, states = change.options.token, (plan.as_record(before), plan.as_record(change.desired))
    pending = Pending(token, boot_id(), False, "", 0.0, *states, reverts=change.reverts)
    armed = False
    try:
        for step in change.steps:
            if is_guarded(change) and step.action == plan.PERSIST:
                break
            pending = pending._replace(step=str(step))
            if armed or step.action == plan.ARM_GUARD:
                host.guard.write(pending)
                armed = True
            _take(host, change, before, pending, step)
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


def _take(host: Host, change: Change, before: plan.Desired, pending: Pending, step: plan.Step) -> None:
    options = change.options
    if step.action == plan.ARM_GUARD:
        # The boot unit is the guard's other half: it undoes the change if the host restarts meanwhile.
        units = observation.units_of(change.observed.intent) + observation.units_of(change.desired.intent)
        host.service.install(sorted(set(units)))
        host.guard.prove(options.token)
        rebuilds = sum(step.action == plan.INSTALL_POLICY for step in change.steps)
        host.guard.arm(options.token, "apply", options.confirm_timeout + APPLY_SECONDS * max(1, rebuilds))
    elif step.action == plan.CHECK_ACCESS:
        kernel_answers.check_nobody_is_cut(host, change.labelled, change.processes)
        kernel_answers.check_peers_are_received(
            host, change.peers, change.processes, change.labelled.labels_packets
        )
        # Of types that were not declared before the kernel could not be asked
        if change.desired.interfaces:
            cuts = kernel_answers.interface_cuts(
                host, change.desired.interfaces, change.peers, change.processes
            )
            error = preflight.refusal(cuts)
            if error:
                raise SenetError(error)
    elif step.action == plan.VERIFY:
        _verify(host, change)
    elif step.action == plan.AWAIT_CONFIRMATION:
        # In this order a whole change has a timer, which comes when the time is over and not before
        deadline = clock() + options.confirm_timeout
        host.guard.arm(options.token, "confirm", options.confirm_timeout)
        host.guard.write(pending._replace(complete=True, deadline=deadline))
        if OWNER in change.layers:
            # A unit that was started meanwhile has asked in vain: we held the lock.
            load.refresh(host)
    elif step.action == plan.PERSIST:
        take.persist(host, before, change.desired, change.reverts)
        take.remove_service(host, change.desired)
    else:
        take.take(host, step)


def _seen(host: Host, change: Change) -> plan.HostState:
    return observation.observe(host, change.desired.rules, change.desired.interfaces)


def _verify(host: Host, change: Change) -> None:
    left = plan.enforcement_steps(_seen(host, change), change.desired)
    if left:
        raise SenetError(
            "The change did not take effect: after it, the host still needs to {0}; look for another program that "
            "changes the same rules.".format(", ".join(str(step) for step in left))
        )
    kernel_answers.check_access(
        change.labelled,
        kernel_answers.access_matrix(host, change.labelled, change.processes),
        kernel_answers.confined_access(host, change.labelled),
    )
    kernel_answers.check_peer_access(
        kernel_answers.receiver_access(host, change.peers),
        kernel_answers.label_access(host, change.flows, change.processes),
    )
