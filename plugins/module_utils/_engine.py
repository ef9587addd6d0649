# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what is wanted to what is in force: observe, plan, apply, verify, confirm. The one place that orders them."""

from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple

from ansible_collections.senet.firewall.plugins.module_utils import (
    _backends,
    _labels,
    _layers,
    _plan,
    _preflight,
    _recovery,
    _survey,
    _verdicts,
)
from ansible_collections.senet.firewall.plugins.module_utils._access import Access, Elsewhere
from ansible_collections.senet.firewall.plugins.module_utils._compile import cil
from ansible_collections.senet.firewall.plugins.module_utils._compile.owner import Accounts
from ansible_collections.senet.firewall.plugins.module_utils._host.guard import Pending, boot_id, clock
from ansible_collections.senet.firewall.plugins.module_utils._host.host import Host
from ansible_collections.senet.firewall.plugins.module_utils._host.policystore import locked_message
from ansible_collections.senet.firewall.plugins.module_utils._intent import Intent
from ansible_collections.senet.firewall.plugins.module_utils._model import DEFAULT_PACKET_TYPE, FlowSet, SenetError
from ansible_collections.senet.firewall.plugins.module_utils._peers import Audience, Hearing, Peering, notes, peering
from ansible_collections.senet.firewall.plugins.module_utils._processes import Process

# How long a run may take before the guard looks whether it is dead, and undoes what it did; a live one gets longer.
APPLY_SECONDS = 300
_LOCK_SECONDS = 5


class Options(NamedTuple):
    """How to go about a change: seconds until it is undone unless confirmed (0: no guard), its name, the backend, the
    layers, and by flow the clients that the catalogue knows."""

    confirm_timeout: int
    token: str
    backend: str = _backends.AUTO
    layers: Tuple[str, ...] = (_layers.AUTO,)
    owners: Mapping[str, _layers.Owners] = {}


class Outcome(NamedTuple):
    """What was done, or in check mode would be.

    ``access``, ``confined``, ``peers`` and ``audiences`` are empty while the kernel cannot be asked yet, and without
    the layer selinux, ``owners`` without the layer owner; ``pending`` says that the change waits for confirmation;
    ``interfaces`` has the context before and after of each that was asked about.
    """

    changed: bool
    flows: FlowSet
    removed: Tuple[str, ...]
    steps: Tuple[str, ...]
    access: Tuple[Access, ...]
    confined: Tuple[Elsewhere, ...]
    peers: Tuple[Hearing, ...]
    audiences: Tuple[Audience, ...]
    owners: Tuple[_layers.OwnerRow, ...]
    cuts: Tuple[_preflight.Cut, ...]
    diffs: List[Dict[str, Any]]
    warnings: Tuple[str, ...]
    selinux: str
    backend: _backends.Choice
    layers: Tuple[str, ...]
    pending: bool
    interfaces: Mapping[str, Tuple[Optional[str], Optional[str]]] = {}


class _Change(NamedTuple):
    mode: str
    mls: bool
    backend: _backends.Choice
    observed: _plan.HostState
    layers: Tuple[str, ...]
    recorded: Tuple[str, ...]
    present: FlowSet
    flows: FlowSet
    accounts: Accounts
    desired: _plan.Desired
    steps: Tuple[_plan.Step, ...]
    processes: List[Process]
    cuts: Tuple[_preflight.Cut, ...]
    peers: Peering

    @property
    def labelled(self) -> FlowSet:
        """What SELinux enforces."""
        return _layers.labelled(self.flows, self.layers)


def run(host: Host, request: _survey.Request, options: Options, check_mode: bool) -> Outcome:
    """Bring the host to what is requested, or say what that would take.

    :raises SenetError: the request cannot be met; the host is then as it was, or the message says what is not.
    """
    left_over = _unconfirmed(host, check_mode)
    change = _prepare(host, request, options)
    warnings = []  # type: List[str]
    if not check_mode and (change.steps or left_over):
        with host.guard.lock(_LOCK_SECONDS):
            dead = _unconfirmed(host, check_mode)
            if dead:
                warnings.append(_undo_dead(host, dead))
            # What was seen without the lock may be somebody else's half-way house.
            change = _prepare(host, request, options)
            if change.steps:
                _apply(host, change, options)
        if change.steps and change.steps[-1].action == _plan.PERSIST and not _guarded(change):
            _recovery.start_service(host, change.desired)

    asked = FlowSet(()) if change.steps and check_mode else change.labelled
    access = _verdicts.access_matrix(host, asked, change.processes, change.mls)
    confined = _verdicts.confined_access(host, asked, change.mls)
    heard = _verdicts.hearings(host, peering(asked), change.mls)
    audiences = _verdicts.audiences(host, asked, change.processes, change.mls)
    if change.steps:
        warnings.extend(notes(change.peers))
        warnings.extend(_preflight.login_warnings(change.flows, change.processes))
        warnings.extend(_verdicts.interface_warnings(host, change.desired.interfaces, change.processes))
    else:
        _check_labels(host, change)
        _verdicts.check_access(asked, access, confined)
        _verdicts.check_hearings(heard, audiences)
        repaired = host.guard.repairs()
        if repaired:
            warnings.append(
                "Labels or policy had been taken away by another program and were put back, last at {0}; find out "
                "which program does that.".format(repaired)
            )
    warnings.extend(_labels.stale_files(host.saved_rules(), change.labelled.packet_types))
    permissive = _verdicts.permissive_domains(host, change.labelled, change.processes, change.mls)
    if not check_mode:
        host.decisions.keep()
        host.service.keep()
    enabled = change.mode != "disabled"
    warnings.extend(_layers.warnings(change.layers, enabled, change.flows, change.accounts))
    if _layers.AUTO in options.layers and _layers.OWNER not in change.layers:
        warnings.extend(_layers.unheeded(_survey.asked_flows(request)))
    if _layers.AUTO not in options.layers:
        warnings.extend(_layers.lost(change.recorded, change.layers, change.flows))
    if not host.service.systemd and not change.flows.empty:
        warnings.append(
            "systemd does not run this host, so nothing loads the flows at boot or puts labels back that another "
            "program takes away; have '{0} load' run at boot.".format(" ".join(host.service.command()))
        )
    warnings.extend(_survey.purge_warnings(request, change.present, change.flows))
    warnings.extend(_preflight.absent_interfaces(change.flows, host.netfilter.interfaces()))
    warnings.extend(_preflight.one_family(change.flows, host.netfilter.versions()))
    warnings.extend(_preflight.confinement_warnings(change.cuts))
    if change.labelled.labels_packets:
        warnings.extend(
            _preflight.source_port_warnings(change.labelled, host.netfilter.source_ports(), _forgetful(change))
        )
    warnings.extend(
        _verdicts.find_warnings(change.mode, change.labelled, access, confined, change.processes, permissive)
    )
    if change.labelled.labels_packets and host.unlabelled_mptcp():
        warnings.extend(_preflight.mptcp_warnings(change.labelled, bool(change.steps)))
    return Outcome(
        bool(change.steps),
        change.flows,
        _survey.removed(change.present, change.flows),
        tuple(str(step) for step in change.steps),
        tuple(access),
        tuple(confined),
        tuple(heard),
        tuple(audiences),
        tuple(_layers.owner_rows(change.flows, change.accounts) if _layers.OWNER in change.layers else ()),
        change.cuts,
        _plan.diffs(change.observed, change.desired, change.steps) if change.steps else [],
        tuple(warnings),
        change.mode,
        change.backend,
        change.layers,
        _guarded(change) and not check_mode,
        {name: (change.observed.interfaces.get(name), text) for name, text in change.desired.interfaces.items()},
    )


def _undo_dead(host: Host, dead: Pending) -> str:
    """Undo a change that nobody will confirm any more; returns a sentence on it."""
    if not dead.complete:
        _recovery.undo_pending(host, dead, "the run died while it was to {0}".format(dead.step))
        return "An earlier run died while it was to {0}; what it had done was undone first.".format(dead.step)
    _recovery.undo_pending(host, dead, "it was not confirmed in time")
    return (
        "The earlier change {0} was not confirmed in time, and the host had not managed to undo it; it was undone "
        "first.".format(dead.token)
    )


def nothing_done(host: Host, flows: FlowSet) -> Outcome:
    """What is told of a request for which a host needs no change, and no look at it either."""
    backend = _backends.Choice("", "nothing is to be done")
    return Outcome(
        False, flows, (), (), (), (), (), (), (), (), [], (), host.selinux.status(), backend, (), False
    )


def _unconfirmed(host: Host, check_mode: bool) -> Optional[Pending]:
    """The change of a run that died, or one that should have been undone by now; None without either.

    :raises SenetError: a whole change waits for its confirmation.
    """
    pending = host.guard.pending()
    if pending is None:
        return None
    overdue = _recovery.overdue(pending)
    if pending.complete and not overdue:
        raise SenetError(
            "The change {0} of this host waits to be confirmed and is undone in {1:.0f} seconds otherwise; confirm it "
            "with the module guard (token={0} state=confirmed), or undo it now with state=aborted.".format(
                pending.token, pending.deadline - clock()
            )
        )
    if check_mode and pending.complete:
        raise SenetError(
            "The change {0} of this host was not confirmed in time, and the host has not managed to undo it yet; see "
            "'journalctl -u senet-firewall-confirm-{0} -u senet-firewall-watch', or run without check mode, which "
            "undoes it first.".format(pending.token)
        )
    if check_mode:
        raise SenetError(
            "The run {0} on this host is not finished or died while it was to {1}; wait for it, or run without check "
            "mode, which undoes what a dead run has done.".format(pending.token, pending.step)
        )
    return pending


def _prepare(host: Host, request: _survey.Request, options: Options) -> _Change:
    mode = host.selinux.status()
    if mode == "disabled" and isinstance(request, _survey.Alter):
        raise SenetError(_survey.DISABLED)
    mls = _survey.mls(host)
    intent = _survey.stored_intent(host)
    layers = _layers.choose(options.layers, intent.layers if intent is not None else None, mode != "disabled")
    recorded = intent.backend if intent is not None else None
    backend = _backends.choose(options.backend, recorded, host.netfilter.backends())
    asked = _survey.asked_flows(request)
    families = _survey.families_to_read(host, backend.backend, intent, layers, _survey.asks_peers(request))
    interfaces = request.interfaces if isinstance(request, _survey.Alter) else {}
    observed = _survey.observe(host, mls, families, interfaces)
    present = _survey.present(observed, intent)
    flows = _survey.wanted(request, observed, intent)
    if mode == "disabled":
        flows = _layers.without_types(flows)
    if _layers.SELINUX in layers:
        flows = _survey.resolve_domains(host, flows, mls)
    else:
        _layers.refuse_what_owner_cannot(flows)
        types = _survey.resolve_domains(host, _layers.labelled(flows, layers), mls)
        flows = types.with_the_flows_of(flows)
    if _layers.OWNER in layers:
        _survey.check_owners(host, asked)
        before = intent.flows if intent is not None else None
        cgroups = host.accounts.matches_cgroups()
        flows = _layers.with_owners(flows, options.owners, before, host.processes(False), cgroups, mode != "disabled")
    wanted = Intent(flows, backend.backend, layers)
    accounts = _survey.look_up(host, wanted)
    _survey.check_types(host, flows, observed.policy, mls)
    desired = _survey.fit(host, observed.tables, _survey.desired_state(wanted, mls, accounts, families))
    desired = desired._replace(interfaces=interfaces)
    between = _survey.state_between(observed, desired, wanted, mls)
    if between is not None:
        between = _survey.fit(host, observed.tables, between)
    steps = _plan.plan(observed, desired, options.confirm_timeout > 0, between)
    labelled = wanted.labelled
    # Only a change can cut somebody's sockets.
    processes = host.processes(bool(steps))
    cuts = _cuts(host, labelled, interfaces, processes, mls) if steps else ()
    change = _Change(
        mode, mls, backend, observed, layers, intent.layers if intent is not None else (), present, flows, accounts,
        desired, steps, processes, cuts, peering(labelled),
    )
    if steps:
        _refuse(host, change)
    return change


def _cuts(
    host: Host, flows: FlowSet, interfaces: Mapping[str, Optional[str]], processes: List[Process], mls: bool
) -> Tuple[_preflight.Cut, ...]:
    """The sockets that lose their traffic: by labels, and by the contexts of interfaces that change, or that begin to
    count with peer labels."""
    peers = peering(flows)
    cuts = _preflight.find_cuts(flows, processes, host.pid)
    if interfaces:
        cuts += _verdicts.interface_cuts(host, interfaces, peers, processes, mls)
    elif not peers.empty:
        cuts += _verdicts.interface_cuts(host, host.store.interface_contexts(), peering(FlowSet(())), processes, mls)
    return tuple(cuts)


def _refuse(host: Host, change: _Change) -> None:
    """Raise for whatever speaks against the change, before anything is written."""
    foreign = _foreign_labels(host, change)
    if foreign:
        raise SenetError(
            "Another rule on this host labels packets too, and the last label wins: {0}. Nothing was changed; "
            "remove that rule first.".format(foreign)
        )
    _refuse_netlabel(host, change)
    _refuse_labels_that_stay(host, change)
    if _guarded(change) or change.desired.intent is not None:
        # Raises where nothing may run it
        host.service.command()
    error = _preflight.refusal(change.cuts)
    if error:
        raise SenetError(error)
    holder = host.store.lock_holder()
    if holder:
        raise SenetError(locked_message(host.selinux.policy_name() or "", holder) + " Nothing was changed.")


def _foreign_labels(host: Host, change: _Change) -> str:
    """The rules of others that label packets beside our own, as an error tells of them."""
    if not change.labelled.labels_packets:
        return ""
    found = _labels.foreign_labels(host.netfilter.saves(change.observed.texts), host.netfilter.ruleset())
    more = " (and {0} more)".format(len(found) - 1) if found[1:] else ""
    return "'{0}'{1}".format(found[0], more) if found else ""


def _check_labels(host: Host, change: _Change) -> None:
    """Raise where rules of others label packets on a host whose flows are as wanted."""
    foreign = _foreign_labels(host, change)
    if foreign:
        raise SenetError(
            "The flows of this host are in place, and yet may not be enforced: another rule labels packets too, and "
            "the last label wins: {0}. Remove that rule, and find out which program has made it.".format(foreign)
        )


def _refuse_labels_that_stay(host: Host, change: _Change) -> None:
    """Raise where the policy for packets is to go and a label is left, of somebody else's or of ours where this change
    does not reach: it keeps packet checks on for the whole host, and the base policy need not let anybody pass."""
    lost = cil.declared_types(change.observed.policy) - cil.declared_types(change.desired.policy)
    if DEFAULT_PACKET_TYPE not in lost:
        return
    saves = host.netfilter.saves(change.observed.texts)
    left = _labels.lasting_labels(saves, host.netfilter.ruleset(), change.observed.tables)
    if left:
        more = " (and {0} more)".format(len(left) - 1) if left[1:] else ""
        raise SenetError(
            "Labels would stay behind on this host, '{0}'{1}, and without the policy module they may cut off "
            "domains such as sshd_t. Nothing was changed; remove them first, with the command in front.".format(
                left[0], more
            )
        )
    families = [family for backend in host.netfilter.backends() for family in _backends.FAMILIES[backend]]
    for path, texts in sorted(host.netfilter.elsewhere(families).items()):
        if any(_backends.parse(family, text).rules for family, text in texts.items()):
            raise SenetError(
                "The network namespace {0} has labels of its own, and without the policy module they would cut off "
                "this host. Nothing was changed; take them off first with 'nsenter --net={0} {1} clear'.".format(
                    path, " ".join(host.service.command())
                )
            )


def _refuse_netlabel(host: Host, change: _Change) -> None:
    """Raise where peer labels are wanted and NetLabel is missing, or configured by somebody else."""
    if change.peers.empty:
        return
    own = cil.declared_types(change.observed.policy)
    # Where the command is missing this says so
    foreign = _backends.parse(_backends.NETLABEL, host.save(_backends.NETLABEL), own).foreign
    if foreign:
        raise SenetError(
            "Somebody else has configured NetLabel on this host: 'netlabelctl {0}'. Nothing was changed; remove that "
            "entry, or do without verify_source and peer labels.".format(foreign[0])
        )


def _forgetful(change: _Change) -> bool:
    """Whether the rules do without labels on connections."""
    families = _backends.FAMILIES[change.backend.backend]
    return not all(_backends.remember(family, change.desired.rules.get(family)) for family in families)


def _guarded(change: _Change) -> bool:
    return any(step.action == _plan.ARM_GUARD for step in change.steps)


def _apply(host: Host, change: _Change, options: Options) -> None:
    """Take the steps, undoing those taken if one fails. A guarded change stops short of what confirming does."""
    before = _plan.as_desired(change.observed)
    pending = Pending(
        options.token, boot_id(), False, "", 0.0, _plan.as_record(before), _plan.as_record(change.desired)
    )
    guarded = _guarded(change)
    armed = False
    try:
        for step in change.steps:
            if guarded and step.action == _plan.PERSIST:
                break
            pending = pending._replace(step=str(step))
            if armed or step.action == _plan.ARM_GUARD:
                host.guard.write(pending)
                armed = True
            _take(host, change, options, pending, step)
    except (SenetError, OSError) as exc:
        try:
            if armed:
                _recovery.undo_pending(host, pending, str(exc))
            else:
                _recovery.roll_back(host, before)
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


def _take(host: Host, change: _Change, options: Options, pending: Pending, step: _plan.Step) -> None:
    if step.action == _plan.ARM_GUARD:
        # The boot unit is the guard's other half: it undoes the change if the host restarts meanwhile.
        units = _survey.units_of(change.observed.intent) + _survey.units_of(change.desired.intent)
        host.service.install(sorted(set(units)))
        host.guard.prove(options.token)
        rebuilds = sum(step.action == _plan.INSTALL_POLICY for step in change.steps)
        host.guard.arm(options.token, "apply", options.confirm_timeout + APPLY_SECONDS * max(1, rebuilds))
    elif step.action == _plan.CHECK_ACCESS:
        _verdicts.check_nobody_is_cut(host, change.labelled, change.processes, change.mls)
        _verdicts.check_peers_are_received(
            host, change.peers, change.processes, change.mls, change.labelled.labels_packets
        )
        # Of types that were not declared before the kernel could not be asked
        if change.desired.interfaces:
            error = _preflight.refusal(
                _verdicts.interface_cuts(host, change.desired.interfaces, change.peers, change.processes, change.mls)
            )
            if error:
                raise SenetError(error)
    elif step.action == _plan.VERIFY:
        _verify(host, change)
    elif step.action == _plan.AWAIT_CONFIRMATION:
        host.guard.write(pending._replace(complete=True, deadline=clock() + options.confirm_timeout))
        host.guard.arm(options.token, "confirm", options.confirm_timeout)
        if _layers.OWNER in change.layers:
            # A unit that was started meanwhile has asked in vain: we held the lock.
            _recovery.refresh(host)
    elif step.action == _plan.PERSIST:
        _recovery.persist(host, change.desired)
        _recovery.remove_service(host, change.desired)
    else:
        _recovery.take(host, step)


def _seen(host: Host, change: _Change) -> _plan.HostState:
    return _survey.observe(host, change.mls, change.desired.rules, change.desired.interfaces)


def _verify(host: Host, change: _Change) -> None:
    left = _plan.enforcement_steps(_seen(host, change), change.desired)
    if left:
        raise SenetError(
            "The change did not hold: read back, the host still needs to {0}; look for another program that "
            "changes the same rules.".format(", ".join(str(step) for step in left))
        )
    _verdicts.check_access(
        change.labelled,
        _verdicts.access_matrix(host, change.labelled, change.processes, change.mls),
        _verdicts.confined_access(host, change.labelled, change.mls),
    )
    _verdicts.check_hearings(
        _verdicts.hearings(host, change.peers, change.mls),
        _verdicts.audiences(host, change.flows, change.processes, change.mls),
    )
