# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands in a guest over OpenSSH: one shared connection for speed, a new one on demand."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from pathlib import Path
from typing import NamedTuple

from .errors import CommandTimeout, LabError
from .image import Image

CONNECT_SECONDS = 15
GREETING_SECONDS = 1


class Result(NamedTuple):
    """How a command in a guest ended; rc 255 is ssh's own failure (ssh(1))."""

    rc: int
    stdout: str
    stderr: str


def options(image: Image) -> list[str]:
    """ssh options that reach a guest without the user's own configuration; the host key is known from the build."""
    pairs = {
        "IdentityFile": str(image.key),
        "IdentitiesOnly": "yes",
        "BatchMode": "yes",
        "HostKeyAlias": "senet-lab",
        "UserKnownHostsFile": str(image.known_hosts),
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "UpdateHostKeys": "no",
        "HostKeyAlgorithms": "ssh-ed25519",
        "ConnectTimeout": str(CONNECT_SECONDS),
        "LogLevel": "ERROR",
    }
    return ["-F", "none", *(word for name, value in pairs.items() for word in ("-o", f"{name}={value}"))]


class Ssh:
    """The way into one guest: `port` on 127.0.0.1, the shared connection's socket at `control`."""

    def __init__(self, image: Image, port: int, control: Path) -> None:
        self.port = port
        self._control = control
        self._options = options(image)

    @property
    def common_args(self) -> list[str]:
        """Options without the port and the destination, fit for ansible_ssh_common_args."""
        return list(self._options)

    @property
    def args(self) -> list[str]:
        """`ssh *args COMMAND` opens a new connection."""
        return [*self._options, "-p", str(self.port), "root@127.0.0.1"]

    def run(
        self, command: str, timeout: float, data: bytes = b"", fresh: bool = False
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a shell command in the guest. Raises CommandTimeout; a failed connection is returncode 255."""
        control = "none"
        if not fresh:
            self._share()
            control = str(self._control)
        full = ["ssh", "-o", "ControlMaster=no", "-o", f"ControlPath={control}", *self.args, command]
        try:
            return subprocess.run(full, input=data, capture_output=True, timeout=timeout, check=False)
        except subprocess.TimeoutExpired as error:
            if not fresh:
                self.hang_up()
            raise CommandTimeout(
                f"No end within {timeout:.0f} s, on port {self.port}: {command}\n"
                f"{(error.stdout or b'').decode(errors='replace')}{(error.stderr or b'').decode(errors='replace')}"
            ) from error

    def greets(self) -> bool:
        """Whether an SSH server sends its first line: a cheap question to ask again and again."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), GREETING_SECONDS) as connection:
                connection.settimeout(GREETING_SECONDS)
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False

    def answers(self) -> bool:
        """Whether a new connection can be opened and a command run."""
        try:
            return self.run("true", CONNECT_SECONDS + 5, fresh=True).returncode == 0
        except LabError:
            return False

    def _share(self) -> None:
        """Open the shared connection if there is none; if that fails, ssh falls back to a connection per command."""
        if not self._control.exists():
            command = ["ssh", "-M", "-N", "-f", "-o", f"ControlPath={self._control}", *self.args]
            quiet = subprocess.DEVNULL
            with contextlib.suppress(subprocess.TimeoutExpired):
                subprocess.run(
                    command, stdin=quiet, stdout=quiet, stderr=quiet, timeout=CONNECT_SECONDS + 15, check=False
                )

    def hang_up(self) -> None:
        """Close the shared connection."""
        if self._control.exists():
            command = ["ssh", "-O", "exit", "-o", f"ControlPath={self._control}", *self.args]
            subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=30, check=False)
            self._control.unlink(missing_ok=True)
