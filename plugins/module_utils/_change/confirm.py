# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A guarded change is confirmed or aborted; :mod:`_change.expire` is for one whose time is over."""

from typing import Any, Dict

from ansible_collections.senet.firewall.plugins.module_utils._change.load import refresh
from ansible_collections.senet.firewall.plugins.module_utils._change.take import persist, remove_service, start_service
from ansible_collections.senet.firewall.plugins.module_utils._change.undo import retreat, undo_pending
from ansible_collections.senet.firewall.plugins.module_utils._decisions import plan
from ansible_collections.senet.firewall.plugins.module_utils._host.guard import Pending, boot_id, clock
from ansible_collections.senet.firewall.plugins.module_utils._host.host import Host
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError

# The guard waits this long for a run that still holds the lock: longer than any semodule.
_UNDO_LOCK_SECONDS = 600
_CONFIRM_LOCK_SECONDS = 30


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
            "The change {0} was not confirmed in time, or undoing it was asked for, so this host is undoing it; give a "
            "slow host a longer confirm_timeout. ({1})".format(token, exc)
        ) from exc


def _confirm(host: Host, token: str) -> Dict[str, Any]:
    with host.guard.lock(_CONFIRM_LOCK_SECONDS):
        pending = host.guard.pending()
        if pending is None or pending.token != token:
            return _ended(host, token)
        if not pending.complete:
            raise SenetError(
                "The change {0} is incomplete: its run ended at the step '{1}'; undo it with state=aborted.".format(
                    token, pending.step
                )
            )
        if overdue(pending):
            raise SenetError("Undoing it has begun, or has failed so far.")
        after = plan.from_record(pending.after)
        try:
            persist(host, plan.from_record(pending.before), after, pending.reverts)
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
    retreat(host, plan.from_record(pending.before))
    with host.guard.lock(_UNDO_LOCK_SECONDS):
        pending = host.guard.pending()
        if pending is None or pending.token != token:
            refresh(host)
            return _ended(host, token)
        return undo_pending(host, pending, reason)


def _ended(host: Host, token: str) -> Dict[str, Any]:
    outcome = host.guard.outcome()
    if outcome is None or outcome.get("token") != token:
        raise SenetError(
            "This host has no change {0} to confirm or undo; the module flows_info shows the change that waits and "
            "the outcome of the last one.".format(token)
        )
    return outcome
