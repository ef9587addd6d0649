# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the lab's disk image once, and keep it in the user's cache under the hash of what it is built from.

The image is labelled offline, so it boots straight into enforcing mode. The stock policy stays as Debian ships it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from .errors import LabError

Progress = Callable[[str], None]

LAB = Path(__file__).resolve().parent
GUEST = LAB / "guest"
SUITE = "bookworm"
DISK_SIZE = "6G"
KEEP_IMAGES = 2
APT_OPTIONS = (
    "Acquire::http::Proxy",
    "Acquire::https::Proxy",
    "Acquire::Check-Valid-Until",
    "Acquire::Check-Date",
    "Acquire::Retries",
)


class Image(NamedTuple):
    """The files a host boots from; `disk` is read-only, each host writes to an overlay of its own."""

    directory: Path

    @property
    def disk(self) -> Path:
        return self.directory / "disk.raw"

    @property
    def kernel(self) -> Path:
        return self.directory / "vmlinuz"

    @property
    def initrd(self) -> Path:
        return self.directory / "initrd"

    @property
    def key(self) -> Path:
        return self.directory / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        return self.directory / "known_hosts"


def timed(progress: Progress) -> Progress:
    """Prefix every line with the seconds since now."""
    start = time.monotonic()
    return lambda line: progress(f"[{time.monotonic() - start:4.0f} s] {line}")


def cache_root() -> Path:
    """The lab's directory in the user's cache (XDG base directory specification)."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "senet-firewall" / "lab"


def image_inputs() -> dict[str, bytes]:
    """Everything the image is built from: this file and the guest directory, by relative path with the file mode."""
    files = [Path(__file__).resolve()]
    files += sorted(path for path in GUEST.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {f"{path.relative_to(LAB)}:{path.stat().st_mode & 0o111:o}": path.read_bytes() for path in files}


def digest(inputs: Mapping[str, bytes]) -> str:
    """A short hash of names and contents, the same whatever the order."""
    total = hashlib.sha256()
    for name in sorted(inputs):
        for part in (name.encode(), inputs[name]):
            total.update(len(part).to_bytes(8, "big") + part)
    return total.hexdigest()[:16]


def packages(text: str) -> list[str]:
    """The package names of a list with one name a line."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def one_line_sources(targets: str, suite: str) -> list[str]:
    """apt's own view of its Debian sources (`REPO_URI RELEASE COMPONENT`, a line each) as one-line entries for `suite`.

    Empty when the machine has no such sources; mmdebstrap then uses its own default.
    """
    components: dict[tuple[str, str], list[str]] = {}
    for line in targets.splitlines():
        fields = line.split()
        if len(fields) == 3 and (fields[1] == suite or fields[1].startswith(suite + "-")):
            known = components.setdefault((fields[0], fields[1]), [])
            if fields[2] not in known:
                known.append(fields[2])
    if not any(release == suite for _uri, release in components):
        return []
    return [f"deb {uri} {release} {' '.join(names)}" for (uri, release), names in components.items()]


def apt_options(dump: str, names: Iterable[str] = APT_OPTIONS) -> list[str]:
    """Those lines of `apt-config dump` that decide how this machine reaches its mirrors."""
    return [line.rstrip(";") for line in dump.splitlines() if line.split(" ", 1)[0] in names]


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


def ensure_image(progress: Progress) -> Image:
    """The image for the lab as it is in this checkout; built when the cache does not have it.

    Raises LabError when a tool is missing or a build step fails.
    """
    root = cache_root()
    target = root / digest(image_inputs())
    if not target.is_dir():
        with locked(root, progress):
            if not target.is_dir():
                _build(root, target, timed(progress))
    os.utime(target)
    return Image(target)


def _build(root: Path, target: Path, progress: Progress) -> None:
    missing = [tool for tool in ("mmdebstrap", "mke2fs", "ssh-keygen", "unshare") if not _which(tool)]
    if missing:
        needed = LAB / "apt-packages.txt"
        raise LabError(f"The lab image cannot be built without {', '.join(missing)}: install the packages of {needed}.")
    progress(f"building the lab image {target.name}; once, a few minutes")
    for stale in root.glob("build-*"):
        _as_root(["rm", "-rf", "--one-file-system", str(stale)])
    work = Path(tempfile.mkdtemp(prefix="build-", dir=root))
    try:
        result = work / "image"
        result.mkdir()
        keygen = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "senet-lab", "-f", str(result / "id_ed25519")]
        _step(progress, "making the SSH key", keygen, work)
        command = [sys.executable, "-m", f"{__package__}.image", str(work)]
        if os.geteuid() == 0:
            build_as_root(work, progress)
        else:
            progress("installing and labelling a Debian root needs root: asking sudo")
            if subprocess.run(["sudo", *command], cwd=LAB.parents[1], check=False).returncode != 0:
                raise LabError("The lab image could not be built as root: see the lines above.")
            _as_root(["chown", "-R", f"{os.getuid()}:{os.getgid()}", str(result)])
        os.replace(result, target)
    finally:
        _as_root(["rm", "-rf", "--one-file-system", str(work)])
    for old in images_to_prune(root, target):
        progress(f"removing the older image {old.name}")
        shutil.rmtree(old, ignore_errors=True)
    progress("the image is ready")


def images_to_prune(root: Path, current: Path) -> list[Path]:
    """The images beyond the newest KEEP_IMAGES, by last use; never `current`."""
    others = [path for path in root.iterdir() if (path / "disk.raw").exists() and path != current]
    others.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    return others[KEEP_IMAGES - 1:]


def build_as_root(work: Path, progress: Progress) -> None:
    """Fill `work`/image with disk, kernel, initrd and known_hosts. `work`/image/id_ed25519.pub is there already."""
    tree, result = work / "root", work / "image"
    targets = _output(["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)",
                       "Created-By: Packages", "Origin: Debian"])
    options = [f"--aptopt={line}" for line in apt_options(_output(["apt-config", "dump"]))]
    names = packages((GUEST / "packages.txt").read_text())
    _step(progress, f"installing Debian {SUITE} and {len(names)} packages with their dependencies",
          ["mmdebstrap", "--mode=root", "--variant=minbase", "--include=" + ",".join(names), *options,
           SUITE, str(tree), *one_line_sources(targets, SUITE)], work)
    (tree / "etc/apt/apt.conf.d/99mmdebstrap").unlink(missing_ok=True)
    _install_files(tree, (result / "id_ed25519.pub").read_text())
    _step(progress, "configuring", _in_chroot(tree, "sh", "/root/customize.sh"), work)
    (tree / "root/customize.sh").unlink()
    # setfiles does not reach what lies below mount points, and rm must never see a mounted /proc.
    _step(progress, "labelling the files", _in_chroot(
        tree, "setfiles", "-F", "/etc/selinux/default/contexts/files/file_contexts", "/"), work)
    _step(progress, "making the disk", [
        "mke2fs", "-q", "-t", "ext4", "-m", "0", "-L", "senet-lab", "-E", "assume_storage_prezeroed=1",
        "-d", str(tree), str(result / "disk.raw"), DISK_SIZE], work)
    shutil.copyfile(next((tree / "boot").glob("vmlinuz-*")), result / "vmlinuz")
    shutil.copyfile(next((tree / "boot").glob("initrd.img-*")), result / "initrd")
    host_key = (tree / "etc/ssh/ssh_host_ed25519_key.pub").read_text().split()
    (result / "known_hosts").write_text(f"senet-lab {host_key[0]} {host_key[1]}\n")
    (result / "disk.raw").chmod(0o444)


def _install_files(tree: Path, public_key: str) -> None:
    for source in sorted((GUEST / "root").rglob("*")):
        if source.is_file():
            target = tree / source.relative_to(GUEST / "root")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
            target.chmod(0o644)
    probe = tree / "usr/local/bin/senet-probe"
    # Not in the source: ansible-test takes a file with a Python shebang for a module
    probe.write_text("#!/usr/bin/python3\n" + (GUEST / "probe.py").read_text())
    probe.chmod(0o755)
    shutil.copyfile(GUEST / "customize.sh", tree / "root/customize.sh")
    (tree / "root/customize.sh").chmod(0o700)
    ssh = tree / "root/.ssh"
    ssh.mkdir(mode=0o700, exist_ok=True)
    (ssh / "authorized_keys").write_text(public_key)


def _in_chroot(tree: Path, *command: str) -> list[str]:
    """`command` in `tree` with /proc, in a mount namespace that ends with it."""
    script = 'mount -t proc proc "$1/proc" && mount -t tmpfs tmpfs "$1/run" && shift && exec chroot "$@"'
    return ["unshare", "--mount", "sh", "-c", script, "sh", str(tree), str(tree), "env", "-i",
            "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive", *command]


def _step(progress: Progress, what: str, command: list[str], work: Path) -> None:
    """Run one command; its output goes to a log that is shown only when it fails."""
    progress(what)
    log = work / "step.log"
    with open(log, "wb") as output, subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
    ) as process:
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
        raise LabError(f"The lab image could not be built: '{what}' ended with {code}. Its last lines:\n{tail}")


def _output(command: list[str]) -> str:
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False).stdout


def _which(tool: str) -> str | None:
    return shutil.which(tool, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def _as_root(command: list[str]) -> None:
    subprocess.run(command if os.geteuid() == 0 else ["sudo", *command], check=False)


if __name__ == "__main__":
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    build_as_root(Path(sys.argv[1]), timed(lambda line: print(line, flush=True)))
