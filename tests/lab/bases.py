# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A suite of Debian with the guests' packages installed: an archive in the cache that images start from."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from .building import LAB, Progress, cache_root, digest, give_to_user, locked, output, remove_as_root, step
from .guests import FROZEN, Guest, guest_named, packages

BASE_OPTIONS = ("--mode=root", "--variant=minbase")
APT_OPTIONS = (
    "Acquire::http::Proxy",
    "Acquire::https::Proxy",
    "Acquire::Check-Valid-Until",
    "Acquire::Check-Date",
    "Acquire::Retries",
)


def base_name(guest: Guest) -> str:
    """The name of the archive that holds the guest's suite with its packages."""
    parts = [*BASE_OPTIONS, *guest_packages(guest), *(["frozen"] if guest.suite in FROZEN else [])]
    return f"{guest.suite}-{digest({'packages': ' '.join(parts).encode()})}.tar.zst"


def one_line_sources(targets: str, suite: str) -> list[str]:
    """apt's own view of its Debian sources (`REPO_URI RELEASE COMPONENT`, a line each) as one-line entries for `suite`.

    A machine of another suite lends its mirrors and their releases (-updates, -security), of a frozen one the first
    release alone. Empty when it has no Debian sources; mmdebstrap then uses its own default.
    """
    found = [fields for fields in (line.split() for line in targets.splitlines()) if len(fields) == 3]
    suites = [release for _uri, release, _component in found if "-" not in release]
    if not suites:
        return []
    lender = suite if suite in suites else suites[0]
    lent = ("",) if suite in FROZEN else ("", "updates", "security")
    components: dict[tuple[str, str], list[str]] = {}
    for uri, release, component in found:
        of, _dash, rest = release.partition("-")
        if of == lender and (lender == suite or (rest in lent and component == "main")):
            known = components.setdefault((uri, f"{suite}-{rest}" if rest else suite), [])
            if component not in known:
                known.append(component)
    return [f"deb {uri} {release} {' '.join(names)}" for (uri, release), names in components.items()]


def apt_options(dump: str, names: Iterable[str] = APT_OPTIONS) -> list[str]:
    """Those lines of `apt-config dump` that decide how this machine reaches its mirrors."""
    return [line.rstrip(";") for line in dump.splitlines() if line.split(" ", 1)[0] in names]


def ensure_base(progress: Progress, guest: str, with_root: Callable[..., None]) -> Path:
    """The archive of the guest's suite with its packages installed; `with_root` runs make_base() as root."""
    bases = cache_root() / "bases"
    base = bases / base_name(guest_named(guest))
    with locked(bases / "locks" / base.name.partition("-")[0], progress):
        if not base.exists():
            work = Path(tempfile.mkdtemp(prefix="build-", dir=bases))
            try:
                with_root(progress, "make_base", guest, str(work))
                give_to_user(work)
                os.replace(work / "base.tar.zst", base)
            finally:
                remove_as_root(work)
            for old in bases.glob(f"{guest_named(guest).suite}-*"):
                if old != base:
                    old.unlink()
    return base


def guest_packages(guest: Guest) -> list[str]:
    """The packages that are installed in a guest by name."""
    return packages(guest, (LAB / "guest/packages.txt").read_text())


def make_base(progress: Progress, guest: str, work: str) -> None:
    """Install the packages of a guest's suite into `work`/base.tar.zst."""
    suite, names = guest_named(guest).suite, guest_packages(guest_named(guest))
    targets = output(["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)",
                      "Created-By: Packages", "Origin: Debian"])
    options = [f"--aptopt={line}" for line in apt_options(output(["apt-config", "dump"]))]
    step(progress, f"installing Debian {suite} and {len(names)} packages with their dependencies",
         ["mmdebstrap", *BASE_OPTIONS, "--include=" + ",".join(names), *options,
          suite, f"{work}/base.tar", *one_line_sources(targets, suite)], Path(work) / "step.log")
    step(progress, "compressing it", ["zstd", "-q", "-3", "-T0", "--rm", f"{work}/base.tar"], Path(work) / "step.log")
