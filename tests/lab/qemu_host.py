# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts under QEMU, with the kernel that the distribution ships: saved with their memory, restored in seconds."""

from __future__ import annotations

import shlex
import shutil
import signal
import subprocess
import time

from .errors import LabError
from .qmp import Qmp
from .states import State
from .vm import LINK_NUMBERS, POLL_SECONDS, Birth, Host, Path, link_mac

SAVE_SECONDS = 120


class QemuHost(Host):
    """One running QEMU."""

    def __init__(self, birth: Birth, process: subprocess.Popen[bytes]) -> None:
        super().__init__(birth, process)
        self._qmp = Qmp(birth.run_dir / "qmp", 30, self.alive)

    @property
    def pids(self) -> list[int]:
        return [self.pid]

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
        """Save memory and disk, and let the host run on. The disk needs the image and the state it was started from.

        The shared SSH connection is closed first, so that the saved host has no connection nobody answers.
        """
        state = self._state(name)
        self._hang_up()
        self._qmp.execute("stop")
        self._qmp.execute("migrate-set-parameters", **{"max-bandwidth": 1 << 40})
        self._qmp.execute("migrate", uri=f"exec:cat > {shlex.quote(str(state.ram))}")
        answer = self._qmp.wait(
            "query-migrate", lambda got: got.get("status") in ("completed", "failed"), "saved the host", SAVE_SECONDS
        )
        if answer["status"] != "completed":
            raise LabError(f"{self.name}: QEMU cannot save the host: {answer.get('error-desc', 'no reason given')}.")
        return self._copied(state)

    def save_disk(self, name: str | Path) -> State:
        state = self._state(name)
        self._qmp.execute("stop")
        return self._copied(state)

    def _copied(self, state: State) -> State:
        """The state with the disk of the host, which stands still until then."""
        shutil.copyfile(self.run_dir / state.overlay.name, state.overlay)
        state.overlay.chmod(0o444)
        self._qmp.execute("cont")
        self._birth.on_save(state)
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
        self._ssh.hang_up()
        self._qmp.execute("system_reset")
        if wait:
            self.wait_ready()

    def stop(self) -> None:
        self._ssh.hang_up()
        if self.alive():
            self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._qmp.close()
        self._remove_files()
