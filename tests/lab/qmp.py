# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small client of QEMU's machine protocol (qemu-qmp-ref(7)): one command at a time, polled states."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .errors import LabError

POLL_SECONDS = 0.05


class Qmp:
    """A connection to the QMP socket of one QEMU. Raises LabError when QEMU refuses a command or goes away."""

    def __init__(self, path: Path, timeout: float, alive: Callable[[], bool]) -> None:
        """Wait up to `timeout` seconds for the socket at `path`, as long as QEMU is `alive`."""
        deadline = time.monotonic() + timeout
        while True:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                self._socket.connect(str(path))
                break
            except OSError as error:
                self._socket.close()
                if not alive() or time.monotonic() > deadline:
                    raise LabError(f"QEMU does not answer on {path}: {error}.") from error
                time.sleep(POLL_SECONDS)
        self._socket.settimeout(60)
        self._stream = self._socket.makefile("rw", encoding="utf-8")
        self._read()
        self.execute("qmp_capabilities")

    def _read(self) -> dict[str, Any]:
        try:
            line = self._stream.readline()
        except OSError as error:
            raise LabError(f"QEMU does not answer on its control socket: {error}.") from error
        if not line:
            raise LabError("QEMU has ended.")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def execute(self, command: str, **arguments: Any) -> Any:
        """The `return` value of one command; events that come before it are dropped."""
        try:
            self._stream.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
            self._stream.flush()
        except OSError as error:
            raise LabError(f"QEMU does not take '{command}': {error}.") from error
        while True:
            answer = self._read()
            if "error" in answer:
                raise LabError(f"QEMU refuses '{command}': {answer['error'].get('desc')}.")
            if "return" in answer:
                return answer["return"]

    def wait(self, command: str, done: Callable[[Any], bool], what: str, timeout: float) -> Any:
        """Ask `command` until `done` accepts its answer; raises LabError with `what` after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while True:
            answer = self.execute(command)
            if done(answer):
                return answer
            if time.monotonic() > deadline:
                raise LabError(f"QEMU has not {what} within {timeout:.0f} s; {command} says {answer}.")
            time.sleep(POLL_SECONDS)

    def close(self) -> None:
        self._socket.close()
