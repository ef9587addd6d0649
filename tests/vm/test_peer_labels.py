# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server's host verifies its clients by peer labels: by their domain on the same host, by their address elsewhere.

Packet labels are taken out of the way where it is to be shown that the peer's label is what refuses.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.lab.controller import Controller
from tests.lab.lab import Lab
from tests.lab.probes import as_domain, connect, context, listener
from tests.lab.vm import Host

pytestmark = [pytest.mark.policy, pytest.mark.thorough]

PORT = 60901
WEB, DB = {"ipv4": "10.77.0.1", "ipv6": "fd77::1"}, {"ipv4": "10.77.0.2", "ipv6": "fd77::2"}
FLOW = {"name": "web_db", "source": ["httpd_t"], "destination": ["postgresql_t"], "ports": [PORT]}
BY_LOOPBACK = {**FLOW, "verify_source": "loopback"}
# One of the client's two addresses
BY_ADDRESS = {**FLOW, "verify_source": "address", "source_addresses": [WEB["ipv4"]]}
STOCK = "domain:DEFAULT,UNLABELED"
LISTS = "netlabelctl cipsov4 list; netlabelctl unlbl list; netlabelctl map list"
# May connect to any port, by Fedora's policy too
OTHER = "named_t"
OUTSIDERS = (OTHER, "unconfined_t")

Hosts = tuple[Host, Host]


def flows(host: Host, **options: Any) -> dict[str, Any]:
    with Controller(host) as controller:
        return controller.module(host, "senet.firewall.flows", **options)


def listed(host: Host) -> set[str]:
    """All that netlabelctl lists."""
    return set(host.run(LISTS).stdout.split())


@contextmanager
def packets_open(host: Host, sides: tuple[str, ...], *domains: str) -> Iterator[None]:
    """The packet labels of the flow refuse none of these domains packets of these types."""
    rules = [
        f"(allow {domain} senet_web_db_{side}_packet_t (packet (send recv)))" for domain in domains for side in sides
    ]
    lines = "\n".join(rules)
    host.run(f"cat > packets_open.cil <<'END'\n{lines}\nEND\nsemodule -i packets_open.cil", timeout=300)
    try:
        yield
    finally:
        host.run("semodule -r packets_open", timeout=300)


def ask(client: Host, server: Host, domain: str, address: str) -> str:
    """How a client of a domain fares with a server in postgresql_t."""
    bound = "::" if ":" in address else "0.0.0.0"
    with listener(server, bound, PORT, "--as-context", context("postgresql_t")):
        return as_domain(client, domain, address, PORT, "--timeout", "3").result


def refusals(host: Host, peer_type: str) -> str:
    """The audit records of peers of a type that postgresql_t may not receive from."""
    pattern = f"scontext={context('postgresql_t')} tcontext=system_u:object_r:{peer_type}:s0 tclass=peer"
    return host.run(f"ausearch --input-logs -m AVC </dev/null | grep -F '{pattern}'", check=False).stdout


@pytest.fixture(scope="module")
def hosts(lab: Lab) -> Iterator[Hosts]:
    """A client's host and the server's, as they come."""
    with lab.start("web", state="slim", link=True) as web, lab.start("db", state="slim", link=True) as db:
        yield web, db


@pytest.fixture(scope="module")
def by_loopback(hosts: Hosts) -> Hosts:
    """The server's host verifies peers of its own."""
    result = flows(hosts[1], flows=[BY_LOOPBACK])
    assert result.get("guard", {}).get("confirmed"), result
    assert result["peers"] == [
        {
            "domain": "postgresql_t",
            "mode": "enforce",
            "receives": ["httpd_t", "kernel_t", "postgresql_t", "unlabeled_t"],
        }
    ]
    assert any("127.0.0.0/8 only" in warning for warning in result["warnings"]), result["warnings"]
    return hosts


@pytest.fixture(scope="module")
def by_address(by_loopback: Hosts) -> Hosts:
    """It verifies other hosts by their addresses, and no longer its own peers."""
    result = flows(by_loopback[1], flows=[BY_ADDRESS])
    assert result.get("guard", {}).get("confirmed"), result
    return by_loopback


def test_somebody_elses_netlabel_is_refused_and_left_alone(hosts: Hosts) -> None:
    db = hosts[1]
    db.run("netlabelctl map add domain:sshd_t protocol:unlbl")
    before = listed(db)
    result = flows(db, flows=[BY_LOOPBACK])
    assert result["failed"]
    assert "configured NetLabel on this host: 'netlabelctl map domain:\"sshd_t\",UNLABELED'" in result["msg"]
    assert listed(db) == before
    assert db.run("semodule -l | grep senet", check=False).stdout == ""
    db.run("netlabelctl map del domain:sshd_t")


def test_a_peer_of_the_same_host_is_told_by_its_domain(by_loopback: Hosts) -> None:
    db = by_loopback[1]
    assert ask(db, db, "httpd_t", "127.0.0.1") == "connected"
    # Nobody else cares who calls, nor is anybody else cut
    with listener(db, "127.0.0.1", 60902):
        assert as_domain(db, "httpd_t", "127.0.0.1", 60902).result == "connected"
        assert as_domain(db, OTHER, "127.0.0.1", 60902).result == "connected"
    assert not refusals(db, "senet_loopback_peer_t")
    with packets_open(db, ("client", "server"), *OUTSIDERS):
        for domain in OUTSIDERS:
            assert ask(db, db, domain, "127.0.0.1") == "timeout"
        assert refusals(db, "senet_loopback_peer_t")


def test_a_peer_that_carries_no_domain_is_refused(by_loopback: Hosts) -> None:
    db = by_loopback[1]
    for address in ("::1", *DB.values()):
        assert ask(db, db, "httpd_t", address) == "timeout"
    for address in ("saddr=::1", *(f"saddr={address}" for address in DB.values())):
        assert address in refusals(db, "senet_loopback_peer_t")


def test_a_server_that_is_stopped_refuses_at_once(by_loopback: Hosts) -> None:
    probe = as_domain(by_loopback[1], "httpd_t", "127.0.0.1", PORT)
    assert probe.result == "refused"
    assert probe.seconds < 1


@pytest.mark.parametrize("family", sorted(WEB))
def test_other_hosts_are_not_affected_by_loopback(by_loopback: Hosts, family: str) -> None:
    web, db = by_loopback
    assert ask(web, db, "httpd_t", DB[family]) == "connected"
    assert connect(web, DB["ipv4"], 22).result == "connected"


def test_a_second_run_changes_nothing_and_a_reboot_keeps_it(by_loopback: Hosts) -> None:
    db = by_loopback[1]
    assert not flows(db, flows=[BY_LOOPBACK])["changed"]
    before = listed(db)
    db.reboot()
    assert listed(db) == before
    assert ask(db, db, "httpd_t", "127.0.0.1") == "connected"
    assert ask(db, db, "httpd_t", "::1") == "timeout"
    assert not flows(db, flows=[BY_LOOPBACK])["changed"]


def test_what_somebody_takes_away_is_put_back(by_loopback: Hosts) -> None:
    db = by_loopback[1]
    before = listed(db)
    db.run("netlabelctl unlbl del interface:lo address:::/0; netlabelctl map del domain:httpd_t")
    assert listed(db) != before
    flows(db, flows=[BY_LOOPBACK])
    assert listed(db) == before


def test_stopping_the_service_takes_the_labels_off(by_loopback: Hosts) -> None:
    db = by_loopback[1]
    before = listed(db)
    db.run("systemctl stop senet-firewall.service")
    assert listed(db) == {STOCK, "accept:on"}
    db.run("systemctl start senet-firewall.service")
    assert listed(db) == before


def test_a_peer_of_another_host_is_told_by_its_address(by_address: Hosts) -> None:
    web, db = by_address
    assert ask(web, db, "httpd_t", DB["ipv4"]) == "connected"
    with packets_open(db, ("refused",), "postgresql_t"):
        assert ask(web, db, "httpd_t", DB["ipv4"]) == "connected"
        assert ask(web, db, "httpd_t", DB["ipv6"]) == "timeout"
        assert f"saddr={WEB['ipv6']}" in refusals(db, "senet_default_peer_t")
    # A host's label is on all that it sends
    for address in DB.values():
        assert connect(web, address, 22).result == "connected"
    assert not flows(db, flows=[BY_ADDRESS])["changed"]


def test_removing_it_leaves_netlabel_as_it_was(by_address: Hosts) -> None:
    db = by_address[1]
    result = flows(db, state="absent")
    assert result.get("guard", {}).get("confirmed"), result
    steps = result["steps"]
    assert steps.index("restore the netlabel rules") < steps.index("remove the policy module senet_firewall")
    assert listed(db) == {STOCK, "accept:on"}
    assert connect(by_address[0], DB["ipv4"], 22).result == "connected"
