# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands ansible and ansible-playbook, each run in a fork of a process that has imported them.

The import takes more than a second, which is most of what a short command takes on the controller. A fork reads
Ansible's configuration anew, from the environment that its command is given, but for the directories of plugins: what
has been imported keeps those.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

_COMMANDS = {"ansible": ("adhoc", "AdHocCLI"), "ansible-playbook": ("playbook", "PlaybookCLI")}
# Beside the commands themselves, what each of them imports when it runs
_IMPORTED_LATER = ("ansible.plugins.strategy.linear", "ansible.plugins.inventory", "ansible.executor.task_executor")


def run(command: Sequence[str], environment: dict[str, str], directory: Path) -> subprocess.CompletedProcess[str]:
    """What subprocess.run returns of the command with an empty input, its output as text.

    It may be called from several threads at a time.
    """
    return _warm.run(command, environment, directory)


class _Warm:
    """The process to fork, started with the first command."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._orders: socket.socket | None = None

    def run(
        self, command: Sequence[str], environment: dict[str, str], directory: Path
    ) -> subprocess.CompletedProcess[str]:
        with tempfile.TemporaryFile("w+") as order, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            json.dump([*map(str, (directory, *command))], order)
            order.write("\n")
            json.dump(environment, order)
            order.seek(0)
            code = self._code(order.fileno(), out.fileno(), err.fileno())
            texts = []
            for file in (out, err):
                file.seek(0)
                texts.append(file.read().decode())
        return subprocess.CompletedProcess(list(command), code, *texts)

    def _code(self, *files: int) -> int:
        reading, writing = os.pipe()
        try:
            socket.send_fds(self._started(), [b"run"], [*files, writing])
        finally:
            os.close(writing)
        with open(reading) as answer:
            text = answer.read()
        if not text:
            raise RuntimeError("The fork that was to run a command of Ansible ended without a return code.")
        return int(text)

    def _started(self) -> socket.socket:
        with self._lock:
            if self._orders is None:
                self._orders, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                kept = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
                with other:
                    process = subprocess.Popen(
                        [sys.executable, "-P", __file__, str(other.fileno())], pass_fds=[other.fileno()], cwd="/",
                        env={**kept, "ANSIBLE_LOCAL_TEMP": tempfile.gettempdir()}, stdin=subprocess.DEVNULL,
                        # Ansible asks once, when it is imported, whether its output is a terminal
                        stdout=subprocess.DEVNULL,
                    )  # fmt: skip
                atexit.register(_end, self._orders, process)
            return self._orders


_warm = _Warm()


def _end(orders: socket.socket, process: subprocess.Popen[bytes]) -> None:
    # Without its other end it has nothing to wait for
    orders.close()
    process.wait()


def _serve(orders: socket.socket) -> None:
    """Fork for each order, which is four open files: the command, its output, its errors, its return code."""
    for name, dummy in _COMMANDS.values():
        importlib.import_module(f"ansible.cli.{name}")
    for name in _IMPORTED_LATER:
        importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        word, files, *_rest = socket.recv_fds(orders, 16, 4, socket.MSG_CMSG_CLOEXEC)
        if not word:
            return
        if os.fork() == 0:
            orders.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _run(*files)
        for number in files:
            os.close(number)


def _run(order: int, out: int, err: int, answer: int) -> NoReturn:
    """The command, in this process."""
    code: Any = 70
    try:
        with open(order) as lines:
            (directory, *command), environment = map(json.loads, lines)
        os.chdir(directory)
        os.environ.clear()
        os.environ.update(environment)
        with open(os.devnull) as nothing:
            os.dup2(nothing.fileno(), 0)
        os.dup2(out, 1)
        os.dup2(err, 2)
        _renew()
        module, name = _COMMANDS[Path(command[0]).name]
        sys.argv = command
        try:
            getattr(sys.modules[f"ansible.cli.{module}"], name).cli_executor(command)
        except SystemExit as ended:
            code = ended.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os.write(answer, str(int(code)).encode())
        # Not what the process that was forked has to clean up
        os._exit(0)


def _renew() -> None:
    """Make anew what Ansible made when it was imported: its configuration, and the lock of both outputs."""
    from ansible import constants
    from ansible.utils import display

    importlib.reload(constants)
    for stream in (sys.stdout, sys.stderr):
        # A fork has the lock no longer, and the command forks again
        display._synchronize_textiowrapper(stream, display.Display()._lock)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
