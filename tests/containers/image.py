# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The container image: a Debian with systemd and real services, as a tar file, cached by what it is made from.

python -m tests.containers.image has it made if it is missing, and prints its path.
"""

import hashlib
import os
import subprocess
from pathlib import Path

from tests.lab.bases import apt_options, one_line_sources

HERE = Path(__file__).resolve().parent
SUITE = "bookworm"


def cache_directory() -> Path:
    """Where images and scratch data of the container tests live: below the user's cache directory."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "senet-firewall" / "containers"
    cache.mkdir(parents=True, exist_ok=True)
    return cache


def image() -> Path:
    """The tar file of the image, made now if the cache has none of these ingredients. Raises CalledProcessError."""
    ingredients = b"\0".join((HERE / name).read_bytes() for name in ("image.py", "packages.txt"))
    cache = cache_directory()
    archive = cache / f"debian-{hashlib.sha256(ingredients).hexdigest()[:16]}.tar"
    if not archive.exists():
        unfinished = archive.with_suffix(f".{os.getpid()}.part")
        _build(unfinished)
        for old in cache.glob("debian-*.tar"):
            old.unlink()
        unfinished.rename(archive)
    return archive


def _build(archive: Path) -> None:
    packages = (HERE / "packages.txt").read_text().split()
    print(f"containers: making an image of Debian {SUITE} with {', '.join(packages)}; once, about a minute", flush=True)
    targets = _output("apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)",
                      "Created-By: Packages", "Origin: Debian")
    options = [f"--aptopt={line}" for line in apt_options(_output("apt-config", "dump"))]
    # Nobody reads there, and a smaller image is imported sooner.
    left_out = [f"--dpkgopt=path-exclude=/usr/share/{directory}/*" for directory in ("doc", "i18n", "locale", "man")]
    subprocess.run(
        ["mmdebstrap", "--quiet", "--format=tar", "--variant=minbase", f"--include={','.join(packages)}", *left_out,
         *options, SUITE, str(archive), *one_line_sources(targets, SUITE)],
        check=True,
    )


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout


if __name__ == "__main__":
    print(image())
