# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The main job on a virtual machine that enforces SELinux: who reaches PostgreSQL before the role ran, who after."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from tests.lab.controller import Controller
from tests.lab.lab import Lab
from tests.lab.probes import ADDRESSES, Probe, connect, through_apache
from tests.lab.vm import Host

OUTPUT = Path("build/demo.json")
PORT = 5432
PLAY = [{"hosts": "all", "gather_facts": False, "roles": ["senet.firewall.httpd_to_postgresql"]}]
# Source domain, user, what is expected once the role ran
SOURCES = (
    ("httpd_t", "www-data", "connected"),
    ("unconfined_t", "www-data", "refused"),
    ("unconfined_t", "root", "refused"),
)


def probe_all(host: Host) -> dict[tuple[str, str, str], Probe]:
    """Each source's connection to PostgreSQL, over both families."""
    probes = {}
    for source, user, dummy in SOURCES:
        for family, address in ADDRESSES.items():
            if source == "httpd_t":
                probe = through_apache(host, f"pg{family[-1]}")
            else:
                probe = connect(host, address, PORT, user=user)
            if f":{source}:" not in probe.context:
                sys.exit(f"The probe as {source} ran in {probe.context}.")
            probes[source, user, family] = probe
    return probes


def report(before: dict[tuple[str, str, str], Probe], after: dict[tuple[str, str, str], Probe]) -> list[dict[str, str]]:
    """What `build/demo.json` holds."""
    return [
        {
            "source": source,
            "user": user,
            "destination": "postgresql_t",
            "family": family,
            "before": before[source, user, family].result,
            "after": after[source, user, family].result,
            "expected": expected,
        }
        for source, user, expected in SOURCES
        for family in ADDRESSES
    ]


def table(rows: list[dict[str, str]]) -> str:
    """The rows, aligned under their keys."""
    lines = [list(rows[0]), *(list(row.values()) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    padded = [[cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines]
    return "\n".join("  ".join(line).rstrip() for line in padded)


def main() -> int:
    start = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - start:4.0f} s] {text}", flush=True)

    # What a stranger sees first is the kernel that Debian ships.
    with Lab(progress=print, kind="qemu") as lab, lab.start("web") as host, Controller(host, warm=False) as controller:
        name = host.run(". /etc/os-release; echo $PRETTY_NAME").stdout.strip()
        say(f"{name}, SELinux {host.run('getenforce').stdout.strip()}")
        say("probing: everybody reaches PostgreSQL")
        before = probe_all(host)
        say("running the role senet.firewall.httpd_to_postgresql")
        play = controller.playbook(PLAY)
        if play.rc:
            sys.exit(play.output)
        say("running it again")
        second = controller.playbook(PLAY)
        say(f"first run: changed={play.recap['web']['changed']}, second run: changed={second.recap['web']['changed']}")
        say("probing: only httpd_t does")
        after = probe_all(host)
        records = host.run("ausearch --input-logs -m AVC -se unconfined_t </dev/null | grep tclass=packet").stdout

    rows = report(before, after)
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(json.dumps(rows, indent=2) + "\n")
    print(f"\nThe kernel's record of the last refusal:\n{records.splitlines()[-1]}\n\n{table(rows)}\n")
    slow = [key for key, probe in after.items() if probe.result == "refused" and probe.seconds >= 1]
    held = all(row["before"] == "connected" and row["after"] == row["expected"] for row in rows)
    idempotent = play.recap["web"]["changed"] == 1 and second.recap["web"]["changed"] == 0
    print(f"{OUTPUT} is written. {'All as expected.' if held and idempotent and not slow else 'NOT as expected.'}")
    return 0 if held and idempotent and not slow else 1


if __name__ == "__main__":
    sys.exit(main())
