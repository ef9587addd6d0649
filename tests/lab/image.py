# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build a guest's disk image once, and keep it in the user's cache under the hash of what it is built from.

The packages are installed once a suite, into an archive in the cache: images of other files or of another policy start
from there. The image is labelled offline, so it boots straight into enforcing mode. The policy stays as it is shipped.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from . import policy
from .bases import base_name, ensure_base, make_base
from .building import (
    LAB,
    Progress,
    as_root,
    cache_root,
    contents,
    digest,
    files_below,
    give_to_user,
    in_chroot,
    locked,
    remove_as_root,
    require,
    search_path,
    step,
    timed,
)
from .errors import LabError
from .guests import DEFAULT_GUEST, FEDORA, Guest, guest_named

GUEST = LAB / "guest"
FEDORA_GUEST = GUEST / FEDORA
DISK_SIZE = "6G"
KEEP_IMAGES = 2


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


def guest_files(guest: Guest) -> list[Path]:
    """The files of the guest directory that an image of this guest is built from."""
    return [path for path in files_below(GUEST) if guest.policy == FEDORA or FEDORA_GUEST not in path.parents]


def image_inputs(guest: Guest, policy_digest: str = "") -> dict[str, bytes]:
    """Everything the image is built from, for digest(): these programs, the guest's files, its entry, its policy."""
    files = [Path(__file__).resolve(), LAB / "building.py", *guest_files(guest)]
    entries = {"guest": repr(guest), "base": base_name(guest), "policy": policy_digest}
    return {**contents(files, LAB), **{name: text.encode() for name, text in entries.items()}}


def ensure_image(progress: Progress, guest: str = DEFAULT_GUEST) -> Image:
    """The image of a guest for the lab as it is in this checkout; built when the cache does not have it.

    Raises LabError when there is no such guest, no source of its policy, a tool is missing, or a build step fails.
    """
    source = policy.required_source() if guest_named(guest).policy == FEDORA else None
    inputs = image_inputs(guest_named(guest), policy.policy_digest(source) if source else "")
    root = cache_root()
    target = root / f"{guest}-{digest(inputs)}"
    if not target.is_dir():
        with locked(root / "locks" / guest, progress):
            if not target.is_dir():
                _build(root, guest, source, target, timed(progress))
    os.utime(target)
    return Image(target)


def _build(root: Path, guest: str, source: Path | None, target: Path, progress: Progress) -> None:
    require(("mmdebstrap", "mke2fs", "ssh-keygen", "tar", "unshare", "zstd"), "The lab's image")
    progress(f"building the image {target.name}; once, a few minutes")
    modules = policy.ensure_policy(source, progress) if source else ""
    base = ensure_base(progress, guest, _with_root)
    for stale in root.glob(f"build-{guest}.*"):
        remove_as_root(stale)
    work = Path(tempfile.mkdtemp(prefix=f"build-{guest}.", dir=root))
    try:
        result = work / "image"
        result.mkdir()
        keygen = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "senet-lab", "-f", str(result / "id_ed25519")]
        step(progress, "making the SSH key", keygen, work / "step.log")
        _with_root(progress, "make_image", guest, str(work), str(base), str(modules))
        give_to_user(result)
        os.replace(result, target)
    finally:
        remove_as_root(work)
    for old in images_to_prune(root, guest, target):
        progress(f"removing the older image {old.name}")
        shutil.rmtree(old, ignore_errors=True)
    progress(f"the image {target.name} is ready")


def images_to_prune(root: Path, guest: str, current: Path) -> list[Path]:
    """The images of a guest beyond its newest KEEP_IMAGES, by last use; never `current`."""
    named = (path for path in root.glob(f"{guest}-*") if path.name.rpartition("-")[0] == guest)
    others = [path for path in named if (path / "disk.raw").exists() and path != current]
    others.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    return others[KEEP_IMAGES - 1:]


def _with_root(progress: Progress, function: str, *arguments: str) -> None:
    """Run one of ROOT_STEPS as root, by sudo in a process of its own where this one is not."""
    if os.geteuid() == 0:
        ROOT_STEPS[function](progress, *arguments)
        return
    progress("installing and labelling a Debian root needs root: asking sudo")
    if as_root([sys.executable, "-m", f"{__package__}.image", function, *arguments]) != 0:
        raise LabError("The lab's image could not be built as root: see the lines above.")


def make_image(progress: Progress, name: str, directory: str, base: str, modules: str) -> None:
    """Fill `directory`/image with disk, kernel, initrd and known_hosts; its id_ed25519.pub is there already.

    `modules` is a policy that policy.ensure_policy() built, or empty.
    """
    guest, work = guest_named(name), Path(directory)
    tree, result, log = work / "root", work / "image", work / "step.log"
    tree.mkdir(mode=0o755)
    step(progress, "unpacking the packages", [
        "tar", "--extract", "--zstd", "--file", base, "--directory", str(tree),
        "--numeric-owner", "--xattrs", "--xattrs-include=*"], log)
    (tree / "etc/apt/apt.conf.d/99mmdebstrap").unlink(missing_ok=True)
    if modules:
        policy.install(progress, Path(modules), FEDORA_GUEST / "paths.cil", tree, log)
    _install_files(tree, guest, (result / "id_ed25519.pub").read_text())
    step(progress, "configuring", in_chroot(tree, "sh", "/root/customize.sh"), log)
    (tree / "root/customize.sh").unlink()
    # setfiles does not reach what lies below mount points, and rm must never see a mounted /proc.
    step(progress, "labelling the files", in_chroot(
        tree, "setfiles", "-F", f"/etc/selinux/{guest.selinux_type}/contexts/files/file_contexts", "/"), log)
    step(progress, "making the disk", [
        "mke2fs", "-q", "-t", "ext4", "-m", "0", "-L", "senet-lab", "-E", "assume_storage_prezeroed=1",
        "-d", str(tree), str(result / "disk.raw"), DISK_SIZE], log)
    shutil.copyfile(next((tree / "boot").glob("vmlinuz-*")), result / "vmlinuz")
    shutil.copyfile(next((tree / "boot").glob("initrd.img-*")), result / "initrd")
    host_key = (tree / "etc/ssh/ssh_host_ed25519_key.pub").read_text().split()
    (result / "known_hosts").write_text(f"senet-lab {host_key[0]} {host_key[1]}\n")
    (result / "disk.raw").chmod(0o444)


ROOT_STEPS: dict[str, Callable[..., None]] = {"make_base": make_base, "make_image": make_image}


def _install_files(tree: Path, guest: Guest, public_key: str) -> None:
    for root in [GUEST / "root", *([FEDORA_GUEST / "root"] if guest.policy == FEDORA else [])]:
        for source in files_below(root):
            target = tree / source.relative_to(root)
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


if __name__ == "__main__":
    os.environ["PATH"] = search_path()
    ROOT_STEPS[sys.argv[1]](timed(lambda line: print(line, flush=True)), *sys.argv[2:])
