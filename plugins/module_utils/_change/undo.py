# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A change is undone: rules first, then policy, then files."""

from contextlib import suppress
from typing import Any, Dict, Iterable, List, Optional, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._change import metrics, observation, target
from ansible_collections.senet.firewall.plugins.module_utils._change.take import remove_service, take_all
from ansible_collections.senet.firewall.plugins.module_utils._compile import cil
from ansible_collections.senet.firewall.plugins.module_utils._compile.rule_sets import RULE_SETS
from ansible_collections.senet.firewall.plugins.module_utils._decisions import plan
from ansible_collections.senet.firewall.plugins.module_utils._host.guard import Pending, boot_id, clock
from ansible_collections.senet.firewall.plugins.module_utils._host.host import Host
from ansible_collections.senet.firewall.plugins.module_utils._host.service import INTENT_PATH
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.intent import parse_intent
from ansible_collections.senet.firewall.plugins.module_utils._values.peers import SPD_TYPE


def undo_pending(host: Host, pending: Pending, reason: str) -> Dict[str, Any]:
    """Bring back what the guard's record holds; the caller has the lock."""
    before = plan.from_record(pending.before)
    _end_waiting(host)
    roll_back(host, before)
    outcome = {"token": pending.token, "rolled_back": True, "reason": reason}
    host.guard.forget(outcome)
    # Last: at boot it is one of these units that runs this.
    remove_service(host, before)
    return outcome


def _end_waiting(host: Host) -> None:
    """Let nobody confirm what is being undone, and the watch not put its rules back: undoing may fail half-way."""
    # Whatever cannot be read or written: the rules come first
    with suppress(SenetError):
        pending = host.guard.pending()
        if pending is not None and pending.waits(boot_id(), clock()):
            host.guard.write(pending._replace(deadline=0.0))


def roll_back(host: Host, before: plan.Desired) -> None:
    """Return to a state: its rules at once, or no labels if they need its policy, then policy, rules, files.

    :raises SenetError: a part could not be brought back.
    """
    failures = retreat(host, before)
    _refuse_ipsec_that_stays(host, before)
    before = _with_owners_of_now(host, before)
    failures += take_all(host, _steps_to(host, before))
    # What failed may have had nothing to bring back
    if failures and _steps_to(host, before):
        raise failures[0]
    # Not where it is the same: a file system that has become read-only must not keep us from the end.
    if host.service.intent() != before.intent:
        after = host.service.intent()
        host.service.write_intent(before.intent)
        metrics.leave(host, after, before.intent)
    units = observation.units_of(before.intent)
    if before.intent is not None and not host.service.follows(units):
        host.service.install(units)


def _refuse_ipsec_that_stays(host: Host, before: plan.Desired) -> None:
    """Raise where the policy for labelled IPsec is to go and somebody has set that up since the change: it keeps peer
    checks on, and the base policy need not let anybody pass."""
    lost = cil.declared_types(_stored_policy(host)) - cil.declared_types(before.policy)
    if SPD_TYPE not in lost:
        return
    # Others were there before the change, when the base policy had to do
    left = [label for label in host.ipsec_labels() if label.split(":")[2:3] == [SPD_TYPE]]
    if left:
        raise SenetError(
            "The rules of the change are taken away, and its policy module stays for now: IPsec policies of this host "
            "have the label '{0}', and without the module they may cut off domains such as sshd_t. Stop what loaded "
            "them, such as 'systemctl stop ipsec'; undoing the change is then tried again.".format(left[0])
        )


def _steps_to(host: Host, state: plan.Desired) -> Tuple[plan.Step, ...]:
    return plan.enforcement_steps(observation.observe(host, state.rules, state.interfaces), state)


def _with_owners_of_now(host: Host, before: plan.Desired) -> plan.Desired:
    """The same, but with the layer owner's rules for the control groups that are there now: no tool takes a rule with
    one that has gone, and after a restart all of them have."""
    if before.intent is None:
        return before
    try:
        intent = parse_intent(before.intent, INTENT_PATH)
        rules = target.compile_owner_rules(intent, target.look_up(host, intent))
    except SenetError:  # what was written down may do
        return before
    return before._replace(
        rules=dict(before.rules, **{name: own for name, own in rules.items() if before.rules.get(name)})
    )


def release(host: Host, sets: Iterable[str]) -> None:
    """Let all traffic through at once, by taking our rules away in these sets.

    :raises SenetError: the rules cannot be read or changed.
    """
    failures = _release(host, sets)
    if failures:
        raise failures[0]


def retreat(host: Host, before: plan.Desired) -> List[SenetError]:
    """Take the effect off a change without waiting for the policy: see :func:`plan.retreat_steps`."""
    failures = _retreat(host, before)
    if failures:
        # A lookup may take long where the network is cut, so only now
        now = _with_owners_of_now(host, before)
        failures = _retreat(host, now) if now != before else failures
    return _release(host, before.rules) if failures else []


def _retreat(host: Host, before: plan.Desired) -> List[SenetError]:
    policy = _stored_policy(host)
    tables, failures = _read_tables(host, before.rules, policy)
    return failures + take_all(host, plan.retreat_steps(tables, policy, before))


def _release(host: Host, sets: Iterable[str]) -> List[SenetError]:
    tables, failures = _read_tables(host, sets, _stored_policy(host))
    return failures + take_all(host, plan.release_steps(tables))


def _stored_policy(host: Host) -> Optional[str]:
    # A store that cannot be read is to keep nobody cut off
    with suppress(SenetError):
        return host.store.module() if host.selinux.status() != "disabled" else None
    return None


def _read_tables(
    host: Host, sets: Iterable[str], policy: Optional[str]
) -> Tuple[Dict[str, Any], List[SenetError]]:
    types = cil.declared_types(policy)
    tables, failures = {}, []  # type: Dict[str, Any], List[SenetError]
    for name in sets:
        try:
            tables[name] = RULE_SETS[name].parse(host.save(RULE_SETS[name].source), types)
        except SenetError as exc:
            failures.append(exc)
    return tables, failures
