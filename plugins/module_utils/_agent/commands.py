# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host runs by itself: at boot, when the guard's timer fires, and beside programs that empty tables.

Started by the units of :mod:`_compile.systemd_units` and by the guard; what it prints goes to the journal.
"""

import os
import select
import socket
import subprocess
import sys
import time
from contextlib import suppress
from typing import List, Optional, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._agent.foreign import ALERT, Foreign
from ansible_collections.senet.firewall.plugins.module_utils._agent.measures import Measures
from ansible_collections.senet.firewall.plugins.module_utils._agent.this_host import this_host
from ansible_collections.senet.firewall.plugins.module_utils._change import (
    expire,
    load,
    observation,
    repair,
    undo,
)
from ansible_collections.senet.firewall.plugins.module_utils._compile.systemd_units import WATCH_SECONDS
from ansible_collections.senet.firewall.plugins.module_utils._host.commands import find_command
from ansible_collections.senet.firewall.plugins.module_utils._host.guard import Pending, boot_id, clock
from ansible_collections.senet.firewall.plugins.module_utils._host.host import Host
from ansible_collections.senet.firewall.plugins.module_utils._host.service import INTENT_PATH
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError

# Programs that rewrite a whole rule set cause a burst of events; look once they are through.
_SETTLE_SECONDS = 0.5
_LOCK_SECONDS = 60
# A unit that starts waits so long, and the watch comes to it later.
_UNIT_LOCK_SECONDS = 5
# Undoing that failed is tried again after the first of these, then ever later, up to the second.
_RETRY_SECONDS = (5, 300)
# NETLINK_SELINUX in include/uapi/linux/netlink.h, and its one group in selinux_netlink.h
_NETLINK_SELINUX = 7
_SELNLGRP_AVC = 1
_NO_RECORD = (
    "The file {0} is missing, so NO flow of this host is put in force; run the play again with the whole set of "
    "flows and purge=true.".format(INTENT_PATH)
)
# The watch leaves a change that has just run out of time to the timer of its own.
_OVERDUE_SECONDS = 60


def main(args: List[str]) -> int:
    """Run one command: ``load``, ``refresh``, ``clear``, ``watch``, ``check TOKEN`` or ``rollback TOKEN``; returns the
    exit code."""
    host = this_host()
    try:
        if args == ["load"]:
            return _load(host)
        if args == ["refresh"]:
            return _refresh(host)
        if args == ["clear"]:
            return _clear(host)
        if args == ["watch"]:
            return _watch(host)
        if len(args) == 2 and args[0] == "rollback":
            return _rollback(host, args[1])
        if len(args) == 2 and args[0] == "check":
            return _check(host, args[1])
    except (SenetError, OSError) as exc:
        _say(str(exc))
        return 1
    _say("usage: senet-firewall load | refresh | clear | watch | check TOKEN | rollback TOKEN")
    return 2


def _load(host: Host) -> int:
    with host.guard.lock(_LOCK_SECONDS):
        pending, damage = _pending(host)
        if damage is not None:
            _say(str(damage))
            _load_confirmed(host)
            _return_to_record(host)
            return 1
        if pending is not None:
            if pending.boot == boot_id():
                _say("The change {0} waits to be confirmed; nothing is loaded meanwhile.".format(pending.token))
                return 0
            # Said first: undoing a first change ends with stopping the unit that runs this.
            _say("The change {0} had not been confirmed before the restart; it is undone.".format(pending.token))
            undo.undo_pending(host, pending, "the host was restarted before the change was confirmed")
            return 0
        return _load_confirmed(host)


def _pending(host: Host) -> Tuple[Optional[Pending], Optional[SenetError]]:
    """The change that waits, or why its record cannot be read: then what was confirmed is better than nothing."""
    try:
        return host.guard.pending(), None
    except SenetError as exc:
        return None, exc


def _load_confirmed(host: Host) -> int:
    if not _is_recorded(host):
        _say(ALERT + _NO_RECORD)
        return 1
    return _report(host, load.load(host))


def _is_recorded(host: Host) -> bool:
    """Whether there is a record of the flows.

    :raises SenetError: it is damaged, which is an emergency as well.
    """
    try:
        return observation.stored_intent(host) is not None
    except SenetError as exc:
        raise SenetError("{0}{1} Until then NO flow of this host is put in force.".format(ALERT, exc)) from exc


def _refresh(host: Host) -> int:
    with host.guard.lock(_UNIT_LOCK_SECONDS):
        load.refresh(host)
    return 0


def _report(host: Host, loaded: load.Loaded) -> int:
    if loaded.sets:
        _say("Rules loaded for {0}.".format(" and ".join(loaded.sets)))
    _tell_left_over(loaded)
    if loaded.unknown and host.selinux.status() == "disabled":
        _say(
            "SELinux is disabled on this host, so the layer selinux does NOT enforce {0}; enable SELinux in "
            "/etc/selinux/config and on the kernel command line, and reboot.".format(", ".join(loaded.unknown))
        )
        return 1
    for what in loaded.unknown:
        _say(
            "{0} is NOT enforced: its types are not in the loaded policy; run the play again, which "
            "installs the policy module.".format(what[0].upper() + what[1:])
        )
    return 1 if loaded.unknown else 0


def _tell_left_over(loaded: load.Loaded) -> None:
    if loaded.left_over:
        _say(
            "Rules of this collection that are not on record were in force for {0}, and have been taken away; find out "
            "what loads them, such as a file of saved rules.".format(" and ".join(loaded.left_over))
        )


def _clear(host: Host) -> int:
    with host.guard.lock(_LOCK_SECONDS):
        intent = None
        with suppress(SenetError):  # a damaged file says nothing of what is in force
            intent = observation.stored_intent(host)
        pending, damage = _pending(host)
        # A change may have other sets, with another backend or layer, than what is on record
        unknown = damage is not None and host.netlabel.available()
        sets = set(observation.sets_to_read(host, None, intent, asks_peers=unknown))
        sets.update(pending.after["rules"] if pending is not None else ())
        sets.update(observation.left_over(host, sets))
        undo.release(host, sorted(sets))
    _say("Stopped: packets carry no labels, and NO flow is enforced until senet-firewall.service is started again.")
    return 0


class _Backoff:
    """When to try again what has failed."""

    def __init__(self) -> None:
        self._seconds = 0
        self._due = 0.0

    def due(self) -> bool:
        """Whether it is time."""
        return clock() >= self._due

    def failed(self) -> int:
        """Note a failure; returns the seconds until the next try."""
        first, last = _RETRY_SECONDS
        self._seconds = min(max(first, 2 * self._seconds), last)
        self._due = clock() + self._seconds
        return self._seconds


def _check(host: Host, token: str) -> int:
    pending = host.guard.pending()
    if pending is None or pending.token != token:
        _say("There is no record of the change {0}.".format(token))
        return 1
    return 0


def _rollback(host: Host, token: str) -> int:
    """Undo a change, trying until it is done or somebody else has ended it."""
    retry = _Backoff()
    while True:
        try:
            outcome = expire.expire(host, token, "it was not confirmed in time")
            break
        except (SenetError, OSError) as exc:
            if not _is_pending(host, token):
                raise
            seconds = retry.failed()
            _say("{0} Undoing the change {1} is tried again in {2} seconds.".format(exc, token, seconds))
            time.sleep(seconds)
    if outcome["rolled_back"]:
        _say("The change {0} was undone: {1}.".format(token, outcome["reason"]))
    return 0


def _is_pending(host: Host, token: str) -> bool:
    try:
        pending = host.guard.pending()
    except SenetError:  # a damaged record does not mend itself
        return False
    return pending is not None and pending.token == token


def _watch(host: Host) -> int:
    events = _Events()
    retry = _Backoff()
    rescue = _Backoff()
    foreign = Foreign(_say)
    measures = Measures(host, _say)
    said = None  # type: Optional[str]
    while True:
        try:
            pending, damage = _pending(host)
            _is_recorded(host)
            if damage is not None and rescue.due():
                rescue.failed()
                with host.guard.lock(0):
                    measures.repairs += _pending(host)[1] is not None and _return_to_record(host)
                rescue = _Backoff()
            elif pending is None and rescue.due() and repair.types_lost(host):
                rescue.failed()
                measures.repairs += _bring_back(host)
                rescue = _Backoff()
            if pending is None or pending.waits(boot_id(), clock()):
                _refuse_no_record(host)
                # Looking takes a while where there are many flows, and must keep no run waiting.
                standing = load.standing(host, foreign.due())
                if not standing.complete:
                    with host.guard.lock(0):
                        measures.repairs += _repair(host)
                    standing = load.standing(host)
                foreign.look(host)
                measures.write(standing if pending is None else None, foreign.found)
            elif retry.due() and _is_left_over(pending):
                retry.failed()
                _undo_left_over(host)
                retry = _Backoff()
            else:
                measures.write(None, False)
            if damage is not None:
                raise SenetError(
                    "{0} Until that is mended, the flows that were confirmed last are kept in force.".format(damage)
                )
        except (SenetError, OSError) as exc:
            # The same trouble every few seconds is told once
            if str(exc) != said:
                said = str(exc)
                _say(said)
        if events.wait(WATCH_SECONDS):
            foreign.expect()


def _refuse_no_record(host: Host) -> None:
    """The watch runs only where flows are. Whoever takes the last ones away holds the lock until it is stopped.

    :raises SenetError: the file with the flows is missing.
    """
    if observation.stored_intent(host) is None and _pending(host)[0] is None:
        with host.guard.lock(0):
            pending, damage = _pending(host)
            if observation.stored_intent(host) is None and pending is None:
                raise SenetError("{0}{1}{2}".format(ALERT, _NO_RECORD, "" if damage is None else " " + str(damage)))


def _return_to_record(host: Host) -> bool:
    """Put back the policy module of the flows that were confirmed last; says whether another one was there."""
    if not repair.return_to_record(host):
        return False
    host.guard.repaired("the policy module")
    _say(
        "{0}The policy module was not that of the flows that were confirmed last, such as that of a change that nobody "
        "confirmed, so these flows may NOT have been enforced; it has been put back.".format(ALERT)
    )
    return True


def _bring_back(host: Host) -> bool:
    """Bring a policy module back that has gone, with all traffic let through in the meantime; says whether it had."""
    with host.guard.lock(0):
        lost = repair.types_lost(host)
        if not lost or _pending(host)[0] is not None:
            return False
        repair.let_through(host, lost)
        _say(
            "{0}The loaded policy no longer has {1} packet or peer types of this host's flows, so these flows are NOT "
            "enforced, and their traffic is let through. The policy module is put back now.".format(
                ALERT, len(lost)
            )
        )
        try:
            repair.bring_policy_back(host)
            left = repair.types_lost(host)
            if left:
                raise SenetError("The loaded policy still does not have the type {0}.".format(left[0]))
        except (SenetError, OSError) as exc:
            host.service.show(False)
            raise SenetError(
                "{0}The policy module could not be put back ({1}), and flows of this host are NOT enforced; see what "
                "'semodule -lfull' says of senet_firewall, correct what is named here, and run the play again.".format(
                    ALERT, exc
                )
            ) from exc
        load.load(host)
        host.guard.repaired("the policy module")
        _say("The policy module was missing and has been put back; find out what removes or disables it.")
        host.service.show(True)
    return True


def _is_left_over(pending: Pending) -> bool:
    """Whether a change should be undone, and neither timer nor boot has managed to."""
    return pending.overdue(boot_id(), clock() - _OVERDUE_SECONDS)


def _undo_left_over(host: Host) -> None:
    with host.guard.lock(0):
        pending = host.guard.pending()
        if pending is not None and _is_left_over(pending):
            undo.undo_pending(host, pending, pending.reason)
            _say("The change {0} was undone: {1}.".format(pending.token, pending.reason))


def _repair(host: Host) -> bool:
    """Load what is not in force; says whether somebody had taken it away."""
    pending = _pending(host)[0]
    if pending is not None and not pending.waits(boot_id(), clock()):
        return False
    loaded = load.refresh(host)
    _tell_left_over(loaded)
    if not loaded.lost:
        return False
    host.guard.repaired(" and ".join(loaded.lost))
    _say("Rules were missing for {0} and have been put back.".format(" and ".join(loaded.lost)))
    return True


class _Events:
    """Changes of netfilter's tables as ``nft monitor`` tells them, and loaded policies as the kernel does; without
    either there is only the time."""

    def __init__(self) -> None:
        nft = find_command("nft")
        self._monitor = (
            # pylint: disable-next=ansible-bad-function
            subprocess.Popen([nft, "monitor"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) if nft else None
        )
        self._policies = None  # type: Optional[socket.socket]
        # Where SELinux is disabled, or does not let us
        with suppress(OSError):
            policies = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SELINUX)
            policies.bind((0, _SELNLGRP_AVC))
            self._policies = policies

    def wait(self, seconds: float) -> bool:
        """Return soon after a change, or when the time is over; says whether there was a change."""
        if not self._ready(seconds):
            return False
        time.sleep(_SETTLE_SECONDS)
        for source in self._ready(0):
            while source in self._ready(0):
                if not os.read(source, 65536):
                    self._end_monitor()
        return True

    def _ready(self, seconds: float) -> List[int]:
        """What can be read within some seconds."""
        pipe = self._monitor.stdout if self._monitor is not None else None
        sources = [source.fileno() for source in (pipe, self._policies) if source is not None]
        if not sources:
            time.sleep(seconds)
            return []
        return select.select(sources, [], [], seconds)[0]

    def _end_monitor(self) -> None:
        if self._monitor is not None:
            self._monitor.wait()
        self._monitor = None


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
