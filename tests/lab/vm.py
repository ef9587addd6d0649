# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lab hosts of any kind: run commands in them, save, reboot, cut the power, stop."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from .errors import BootError, CommandError
from .image import Image
from .ssh import Result, Ssh
from .states import State

BOOT_SECONDS = 300
CONSOLE_LINES = 60
POLL_SECONDS = 0.05
LINK_NUMBERS = {"web": 1, "db": 2}
# A third machine on the link, of User Mode Linux only; the guest does not know the addresses of its NIC.
STRANGER = "stranger"


def link_mac(name: str) -> str:
    """The MAC address of a host's private link NIC; the guest knows it (guest/root/etc/systemd/network)."""
    return f"52:54:00:77:00:{LINK_NUMBERS.get(name, 0xFF):02x}"


class Birth(NamedTuple):
    """What a host is given at its start: its name, its image, its directory, the port on 127.0.0.1 that leads to its
    SSH, whether it is on the private link, and whom to tell of saved states."""

    name: str
    image: Image
    run_dir: Path
    ssh_port: int
    link: bool
    on_save: Callable[[State], None]


class Host(ABC):
    """One running machine. Made by Lab.start(); usable as a context manager that stops it."""

    def __init__(self, birth: Birth, process: subprocess.Popen[bytes]) -> None:
        self.name = birth.name
        self.link = birth.link
        self.run_dir = birth.run_dir
        self.ssh_port = birth.ssh_port
        self._birth = birth
        self._process = process
        self._ssh = Ssh(birth.image, birth.ssh_port, birth.run_dir / "ssh")

    def __enter__(self) -> Host:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    @abstractmethod
    def pids(self) -> list[int]:
        """The processes that are this host, each to be killed when it goes."""

    @abstractmethod
    def save_state(self, name: str | Path) -> State:
        """Save this host for later starts. A name lives as long as the lab, an absolute path as long as you like."""

    @abstractmethod
    def save_disk(self, name: str | Path) -> State:
        """Save what a power cut at this moment would leave, and let the host run on. A start from it is a boot."""

    @abstractmethod
    def power_cut(self, wait: bool = True) -> None:
        """Cut the power without a word to the guest, and boot it again; the disk stays as it is."""

    @abstractmethod
    def stop(self) -> None:
        """End the machine at once and remove the host's files."""

    @property
    def pid(self) -> int:
        """The machine's own process."""
        return self._process.pid

    @property
    def ssh_args(self) -> list[str]:
        """`ssh *ssh_args COMMAND` opens a new connection."""
        return self._ssh.args

    def inventory_vars(self) -> dict[str, str | int]:
        """What Ansible needs to reach this host."""
        return {
            "ansible_host": "127.0.0.1",
            "ansible_port": self.ssh_port,
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(self._birth.image.key),
            "ansible_ssh_common_args": shlex.join(self._ssh.common_args),
            "ansible_python_interpreter": "/usr/bin/python3",
        }

    def alive(self) -> bool:
        """Whether the machine still runs."""
        return self._process.poll() is None

    def run(
        self,
        command: str,
        check: bool = True,
        timeout: float = 60,
        input: str | bytes | None = None,
        fresh: bool = False,
    ) -> Result:
        """Run a shell command as root in the guest; `fresh` opens a new TCP connection for it.

        Raises CommandError when `check` and the return code is not 0, CommandTimeout after `timeout` seconds.
        """
        data = input.encode() if isinstance(input, str) else input or b""
        done = self._ssh.run(command, timeout, data, fresh)
        result = Result(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))
        if check and result.rc != 0:
            raise CommandError(f"{self.name}: rc {result.rc} from: {command}\n{result.stdout}{result.stderr}")
        return result

    def put(self, content: str | bytes, path: str, mode: int = 0o644) -> None:
        """Write a file in the guest."""
        quoted = shlex.quote(path)
        self.run(f"cat > {quoted} && chmod {mode:o} {quoted}", input=content)

    def fetch(self, path: str) -> bytes:
        """The content of a file in the guest."""
        done = self._ssh.run(f"cat {shlex.quote(path)}", 60)
        if done.returncode != 0:
            raise CommandError(f"{self.name}: {path} cannot be read: {done.stderr.decode(errors='replace')}")
        return done.stdout

    def console(self) -> str:
        """All that the console showed since this host was started."""
        try:
            return (self.run_dir / "console.log").read_text(errors="replace").replace("\r", "")
        except FileNotFoundError:
            return ""

    def boot_failure(self, what: str) -> BootError:
        """An error with the console's last lines."""
        tail = "\n".join(self.console().splitlines()[-CONSOLE_LINES:])
        return BootError(f"{self.name}: {what}. The last lines of its console:\n{tail}")

    def wait_ready(self, timeout: float = BOOT_SECONDS, degraded_ok: bool = False) -> None:
        """Wait until SSH answers and systemd says `running`.

        Raises BootError after `timeout` seconds, on a kernel panic, when the machine ends, and on failed units unless
        `degraded_ok`.
        """
        deadline = time.monotonic() + timeout
        while not (self._ssh.greets() and self._ssh.answers()):
            ended = not self.alive()
            if "Kernel panic" in self.console():
                raise self.boot_failure("the kernel panicked")
            if ended:
                raise self.boot_failure("the machine has ended")
            if time.monotonic() > deadline:
                raise self.boot_failure(f"no SSH within {timeout:.0f} s")
            time.sleep(POLL_SECONDS)
        left = max(5.0, deadline - time.monotonic())
        state = self.run("systemctl is-system-running --wait", check=False, timeout=left).stdout.strip()
        if state != "running" and not (state == "degraded" and degraded_ok):
            failed = self.run("systemctl --failed --plain --no-legend", check=False).stdout.strip()
            raise self.boot_failure(f"systemd says {state}; failed units: {failed or 'none'}")

    def reboot(self, degraded_ok: bool = False) -> None:
        """Reboot in good order and wait until the host is up again."""
        before = self.run("cat /proc/sys/kernel/random/boot_id").stdout
        self.run("systemctl reboot", check=False)
        self._ssh.hang_up()
        deadline = time.monotonic() + BOOT_SECONDS
        while True:
            now = self.run("cat /proc/sys/kernel/random/boot_id", check=False, fresh=True, timeout=60)
            if now.rc == 0 and now.stdout != before:
                break
            if time.monotonic() > deadline:
                raise self.boot_failure("no new boot after 'systemctl reboot'")
            time.sleep(POLL_SECONDS)
        self.wait_ready(degraded_ok=degraded_ok)

    def _state(self, name: str | Path) -> State:
        """An empty directory for a state of that name or path."""
        directory = Path(name) if Path(name).is_absolute() else self.run_dir.parent / "states" / str(name)
        directory.mkdir(parents=True)
        return State(directory.name, directory)

    def _remove_files(self) -> None:
        shutil.rmtree(self.run_dir, ignore_errors=True)
