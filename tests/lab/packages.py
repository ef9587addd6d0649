# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packages that the guests' image does not have, for a guest's own package manager: it has no network.

The controller downloads them with what they depend on, once, into the cache. In the guest they are a repository.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
import tempfile
from io import BytesIO
from pathlib import Path

from .bases import one_line_sources
from .building import Progress, cache_root, digest, locked, output, require, step
from .guests import FEDORA, guest_named
from .vm import Host

_PLACE = "/var/local/packages"
_SOURCE = f"deb [trusted=yes] file:{_PLACE} ./\n"
# Debian's dpkg runs the packages' scripts in a domain that Fedora's policy does not have, where rpm's is not confined
_SCRIPTS = "(typealias dpkg_script_t) (typealiasactual dpkg_script_t unconfined_t)\n"


def offer_packages(host: Host, guest: str, names: list[str], progress: Progress = print) -> None:
    """Let the guest's apt install these packages, and nothing else that it does not have.

    Raises LabError when they cannot be downloaded.
    """
    status = host.fetch("/var/lib/dpkg/status")
    repository = ensure_packages(guest_named(guest).suite, status, names, progress)
    archive = BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(repository, arcname=".")
    host.run(f"mkdir -p {_PLACE} && tar -xf - -C {_PLACE} --no-same-owner", input=archive.getvalue())
    host.run("rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/*")
    host.put(_SOURCE, "/etc/apt/sources.list.d/lab.list")
    host.run("apt-get --quiet=2 update", timeout=300)
    if guest_named(guest).policy == FEDORA:
        host.run("cat > lab_dpkg.cil; semodule -i lab_dpkg.cil", input=_SCRIPTS, timeout=300)


def ensure_packages(suite: str, status: bytes, names: list[str], progress: Progress) -> Path:
    """A directory with the packages that a guest with this dpkg status lacks for `names`, and their index."""
    root = cache_root() / "packages"
    target = root / f"{suite}-{digest({'names': ' '.join(sorted(names)).encode(), 'status': status})}"
    with locked(root / "locks" / suite, progress):
        if not target.is_dir():
            work = Path(tempfile.mkdtemp(prefix="build-", dir=root))
            try:
                _download(suite, status, names, work, progress)
                os.replace(work / "packages", target)
            finally:
                shutil.rmtree(work, ignore_errors=True)
    return target


def _download(suite: str, status: bytes, names: list[str], work: Path, progress: Progress) -> None:
    require(("apt-get", "dpkg-deb"), f"A repository of {', '.join(names)}")
    for directory in ("state/lists/partial", "cache/archives/partial", "packages"):
        (work / directory).mkdir(parents=True)
    (work / "status").write_bytes(status)
    targets = output(["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)",
                      "Created-By: Packages", "Origin: Debian"])
    (work / "sources.list").write_text("".join(f"{line}\n" for line in one_line_sources(targets, suite)))
    options = {
        "Dir::State": work / "state",
        "Dir::State::status": work / "status",
        "Dir::Cache": work / "cache",
        "Dir::Etc::sourcelist": work / "sources.list",
        "Dir::Etc::sourceparts": work / "none",
        "APT::Sandbox::User": "root",
    }
    apt = ["apt-get", "--yes", *(word for name, value in options.items() for word in ("-o", f"{name}={value}"))]
    step(progress, f"reading what Debian {suite} has", [*apt, "update"], work / "step.log")
    step(progress, f"downloading {', '.join(names)}",
         [*apt, "install", "--download-only", "--no-install-recommends", *names], work / "step.log")
    for package in sorted((work / "cache/archives").glob("*.deb")):
        # A name of a file is quoted once more than in the index, where apt reads a URI
        shutil.move(package, work / "packages" / package.name.replace("%3a", "-"))
    (work / "packages/Packages").write_text(_index(work / "packages"))


def _index(directory: Path) -> str:
    """What apt reads about the packages in a directory."""
    parts = []
    for package in sorted(directory.glob("*.deb")):
        content = package.read_bytes()
        checksum = hashlib.sha256(content).hexdigest()
        control = output(["dpkg-deb", "--field", str(package)]).strip()
        parts.append(f"{control}\nFilename: ./{package.name}\nSize: {len(content)}\nSHA256: {checksum}\n")
    return "\n".join(parts)
