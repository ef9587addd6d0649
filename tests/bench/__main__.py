# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures what the collection costs, into build/bench.json; with words, only the parts of these names."""

from __future__ import annotations

import json
import os
import platform
import sys
from pathlib import Path

from tests.lab.building import timed

from . import hosts, packets, records
from .figures import table

OUTPUT = Path("build/bench.json")
PARTS = {"packets": packets.measure, "hosts": hosts.measure, "records": records.measure}


def main(names: list[str]) -> int:
    progress = timed(lambda line: print(line, flush=True))
    found = [figure for name, measure in PARTS.items() if name in (names or PARTS) for figure in measure(progress)]
    machine = {
        "kernel": platform.release(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[1], 2),
    }
    figures = {figure.name: figure.as_dict() for figure in found}
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(json.dumps({"machine": machine, "figures": figures}, indent=1, ensure_ascii=False) + "\n")
    print(f"\n{table(figures)}\n{OUTPUT} is written.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
