# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rolls out, audits and breaks a fleet of hosts on this machine: python -m tests.fleet build/fleet.json --hosts 20."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.collection_tree import ROOT

from .base import base

_CGROUPS = (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"))
_GALAXY = Path(sys.executable).parent / "ansible-galaxy"
# Ends with its first process, and everything that was started or mounted in it ends with it
_SPACES = ("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fleet", description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("--hosts", type=int, default=20, help="four at least")
    parser.add_argument("--rounds", type=int, default=5, help="of the audit and the ping, of which the median counts")
    parser.add_argument("--only", action="append", default=[], help="this failure only; may be given again")
    asked = parser.parse_args()
    if asked.hosts < 4:
        parser.error("the failures need four hosts")
    signal.signal(signal.SIGTERM, lambda *dummy: sys.exit(128 + signal.SIGTERM))
    lower = base()
    with tempfile.TemporaryDirectory(prefix="fleet-") as scratch:
        subprocess.run(
            [_GALAXY, "collection", "build", "--output-path", scratch], cwd=ROOT, check=True, stdout=subprocess.DEVNULL
        )
        cgroups = next(path for path in _CGROUPS if (path / "cgroup.procs").exists()) / Path(scratch).name
        cgroups.mkdir()
        words = [asked.output.absolute(), asked.hosts, asked.rounds, lower, scratch, cgroups, *asked.only]
        # The shell collects what outlives its parent, as a first process must
        shell = ["sh", "-c", '"$@"; exit $?', "fleet", sys.executable, "-m", "tests.fleet.inside", *map(str, words)]
        running = subprocess.Popen([*_SPACES, *shell], cwd=ROOT)
        try:
            return running.wait()
        finally:
            running.kill()
            running.wait()
            _remove(cgroups)


def _remove(cgroups: Path) -> None:
    """Remove the control groups, which are empty as soon as the kernel has ended the last process."""
    events = cgroups / "cgroup.events"
    while "populated 1" in events.read_text():
        signal.sigtimedwait([], 0.1)
    for directory in sorted(cgroups.rglob("*/"), key=lambda path: -len(path.parts)):
        directory.rmdir()
    cgroups.rmdir()


if __name__ == "__main__":
    sys.exit(main())
