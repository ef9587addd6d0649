# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server's host verifies the domain of clients on another host, by the labels of IPsec associations.

Packet labels are taken out of the way where it is to be shown that the association's label is what refuses. The tests
are in the order of a conversion: from packet labels alone to verified clients, and back.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.lab.lab import Lab
from tests.lab.probes import as_domain, connect, context
from tests.lab.vm import Host
from tests.vm.two_hosts import (
    BY_IPSEC,
    DB,
    FLOW,
    KEPT_PORT,
    OBSERVED,
    OTHER,
    PORT,
    WEB,
    Hosts,
    Kept,
    applied,
    ask,
    flows,
    received,
    seen_peer,
)

pytestmark = [pytest.mark.policy, pytest.mark.thorough]

KEYS = "auth 'hmac(sha256)' 0x" + "0123456789abcdef" * 4 + " enc 'cbc(aes)' 0x" + "fedcba9876543210" * 2
FLUSH = "ip xfrm state flush; ip xfrm policy flush"
SPD = "system_u:object_r:senet_ipsec_spd_t:s0"
ASSOCIATIONS = (("web", "httpd_t", 1), ("db", "postgresql_t", 2))
DEFAULT_PEER = "system_u:object_r:senet_default_peer_t:s0"
STOCK = {"domain:DEFAULT,UNLABELED", "accept:on"}


def associate(hosts: Hosts, more: tuple[tuple[str, str, int], ...] = ()) -> None:
    """Static associations with the labels of the flow's domains, on both hosts."""
    for host in hosts:
        lines = ["set -e", FLUSH]
        for web, db in zip(WEB, DB, strict=True):
            ends = {"web": (web, db, "dport"), "db": (db, web, "sport")}
            for sender, domain, spi in (*ASSOCIATIONS, *more):
                source, target, dummy = ends[sender]
                lines.append(
                    f"ip xfrm state add src {source} dst {target} proto esp spi {0x10000 + spi} mode transport {KEYS} "
                    f"ctx {context(domain)}"
                )
            for sender, (source, target, side) in ends.items():
                place, direction = f"src {source} dst {target}", "out" if host.name == sender else "in"
                for port in (PORT, KEPT_PORT):
                    lines.append(
                        f"ip xfrm policy add {place} proto tcp {side} {port} dir {direction} ctx {SPD} "
                        f"tmpl {place} proto esp mode transport"
                    )
        host.run("bash -s", input="\n".join(lines))


def dissociate(*hosts: Host) -> None:
    for host in hosts:
        host.run(FLUSH)


def peer_records(host: Host, verdict: str, peer: str) -> str:
    """The audit records of peers with a context that postgresql_t received from, or was refused."""
    pattern = f"{verdict}  {{ recv }}.*scontext={context('postgresql_t')} tcontext={peer} tclass=peer"
    return host.run(f"ausearch --input-logs -m AVC </dev/null | grep '{pattern}'", check=False).stdout


@contextmanager
def kept_connections(hosts: Hosts) -> Iterator[Kept]:
    kept = Kept(hosts)
    try:
        assert kept.answered()
        yield kept
    finally:
        kept.close()


@contextmanager
def granted(rules: str, *hosts: Host) -> Iterator[None]:
    """A policy module of somebody else's on these hosts."""
    for host in hosts:
        host.run("cat > grants.cil; semodule -i grants.cil", input=rules, timeout=300)
    try:
        yield
    finally:
        for host in hosts:
            host.run("semodule -r grants", timeout=300)


@pytest.fixture(scope="module")
def hosts(lab: Lab) -> Iterator[Hosts]:
    """A client's host and the server's, with packet labels alone."""
    with lab.start("web", state="slim", link=True) as web, lab.start("db", state="slim", link=True) as db:
        for host in (web, db):
            applied(host, FLOW)
        yield web, db


@pytest.fixture(scope="module")
def verified(hosts: Hosts) -> Hosts:
    """The conversion, in which no permitted client is cut: policy on both, observing; IPsec on both; then enforcing."""
    web, db = hosts
    with kept_connections(hosts) as kept:
        applied(db, OBSERVED)
        assert kept.answered()
        applied(web, BY_IPSEC)
        assert kept.answered()
        # Nothing is converted yet: it goes on unlabelled, and is told
        for address in DB:
            assert ask(web, db, "httpd_t", address) == "connected"
        for address in WEB:
            assert f"saddr={address}" in peer_records(db, "granted", DEFAULT_PEER)
        associate(hosts)
        assert kept.answered()
        result = applied(db, BY_IPSEC)
        assert received(result) == {"httpd_t", "senet_loopback_peer_t"}
        assert kept.answered()
    return hosts


@pytest.mark.parametrize("address", DB)
def test_the_source_domain_of_the_other_host_gets_through(verified: Hosts, address: str) -> None:
    web, db = verified
    assert ask(web, db, "httpd_t", address) == "connected"
    assert f'"peer_context": "{context("httpd_t")}"' in seen_peer(db, address)


def test_nobody_else_of_that_host_does(verified: Hosts) -> None:
    web, db = verified
    domains = ("unconfined_t", OTHER)
    packets = [f"(allow {name} senet_web_db_client_packet_t (packet (send recv)))" for name in domains]
    association = [
        f"(allow {OTHER} senet_ipsec_spd_t (association (polmatch)))",
        f"(allow {OTHER} self (association (sendto)))",
        f"(allow unconfined_t {OTHER} (association (setcontext)))",
    ]
    with granted("\n".join(packets), web):
        for address in DB:
            for domain in domains:
                assert ask(web, db, domain, address) == "timeout"
    for address in WEB:
        assert f"saddr={address}" in peer_records(db, "denied", DEFAULT_PEER)
    with granted("\n".join([*packets, *association]), web, db):
        associate(verified, (("web", OTHER, 3), ("db", OTHER, 4)))
        for address in DB:
            assert ask(web, db, OTHER, address) == "timeout"
            assert ask(web, db, "httpd_t", address) == "connected"
        associate(verified)
    for address in WEB:
        assert f"saddr={address}" in peer_records(db, "denied", context(OTHER))


def test_clients_on_the_servers_host_need_no_association(verified: Hosts) -> None:
    db = verified[1]
    for address in ("127.0.0.1", "::1", *DB):
        assert ask(db, db, "httpd_t", address) == "connected"


def test_other_traffic_goes_on(verified: Hosts) -> None:
    web, db = verified
    assert {connect(web, address, 22).result for address in DB} == {"connected"}
    # The kernel answers for a port where nobody listens, in the clear, which the client's IPsec policy does not take
    assert connect(web, DB[0], 60990).result == "refused"
    assert as_domain(web, "httpd_t", DB[0], PORT).result == "timeout"
    assert not flows(db, flows=[BY_IPSEC])["changed"]


def test_without_its_associations_the_flow_stays_refused(verified: Hosts) -> None:
    web, db = verified
    # On the client's host, then on the server's as well, which no longer has any label by IPsec
    for gone in (web, db):
        dissociate(gone)
        for address in DB:
            assert ask(web, db, "httpd_t", address) == "timeout"
    db.reboot()
    for address in DB:
        assert ask(web, db, "httpd_t", address) == "timeout"
    associate(verified)
    for address in DB:
        assert ask(web, db, "httpd_t", address) == "connected"
    assert not flows(db, flows=[BY_IPSEC])["changed"]


def test_the_way_back_cuts_nobody(verified: Hosts) -> None:
    web, db = verified
    refused = flows(db, flows=[FLOW])
    assert refused["failed"]
    assert "IPsec policies or associations of this host have labels ('system_u:" in refused["msg"], refused
    with kept_connections(verified) as kept:
        applied(db, OBSERVED)
        assert kept.answered()
        dissociate(web, db)
        assert kept.answered()
        for host in (db, web):
            applied(host, FLOW)
            assert kept.answered()
    assert set(db.run("netlabelctl unlbl list; netlabelctl map list").stdout.split()) == STOCK
    for address in DB:
        assert ask(web, db, "httpd_t", address) == "connected"
        assert ask(web, db, "unconfined_t", address) == "refused"
