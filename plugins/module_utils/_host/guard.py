# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guard: what a host was like before a change, and a timer that brings it back. It decides nothing.

The record is one file; whoever changes it holds the lock.
"""

import fcntl
import json
import os
import time
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, NamedTuple, Optional, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._host.command_types import FindCommand, RunCommand
from ansible_collections.senet.firewall.plugins.module_utils._host.files import (
    open_unlinked,
    read_owned,
    remove,
    write_owned,
)
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError

STATE_DIRECTORY = "/var/lib/senet-firewall"
_PENDING = STATE_DIRECTORY + "/pending.json"
_OUTCOME = STATE_DIRECTORY + "/outcome.json"
_REPAIRS = "/run/senet-firewall.repairs"
# Longer than systemd's limit on the rate of starts looks back
_RESTART_SECONDS = 30
_PROOF_SECONDS = 60
_LOCK = "/run/senet-firewall.lock"
# include/uapi/linux/time.h; Python 3.6 has no name for it, and the units may run an older Python than the module
_CLOCK_BOOTTIME = 7


class Pending(NamedTuple):
    """A change that nobody has confirmed.

    ``complete`` is False until the change is whole, and stays False if the run that made it died; ``step`` is what it
    was doing. ``before`` is the host's state as the engine wrote it down, ``after`` what confirming makes permanent.
    ``boot`` is the boot it was made in, ``deadline`` is in seconds of that boot's clock, and 0 once undoing a whole
    change has begun; ``reverts`` says that it goes back to an earlier set of flows.
    """

    token: str
    boot: str
    complete: bool
    step: str
    deadline: float
    before: Dict[str, Any]
    after: Dict[str, Any]
    reverts: bool = False

    def seconds_left(self, boot: str, now: float) -> Optional[int]:
        """Until the host undoes it; None for one that is not whole, or of another boot."""
        return max(0, int(self.deadline - now)) if self.complete and self.boot == boot else None

    @property
    def reason(self) -> str:
        """Why the host should undo a whole change whose time is over."""
        return "it was not confirmed in time" if self.deadline else "undoing it had been begun before"

    def waits(self, boot: str, now: float) -> bool:
        """Whether it is whole and in force until it is confirmed or its time is over."""
        return self.complete and not self.overdue(boot, now)

    def overdue(self, boot: str, now: float) -> bool:
        """Whether the host should have undone it by now: its time is over, or the host was restarted."""
        return self.boot != boot or (self.complete and now > self.deadline)


# Of the fields of a record
_KINDS = (str, str, bool, str, (int, float), dict, dict, bool)  # type: Tuple[Any, ...]


class Guard:
    """The record, the lock and the timers of this host. ``command`` tells what starts the launcher."""

    def __init__(
        self,
        run_command: RunCommand,
        find_command: FindCommand,
        systemd: bool,
        command: Callable[[], Tuple[str, ...]],
    ) -> None:
        self._run = run_command
        self._find = find_command
        self._systemd = systemd
        self._command = command

    @contextmanager
    def lock(self, wait: float) -> Iterator[None]:
        """Hold the one lock of this host; the kernel drops it when the process ends, however it ends.

        :raises SenetError: somebody else holds it for longer than ``wait`` seconds.
        """
        descriptor = open_unlinked(_LOCK, os.O_RDWR)
        try:
            deadline = time.monotonic() + wait
            while not _try_lock(descriptor):
                if time.monotonic() >= deadline:
                    holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
                    raise SenetError(
                        "Another run is changing the flows of this host (pid {0}); nothing was changed, run again when "
                        "it has finished.".format(holder)
                    )
                time.sleep(0.1)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode("ascii"), 0)
            yield
        finally:
            os.close(descriptor)

    def pending(self) -> Optional[Pending]:
        """The change that waits for confirmation, if any.

        :raises SenetError: the record cannot be read.
        """
        text = read_owned(_PENDING)
        if text is None:
            return None
        try:
            pending = Pending(**json.loads(text))
            if not all(isinstance(value, kinds) for value, kinds in zip(pending, _KINDS)):
                raise ValueError("a part is of another type")
            if not all(_is_state(state) for state in (pending.before, pending.after)):
                raise ValueError("a state lacks a part")
            return pending
        except (ValueError, TypeError) as exc:
            raise SenetError(
                "The record {0} of an unconfirmed change is damaged ({1}); move it away, and run the play again to "
                "bring the host to a known state.".format(_PENDING, exc)
            ) from exc

    def write(self, pending: Pending) -> None:
        """Write the record.

        :raises SenetError: it cannot be written.
        """
        write_owned(_PENDING, json.dumps(dict(pending._asdict())))

    def forget(self, outcome: Dict[str, Any]) -> None:
        """Remove the record and its timers, and write down what became of it."""
        text = json.dumps(outcome)
        try:
            write_owned(_OUTCOME, text)
        except SenetError:
            # On a full disk the record itself is what can make room
            remove(_PENDING)
            write_owned(_OUTCOME, text)
        remove(_PENDING)
        if self._systemd:
            # Not the service: it may be the one that runs this.
            for phase in ("apply", "confirm"):
                self._run([self._find("systemctl") or "systemctl", "stop", _timer(outcome["token"], phase) + ".timer"])

    def outcome(self) -> Optional[Dict[str, Any]]:
        """What became of the last guarded change: its token, whether it was rolled back, and why."""
        text = read_owned(_OUTCOME)
        try:
            outcome = json.loads(text or "null")  # type: Optional[Dict[str, Any]]
        except ValueError:
            return None
        return outcome

    def prove(self, token: str) -> None:
        """Run the launcher once as the timer will, and wait for its answer: that it can read the record of a change.

        :raises SenetError: it cannot be run in that way, or does not find the record.
        """
        command = list(self._command()) + ["check", token]
        if self._systemd:
            # An answer that never comes is one, too.
            command = [
                self._find("systemd-run") or "systemd-run",
                "--quiet",
                "--wait",
                "--collect",
                "--unit=senet-firewall-check-{0}".format(token),
                "--description=Check that the change {0} of senet.firewall can be undone".format(token),
                "--property=RuntimeMaxSec={0}".format(_PROOF_SECONDS),
                "--",
            ] + command
        code, dummy, err = self._run(command)
        if code:
            raise SenetError(
                "A trial run of the guard failed ('{0}' ended with {1}{2}), so it could not undo the change; see "
                "'journalctl -u senet-firewall-check-{3}' and 'ausearch -m AVC -ts recent', or run with "
                "confirm_timeout=0.".format(
                    " ".join(command[-5:]), code, ": " + " ".join(err.split()) if err.strip() else "", token
                )
            )

    def arm(self, token: str, phase: str, seconds: int) -> None:
        """Start a timer that undoes the change, in no way tied to this process.

        :raises SenetError: systemd refuses.
        """
        command = list(self._command()) + ["rollback", token]
        if not self._systemd:
            _detach(lambda: _run_later(seconds, command))
            return
        code, dummy, err = self._run(
            [
                self._find("systemd-run") or "systemd-run",
                "--quiet",
                "--unit=" + _timer(token, phase),
                "--description=Undo the unconfirmed change {0} of senet.firewall".format(token),
                "--on-active={0}".format(seconds),
                "--timer-property=AccuracySec=100ms",
                # Undoing tries again by itself; this is for a process that was killed.
                "--property=Restart=on-abnormal",
                "--property=RestartSec={0}".format(_RESTART_SECONDS),
                "--",
            ]
            + command
        )
        if code:
            raise SenetError(
                "systemd-run cannot start the timer that would undo the change ({0}); nothing was changed, repair "
                "systemd or run with confirm_timeout=0.".format(" ".join(err.split()))
            )

    def repaired(self, what: str) -> None:
        """Note for the next run that labels were missing and have been put back."""
        with open(_REPAIRS, "a", encoding="utf-8", opener=open_unlinked) as repairs:
            repairs.write("{0} {1}\n".format(time.strftime("%Y-%m-%dT%H:%M:%S%z"), what))

    def repairs(self) -> Optional[str]:
        """The last such note since the last change or boot."""
        try:
            with open(_REPAIRS, encoding="utf-8") as repairs:
                lines = repairs.read().splitlines()
        except FileNotFoundError:
            return None
        return lines[-1] if lines else None

    def forget_repairs(self) -> None:
        """Drop the notes."""
        remove(_REPAIRS)


def new_token() -> str:
    """A name for a change that was given none."""
    return os.urandom(6).hex()


def boot_id() -> str:
    """What tells this boot from any other: random(4)."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as node:
        return node.read().strip()


def clock() -> float:
    """Seconds since boot, on which a change of the time of day has no effect."""
    return time.clock_gettime(_CLOCK_BOOTTIME)


def _is_state(state: Dict[str, Any]) -> bool:
    """Whether a state of the record has what the engine looks for in it."""
    texts = (state.get("policy", 0), state.get("intent", 0))
    return isinstance(state.get("rules"), dict) and all(text is None or isinstance(text, str) for text in texts)


def _timer(token: str, phase: str) -> str:
    return "senet-firewall-{0}-{1}".format(phase, token)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False


def _detach(action: Callable[[], None]) -> None:
    """Run an action in a process that has left this one's session, terminal and parent (daemon(7))."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    try:
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        os.closerange(3, 1024)
        action()
    finally:
        os._exit(1)


def _run_later(seconds: int, command: Any) -> None:
    os.chdir("/")
    deadline = clock() + seconds
    while clock() < deadline:
        time.sleep(max(0.0, deadline - clock()))
    os.execv(command[0], command)
