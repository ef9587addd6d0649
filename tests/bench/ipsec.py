# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures what labelled IPsec costs between two hosts of the lab: python -m tests.bench.ipsec."""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.lab.guests import DEFAULT_GUEST
from tests.lab.lab import Lab
from tests.lab.packages import offer_packages
from tests.lab.probes import as_domain, context, listener
from tests.lab.vm import Host
from tests.vm.libreswan import BY_IPSEC, DB, FLOW, KEPT_PORT, OBSERVED, PORT, Hosts, applied, set_up

OUTPUT = Path("build/bench-ipsec.json")
ROUNDS = 5
LOADS = {"connects": 300, "echoes": 3000, "bulk": 64}


@contextmanager
def serving(host: Host, address: str) -> Iterator[None]:
    command = f"/usr/local/bin/ipsec_load.py serve {address} {KEPT_PORT} {context('postgresql_t')}"
    host.run(
        f"rm -f /run/ipsec_load.ready; setsid python3 {command} >/run/ipsec_load.log 2>&1 </dev/null & "
        "echo $! >/run/ipsec_load.pid; until [ -e /run/ipsec_load.ready ]; do sleep 0.1; done"
    )
    try:
        yield
    finally:
        host.run("kill $(cat /run/ipsec_load.pid)")


def loaded(hosts: Hosts) -> dict[str, Any]:
    """The median of each figure, by address and kind of load."""
    web, db = hosts
    found: dict[str, Any] = {}
    for address in DB:
        with serving(db, address):
            for kind, count in LOADS.items():
                words = f"{kind} {address} {KEPT_PORT} {context('httpd_t')} {count}"
                command = f"python3 /usr/local/bin/ipsec_load.py {words}"
                runs = [json.loads(web.run(command, timeout=600).stdout) for dummy in range(ROUNDS)]
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
        load = Path(__file__).with_name("ipsec_load.py").read_text()
        for host in hosts:
            host.put(load, "/usr/local/bin/ipsec_load.py")
            offer_packages(host, DEFAULT_GUEST, ["libreswan"])
            applied(host, FLOW)
        figures: dict[str, Any] = {"without": loaded(hosts)}
        applied(db, OBSERVED)
        applied(web, BY_IPSEC)
        set_up(*hosts)
        applied(db, BY_IPSEC)
        figures["first"] = first_connections(hosts)
        figures["with"] = loaded(hosts)
        figures["kernel"] = web.run("uname -r").stdout.strip()
        states = web.run("ip xfrm state").stdout
        figures["ciphers"] = sorted(set(re.findall(r"(?:aead|enc|auth-trunc) \S+", states)))
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(json.dumps(figures, indent=1) + "\n")
    print(OUTPUT.read_text())


if __name__ == "__main__":
    main()
