# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab as a whole: the image, the booted state in the cache, and the hosts that run."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType, TracebackType

from .errors import LabError
from .image import Image, Progress, ensure_image, locked, timed
from .qemu import LINK_NUMBERS, Drive, choose_accel, command_line, qemu_version
from .states import RECIPES, State, prune, recipe_digest
from .vm import Host


class Lab:
    """Builds what is missing, then starts hosts. Everything stops with close(), at exit, and on SIGTERM or Ctrl-C."""

    def __init__(self, progress: Progress = print, keep: bool = False) -> None:
        """Ensure the image and the booted state. With `keep` the hosts outlive this process (for `make lab-up`).

        Raises LabError when a tool is missing or the image cannot be built, BootError when it does not boot.
        """
        missing = [tool for tool in ("qemu-system-x86_64", "qemu-img", "ssh", "setpriv") if not shutil.which(tool)]
        if missing:
            packages = Path(__file__).with_name("apt-packages.txt")
            raise LabError(f"The lab needs {', '.join(missing)}: install the packages of {packages}.")
        self.progress = timed(progress)
        self.keep = keep
        self.image: Image = ensure_image(progress)
        self.accel = choose_accel(self.image, self.image.directory)
        # Unix sockets have short names only: not under the cache directory, which may be deep.
        self.run_dir = Path(tempfile.mkdtemp(prefix="senet-lab-", dir="/var/tmp"))
        self._hosts: list[Host] = []
        self._states: dict[str, State] = {}
        self._count = 0
        self._mutex = threading.Lock()
        # The kernel ends a host when the thread that started it ends (PR_SET_PDEATHSIG): one thread starts them all.
        self._starter = ThreadPoolExecutor(max_workers=1)
        atexit.register(self.close)
        if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
            signal.signal(signal.SIGTERM, _exit_on_signal)
        try:
            self.state("booted")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Lab:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self, name: str = "web", state: str | State = "booted", link: bool = False) -> Host:
        """A host from a saved state, ready when this returns.

        `booted` is the stock host; `slim` the same with few policy modules, for fast policy rebuilds; `cold` boots the
        image; any other name is one of Host.save_state(). `link` joins the private link: web is 10.77.0.1 and
        fd77::1, db is 10.77.0.2 and fd77::2.
        """
        if link and name not in LINK_NUMBERS:
            raise LabError(f"Host {name} has no place on the private link: use {' or '.join(LINK_NUMBERS)}.")
        saved = None if state == "cold" else self.state(state) if isinstance(state, str) else state
        host = self._launch(name, saved, link)
        try:
            if saved:
                host.wait_restored()
            else:
                host.wait_ready()
        except BaseException:
            host.stop()
            raise
        return host

    def state(self, name: str) -> State:
        """The saved state of that name; the ones in the cache are made when they are missing."""
        if name not in self._states:
            if name not in RECIPES:
                raise LabError(f"No saved state {name}: there are {', '.join([*RECIPES, *self._states])} and cold.")
            self._states[name] = self._ensure_state(name)
        return self._states[name]

    def close(self) -> None:
        """Stop all hosts and remove their files; nothing with `keep`."""
        atexit.unregister(self.close)
        if not self.keep:
            for host in self._hosts:
                host.stop()
            self._hosts.clear()
            shutil.rmtree(self.run_dir, ignore_errors=True)
        self._starter.shutdown()

    def _launch(self, name: str, state: State | None, link: bool) -> Host:
        with self._mutex:
            self._count += 1
            run = self.run_dir / f"{name}-{self._count}"
        run.mkdir()
        (self.run_dir / "link").mkdir(exist_ok=True)
        overlay = run / "disk.qcow2"
        backing = ["-b", str(state.disk), "-F", "qcow2"] if state else ["-b", str(self.image.disk), "-F", "raw"]
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *backing, str(overlay)], check=True)
        port = _free_port()
        drive = Drive(
            name, self.accel, overlay, run, port, self.run_dir / "link" if link else None, state.ram if state else None
        )
        if link:
            (self.run_dir / "link" / name).unlink(missing_ok=True)
        process = self._starter.submit(self._spawn, command_line(self.image, drive), run).result()
        try:
            host = Host(name, self.image, run, process, port, link, self._remember)
        except LabError as error:
            process.kill()
            process.wait()
            raise LabError(f"{name}: {error}\n{(run / 'qemu.log').read_text(errors='replace')}") from error
        self._hosts.append(host)
        return host

    def _spawn(self, command: list[str], run: Path) -> subprocess.Popen[bytes]:
        bound = [] if self.keep else ["setpriv", "--pdeathsig", "KILL"]
        with open(run / "qemu.log", "wb") as log:
            # A session of its own: Ctrl-C in the terminal is for the tests, which then stop their hosts.
            return subprocess.Popen(
                [*bound, *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def _remember(self, state: State) -> None:
        self._states[state.name] = state

    def _ensure_state(self, name: str) -> State:
        directory = self.image.directory / f"{name}-{recipe_digest(name, self.accel, qemu_version())}"
        if not directory.is_dir():
            with locked(self.image.directory / "locks" / name, self.progress):
                if not directory.is_dir():
                    self._make_state(name, directory)
        os.utime(directory)
        return State(name, directory)

    def _make_state(self, name: str, directory: Path) -> None:
        recipe = RECIPES[name]
        how = "with KVM" if self.accel == "kvm" else "without KVM: a minute or so"
        self.progress(f"{recipe.doing}, {how}")
        saving = directory.parent / f"saving-{name}"
        shutil.rmtree(saving, ignore_errors=True)
        with self.start("lab", state=recipe.base) as host:
            for command in recipe.commands:
                host.run(command, timeout=600)
            self.progress(f"saving the state {name}")
            host.save_state(saving)
        del self._states[saving.name]
        os.replace(saving, directory)
        prune(directory.parent, name, directory)


def _exit_on_signal(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
