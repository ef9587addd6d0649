# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client's host and a server's, the flow between them that labelled IPsec verifies, and how its connections fare."""

from typing import Any

from tests.lab.controller import Controller
from tests.lab.probes import Held, as_domain, connect, context, listener
from tests.lab.vm import Host

PORT, KEPT_PORT = 60901, 60903
LINK = {"web": ["10.77.0.1", "fd77::1"], "db": ["10.77.0.2", "fd77::2"]}
WEB, DB = LINK["web"], LINK["db"]
FLOW = {"name": "web_db", "source": ["httpd_t"], "destination": ["postgresql_t"], "ports": [PORT, KEPT_PORT]}
BY_IPSEC = {**FLOW, "verify_source": "ipsec"}
OBSERVED = {**BY_IPSEC, "mode": "observe"}
# A domain that may connect to any port, by Fedora's policy too, and is no source of the flow
OTHER = "named_t"

Hosts = tuple[Host, Host]


def flows(host: Host, **options: Any) -> dict[str, Any]:
    with Controller(host) as controller:
        return controller.module(host, "senet.firewall.flows", **options)


def applied(host: Host, *wanted: dict[str, Any]) -> dict[str, Any]:
    result = flows(host, flows=list(wanted), confirm_timeout=300)
    assert result.get("guard", {}).get("confirmed"), result
    return result


def received(result: dict[str, Any]) -> set[str]:
    """The types of peers from which a flow's only destination receives, less what Fedora's policy grants by itself."""
    (row,) = result["peers"]
    assert row["mode"] == "enforce"
    return set(row["receives"]) - {row["domain"], "unlabeled_t"}


def ask(client: Host, server: Host, domain: str, address: str, seconds: int = 4) -> str:
    """How a client of a domain fares with a server in postgresql_t; the peer that the server saw is in its log."""
    options = ("--timeout", str(seconds))
    with listener(server, address, PORT, "--as-context", context("postgresql_t")):
        if domain == "unconfined_t":
            return connect(client, address, PORT, *options).result
        return as_domain(client, domain, address, PORT, *options).result


def seen_peer(server: Host, address: str) -> str:
    return server.run(f"cat /run/listener-{address}-{PORT}.log").stdout


class Kept:
    """Connections of the flow's own client that were open before, one to each address of the server's host."""

    def __init__(self, hosts: Hosts) -> None:
        web, db = hosts
        self._ends: list[tuple[Held, Held]] = []
        for address in DB:
            server = Held.labelled_server(db, address, KEPT_PORT, "postgresql_t")
            self._ends.append((Held.client(web, address, KEPT_PORT, "httpd_t", "--timeout", "20"), server))
        self._count = 0

    def answered(self, waits: int = 1) -> bool:
        """Whether each server gets what its client says, and the client what the server says, in so many waits."""
        self._count += 1
        text = f"text-{self._count}."
        for ends in self._ends:
            for sender, receiver in (ends, reversed(ends)):
                if sender.send(text) != "sent" or not _arrives(receiver, text, waits):
                    return False
        return True

    def close(self) -> None:
        for held in (held for ends in self._ends for held in ends):
            held.tell("close")


def _arrives(receiver: Held, text: str, waits: int) -> bool:
    got = ""
    for dummy in range(waits):
        got += receiver.receive(20) or ""
        if got.endswith(text):
            return True
    return False
