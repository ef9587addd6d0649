# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The single steps of a change that write: policy, rules, record, units."""

from typing import Iterable, List

from ansible_collections.senet.firewall.plugins.module_utils._change import history, metrics, observation
from ansible_collections.senet.firewall.plugins.module_utils._compile.rule_sets import RULE_SETS
from ansible_collections.senet.firewall.plugins.module_utils._decisions import plan
from ansible_collections.senet.firewall.plugins.module_utils._host.host import Host
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError


def take(host: Host, step: plan.Step) -> None:
    """One step that changes policy or rules.

    :raises SenetError: it failed, and changed nothing.
    """
    if step.action == plan.INSTALL_POLICY:
        host.store.install(step.payload or "")
    elif step.action == plan.REMOVE_POLICY:
        host.store.remove()
    elif step.action == plan.RESTORE_RULES:
        host.restore(step.name or "", step.payload or "")
    elif step.action == plan.SET_INTERFACE:
        host.store.set_interface(step.name or "", step.payload)
    elif step.action == plan.DROP_TABLE:
        rules = RULE_SETS[step.name or ""]
        host.netfilter.drop_empty_table(rules.source, rules.iptables_table or "")


def persist(host: Host, before: plan.Desired, desired: plan.Desired, reverts: bool) -> None:
    """Make a change survive a reboot, and the set before it one to go back to; :func:`remove_service` and
    :func:`start_service` come after.

    :raises SenetError: a file cannot be written.
    """
    if desired.intent is not None:
        host.service.install(observation.units_of(desired.intent))
    history.keep(host, before, desired, reverts)
    recorded = host.service.intent()
    host.service.write_intent(desired.intent)
    # After it: the watch reads it once more when it has written
    metrics.leave(host, recorded, desired.intent)


def remove_service(host: Host, desired: plan.Desired) -> None:
    """Take away what a host without flows has no use for; the guard needs it as long as there is a record."""
    if desired.intent is None:
        host.service.uninstall()


def start_service(host: Host, desired: plan.Desired) -> None:
    """Start what persisting has put in place; it takes the lock itself, so the caller must not hold it."""
    if desired.intent is not None:
        host.service.start()


def take_all(host: Host, steps: Iterable[plan.Step]) -> List[SenetError]:
    """Take steps, going on after one that fails: one tool's trouble must keep no other cut off, or open."""
    failures = []
    for step in steps:
        try:
            take(host, step)
        except SenetError as exc:
            failures.append(exc)
    return failures
