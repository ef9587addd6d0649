# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A flow's port as the port that somebody connects from: it opens nothing to a confined domain, and cuts no stranger
off who speaks TCP. Of UDP nobody knows who began, so there a stranger is refused."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from tests.lab.controller import Controller
from tests.lab.lab import Lab
from tests.lab.probes import ADDRESSES, Held, as_domain, connect, context, listener, through_apache
from tests.lab.vm import Host
from tests.vm.conftest import EACH_BACKEND, WEB_DB

WEB = {"name": "web", "source": ["domain"], "destination": ["httpd_t"], "ports": [80, 8080]}
CALLS = {"name": "calls", "source": ["domain"], "destination": ["postgresql_t"], "protocol": "udp", "ports": [60998]}
FROM_WEB, FROM_CALLS = ("--source-port", "8080"), ("--source-port", "60998")
UDP = ("--protocol", "udp")
SSH, OTHER, OPENED = 22, 60911, 60912
ANSWERED = ("--send", "hello", "--expect-reply")
each_family = pytest.mark.parametrize("family", sorted(ADDRESSES))


class Enforced(NamedTuple):
    host: Host
    result: dict[str, Any]
    # httpd_t's connection from a flow's port, opened before it was confined
    client: Held
    server: Held


@pytest.fixture(scope="module", params=EACH_BACKEND)
def enforced(request: pytest.FixtureRequest, lab: Lab) -> Iterator[Enforced]:
    """A host with httpd_t and postgresql_t confined."""
    with lab.start("web", state="slim") as host, Controller(host) as controller:
        server = Held.server(host, "127.0.1.1", OPENED, "postgresql_t", "postgresql_exec_t", "/run/postgresql")
        client = Held.client(host, "127.0.1.1", OPENED, "httpd_t", *FROM_WEB)
        assert client.send("before") == "sent"
        assert server.receive(5) == "before"
        flows = [WEB_DB, WEB, CALLS]
        result = controller.module(
            host, "senet.firewall.flows", flows=flows, confine=["httpd_t", "postgresql_t"], backend=request.param
        )
        assert result.get("changed"), result
        yield Enforced(host, result, client, server)


@each_family
def test_a_confined_domain_gets_nowhere_from_a_port_of_its_flow(enforced: Enforced, family: str) -> None:
    address = ADDRESSES[family]
    assert as_domain(enforced.host, "httpd_t", address, SSH, *FROM_WEB).result == "refused"
    with listener(enforced.host, address, OTHER, *UDP):
        probe = as_domain(enforced.host, "postgresql_t", address, OTHER, *UDP, *FROM_CALLS, *ANSWERED)
        assert probe.result == "refused"


@each_family
def test_nobody_reaches_a_confined_domain_from_a_port_of_its_flow(enforced: Enforced, family: str) -> None:
    address = ADDRESSES[family]
    with listener(enforced.host, address, OTHER, "--as-context", context("httpd_t")):
        assert connect(enforced.host, address, OTHER, *FROM_WEB).result == "timeout"
    with listener(enforced.host, address, OTHER, "--as-context", context("postgresql_t"), *UDP):
        probe = connect(enforced.host, address, OTHER, *UDP, *FROM_CALLS, *ANSWERED)
        assert probe.result in ("timeout", "refused", "denied")


@each_family
def test_a_stranger_may_connect_from_a_flows_port(enforced: Enforced, family: str) -> None:
    with listener(enforced.host, ADDRESSES[family], OTHER):
        assert connect(enforced.host, ADDRESSES[family], OTHER, *FROM_WEB, *ANSWERED).result == "connected"


@each_family
def test_a_stranger_that_sends_udp_from_a_flows_port_is_refused(enforced: Enforced, family: str) -> None:
    with listener(enforced.host, ADDRESSES[family], OTHER, *UDP):
        probe = connect(enforced.host, ADDRESSES[family], OTHER, *UDP, *FROM_CALLS, *ANSWERED)
        assert probe.result in ("refused", "denied")
    assert any("'calls'" in warning and "source port" in warning for warning in enforced.result["warnings"])


def test_the_flows_themselves_work(enforced: Enforced) -> None:
    assert through_apache(enforced.host, "pg4").result == "connected"
    assert connect(enforced.host, "127.0.0.1", 80).result == "connected"
    with listener(enforced.host, "127.0.0.1", 60998, "--as-context", context("postgresql_t"), *UDP):
        assert connect(enforced.host, "127.0.0.1", 60998, *UDP, *ANSWERED).result == "connected"


def test_a_confined_domain_cannot_go_on_with_what_it_had_opened_from_a_flows_port(enforced: Enforced) -> None:
    enforced.client.send("after")
    assert enforced.server.receive(1.0) is None
