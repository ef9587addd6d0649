# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures what labelled IPsec costs between two hosts of the lab: python -m tests.bench.ipsec."""

from __future__ import annotations

import json
import re
import statistics
from pathlib import Path
from typing import Any

from tests.lab.guests import DEFAULT_GUEST
from tests.lab.lab import Lab
from tests.lab.packages import offer_packages
from tests.lab.probes import as_domain, context, listener
from tests.vm.libreswan import PACKAGES, loaded, serving, set_up
from tests.vm.two_hosts import BY_IPSEC, DB, FLOW, OBSERVED, PORT, Hosts, applied

OUTPUT = Path("build/bench-ipsec.json")
ROUNDS = 5
LOADS = {"connects": 300, "echoes": 3000, "bulk": 64}


def medians(hosts: Hosts) -> dict[str, Any]:
    """The median of each figure, by address and kind of load."""
    web, db = hosts
    found: dict[str, Any] = {}
    for address in DB:
        with serving(db, address):
            for kind, count in LOADS.items():
                runs = [loaded(web, kind, address, count) for dummy in range(ROUNDS)]
                found[f"{kind} {address}"] = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    return found


def first_connections(hosts: Hosts) -> dict[str, list[float]]:
    """The seconds of a connection that has the associations made, and of the next one."""
    web, db = hosts
    found: dict[str, list[float]] = {}
    for address in DB:
        for dummy in range(ROUNDS):
            for host in hosts:
                host.run("systemctl restart ipsec")
            with listener(db, address, PORT, "--as-context", context("postgresql_t"), "--echo"):
                for which in ("first", "next"):
                    options = ("--timeout", "20", "--send", "x", "--expect-reply")
                    done = as_domain(web, "httpd_t", address, PORT, *options)
                    assert done.result == "connected", done
                    found.setdefault(f"{which} {address}", []).append(done.seconds)
    return found


def main() -> None:
    with (
        Lab(guest=DEFAULT_GUEST) as lab,
        lab.start("web", state="slim", link=True) as web,
        lab.start("db", state="slim", link=True) as db,
    ):
        hosts = (web, db)
        for host in hosts:
            offer_packages(host, DEFAULT_GUEST, PACKAGES)
            applied(host, FLOW)
        figures: dict[str, Any] = {"without": medians(hosts)}
        applied(db, OBSERVED)
        applied(web, BY_IPSEC)
        set_up(*hosts)
        applied(db, BY_IPSEC)
        figures["first"] = first_connections(hosts)
        figures["with"] = medians(hosts)
        figures["kernel"] = web.run("uname -r").stdout.strip()
        states = web.run("ip xfrm state").stdout
        figures["ciphers"] = sorted(set(re.findall(r"(?:aead|enc|auth-trunc) \S+", states)))
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(json.dumps(figures, indent=1) + "\n")
    print(OUTPUT.read_text())


if __name__ == "__main__":
    main()
