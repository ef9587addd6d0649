# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab as a whole: the image, the states in the cache, and the hosts that run."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType, TracebackType

from .building import Progress, locked, timed
from .errors import LabError
from .guests import DEFAULT_GUEST, guest_named
from .image import Image, ensure_image
from .machines import KINDS, Machines, choose_kind
from .states import State, prune, recipe_digest, recipes
from .uml_kernel import ensure_kernel
from .vm import LINK_NUMBERS, STRANGER, Host


def build(progress: Progress, kind: str, guest: str = DEFAULT_GUEST) -> Image:
    """The guest's image, and the kernel where it is one of ours; both at once, since an image keeps only one core busy.

    Raises LabError when one of them cannot be built.
    """
    with ThreadPoolExecutor() as pool:
        kernel = pool.submit(ensure_kernel, progress) if kind == "uml" else None
        image = ensure_image(progress, guest)
        if kernel:
            kernel.result()
    return image


class Lab:
    """Builds what is missing, then starts hosts. Everything stops with close(), at exit, and on SIGTERM or Ctrl-C."""

    def __init__(
        self, progress: Progress = print, keep: bool = False, kind: str | None = None, guest: str = DEFAULT_GUEST
    ) -> None:
        """Ensure the guest's image (guests.py), and the kernel where it is one of ours.

        `kind` is a kind of machine, `uml` or `qemu`; None takes what SENET_LAB_KIND names, or `uml` where that works.
        With `keep` the hosts outlive this process (for `make lab-up`).
        Raises LabError when a tool is missing or something cannot be built, BootError when it does not boot.
        """
        self.progress = timed(progress)
        self.kind = choose_kind(kind or os.environ.get("SENET_LAB_KIND"), self.progress)
        self.keep = keep
        self._recipes = recipes(guest_named(guest).policy)
        self.image = build(progress, self.kind, guest)
        # Unix sockets have short names only: not under the cache directory, which may be deep.
        self.run_dir = Path(tempfile.mkdtemp(prefix="senet-lab-", dir="/var/tmp"))
        self._hosts: list[Host] = []
        self._states: dict[str, State] = {}
        self._count = 0
        self._mutex = threading.Lock()
        atexit.register(self.close)
        if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
            signal.signal(signal.SIGTERM, _exit_on_signal)
        self._machines: Machines = KINDS[self.kind](self.image, self.run_dir, keep, self._remember, progress)
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

    def start(
        self, name: str = "web", state: str | State = "booted", link: bool = False, degraded_ok: bool = False
    ) -> Host:
        """A host from a saved state, ready when this returns.

        `booted` is the stock host; `slim` the same with few policy modules, for fast policy rebuilds; `cold` boots the
        image; any other name is one of Host.save_state(). `link` joins the private link: web is 10.77.0.1 and
        fd77::1, db is 10.77.0.2 and fd77::2. Under User Mode Linux a third host, stranger, has no addresses there yet.
        With `degraded_ok` units may have failed in a boot.
        """
        if link and name not in LINK_NUMBERS and (name != STRANGER or self.kind != "uml"):
            raise LabError(f"Host {name} has no place on the private link: use {' or '.join(LINK_NUMBERS)}.")
        saved = None if state == "cold" else self.state(state) if isinstance(state, str) else state
        with self._mutex:
            self._count += 1
            run = self.run_dir / f"{name}-{self._count}"
        run.mkdir()
        host = self._machines.launch(name, run, saved, link)
        self._hosts.append(host)
        try:
            self._machines.wait_started(host, saved, degraded_ok)
        except BaseException:
            host.stop()
            raise
        return host

    def state(self, name: str) -> State:
        """The saved state of that name; the ones in the cache are made when they are missing."""
        if name not in self._states:
            if name not in self._recipes:
                known = ", ".join([*self._recipes, *self._states])
                raise LabError(f"No saved state {name}: there are {known} and cold.")
            self._states[name] = self._ensure_state(name)
        return self._states[name]

    def pids(self) -> list[int]:
        """The processes beside the hosts' own that the hosts need as long as they run."""
        return [process.pid for process in self._machines.shared()]

    def close(self) -> None:
        """Stop all hosts and remove their files; nothing with `keep`."""
        atexit.unregister(self.close)
        if not self.keep:
            for host in self._hosts:
                host.stop()
            self._hosts.clear()
            for process in self._machines.shared():
                process.kill()
                process.wait()
            shutil.rmtree(self.run_dir, ignore_errors=True)
        self._machines.close()

    def _remember(self, state: State) -> None:
        self._states[state.name] = state

    def _ensure_state(self, name: str) -> State:
        label = f"{self.kind}-{name}"
        directory = self.image.directory / f"{label}-{recipe_digest(name, self._machines.identity, self._recipes)}"
        if not directory.is_dir():
            with locked(self.image.directory / "locks" / label, self.progress):
                if not directory.is_dir():
                    self._make_state(name, label, directory)
        os.utime(directory)
        return State(name, directory)

    def _make_state(self, name: str, label: str, directory: Path) -> None:
        recipe = self._recipes[name]
        self.progress(f"{recipe.doing}, {self._machines.pace}")
        saving = directory.parent / f"saving-{label}"
        shutil.rmtree(saving, ignore_errors=True)
        with self.start("lab", state=recipe.base) as host:
            for command in recipe.commands:
                host.run(command, timeout=600)
            self.progress(f"saving the state {name}")
            host.save_state(saving)
        del self._states[saving.name]
        os.replace(saving, directory)
        prune(directory.parent, label, directory)


def _exit_on_signal(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)
