# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections that were open before the rules: an outsider's carries no data any more, httpd_t's goes on.

Conntrack meets such a connection in the middle, and takes whoever speaks first for the client.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from tests.lab.controller import Controller
from tests.lab.lab import Lab
from tests.lab.probes import Held
from tests.lab.vm import Host
from tests.vm.conftest import EACH_BACKEND

POSTGRESQL = 5432
# PostgreSQL has the usual addresses, so each connection gets one of its own on the loopback interface.
ADDRESS = {"ipv4": "127.0.1.{}", "ipv6": "fd99::{}"}
SPEAKERS = ("client", "server")
SECONDS = 1.0

# Client's domain, when it speaks, who speaks first
Case = tuple[str, str, str]
CASES: tuple[Case, ...] = tuple(
    (domain, when, first)
    for domain, when in (("unconfined_t", "loaded"), ("unconfined_t", "flushed"), ("httpd_t", "always"))
    for first in SPEAKERS
)


class Connection(NamedTuple):
    client: Held
    server: Held

    def says(self, speaker: str, text: str) -> str | None:
        """What the other side gets of a text."""
        sender, receiver = (self.client, self.server) if speaker == "client" else (self.server, self.client)
        sender.send(text)
        return receiver.receive(SECONDS)

    def exchange(self, first: str) -> list[str | None]:
        """What arrives when one side speaks and then the other."""
        second = SPEAKERS[1 - SPEAKERS.index(first)]
        return [self.says(speaker, f"from the {speaker}") for speaker in (first, second)]


class Opened(NamedTuple):
    """What the module returned, and the connections that were there before it ran."""

    host: Host
    result: dict[str, Any]
    connections: dict[tuple[str, Case], Connection]


def works(first: str) -> list[str]:
    return [f"from the {first}", f"from the {SPEAKERS[1 - SPEAKERS.index(first)]}"]


@pytest.fixture(scope="module", params=EACH_BACKEND)
def opened(request: pytest.FixtureRequest, lab: Lab) -> Iterator[Opened]:
    connections = {}
    with lab.start("web", state="slim") as host, Controller(host) as controller:
        for family, pattern in ADDRESS.items():
            for number, case in enumerate(CASES, start=1):
                address = pattern.format(number)
                if family == "ipv6":
                    host.run(f"ip address add {address}/128 dev lo nodad")
                server = Held.server(host, address, POSTGRESQL, "postgresql_t", "postgresql_exec_t", "/run/postgresql")
                client = Held.client(host, address, POSTGRESQL, case[0])
                connections[family, case] = Connection(client, server)
                assert connections[family, case].exchange("client") == works("client")
        flow = {"pair": "httpd_to_postgresql"}
        result = controller.module(host, "senet.firewall.flows", flows=[flow], backend=request.param)
        assert result.get("changed"), result
        yield Opened(host, result, connections)


@pytest.fixture(scope="module")
def flushed(opened: Opened) -> Opened:
    """The same after `conntrack -F`, so that all tuples are made anew."""
    opened.host.run("conntrack -F")
    return opened


each_case = pytest.mark.parametrize(("family", "first"), [(family, first) for family in ADDRESS for first in SPEAKERS])


@each_case
def test_an_outsiders_connection_is_dead_once_the_rules_are_loaded(opened: Opened, family: str, first: str) -> None:
    assert opened.connections[family, ("unconfined_t", "loaded", first)].exchange(first) == [None, None]


@each_case
def test_a_permitted_connection_goes_on(opened: Opened, family: str, first: str) -> None:
    assert opened.connections[family, ("httpd_t", "always", first)].exchange(first) == works(first)


@each_case
def test_an_outsiders_connection_is_dead_after_a_flush(flushed: Opened, family: str, first: str) -> None:
    assert flushed.connections[family, ("unconfined_t", "flushed", first)].exchange(first) == [None, None]


@each_case
def test_a_permitted_connection_survives_a_flush(flushed: Opened, family: str, first: str) -> None:
    assert flushed.connections[family, ("httpd_t", "always", first)].exchange(first) == works(first)


def test_the_result_names_whom_the_change_cut(opened: Opened) -> None:
    cut = {(entry["domain"], entry["command"]) for entry in opened.result["cut"]}
    assert cut == {("unconfined_t", "senet-probe")}
    assert all(entry["flow"] == "httpd_to_postgresql" for entry in opened.result["cut"])
