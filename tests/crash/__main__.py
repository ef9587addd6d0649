# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every step of a first change with every fault, into a file: python -m tests.crash build/crash.json."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.lab.lab import Lab

from .faults import disks, killed, power_cut

# Hosts that run at the same time, beside the one that is taken through the change for its disks
WORKERS = 2


def main(path: Path) -> int:
    """Write what each fault led to; 0 if all went well."""
    faults = []
    # The lab ends first: nothing is waited for that runs on its hosts
    with ThreadPoolExecutor(max_workers=WORKERS) as pool, Lab() as lab:
        running = []
        try:
            for point, disk in disks(lab):
                running += [pool.submit(killed, lab, point), pool.submit(power_cut, lab, point, disk)]
            for future in running:
                faults.append(fault := future.result())
                how = "ok" if fault.good else "BAD"
                lab.progress(f"{how}  {fault.kind} after: {fault.point} ({fault.found} in force)")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps([fault._asdict() for fault in faults], indent=2) + "\n")
    return 0 if all(fault.good for fault in faults) else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
