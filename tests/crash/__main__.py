# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every step of a first change with every fault, into a file: python -m tests.crash build/crash.json."""

from __future__ import annotations

import json
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from tests.lab.lab import Lab

from .faults import KINDS, Fault, Stepper, crash

# Hosts that run at the same time; each has two virtual CPUs, emulated.
WORKERS = 2


def main(path: Path) -> int:
    """Write what each fault led to; 0 if all went well and each step was a point."""
    running: list[Future[Fault]] = []
    with Lab() as lab, ThreadPoolExecutor(max_workers=WORKERS) as pool:
        with lab.start("web", state="slim") as host:
            stepper = Stepper(host)
            for number, point in enumerate(stepper.points()):
                state = host.save_state(f"crash-{number}")
                running += [pool.submit(crash, lab, state, point, kind) for kind in KINDS]
        faults = []
        for future in running:
            faults.append(fault := future.result())
            lab.progress(f"{'ok' if fault.good else 'BAD'}  {fault.kind} after: {fault.point} ({fault.found} in force)")
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps([fault._asdict() for fault in faults], indent=2) + "\n")
    points = [(step, kind) for step in stepper.steps for kind in KINDS]
    if [(fault.point, fault.kind) for fault in faults] != points:
        print(f"crash: the points are not the engine's steps, which are: {', '.join(stepper.steps)}", file=sys.stderr)
        return 1
    return 0 if all(fault.good for fault in faults) else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
