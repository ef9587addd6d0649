# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lab hosts: start them from saved states in seconds, run commands in them, save, cut the power, stop."""

from __future__ import annotations

import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from .errors import BootError, CommandError, LabError
from .image import Image
from .qemu import LINK_NUMBERS, link_mac
from .qmp import POLL_SECONDS, Qmp
from .ssh import Result, Ssh
from .states import State

BOOT_SECONDS = 300
SAVE_SECONDS = 120
CONSOLE_LINES = 60


class Host:
    """One running QEMU. Made by Lab.start(); usable as a context manager that stops it."""

    def __init__(
        self, name: str, image: Image, run: Path, process: subprocess.Popen[bytes], ssh_port: int, link: bool,
        on_save: Callable[[State], None],
    ) -> None:  # fmt: skip
        self.name = name
        self.link = link
        self.run_dir = run
        self.ssh_port = ssh_port
        self.pid = process.pid
        self._process = process
        self._on_save = on_save
        self._ssh = Ssh(image, ssh_port, run / "ssh")
        self._image = image
        self._qmp = Qmp(run / "qmp", 30, self.alive)

    def __enter__(self) -> Host:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

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
            "ansible_ssh_private_key_file": str(self._image.key),
            "ansible_ssh_common_args": shlex.join(self._ssh.common_args),
            "ansible_python_interpreter": "/usr/bin/python3",
        }

    def alive(self) -> bool:
        """Whether QEMU still runs."""
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
        """All that the serial console showed since this QEMU was started."""
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

        Raises BootError after `timeout` seconds, on a kernel panic, when QEMU ends, and on failed units unless
        `degraded_ok`.
        """
        deadline = time.monotonic() + timeout
        while not self._ssh.answers():
            if not self.alive():
                raise self.boot_failure("QEMU has ended")
            if "Kernel panic" in self.console():
                raise self.boot_failure("the kernel panicked")
            if time.monotonic() > deadline:
                raise self.boot_failure(f"no SSH within {timeout:.0f} s")
            time.sleep(POLL_SECONDS)
        left = max(5.0, deadline - time.monotonic())
        state = self.run("systemctl is-system-running --wait", check=False, timeout=left).stdout.strip()
        if state != "running" and not (state == "degraded" and degraded_ok):
            failed = self.run("systemctl --failed --plain --no-legend", check=False).stdout.strip()
            raise self.boot_failure(f"systemd says {state}; failed units: {failed or 'none'}")

    def wait_restored(self) -> None:
        """Wait until a saved state runs again, and give it what is its own: time, name, private link."""
        try:
            self._qmp.wait("query-status", lambda got: got["status"] == "paused", "restored the host", SAVE_SECONDS)
            self._qmp.execute("cont")
        except LabError as error:
            raise self.boot_failure(f"the saved state does not start: {error}") from error
        commands = [f"date -u -s @{time.time():.3f} >/dev/null", f"hostname {self.name}"]
        if self.link:
            # networkd sees the new address when the link comes up; the stock policy denies asking it over D-Bus.
            commands += [f"ip link set eth1 address {link_mac(self.name)}", "ip link set eth1 up", self._link_is_up()]
        self.run(" && ".join(commands))

    def _link_is_up(self) -> str:
        """A shell command that ends when both addresses of the private link are usable."""
        number = LINK_NUMBERS[self.name]
        ready = f"ip -br address show dev eth1 | grep 10.77.0.{number}/ | grep -q fd77::{number}/"
        return f"timeout 30 sh -c 'until {ready}; do sleep 0.1; done'"

    def save_state(self, name: str | Path) -> State:
        """Save this host, memory and disk, and let it run on.

        A name lives as long as the lab, an absolute path as long as you like; its disk needs the image and the state
        that this host was started from.

        The shared SSH connection is closed first, so that the saved host has no connection nobody answers.
        """
        directory = Path(name) if Path(name).is_absolute() else self.run_dir.parent / "states" / str(name)
        state = State(directory.name, directory)
        directory.mkdir(parents=True)
        self._hang_up()
        self._qmp.execute("stop")
        self._qmp.execute("migrate-set-parameters", **{"max-bandwidth": 1 << 40})
        self._qmp.execute("migrate", uri=f"exec:cat > {shlex.quote(str(state.ram))}")
        answer = self._qmp.wait(
            "query-migrate", lambda got: got.get("status") in ("completed", "failed"), "saved the host", SAVE_SECONDS
        )
        if answer["status"] != "completed":
            raise LabError(f"{self.name}: QEMU cannot save the host: {answer.get('error-desc', 'no reason given')}.")
        shutil.copyfile(self.run_dir / "disk.qcow2", state.disk)
        state.disk.chmod(0o444)
        self._qmp.execute("cont")
        self._on_save(state)
        return state

    def _hang_up(self) -> None:
        """Close the shared SSH connection and wait until the guest has closed its side too."""
        self._ssh.hang_up()
        deadline = time.monotonic() + 30
        while "ESTABLISHED" in self._qmp.execute("human-monitor-command", **{"command-line": "info usernet"}):
            if time.monotonic() > deadline:
                raise LabError(f"{self.name}: an SSH connection is still open: close it before the host is saved.")
            time.sleep(POLL_SECONDS)

    def power_cut(self, wait: bool = True) -> None:
        """Reset the machine without a word to the guest; the disk stays as it is. Waits until it has booted again."""
        self._ssh.hang_up()
        self._qmp.execute("system_reset")
        if wait:
            self.wait_ready()

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

    def stop(self) -> None:
        """End QEMU at once and remove the host's files."""
        self._ssh.hang_up()
        if self.alive():
            self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._qmp.close()
        shutil.rmtree(self.run_dir, ignore_errors=True)
