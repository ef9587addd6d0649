# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flows that addresses and interfaces tell apart, by each backend, on one host and between two."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.lab.controller import Controller
from tests.lab.lab import Lab
from tests.lab.probes import ADDRESSES, as_domain, connect, listener
from tests.lab.vm import Host
from tests.vm.conftest import EACH_BACKEND, INSTALL_POLICY

WEB, DB = {"ipv4": "10.77.0.1", "ipv6": "fd77::1"}, {"ipv4": "10.77.0.2", "ipv6": "fd77::2"}
LINK = "eth1"
# Of the ephemeral range, for which the policy asks no name_bind
AT_LINK, AT_LO, FROM_WEB, FROM_NOBODY, TO_DB = 60901, 60902, 60903, 60904, 60905
PROTOCOLS = {"tcp": (), "udp": ("--protocol", "udp", "--expect-reply")}
each_family = pytest.mark.parametrize("family", sorted(ADDRESSES))
each_protocol = pytest.mark.parametrize("protocol", sorted(PROTOCOLS))


def flows(protocol: str) -> list[dict[str, Any]]:
    """One flow for each way to tell a place; the other end of each is unconfined_t's, which may not connect."""
    base = {"source": ["httpd_t"], "destination": ["unconfined_t"], "protocol": protocol}
    return [
        {**base, "name": f"link_{protocol}", "ports": [AT_LINK], "interfaces": [LINK]},
        {**base, "name": f"lo_{protocol}", "ports": [AT_LO], "interfaces": ["lo"]},
        {**base, "name": f"web_{protocol}", "ports": [FROM_WEB], "source_addresses": list(WEB.values())},
        {**base, "name": f"nobody_{protocol}", "ports": [FROM_NOBODY], "source_addresses": ["192.0.2.1"]},
        {**base, "name": f"db_{protocol}", "ports": [TO_DB], "destination_addresses": list(DB.values())},
    ]


Hosts = tuple[Host, Host]


@pytest.fixture(scope="module")
def placed(lab: Lab) -> Iterator[Callable[[str], Hosts]]:
    """web and db with the flows, by one backend after the other: the policy is installed once."""
    with lab.start("web", state="slim", link=True) as web, lab.start("db", state="slim", link=True) as db:
        in_force = ""

        def by(backend: str) -> Hosts:
            nonlocal in_force
            if backend != in_force:
                with Controller(web, db) as controller:
                    for host in (web, db):
                        wanted = [flow for protocol in PROTOCOLS for flow in flows(protocol)]
                        result = controller.module(host, "senet.firewall.flows", flows=wanted, backend=backend)
                        assert result.get("backend") == backend, result
                        assert (INSTALL_POLICY in result["steps"]) == (not in_force)
                        again = controller.module(host, "senet.firewall.flows", flows=wanted)
                        assert not again["changed"], again["steps"]
                in_force = backend
            return web, db

        yield by


@pytest.fixture(params=EACH_BACKEND, scope="module")
def hosts(request: pytest.FixtureRequest, placed: Callable[[str], Hosts]) -> Hosts:
    return placed(request.param)


def ask(client: Host, server: Host, domain: str, address: str, port: int, protocol: str) -> str:
    """How a client of a domain fares with a server of unconfined_t."""
    bound = "::" if ":" in address else "0.0.0.0"
    options = PROTOCOLS[protocol][:2]
    with listener(server, bound, port, *options):
        return as_domain(client, domain, address, port, *PROTOCOLS[protocol], "--timeout", "3").result


@each_protocol
@each_family
def test_a_flow_of_the_link_leaves_loopback_alone(hosts: Hosts, family: str, protocol: str) -> None:
    web, db = hosts
    assert ask(web, db, "httpd_t", DB[family], AT_LINK, protocol) == "connected"
    assert ask(web, db, "unconfined_t", DB[family], AT_LINK, protocol) == "refused"
    assert ask(db, db, "unconfined_t", ADDRESSES[family], AT_LINK, protocol) == "connected"
    assert ask(db, db, "unconfined_t", DB[family], AT_LINK, protocol) == "connected"


@each_protocol
@each_family
def test_a_flow_of_loopback_leaves_the_link_alone(hosts: Hosts, family: str, protocol: str) -> None:
    web, db = hosts
    for address in (ADDRESSES[family], DB[family]):
        assert ask(db, db, "httpd_t", address, AT_LO, protocol) == "connected"
        assert ask(db, db, "unconfined_t", address, AT_LO, protocol) == "refused"
    assert ask(web, db, "unconfined_t", DB[family], AT_LO, protocol) == "connected"


@each_protocol
@each_family
def test_a_client_of_another_address_is_refused_whatever_its_domain(hosts: Hosts, family: str, protocol: str) -> None:
    web, db = hosts
    assert ask(web, db, "httpd_t", DB[family], FROM_WEB, protocol) == "connected"
    assert ask(web, db, "unconfined_t", DB[family], FROM_WEB, protocol) == "refused"
    for address in (ADDRESSES[family], DB[family]):
        assert ask(db, db, "httpd_t", address, FROM_WEB, protocol) == "refused"
    assert ask(web, db, "httpd_t", DB[family], FROM_NOBODY, protocol) == "refused"


@each_family
def test_the_servers_host_refuses_it_too(hosts: Hosts, family: str) -> None:
    web, db = hosts
    with Controller(web) as controller:
        # The client's host leaves everything to the server's.
        web.run("systemctl stop senet-firewall.service")
        try:
            assert ask(web, db, "httpd_t", DB[family], FROM_NOBODY, "tcp") == "timeout"
            assert ask(web, db, "unconfined_t", DB[family], FROM_WEB, "tcp") == "connected"
        finally:
            controller.module(web, "senet.firewall.flows", flows=flows("tcp"))


@each_protocol
@each_family
def test_a_flow_to_one_server_leaves_others_alone(hosts: Hosts, family: str, protocol: str) -> None:
    web, db = hosts
    assert ask(web, db, "httpd_t", DB[family], TO_DB, protocol) == "connected"
    assert ask(web, db, "unconfined_t", DB[family], TO_DB, protocol) == "refused"
    assert ask(db, web, "unconfined_t", WEB[family], TO_DB, protocol) == "connected"
    assert ask(db, db, "unconfined_t", ADDRESSES[family], TO_DB, protocol) == "connected"


def test_a_redirected_connection_is_of_the_place_that_answers(hosts: Hosts) -> None:
    dummy, db = hosts
    db.run(f"iptables -t nat -A OUTPUT -p tcp --dport 60999 -j REDIRECT --to-ports {AT_LO}")
    try:
        with listener(db, "127.0.0.1", AT_LO):
            assert connect(db, "127.0.0.1", 60999).result == "refused"
            assert as_domain(db, "httpd_t", "127.0.0.1", 60999).result == "connected"
    finally:
        db.run("iptables -t nat -F OUTPUT")


@pytest.mark.parametrize(("family", "protocol"), [("ipv4", "tcp"), ("ipv6", "udp")])
def test_the_same_by_nftables(placed: Callable[[str], Hosts], family: str, protocol: str) -> None:
    hosts = placed("nftables")
    test_a_flow_of_the_link_leaves_loopback_alone(hosts, family, protocol)
    test_a_flow_of_loopback_leaves_the_link_alone(hosts, family, protocol)
    test_a_client_of_another_address_is_refused_whatever_its_domain(hosts, family, protocol)
    test_a_flow_to_one_server_leaves_others_alone(hosts, family, protocol)
    test_the_servers_host_refuses_it_too(hosts, family)
