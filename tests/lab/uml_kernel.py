# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The newest kernel that Debian has, built as a program (User Mode Linux) once and kept in the user's cache."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

from .building import LAB, Progress, cache_root, digest, locked, require, step, timed
from .errors import LabError

# User Mode Linux runs on processors with AMX, and in its fast mode (seccomp=on), from Linux 6.16 on.
SUITE = "trixie-backports"
MIRROR = "http://deb.debian.org/debian"
FRAGMENT = LAB / "uml.kconfig"
TOOLS = ("gcc", "make", "flex", "bison", "bc", "xz", "dpkg-deb", "apt-get")
KEEP_KERNELS = 2
# Two thirds of the source's files: of these directories the build reads what configures it alone
_ELSEWHERE = (
    *("arch/alpha", "arch/arc", "arch/arm", "arch/arm64", "arch/csky", "arch/loongarch", "arch/m68k", "arch/mips"),
    *("arch/parisc", "arch/powerpc", "arch/riscv", "arch/s390", "arch/sh", "arch/sparc"),
    *("drivers/clk", "drivers/gpu", "drivers/iio", "drivers/infiniband", "drivers/media", "drivers/net/ethernet"),
    *("drivers/net/wireless", "drivers/pinctrl", "drivers/scsi", "drivers/staging", "drivers/usb", "sound"),
)
LEFT_OUT = (
    *("*/Documentation/*/*", "*/tools/testing/*", "*/tools/perf/*", "*.dts", "*.dtsi"),
    *(f"*/{directory}/*.[chS]" for directory in _ELSEWHERE),
)
_SOURCE_PACKAGE = re.compile(r"\blinux-source-[0-9.]+")


class Kernel(NamedTuple):
    """A built kernel: the program and the version it says it is."""

    directory: Path

    @property
    def program(self) -> Path:
        return self.directory / "linux"

    @property
    def version(self) -> str:
        return (self.directory / "version").read_text().strip()


def kernel_digest() -> str:
    """What a built kernel depends on, but for the version of the source: a newer one is taken with the next build."""
    return digest({"suite": SUITE.encode(), "fragment": FRAGMENT.read_bytes()})


def source_package(depends: str) -> str:
    """The package with the source, out of what apt-cache says the metapackage linux-source depends on.

    Raises LabError when there is none.
    """
    found = _SOURCE_PACKAGE.search(depends)
    if not found:
        raise LabError(f"The suite {SUITE} has no package linux-source, so the lab's kernel cannot be built.")
    return found.group()


def missing_options(fragment: str, config: str) -> list[str]:
    """The options that the fragment wants and the kernel's configuration lacks."""
    have = set(config.splitlines())
    return [line for line in fragment.splitlines() if line.endswith("=y") and line not in have]


def ensure_kernel(progress: Progress) -> Kernel:
    """The kernel for the lab as it is in this checkout; built when the cache does not have it.

    Raises LabError when a tool is missing or a build step fails.
    """
    root = cache_root() / "kernels"
    target = root / kernel_digest()
    if not target.is_dir():
        with locked(root, progress):
            if not target.is_dir():
                _build(root, target, timed(progress))
    os.utime(target)
    return Kernel(target)


def _build(root: Path, target: Path, progress: Progress) -> None:
    require(TOOLS, "The lab's kernel")
    progress("building the lab's kernel; once, ten minutes or so")
    for stale in root.glob("build-*"):
        shutil.rmtree(stale, ignore_errors=True)
    work = Path(tempfile.mkdtemp(prefix="build-", dir=root))
    log = work / "step.log"
    try:
        tree = _fetch(work, log, progress)
        make = ["make", "-C", str(tree), "ARCH=um", f"--jobs={os.cpu_count() or 1}"]
        step(progress, "configuring the kernel", [*make, "defconfig"], log)
        merge = 'cd "$1" && scripts/kconfig/merge_config.sh -m .config "$2"'
        step(progress, "configuring the kernel", ["sh", "-c", merge, "sh", str(tree), str(FRAGMENT)], log)
        step(progress, "configuring the kernel", [*make, "olddefconfig"], log)
        lacking = missing_options(FRAGMENT.read_text(), (tree / ".config").read_text())
        if lacking:
            raise LabError(f"The kernel's source in {SUITE} does not know {', '.join(lacking)}: mend {FRAGMENT.name}.")
        step(progress, "compiling the kernel", [*make, "linux"], log)
        result = work / "result"
        result.mkdir()
        step(progress, "stripping the kernel", ["strip", "-o", str(result / "linux"), str(tree / "linux")], log)
        release = subprocess.run([result / "linux", "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout
        (result / "version").write_text(release)
        os.replace(result, target)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    older = sorted((path for path in root.iterdir() if (path / "linux").exists() and path != target),
                   key=lambda path: path.stat().st_mtime, reverse=True)  # fmt: skip
    for old in older[KEEP_KERNELS - 1:]:
        shutil.rmtree(old, ignore_errors=True)
    progress(f"the kernel is ready: Linux {Kernel(target).version}")


def _fetch(work: Path, log: Path, progress: Progress) -> Path:
    """Download and unpack the newest source, by an apt configuration of its own: the machine's stays as it is."""
    apt = work / "apt"
    (apt / "lists" / "partial").mkdir(parents=True)
    (apt / "archives" / "partial").mkdir(parents=True)
    (apt / "sources.list").write_text(f"deb {MIRROR} {SUITE} main\n")
    options = [
        f"Dir::Etc::sourcelist={apt / 'sources.list'}", "Dir::Etc::sourceparts=-", f"Dir::State::Lists={apt / 'lists'}",
        f"Dir::Cache={apt}", "Dir::State::status=/dev/null", "APT::Sandbox::User=", "Acquire::Retries=3",
    ]  # fmt: skip
    words = [word for option in options for word in ("-o", option)]
    step(progress, f"reading the list of {SUITE}", ["apt-get", "-q", *words, "update"], log)
    show = ["apt-cache", *words, "show", "--no-all-versions", "linux-source"]
    name = source_package(subprocess.run(show, stdout=subprocess.PIPE, text=True, check=False).stdout)
    fetch = ["sh", "-c", 'cd "$1" && shift && exec apt-get -q "$@"', "sh", str(work), *words, "download", name]
    step(progress, f"downloading {name}", fetch, log)
    package = next(work.glob("linux-source-*.deb"))
    unpack = (
        'archive=$1 name=$2 into=$3; shift 3; '
        'dpkg-deb --fsys-tarfile "$archive" | tar -xO "./usr/src/$name.tar.xz" | tar -xJ -C "$into" "$@"'
    )
    excluded = [f"--exclude={pattern}" for pattern in LEFT_OUT]
    words = ["bash", "-o", "pipefail", "-c", unpack, "bash", str(package), name, str(work), *excluded]
    step(progress, f"unpacking {name}", words, log)
    return work / name
