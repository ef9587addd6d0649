# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Peer labels that no flow asks for: by address, by address and interface, and of domains on loopback."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab.controller import Controller
from tests.lab.lab import Lab
from tests.lab.probes import as_domain, connect, context, listener
from tests.lab.vm import Host
from tests.vm.ssh_watch import SshWatch

pytestmark = [pytest.mark.policy, pytest.mark.thorough]

PORT = 60901
WEB, DB = {"ipv4": "10.77.0.1", "ipv6": "fd77::1"}, {"ipv4": "10.77.0.2", "ipv6": "fd77::2"}
CLOSED = {
    "type": "partner_peer_t",
    "addresses": [*WEB.values()],
    "receivers": ["postgresql_t"],
    "interface_type": "dmz_iface_t",
    "loopback_domains": ["httpd_t", "postgresql_t"],
}
LISTS = "netlabelctl cipsov4 list; netlabelctl unlbl list; netlabelctl map list"
STOCK = {"domain:DEFAULT,UNLABELED", "accept:on"}

Hosts = tuple[Host, Host]


def module(host: Host, name: str, **options: Any) -> dict[str, Any]:
    with Controller(host) as controller:
        return controller.module(host, f"senet.firewall.{name}", **options)


def applied(host: Host, **options: Any) -> dict[str, Any]:
    """The result of a change that was made, and confirmed over a new connection."""
    result = module(host, "peer_label", **options)
    assert result.get("guard", {}).get("confirmed"), result
    return result


def listed(host: Host) -> set[str]:
    """All that netlabelctl lists."""
    return set(host.run(LISTS).stdout.split())


def reached(web: Host, db: Host, domain: str) -> set[str]:
    """How the other host fares with a server in a domain, by both families."""
    results = set()
    for address in DB.values():
        with listener(db, address, PORT, "--as-context", context(domain)):
            results.add(connect(web, address, PORT, "--timeout", "3").result)
    return results


@pytest.fixture(scope="module")
def hosts(lab: Lab) -> Iterator[Hosts]:
    """A peer's host, and one as it comes."""
    with lab.start("web", state="slim", link=True) as web, lab.start("db", state="slim", link=True) as db:
        yield web, db


@pytest.fixture(scope="module")
def closed(hosts: Hosts) -> Hosts:
    """A host on which only postgresql_t receives from the peer, by eth1 only; two domains on loopback."""
    db = hosts[1]
    made = module(db, "interface_context", interface="eth1", type="dmz_iface_t", create_type=True)
    assert made.get("created_types") == ["dmz_iface_t"], made
    modules = db.run("semodule -lfull").stdout
    planned = module(db, "peer_label", check=True, **CLOSED)
    assert planned.get("changed"), planned
    assert (db.run("semodule -lfull").stdout, listed(db)) == (modules, STOCK)
    result = applied(db, **CLOSED)
    assert result["steps"] == planned["steps"]
    assert result["labels"][0]["received_by"] == ["kernel_t", "postgresql_t"]
    assert f'interface:DEFAULT,address:{WEB["ipv4"]}/32,label:"system_u:object_r:partner_peer_t:s0"' in listed(db)
    assert any("nobody can log in by SSH" in warning for warning in result["warnings"]), result["warnings"]
    return hosts


def test_receivers_receive_from_the_peer_and_nobody_else_does(closed: Hosts) -> None:
    web, db = closed
    assert reached(web, db, "postgresql_t") == {"connected"}
    assert reached(web, db, "httpd_t") == {"timeout"}
    assert {connect(web, address, 22).result for address in DB.values()} == {"timeout"}
    pattern = f"scontext={context('httpd_t')} tcontext=system_u:object_r:partner_peer_t:s0 tclass=peer"
    denied = db.run(f"ausearch --input-logs -m AVC </dev/null | grep -F '{pattern}'").stdout
    for address in WEB.values():
        assert f"saddr={address}" in denied
    # The kernel answers for a port where nobody listens
    assert connect(web, DB["ipv4"], PORT).seconds < 1


def test_a_second_run_changes_nothing_and_a_reboot_keeps_it(closed: Hosts) -> None:
    web, db = closed
    before = listed(db)
    db.reboot()
    assert listed(db) == before
    assert reached(web, db, "postgresql_t") == {"connected"}
    assert reached(web, db, "httpd_t") == {"timeout"}
    again = module(db, "peer_label", **CLOSED)
    assert not again["changed"], again
    assert again["labels"][0]["received_by"] == ["kernel_t", "postgresql_t"]


def test_a_service_learns_the_domain_of_its_clients_on_the_same_host(closed: Hosts) -> None:
    db = closed[1]
    with listener(db, "127.0.0.1", PORT, "--as-context", context("postgresql_t")):
        assert as_domain(db, "httpd_t", "127.0.0.1", PORT).result == "connected"
        assert as_domain(db, "sshd_t", "127.0.0.1", PORT).result == "connected"
        told = db.run(f"cat /run/listener-127.0.0.1-{PORT}.log").stdout
    assert f'"peer_context": "{context("httpd_t")}"' in told
    assert '"peer_context": "system_u:object_r:senet_loopback_peer_t:s0"' in told
    # Peers that carry no domain are received from all the same
    with listener(db, "::1", PORT, "--as-context", context("postgresql_t")):
        assert as_domain(db, "httpd_t", "::1", PORT).result == "connected"


def test_peers_come_by_interfaces_of_one_type_alone(closed: Hosts) -> None:
    web, db = closed
    assert reached(web, db, "postgresql_t") == {"connected"}
    gone = module(db, "interface_context", interface="eth1", state="absent", create_type=True)
    # The label names the type as yet
    assert (gone.get("context"), gone.get("created_types")) == (None, ["dmz_iface_t"]), gone
    assert reached(web, db, "postgresql_t") == {"timeout"}
    pattern = "scontext=system_u:object_r:partner_peer_t:s0 tcontext=system_u:object_r:netif_t:s0 tclass=netif"
    denied = db.run(f"ausearch --input-logs -m AVC </dev/null | grep -F '{pattern}'").stdout
    assert "denied  { ingress }" in denied


def test_removing_it_leaves_the_host_as_it_was(closed: Hosts) -> None:
    web, db = closed
    result = applied(db, type="partner_peer_t", loopback_domains=["httpd_t", "postgresql_t"], state="absent")
    steps = result["steps"]
    assert steps.index("restore the netlabel rules") < steps.index("install the policy module senet_firewall")
    assert listed(db) == STOCK
    assert db.run("ls /etc/senet/flows.json", check=False).stdout == ""
    assert {connect(web, address, 22).result for address in DB.values()} == {"connected"}
    # The interface's type is interface_context's
    assert module(db, "interface_context", interface="eth1", state="absent", create_type=True)["changed"]
    assert db.run("semodule -l | grep senet", check=False).stdout == ""
    assert {connect(web, address, 22).result for address in DB.values()} == {"connected"}


def test_ssh_is_not_cut_on_stock_debian(lab: Lab) -> None:
    with lab.start("web") as host:
        before = host.run("semodule -lfull").stdout
        everybody = {"type": "everybody_peer_t", "addresses": ["0.0.0.0/0", "::/0"]}
        refused = module(host, "peer_label", **everybody, receivers=["postgresql_t"])
        assert "'sshd_t'" in refused["msg"], refused
        assert "by the peer label 'everybody_peer_t'" in refused["msg"]
        assert (host.run("semodule -lfull").stdout, listed(host)) == (before, STOCK)
        with SshWatch(host) as watch:
            applied(host, **everybody)
            assert len(listed(host) - STOCK) == 2
            applied(host, type="everybody_peer_t", state="absent")
        assert watch.report.failures == ()
        assert watch.report.opened > 1
        assert (host.run("semodule -lfull").stdout, listed(host)) == (before, STOCK)


@pytest.mark.thorough
def test_the_kernel_forgets_an_interfaces_labels_but_goes_on_checking(lab: Lab) -> None:
    """Why NetLabel's own labels by interface are not used."""
    # Everybody but redis_t may go on when the checks are on
    policy = (
        "(typeattribute may_receive)\n(typeattributeset may_receive (and (domain) (not (redis_t))))\n"
        "(allow may_receive unlabeled_t (peer (recv)))\n(allow domain netif_type (netif (ingress egress)))\n"
        "(allow unlabeled_t netif_type (netif (ingress egress)))\n(allow domain node_type (node (recvfrom sendto)))\n"
        "(allow unlabeled_t node_type (node (recvfrom sendto)))\n"
    )
    label = "label:system_u:object_r:netif_t:s0"

    def checked(host: Host) -> bool:
        with listener(host, "127.0.0.1", PORT, "--as-context", context("redis_t")):
            return connect(host, "127.0.0.1", PORT, "--timeout", "2").result != "connected"

    with lab.start("db", state="slim", link=True) as host:
        host.run(f"cat > receivers.cil <<'END'\n{policy}END\nsemodule -i receivers.cil", timeout=300)
        for place in ("default", "interface:eth1"):
            assert not checked(host)
            host.run(f"netlabelctl unlbl add {place} address:192.0.2.0/24 {label}")
            assert checked(host)
            if place == "default":
                host.run(f"netlabelctl unlbl del {place} address:192.0.2.0/24")
        host.run("ip link set eth1 down")
        assert host.run("netlabelctl unlbl list").stdout.split() == ["accept:on"]
        assert checked(host)
        host.run("ip link set eth1 up")
        assert checked(host)
