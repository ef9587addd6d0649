# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Watches SSH while something else happens: one session stays open and is asked again and again, others are opened."""

import select
import subprocess
import threading
from types import TracebackType
from typing import NamedTuple

from tests.lab.errors import LabError
from tests.lab.vm import Host

# Far more than a loaded machine needs, and far less than the retransmissions of a connection that is cut
ANSWER_SECONDS = 30


class SshReport(NamedTuple):
    """Answers of the open session, new sessions that worked, and everything that failed."""

    answers: int
    opened: int
    failures: tuple[str, ...]


class SshWatch:
    """A context manager; `report` is there after it."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._end = threading.Event()
        self._failures: list[str] = []
        self._answers = 0
        self._opened = 0
        self._session = subprocess.Popen(["ssh", *host.ssh_args, "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._threads = [threading.Thread(target=self._ask_again), threading.Thread(target=self._open_again)]

    def __enter__(self) -> "SshWatch":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()
        self._session.terminate()
        self._session.communicate()

    @property
    def report(self) -> SshReport:
        return SshReport(self._answers, self._opened, tuple(self._failures))

    def _ask_again(self) -> None:
        assert self._session.stdin is not None
        assert self._session.stdout is not None
        while not self._end.is_set():
            line = f"{self._answers}\n".encode()
            self._session.stdin.write(line)
            self._session.stdin.flush()
            ready, dummy, dummy2 = select.select([self._session.stdout], [], [], ANSWER_SECONDS)
            if not ready or self._session.stdout.readline() != line:
                self._failures.append(f"the open session did not answer {line!r} within {ANSWER_SECONDS} s")
                return
            self._answers += 1
            self._end.wait(0.1)

    def _open_again(self) -> None:
        while not self._end.is_set():
            try:
                done = self._host.run("true", check=False, fresh=True, timeout=ANSWER_SECONDS)
            except LabError as error:
                self._failures.append(str(error))
                continue
            if done.rc:
                self._failures.append(f"a new session ended with {done.rc}: {done.stderr}")
            else:
                self._opened += 1
