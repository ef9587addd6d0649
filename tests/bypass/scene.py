# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host on which all attempts are made: its servers, and its askers."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from tests.lab.vm import Host

from .attempts import (
    BOTH,
    CONFINED_LISTENER,
    FLOW_TCP,
    FLOW_UDP,
    OTHER,
    TUNNELS,
    Asker,
    Attempt,
    address_of,
)
from .guest import ARRIVED, Job

BACKENDS = ("iptables", "nftables")
FLOWS: list[dict[str, Any]] = [
    {"name": "web_db", "source": ["httpd_t"], "destination": ["postgresql_t"], "ports": [FLOW_TCP]},
    {"name": "ask", "source": ["httpd_t"], "destination": ["postgresql_t"], "protocol": "udp", "ports": [FLOW_UDP]},
    {"name": "web", "source": ["domain"], "destination": ["httpd_t"], "ports": [80, 8080]},
]
HERE = Path(__file__).parent
GUEST, CGI = "/usr/local/bin/bypass-guest", "/usr/local/bin/bypass-cgi"
ANSWERS = "/run/apache2/bypass.json"
CONFINED_PYTHON = "/usr/local/bin/python-httpd_t"
SERVICE = "systemd-run --quiet --wait --collect --property=StandardOutput=truncate:"
PREPARE = f"""
set -e
cp /usr/bin/python3 {CONFINED_PYTHON} && chcon -t httpd_exec_t {CONFINED_PYTHON}
cat >/usr/local/bin/bypass-service <<'END'
#!/bin/sh
{SERVICE}/run/apache2/service.json {CONFINED_PYTHON} {GUEST} "$@"
cat /run/apache2/service.json
END
chmod 755 /usr/local/bin/bypass-service
cp {GUEST} {CGI} && chcon -t httpd_sys_script_exec_t {CGI}
"""

Key = tuple[Attempt, Asker, str]


class Outcome(NamedTuple):
    """How an attempt ended, and the domain that its process really had."""

    happened: str
    domain: str


class Scene:
    """A host with servers and askers, before any flows."""

    def __init__(self, host: Host) -> None:
        self._host = host
        host.put("#!/usr/bin/python3\n" + (HERE / "guest.py").read_text(), GUEST, 0o755)
        host.run(PREPARE)
        host.run("bash -s", input=(HERE / "scene.sh").read_text(), timeout=120)
        self._background(f"{GUEST} serve {shlex.quote(json.dumps(here()))}", "serve")
        self._background(f"ip netns exec near {GUEST} serve {shlex.quote(json.dumps(far()))}", "far")
        for family in BOTH:
            address = address_of("1.9", family)
            give = f"{CONFINED_PYTHON} {GUEST} give /run/apache2/give-{family} {address} {FLOW_TCP}"
            host.run(f"systemd-run --quiet --collect {give}")
            self._background(f"{GUEST} give /run/bypass/give-{family} {address} {OTHER}", f"give-{family}", "")
        host.run("until [ -S /run/apache2/give-ipv4 ] && [ -S /run/bypass/give-ipv6 ]; do sleep 0.1; done")

    def _background(self, command: str, name: str, ready: str = "ready") -> str:
        log = f"/run/bypass/{name}.log"
        wait = f"for n in $(seq 100); do grep -q '^{ready}' {log} && exit 0; sleep 0.1; done; cat {log}; exit 1"
        started = f"setsid {command} >{log} 2>&1 </dev/null & echo $!"
        return self._host.run(f"rm -f {log}; {started}; {wait if ready else 'true'}").stdout.strip()

    def outcomes(self, phase: str, attempts: Iterable[Attempt]) -> dict[Key, Outcome]:
        """What became of each attempt, by each asker and family."""
        keys: list[Key] = [
            (attempt, asker, family)
            for attempt in attempts
            for asker in attempt.askers
            for family in attempt.families
        ]  # fmt: skip
        pid = self._background(f"{GUEST} serve {shlex.quote(json.dumps(impostors()))}", "impostors")
        try:
            return self._made(phase, keys)
        finally:
            self._host.run(f"kill {pid}")

    def _made(self, phase: str, keys: list[Key]) -> dict[Key, Outcome]:
        self._host.run(f": >{ARRIVED}; chmod 600 {ARRIVED}")
        ended: dict[str, Outcome] = {}
        for asker, some in groupby(sorted(enumerate(keys), key=lambda one: one[1][1]), key=lambda one: one[1][1]):
            jobs = [attempt.job(f"{phase}.{number}", asker, family) for number, (attempt, who, family) in some]
            ended.update(self._ask(asker, jobs))
        arrived = self._host.run(f"cat {ARRIVED}").stdout
        return {
            key: ended[f"{phase}.{number}"]._replace(happened="arrived")
            if f"<{phase}.{number}>" in arrived and ended[f"{phase}.{number}"].happened != "answered"
            else ended[f"{phase}.{number}"]
            for number, key in enumerate(keys)
        }

    def _ask(self, asker: Asker, jobs: list[Job]) -> dict[str, Outcome]:
        if asker.by != "process":
            jobs = [job._replace(domain=asker.domain) for job in jobs]
        command = f"{GUEST} ask {shlex.quote(json.dumps(jobs))}"
        if asker.confined and asker.by == "process":
            self._host.run(f"{SERVICE}{ANSWERS} {CONFINED_PYTHON} {command}", timeout=600)
            lines = self._host.run(f"cat {ANSWERS}").stdout
        else:
            user = f"runuser -u {asker.user} -- " if asker.user != "root" else ""
            lines = self._host.run(f"{user}{command}", timeout=600).stdout
        answers = [json.loads(line) for line in lines.splitlines()]
        return {answer["id"]: Outcome(answer["happened"], answer["domain"]) for answer in answers}


def here() -> list[dict[str, Any]]:
    """The servers of the host's own namespace."""
    hosts = ["1.9", "1.20", "1.21", *(f"{number}.1" for number in TUNNELS.values())]
    places = [place for host in hosts for place in pair(host)]
    for family in BOTH:
        loopback = {"ipv4": "127.0.0.1", "ipv6": "::1"}[family]
        places += [
            server("mptcp", address_of("1.14", family), FLOW_TCP, "postgresql_t"),
            server("mptcp", address_of("1.14", family), OTHER),
            server("sctp", address_of("1.9", family), OTHER),
            server("tcp", loopback, OTHER),
            server("tcp", address_of("1.9", family), CONFINED_LISTENER, "httpd_t"),
            server("udp", address_of("1.21", family), 4500),
        ]
    return places


def impostors() -> list[dict[str, Any]]:
    """Servers of nobody on a flow's port. They are none of the running ones that a change would refuse to cut."""
    return [server("tcp", address_of("1.11", family), FLOW_TCP) for family in BOTH]


def far() -> list[dict[str, Any]]:
    """Those of the other namespace."""
    return [place for number in TUNNELS.values() for place in pair(f"{number}.2")]


def pair(host: str) -> list[dict[str, Any]]:
    """A server of each flow, and of none, at each address."""
    return [
        server(protocol, address_of(host, family), port, domain)
        for family in BOTH
        for protocol, port, domain in (
            ("tcp", FLOW_TCP, "postgresql_t"),
            ("udp", FLOW_UDP, "postgresql_t"),
            ("tcp", OTHER, ""),
            ("udp", OTHER, ""),
        )
    ]


def server(protocol: str, address: str, port: int, domain: str = "") -> dict[str, Any]:
    return {"protocol": protocol, "address": address, "port": port, "domain": domain}
