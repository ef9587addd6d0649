# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kinds of machine that a lab can start hosts on: how each is launched, and which one this machine can have."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from . import qemu, uml
from .building import LAB, Progress
from .errors import LabError
from .image import Image
from .qemu_host import QemuHost
from .states import State
from .uml_kernel import ensure_kernel
from .vm import Birth, Host

OnSave = Callable[[State], None]


class Machines(ABC):
    """Launches hosts of one kind for a lab. `identity` is what a saved state depends on beside the image."""

    identity: str
    pace: str

    def __init__(self, image: Image, run_dir: Path, keep: bool, on_save: OnSave, progress: Progress) -> None:
        self.image = image
        self.run_dir = run_dir
        self._keep = keep
        self._on_save = on_save
        # The kernel ends a process when the thread that started it ends (PR_SET_PDEATHSIG): one thread starts them all.
        self._starter = ThreadPoolExecutor(max_workers=1)

    @abstractmethod
    def launch(self, name: str, run: Path, state: State | None, link: bool) -> Host:
        """Start the machine of a host, without waiting for it."""

    @abstractmethod
    def wait_started(self, host: Host, state: State | None, degraded_ok: bool) -> None:
        """Wait until a launched host can be used. Raises BootError, on failed units unless `degraded_ok`."""

    def shared(self) -> list[subprocess.Popen[bytes]]:
        """The processes that the hosts share."""
        return []

    def close(self) -> None:
        """End this process's own part; hosts that are kept run on."""
        self._starter.shutdown()

    def spawn(self, command: list[str], log: Path, pass_fds: Collection[int] = ()) -> subprocess.Popen[bytes]:
        """Start a process that ends with this one, unless hosts are kept."""
        bound = [] if self._keep else ["setpriv", "--pdeathsig", "KILL"]

        def start() -> subprocess.Popen[bytes]:
            with open(log, "ab") as output:
                # A session of its own: Ctrl-C in the terminal is for the tests, which then stop their hosts.
                return subprocess.Popen(
                    [*bound, *command], stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                    start_new_session=True, pass_fds=pass_fds,
                )  # fmt: skip

        return self._starter.submit(start).result()

    def birth(self, name: str, run: Path, port: int, link: bool) -> Birth:
        return Birth(name, self.image, run, port, link, self._on_save)


class QemuMachines(Machines):
    """Debian's own kernel under QEMU, with KVM where that works."""

    def __init__(self, image: Image, run_dir: Path, keep: bool, on_save: OnSave, progress: Progress) -> None:
        super().__init__(image, run_dir, keep, on_save, progress)
        self.accel = qemu.choose_accel(image, image.directory)
        self.identity = "\0".join([*qemu.machine_arguments(self.accel), qemu.KERNEL_ARGUMENTS, qemu.qemu_version()])
        self.pace = "with KVM" if self.accel == "kvm" else "without KVM: a minute or so"

    def launch(self, name: str, run: Path, state: State | None, link: bool) -> Host:
        ends = self.run_dir / "link"
        ends.mkdir(exist_ok=True)
        overlay = run / "disk.qcow2"
        backing = ["-b", str(state.overlay), "-F", "qcow2"] if state else ["-b", str(self.image.disk), "-F", "raw"]
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *backing, str(overlay)], check=True)
        port = _free_port()
        ram = state.ram if state and state.ram.exists() else None
        drive = qemu.Drive(name, self.accel, overlay, run, port, ends if link else None, ram)
        if link:
            (ends / name).unlink(missing_ok=True)
        log = run / "qemu.log"
        process = self.spawn(qemu.command_line(self.image, drive), log)
        try:
            return QemuHost(self.birth(name, run, port, link), process)
        except LabError as error:
            process.kill()
            process.wait()
            raise LabError(f"{name}: {error}\n{log.read_text(errors='replace')}") from error

    def wait_started(self, host: Host, state: State | None, degraded_ok: bool) -> None:
        assert isinstance(host, QemuHost)
        if state and state.ram.exists():
            host.wait_restored()
        else:
            host.wait_ready(degraded_ok=degraded_ok)


class UmlMachines(Machines):
    """The newest kernel as a program, each machine on one core: on more, every system call would wake another."""

    pace = "a minute or less"

    def __init__(self, image: Image, run_dir: Path, keep: bool, on_save: OnSave, progress: Progress) -> None:
        super().__init__(image, run_dir, keep, on_save, progress)
        self.kernel = ensure_kernel(progress)
        self.identity = f"{self.kernel.directory.name}\0{uml.KERNEL_ARGUMENTS}"
        self._link: uml.Network | None = None

    def launch(self, name: str, run: Path, state: State | None, link: bool) -> Host:
        disk = run / "disk.cow"
        if state:
            uml.copy_disk(state.cow, disk)
            disk.chmod(0o600)
        core = emptiest(sorted(os.sched_getaffinity(0)), _pinned(self.kernel.program.name))
        with socket.create_server(("127.0.0.1", 0)) as listening:
            network = uml.Network(self.spawn, run, listening, self._link_pid() if link else 0)
            port: int = listening.getsockname()[1]
        command = uml.command_line(self.kernel, self.image, name, disk)
        inside = ["nsenter", f"--net=/proc/{network.pid}/ns/net", "--", "taskset", "-c", str(core), *command]
        try:
            return uml.UmlHost(
                self.birth(name, run, port, link), lambda: self.spawn(inside, run / "console.log"), network
            )
        except BaseException:
            network.stop()
            raise

    def wait_started(self, host: Host, state: State | None, degraded_ok: bool) -> None:
        host.wait_ready(degraded_ok=degraded_ok)

    def shared(self) -> list[subprocess.Popen[bytes]]:
        return [self._link.process] if self._link else []

    def _link_pid(self) -> int:
        if self._link is None:
            run = self.run_dir / "link"
            run.mkdir()
            self._link = uml.Network(self.spawn, run, None, 0)
        return self._link.pid


KINDS: dict[str, type[Machines]] = {"uml": UmlMachines, "qemu": QemuMachines}
_TOOLS = {"uml": (), "qemu": ("qemu-system-x86_64", "qemu-img", "setpriv")}


def choose_kind(wanted: str | None, progress: Progress) -> str:
    """The kind of machine: the one that is wanted, else User Mode Linux, or QEMU with a line that says why.

    Raises LabError for an unknown kind, and when this machine lacks the tools of the kind.
    """
    if wanted and wanted not in KINDS:
        raise LabError(f"There is no kind of machine {wanted}: use {' or '.join(KINDS)}.")
    kind = wanted or "uml"
    reason = uml.why_not() if kind == "uml" else None
    if reason and wanted:
        raise LabError(f"User Mode Linux cannot run here: {reason}. Use QEMU (KIND=qemu).")
    if reason:
        progress(f"User Mode Linux cannot run here ({reason}): using QEMU, which is several times slower")
        kind = "qemu"
    missing = [tool for tool in ("ssh", *_TOOLS[kind]) if not shutil.which(tool)]
    if missing:
        raise LabError(f"The lab needs {', '.join(missing)}: install the packages of {LAB / 'apt-packages.txt'}.")
    return kind


def emptiest(cores: Sequence[int], taken: Iterable[int]) -> int:
    """The core that is named least often in `taken`, which names a core once for each machine on it."""
    machines = Counter(taken)
    return min(cores, key=lambda core: machines[core])


def _pinned(program: str) -> Iterator[int]:
    """The core of each process of that name that has only one, whoever started it."""
    for comm in Path("/proc").glob("[0-9]*/comm"):
        # Any process may end meanwhile
        with suppress(OSError):
            if comm.read_text().rstrip("\n") == program:
                cores = os.sched_getaffinity(int(comm.parent.name))
                yield from cores if len(cores) == 1 else ()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
