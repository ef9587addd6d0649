# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests.fleet runs in the fleet's own namespaces: it starts the hosts, runs the jobs and writes the file."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.lab.building import timed

from . import quiet, scenarios
from .controller import Controller
from .hosts import Hosts
from .scene import Outcome, Scene


def main(output: Path, count: int, rounds: int, lower: Path, scratch: Path, cgroups: Path, only: list[str]) -> int:
    progress = timed(lambda line: print(line, flush=True))
    begun = time.monotonic()
    (scratch / "hosts").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", scratch / "hosts"], check=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", scratch / "key"], check=True)
    progress(f"starting {count} hosts")
    hosts = Hosts(count, lower, scratch / "hosts", cgroups, (scratch / "key.pub").read_text())
    addresses = {name: host.address for name, host in hosts.all.items()}
    (archive,) = scratch.glob("*.tar.gz")
    scene = Scene(hosts, Controller(scratch, archive, scratch / "key", addresses))
    found: dict[str, Outcome] = {}
    figures: dict[str, Any] = {}

    def roll(name: str, scenario: Callable[[Scene], Outcome]) -> None:
        progress(name)
        found[name] = scenario(scene)
        progress(f"{'BAD' if found[name].wrong else 'ok'}: {found[name].status} {' '.join(found[name].wrong)}")
        _write(output, count, round(time.monotonic() - begun), figures, found)

    roll("full", scenarios.full)
    if rounds:
        figures.update(quiet.measure(scene, rounds, progress))
    for name in only or scenarios.SCENARIOS:
        roll(name, scenarios.SCENARIOS[name])
    if not only:
        roll("after_all", scenarios.full)
    hosts.stop()
    return 1 if any(outcome.wrong for outcome in found.values()) else 0


def _write(output: Path, count: int, seconds: int, figures: dict[str, Any], found: dict[str, Outcome]) -> None:
    machine = {
        "kernel": platform.release(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[1], 2),
        "seconds": seconds,
    }
    failures = {name: outcome._asdict() for name, outcome in found.items()}
    written = {"machine": machine, "hosts": count, "figures": figures, "failures": failures}
    output.parent.mkdir(exist_ok=True)
    output.write_text(json.dumps(written, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    _output, _count, _rounds, _lower, _scratch, _cgroups, *_only = sys.argv[1:]
    sys.exit(main(Path(_output), int(_count), int(_rounds), Path(_lower), Path(_scratch), Path(_cgroups), _only))
