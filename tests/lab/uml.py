# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts under User Mode Linux: native speed, the newest kernel, saved as a disk and booted for each start."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from .errors import LabError
from .image import Image
from .states import State
from .uml_kernel import Kernel
from .uml_network import GUEST_MAC, LINK_NIC, SSH_NIC
from .vm import POLL_SECONDS, Birth, Host, link_mac

MEMORY_MIB = 1536
KERNEL_ARGUMENTS = (
    "root=/dev/ubda rw seccomp=on con0=fd:0,fd:1 con=null ssl=null net.ifnames=0 security=selinux enforcing=1 "
    "audit_backlog_limit=8192 "
    # Each would be a device of udev and a unit of systemd
    "pty.legacy_count=0"
)
# Units that do nothing here and take a fifth of the processor time of a boot
IDLE_UNITS = (
    *(f"modprobe@{module}.service" for module in ("configfs", "dm_mod", "drm", "efi_pstore", "fuse", "loop")),
    *("systemd-random-seed.service", "systemd-binfmt.service", "systemd-pstore.service", "getty@tty1.service"),
    *("systemd-update-utmp.service", "systemd-update-utmp-runlevel.service"),
    # Sessions, of which each new SSH connection would be one
    *("systemd-logind.service", "user-runtime-dir@0.service", "user@0.service"),
)
TOOLS = ("ip", "ethtool", "taskset", "nsenter", "unshare", "setpriv")
NETWORK_SECONDS = 20
OFF_SECONDS = 60

Spawn = Callable[..., "subprocess.Popen[bytes]"]


def why_not() -> str | None:
    """Why this machine can have no host of this kind, or None."""
    if os.geteuid() != 0:
        return "its network needs root"
    if os.uname().machine != "x86_64":
        return f"it is not built for {os.uname().machine}"
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    return f"{', '.join(missing)} is missing" if missing else None


def command_line(kernel: Kernel, image: Image, name: str, disk: Path) -> list[str]:
    """The machine's own command: two NICs, as every host of the lab has them."""
    nics = ((SSH_NIC, GUEST_MAC), (LINK_NIC, link_mac(name)))
    return [
        str(kernel.program),
        f"mem={MEMORY_MIB}M",
        # c: no lock on the image, which is only read; QEMU could get none beside it
        f"ubd0c={disk},{image.disk}",
        *(f"vec{number}:transport=raw,ifname={nic},mac={mac}" for number, (nic, mac) in enumerate(nics)),
        *KERNEL_ARGUMENTS.split(),
        *(f"systemd.mask={unit}" for unit in IDLE_UNITS),
        f"systemd.hostname={name}",
    ]


class Network:
    """The process that holds a network namespace (uml_network.py)."""

    def __init__(self, spawn: Spawn, run_dir: Path, listening: socket.socket | None, link_pid: int) -> None:
        """Set it up. Raises LabError with what its tools said when that fails."""
        log = run_dir / "network.log"
        listening_fd = listening.fileno() if listening else -1
        script = str(Path(__file__).with_name("uml_network.py"))
        words = ["unshare", "--net", "--", sys.executable, script, str(run_dir), str(listening_fd), str(link_pid)]
        self.process = spawn(words, log, pass_fds=[listening_fd] if listening else [])
        deadline = time.monotonic() + NETWORK_SECONDS
        while not (run_dir / "network").exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise LabError(f"The network of {run_dir.name} cannot be set up:\n{log.read_text(errors='replace')}")
            time.sleep(POLL_SECONDS)

    @property
    def pid(self) -> int:
        return self.process.pid

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


class UmlHost(Host):
    """One running User Mode Linux. `boot` starts its process, at first and after each power cut."""

    def __init__(self, birth: Birth, boot: Callable[[], subprocess.Popen[bytes]], network: Network) -> None:
        super().__init__(birth, boot())
        self._boot = boot
        self._network = network

    @property
    def pids(self) -> list[int]:
        return [self.pid, self._network.pid]

    def save_state(self, name: str | Path) -> State:
        """Shut down in good order and keep the disk. The host is off afterwards: start others from the state."""
        state = self._state(name)
        self.run("systemctl poweroff", check=False)
        self._ssh.hang_up()
        try:
            self._process.wait(OFF_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise self.boot_failure(f"'systemctl poweroff' has not ended it within {OFF_SECONDS} s") from error
        return self._saved(state)

    def save_disk(self, name: str | Path) -> State:
        state = self._state(name)
        # The guest's processes are processes here; they and the kernel are one group.
        os.killpg(self.pid, signal.SIGSTOP)
        try:
            return self._saved(state)
        finally:
            os.killpg(self.pid, signal.SIGCONT)

    def _saved(self, state: State) -> State:
        copy_disk(self.run_dir / state.cow.name, state.cow)
        state.cow.chmod(0o444)
        self._birth.on_save(state)
        return state

    def power_cut(self, wait: bool = True) -> None:
        self._ssh.hang_up()
        self._kill()
        self._process = self._boot()
        if wait:
            self.wait_ready()

    def stop(self) -> None:
        self._ssh.hang_up()
        self._kill()
        self._network.stop()
        self._remove_files()

    def _kill(self) -> None:
        if self.alive():
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()


def copy_disk(source: Path, target: Path) -> None:
    """Copy a copy-on-write disk, of which most is a hole."""
    subprocess.run(["cp", "--sparse=always", "--reflink=auto", str(source), str(target)], check=True)
