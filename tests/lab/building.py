# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all that is built into the lab's cache shares: where it lies, its hash, its lock, and one step with progress."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from .errors import LabError

Progress = Callable[[str], None]

LAB = Path(__file__).resolve().parent


def timed(progress: Progress) -> Progress:
    """Prefix every line with the seconds since now."""
    start = time.monotonic()
    return lambda line: progress(f"[{time.monotonic() - start:4.0f} s] {line}")


def cache_root() -> Path:
    """The lab's directory in the user's cache (XDG base directory specification)."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "senet-firewall" / "lab"


def digest(inputs: Mapping[str, bytes]) -> str:
    """A short hash of names and contents, the same whatever the order."""
    total = hashlib.sha256()
    for name in sorted(inputs):
        for part in (name.encode(), inputs[name]):
            total.update(len(part).to_bytes(8, "big") + part)
    return total.hexdigest()[:16]


def contents(files: Iterable[Path], base: Path) -> dict[str, bytes]:
    """The files by their path below `base` with their mode, for digest()."""
    return {f"{path.relative_to(base)}:{path.stat().st_mode & 0o111:o}": path.read_bytes() for path in files}


def files_below(directory: Path) -> list[Path]:
    """The files in a directory and its subdirectories, without those that Python makes."""
    return sorted(path for path in directory.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


@contextmanager
def locked(directory: Path, progress: Progress) -> Iterator[None]:
    """Hold the lock of `directory`; say so when another process has it."""
    directory.mkdir(parents=True, exist_ok=True)
    with open(directory / "lock", "w", encoding="ascii") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress(f"another process is working in {directory}: waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def require(tools: Iterable[str], what: str) -> None:
    """Raise LabError when `what` cannot be built for want of a tool."""
    missing = [tool for tool in tools if not shutil.which(tool, path=search_path())]
    if missing:
        needed = LAB / "apt-packages.txt"
        raise LabError(f"{what} cannot be built without {', '.join(missing)}: install the packages of {needed}.")


def search_path() -> str:
    """PATH with the directories of root's tools, which other users' lacks on Debian."""
    return os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def step(progress: Progress, what: str, command: list[str], log: Path, cwd: Path | None = None) -> None:
    """Run one command; its output goes to `log` and is shown only when it fails. Raises LabError then."""
    progress(what)
    with open(log, "wb") as output, subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, cwd=cwd,
        env={**os.environ, "PATH": search_path()},
    ) as process:  # fmt: skip
        while True:
            try:
                code = process.wait(timeout=15)
                break
            except subprocess.TimeoutExpired:
                progress(f"{what}: still at it")
            except BaseException:
                process.terminate()
                raise
    if code != 0:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-40:])
        raise LabError(f"The lab could not be built: '{what}' ended with {code}. Its last lines:\n{tail}")


def output(command: list[str]) -> str:
    """What a command prints, whether it fails or not."""
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False).stdout


def as_root(command: list[str]) -> int:
    """Run a command as root, by sudo where this process is not; its return code."""
    full = command if os.geteuid() == 0 else ["sudo", *command]
    return subprocess.run(full, cwd=LAB.parents[1], check=False).returncode


def in_chroot(tree: Path, *command: str) -> list[str]:
    """`command` in `tree` with /proc, in a mount namespace that ends with it."""
    script = 'mount -t proc proc "$1/proc" && mount -t tmpfs tmpfs "$1/run" && shift && exec chroot "$@"'
    return ["unshare", "--mount", "sh", "-c", script, "sh", str(tree), str(tree), "env", "-i",
            "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive", *command]


def remove_as_root(directory: Path) -> None:
    """Remove a directory that may hold another user's files, and nothing that is mounted in it."""
    as_root(["rm", "-rf", "--one-file-system", str(directory)])


def give_to_user(directory: Path) -> None:
    """Make the user who runs the lab the owner of what root left there."""
    as_root(["chown", "-R", f"{os.getuid()}:{os.getgid()}", str(directory)])
