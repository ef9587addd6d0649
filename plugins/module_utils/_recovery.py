# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens to a change after it was made: confirmed, undone, loaded again at boot or after a neighbour's flush."""

from contextlib import suppress
from typing import Any, Dict, Iterable, List, NamedTuple, Optional, Set, Tuple

from ansible_collections.senet.firewall.plugins.module_utils import _backends, _plan, _survey
from ansible_collections.senet.firewall.plugins.module_utils._compile import cil, owner
from ansible_collections.senet.firewall.plugins.module_utils._host.guard import Pending, boot_id, clock
from ansible_collections.senet.firewall.plugins.module_utils._host.host import Host
from ansible_collections.senet.firewall.plugins.module_utils._host.service import INTENT_PATH
from ansible_collections.senet.firewall.plugins.module_utils._intent import Intent, parse_intent
from ansible_collections.senet.firewall.plugins.module_utils._layers import OWNER, SELINUX, without_types
from ansible_collections.senet.firewall.plugins.module_utils._model import (
    DEFAULT_PACKET_TYPE,
    VERIFY_NONE,
    FlowSet,
    SenetError,
    packet_context,
)
from ansible_collections.senet.firewall.plugins.module_utils._peers import LOOPBACK_PEER_TYPE, peering

# A run that is over its time and alive gets this much more: semodule can take minutes on a host that is busy.
_ALIVE_SECONDS = 600
# The guard waits this long for a run that still holds the lock: longer than any semodule.
_UNDO_LOCK_SECONDS = 600
_CONFIRM_LOCK_SECONDS = 30


class Loaded(NamedTuple):
    """What loading the labels did: the families it wrote, what the loaded policy has not the types of, such as
    ``the flow 'web_db'``, and those of the families that somebody had changed: not where a unit has stopped."""

    families: List[str]
    unknown: List[str]
    lost: List[str]


class _Missing(NamedTuple):
    """The restore input of each family whose rules are not in force, what the policy does not know, those of the
    families that somebody has changed, and why others could not be looked at."""

    texts: Dict[str, str]
    unknown: List[str]
    lost: List[str]
    failures: List[SenetError]


def take(host: Host, step: _plan.Step) -> None:
    """One step that changes policy or rules.

    :raises SenetError: it failed, and changed nothing.
    """
    if step.action == _plan.INSTALL_POLICY:
        host.store.install(step.payload or "")
    elif step.action == _plan.REMOVE_POLICY:
        host.store.remove()
    elif step.action == _plan.RESTORE_RULES:
        host.restore(step.family or "", step.payload or "")
    elif step.action == _plan.SET_INTERFACE:
        host.store.set_interface(step.family or "", step.payload)
    elif step.action == _plan.DROP_TABLE:
        host.netfilter.drop_empty_table(_backends.source(step.family or ""), _backends.table_name(step.family or ""))


def persist(host: Host, desired: _plan.Desired) -> None:
    """Make a change survive a reboot; :func:`remove_service` and :func:`start_service` come after.

    :raises SenetError: a file cannot be written.
    """
    if desired.intent is not None:
        host.service.install(_survey.units_of(desired.intent))
    host.service.write_intent(desired.intent)


def remove_service(host: Host, desired: _plan.Desired) -> None:
    """Take away what a host without flows has no use for; the guard needs it as long as there is a record."""
    if desired.intent is None:
        host.service.uninstall()


def start_service(host: Host, desired: _plan.Desired) -> None:
    """Start what persisting has put in place; it takes the lock itself, so the caller must not hold it."""
    if desired.intent is not None:
        host.service.start()


def overdue(pending: Pending) -> bool:
    """Whether this host should have undone a change by now."""
    return pending.overdue(boot_id(), clock())


def confirm(host: Host, token: str) -> Dict[str, Any]:
    """Make a pending change permanent; returns what became of it.

    :raises SenetError: there is no such change, or it cannot be made permanent and was undone.
    """
    try:
        return _confirm(host, token)
    except SenetError as exc:
        pending = host.guard.pending()
        if pending is None or pending.token != token or not overdue(pending):
            raise
        # It is the guard that has the lock.
        raise SenetError(
            "The change {0} was not confirmed in time, so this host is undoing it; give a slow host a longer "
            "confirm_timeout. ({1})".format(token, exc)
        ) from exc


def _confirm(host: Host, token: str) -> Dict[str, Any]:
    with host.guard.lock(_CONFIRM_LOCK_SECONDS):
        pending = host.guard.pending()
        if pending is None or pending.token != token:
            return _ended(host, token)
        if not pending.complete:
            raise SenetError(
                "The change {0} is not whole: its run died while it was to {1}; undo it with state=aborted.".format(
                    token, pending.step
                )
            )
        if overdue(pending):
            raise SenetError("Undoing it has begun, or has failed so far.")
        after = _plan.from_record(pending.after)
        try:
            persist(host, after)
        except (SenetError, OSError) as exc:
            undo_pending(host, pending, str(exc))
            raise SenetError("{0} The change was undone.".format(exc)) from exc
        outcome = {"token": token, "rolled_back": False, "reason": ""}
        host.guard.forget(outcome)
        remove_service(host, after)
    start_service(host, after)
    return outcome


def abort(host: Host, token: str, reason: str) -> Dict[str, Any]:
    """Undo a pending change; returns what became of it, also when the guard was faster.

    :raises SenetError: there is no such change, or undoing it failed.
    """
    pending = host.guard.pending()
    if pending is None or pending.token != token:
        return _ended(host, token)
    # Connectivity first: whoever holds the lock may be the one who is stuck. Undoing tries again, and tells.
    _retreat(host, _plan.from_record(pending.before))
    with host.guard.lock(_UNDO_LOCK_SECONDS):
        pending = host.guard.pending()
        if pending is None or pending.token != token:
            refresh(host)
            return _ended(host, token)
        return undo_pending(host, pending, reason)


def expire(host: Host, token: str, reason: str) -> Dict[str, Any]:
    """Undo a pending change whose time is over; returns what became of it.

    A run that is still at work has the lock, which the kernel takes from a dead one: it is waited for, and where it
    ends well its change waits for the confirmation that has a time of its own.

    :raises SenetError: there is no such change, or undoing it failed.
    """
    if _unfinished(host, token):
        with suppress(SenetError), host.guard.lock(_ALIVE_SECONDS):
            pending = host.guard.pending()
            if pending is not None and pending.token == token and pending.complete:
                return {"token": token, "rolled_back": False, "reason": ""}
    return abort(host, token, reason)


def _unfinished(host: Host, token: str) -> bool:
    pending = host.guard.pending()
    return pending is not None and pending.token == token and not pending.complete


def undo_pending(host: Host, pending: Pending, reason: str) -> Dict[str, Any]:
    """Bring back what the guard's record holds; the caller has the lock."""
    before = _plan.from_record(pending.before)
    roll_back(host, before)
    outcome = {"token": pending.token, "rolled_back": True, "reason": reason}
    host.guard.forget(outcome)
    # Last: at boot it is one of these units that runs this.
    remove_service(host, before)
    return outcome


def roll_back(host: Host, before: _plan.Desired) -> None:
    """Return to a state: its labels at once, or none if they need its policy, then policy, rules, files.

    :raises SenetError: a part could not be brought back.
    """
    mls = _survey.mls(host)
    failures = _retreat(host, before)
    before = _with_owners_of_now(host, before)
    failures += _take_all(host, _steps_to(host, before, mls))
    # What failed may have had nothing to bring back
    if failures and _steps_to(host, before, mls):
        raise failures[0]
    # Not where it is the same: a file system that has become read-only must not keep us from the end.
    if host.service.intent() != before.intent:
        host.service.write_intent(before.intent)
    units = _survey.units_of(before.intent)
    if before.intent is not None and not host.service.hears(units):
        host.service.install(units)


def _steps_to(host: Host, state: _plan.Desired, mls: bool) -> Tuple[_plan.Step, ...]:
    return _plan.enforcement_steps(_survey.observe(host, mls, state.rules, state.interfaces), state)


def _with_owners_of_now(host: Host, before: _plan.Desired) -> _plan.Desired:
    """The same, but with the layer owner's rules for the control groups that are there now: no tool takes a rule with
    one that has gone, and after a restart all of them have."""
    if before.intent is None:
        return before
    try:
        intent = parse_intent(before.intent, INTENT_PATH)
        rules = _survey.compile_owner_rules(intent, _survey.look_up(host, intent))
    except SenetError:  # what was written down may do
        return before
    return before._replace(
        rules=dict(before.rules, **{family: own for family, own in rules.items() if before.rules.get(family)})
    )


def release(host: Host, families: Iterable[str]) -> None:
    """Let all traffic through at once, by taking our labels away in these families.

    :raises SenetError: the rules cannot be read or changed.
    """
    failures = _release(host, families)
    if failures:
        raise failures[0]


def _retreat(host: Host, before: _plan.Desired) -> List[SenetError]:
    """Take the effect off a change without waiting for the policy: see :func:`_plan.retreat_steps`."""
    policy = _stored_policy(host)
    tables, failures = _read_tables(host, before.rules, policy)
    failures += _take_all(host, _plan.retreat_steps(tables, policy, before))
    return _release(host, before.rules) if failures else []


def _release(host: Host, families: Iterable[str]) -> List[SenetError]:
    tables, failures = _read_tables(host, families, _stored_policy(host))
    return failures + _take_all(host, _plan.release_steps(tables))


def _stored_policy(host: Host) -> Optional[str]:
    # A store that cannot be read is to keep nobody cut off
    with suppress(SenetError):
        return host.store.module() if host.selinux.status() != "disabled" else None
    return None


def _read_tables(
    host: Host, families: Iterable[str], policy: Optional[str]
) -> Tuple[Dict[str, Any], List[SenetError]]:
    types = cil.declared_types(policy)
    tables, failures = {}, []  # type: Dict[str, Any], List[SenetError]
    for family in families:
        try:
            tables[family] = _backends.parse(family, host.save(_backends.source(family)), types)
        except SenetError as exc:
            failures.append(exc)
    return tables, failures


def in_force(host: Host) -> bool:
    """Whether :func:`load` would write nothing. It writes nothing itself, so it needs no lock.

    :raises SenetError: the file is damaged, or the rules cannot be read.
    """
    missing = _missing(host, _survey.stored_intent(host))
    if missing.failures and not missing.texts:
        raise missing.failures[0]
    return not missing.texts


def load(host: Host) -> Loaded:
    """Put the rules of /etc/senet/flows.json in force where they are not, as far as the loaded policy knows them.

    :raises SenetError: the file is damaged, or the rules of a family cannot be loaded; those of the others then are.
    """
    return _load(host, _survey.stored_intent(host))


def refresh(host: Host) -> Loaded:
    """The same for a unit that starts, and has a new control group; the change that waits for its confirmation counts.

    :raises SenetError: the file is damaged, or the rules cannot be loaded.
    """
    pending = host.guard.pending()
    if pending is None or not pending.complete:
        return load(host)
    text = pending.after["intent"]
    return _load(host, parse_intent(text, "of the change {0}".format(pending.token)) if text is not None else None)


def _load(host: Host, intent: Optional[Intent]) -> Loaded:
    missing = _missing(host, intent)
    steps = [_plan.Step(_plan.RESTORE_RULES, family, text) for family, text in missing.texts.items()]
    failures = missing.failures + _take_all(host, steps)
    if failures:
        raise failures[0]
    return Loaded(list(missing.texts), missing.unknown, missing.lost)


def _missing(host: Host, intent: Optional[Intent]) -> _Missing:
    if intent is None:
        return _Missing({}, [], [], [])
    mls = _survey.mls(host)
    if SELINUX not in intent.layers and host.selinux.status() == "disabled":
        intent = intent._replace(flows=without_types(intent.flows))
    peers = peering(intent.labelled)
    unknown = [
        name
        for name in intent.labelled.packet_types + peers.types
        if host.selinux.canonical(packet_context(name, mls)) is None
    ]
    untold = _untold(intent.labelled, unknown, set(peers.types).intersection(unknown))
    if DEFAULT_PACKET_TYPE in unknown:
        # Not even what no flow names can be labelled
        intent = intent._replace(layers=tuple(layer for layer in intent.layers if layer != SELINUX))
    missing = _Missing({}, untold, [], [])
    try:
        accounts = _survey.look_up(host, intent)
    except SenetError as exc:
        missing.failures.append(exc)
        # Its rules stay as they are
        accounts = owner.Accounts({}, {})
        intent = intent._replace(layers=tuple(layer for layer in intent.layers if layer != OWNER))
    for family, compiled in _survey.compile_rules(intent, mls, accounts).items():
        rules = _backends.without_types(family, compiled or (), unknown)
        try:
            table = _backends.parse(family, host.save(_backends.source(family)), peers.types)
        except SenetError as exc:
            missing.failures.append(exc)
            continue
        rules = _survey.fitted(host, family, table, rules) or ()
        if not table.installed(rules):
            missing.texts[family] = _backends.restore_text(family, table, rules)
            # Users and units come and go by themselves: whole rules of ours for others are no loss
            if not (_backends.is_owner(family) and table.rules and table.installed(table.rules)):
                missing.lost.append(family)
    return missing


def _untold(labelled: FlowSet, unknown: Iterable[str], unheard: Set[str]) -> List[str]:
    """What cannot be put in force since the policy has not these types, out of them those of peers."""
    lost = set(unknown)
    found = [
        "the flow '{0}'".format(flow.name)
        for flow in labelled.flows
        if lost.intersection(labelled.types_of(flow)) or (unheard and flow.verify_source != VERIFY_NONE)
    ]
    found.extend("the peer label '{0}'".format(label.type) for label in labelled.peers if label.type in unheard)
    if labelled.loopback_domains and LOOPBACK_PEER_TYPE in unheard:
        found.append("the label of {0} on loopback".format(", ".join(labelled.loopback_domains)))
    return found


def _take_all(host: Host, steps: Iterable[_plan.Step]) -> List[SenetError]:
    """Take steps, going on after one that fails: one family's trouble must keep no other cut off, or open."""
    failures = []
    for step in steps:
        try:
            take(host, step)
        except SenetError as exc:
            failures.append(exc)
    return failures


def _ended(host: Host, token: str) -> Dict[str, Any]:
    outcome = host.guard.outcome()
    if outcome is None or outcome.get("token") != token:
        raise SenetError(
            "This host has no change {0} to confirm or undo; the module flows_info tells what waits there, and what "
            "became of the last change.".format(token)
        )
    return outcome
