# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Labelled IPsec by libreswan, which the role labelled_ipsec has set up on two hosts, with the host's policy enforcing.

Packet labels are taken out of the way where it is to be shown that the association's label is what refuses. The tests
are in the order of a host's life: setting up, use, trouble, change, removal.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.controller import Play
from tests.lab.lab import Lab
from tests.lab.packages import offer_packages
from tests.lab.probes import connect, context
from tests.lab.vm import STRANGER, Host
from tests.vm.conftest import wait_until
from tests.vm.libreswan import (
    FILES,
    FLEET,
    KEY,
    MODULE,
    PACKAGES,
    by_certificates,
    certificates,
    loaded,
    role,
    serving,
    set_up,
)
from tests.vm.two_hosts import (
    BY_IPSEC,
    DB,
    FLOW,
    KEPT_PORT,
    LINK,
    OBSERVED,
    OTHER,
    PORT,
    WEB,
    Hosts,
    Kept,
    applied,
    ask,
    seen_peer,
)

pytestmark = [pytest.mark.policy, pytest.mark.thorough]

LATER_PORT = 60905
WRONG_KEY = "lab/" + "0b" * 16
# The user's own settings count for the role's connections too.
SHORT_LIVES = "conn %default\n\tsalifetime=60s\n\trekeymargin=10s\n\trekeyfuzz=100%\n"
# Dead peer detection asks after 10 s and gives up after 20 s
RECOVERY_SECONDS = 120
# TCP tries again after up to a minute, and libreswan 4.10 half a minute after both hosts asked at once: 160 s in all
WAITS = 8


def changed(done: Play) -> int:
    return sum(counters["changed"] for counters in done.recap.values())


def comes_back(hosts: Hosts) -> None:
    for address in DB:
        wait_until(lambda: ask(*hosts, "httpd_t", address) == "connected", RECOVERY_SECONDS)  # noqa: B023


def associations(host: Host) -> set[str]:
    """The numbers (SPI) of a host's associations with the label of the flow's domains."""
    states = re.split(r"^src ", host.run("ip xfrm state").stdout, flags=re.MULTILINE)
    labelled = (state for state in states if f"security context {context('httpd_t')}" in state)
    return {spi for state in labelled for spi in re.findall(r"proto esp spi (\S+)", state)}


def denials(host: Host) -> str:
    """What the policy refused libreswan."""
    log = host.run("ausearch --input-logs -m AVC </dev/null", check=False).stdout
    return "\n".join(re.findall(r"^.*denied.*scontext=\S*:ipsec_t:.*$", log, flags=re.MULTILINE))


def modules(host: Host) -> str:
    return host.run("semodule -l").stdout


@pytest.fixture(scope="module")
def plain(lab: Lab, pytestconfig: pytest.Config) -> Iterator[Hosts]:
    """A client's host and the server's, without any flow, which could install libreswan."""
    with lab.start("web", state="slim", link=True) as web, lab.start("db", state="slim", link=True) as db:
        for host in (web, db):
            offer_packages(host, pytestconfig.getoption("guest"), PACKAGES)
        yield web, db


@pytest.fixture(scope="module")
def with_flows(plain: Hosts) -> Hosts:
    web, db = plain
    applied(db, OBSERVED)
    applied(web, BY_IPSEC)
    return plain


@pytest.fixture(scope="module")
def verified(with_flows: Hosts) -> Hosts:
    """The role on both hosts, then the server's flow enforcing."""
    set_up(*with_flows)
    applied(with_flows[1], BY_IPSEC)
    return with_flows


def test_without_the_flows_policy_nothing_is_set_up(plain: Hosts) -> None:
    web = plain[0]
    done = role(web)
    said = " ".join(done.output.split())
    assert done.rc != 0
    assert "The policy that is loaded on web has no type senet_ipsec_spd_t" in said
    assert "first give this host its flows with verify_source=ipsec" in said
    assert changed(done) == 0
    assert web.run("ls /usr/sbin/ipsec", check=False).rc != 0
    # What check mode is for
    checked = role(web, flags=("--check",))
    assert checked.rc == 0, checked.output
    assert "has no type senet_ipsec_spd_t" in " ".join(checked.output.split())
    assert MODULE not in modules(web)


def test_check_mode_changes_nothing_and_a_second_run_neither(with_flows: Hosts) -> None:
    checked = role(*with_flows, flags=("--check", "--diff"))
    assert checked.rc == 0, checked.output
    assert changed(checked) > 0
    for host in with_flows:
        assert host.run("ls /usr/sbin/ipsec", check=False).rc != 0
        assert MODULE not in modules(host)
    first = role(*with_flows, flags=("--diff", "-vvv"))
    assert first.rc == 0, first.output
    assert KEY not in first.output
    assert "+conn senet-web_db-" in first.output
    for host in with_flows:
        assert host.run(f"stat -c %a {FILES}.conf {FILES}.secrets").stdout.split() == ["600", "600"]
    for flags in ((), ("--check",)):
        again = role(*with_flows, flags=flags)
        assert (again.rc, changed(again)) == (0, 0), again.output


@pytest.mark.parametrize("address", DB)
def test_the_source_domain_of_the_other_host_gets_through(verified: Hosts, address: str) -> None:
    web, db = verified
    # The first packet has the associations made
    assert ask(web, db, "httpd_t", address, 20) == "connected"
    assert f'"peer_context": "{context("httpd_t")}"' in seen_peer(db, address)


def test_libreswan_is_denied_nothing_and_its_files_have_their_labels(verified: Hosts) -> None:
    for host in verified:
        assert denials(host) == ""
        assert host.run("ps -o label= -C pluto").stdout.split(":")[2] == "ipsec_t"
        assert host.run("restorecon -Rnv /etc/ipsec.d /etc/ipsec.conf /var/lib/ipsec").stdout == ""


def test_nobody_else_of_that_host_does(verified: Hosts) -> None:
    web, db = verified
    packets = [f"(allow {name} senet_web_db_client_packet_t (packet (send recv)))" for name in ("unconfined_t", OTHER)]
    association = [
        f"(allow {OTHER} senet_ipsec_spd_t (association (polmatch)))",
        f"(allow {OTHER} self (association (sendto)))",
        f"(allow ipsec_t {OTHER} (association (setcontext)))",
    ]
    for rules in (packets, packets + association):
        web.run("cat > grants.cil; semodule -i grants.cil", input="\n".join(rules), timeout=300)
        for address in DB:
            for domain in ("unconfined_t", OTHER):
                assert ask(web, db, domain, address) == "timeout"
            assert ask(web, db, "httpd_t", address) == "connected"
    web.run("semodule -r grants", timeout=300)
    # The client's host asked for an association, and the server's refused it
    assert OTHER not in db.run("ip xfrm state").stdout
    assert f"scontext={context(OTHER)}" in db.run("journalctl --unit=ipsec | grep 'selinux denied { polmatch }'").stdout


def test_other_traffic_goes_on(verified: Hosts) -> None:
    web, db = verified
    for client, addresses in ((web, DB), (db, WEB)):
        assert {connect(client, address, 22).result for address in addresses} == {"connected"}
    for address in ("127.0.0.1", "::1", *DB):
        assert ask(db, db, "httpd_t", address) == "connected"


@pytest.mark.parametrize("address", DB)
def test_a_large_transfer_passes_in_smaller_segments(verified: Hosts, address: str) -> None:
    web, db = verified
    with serving(db, address):
        found = loaded(web, "bulk", address, 8)
    assert found["complete"]
    # What the headers of TCP, with its timestamps, and of IP leave of 1500 bytes without ESP
    assert found["segment"] < 1500 - 32 - (40 if ":" in address else 20)


def test_new_keys_under_load_break_no_connection(verified: Hosts) -> None:
    db = verified[1]
    for host in verified:
        host.put(SHORT_LIVES, "/etc/ipsec.d/a-short-lives.conf")
        host.run("systemctl restart ipsec")
    comes_back(verified)
    kept = Kept(verified)
    seen: list[set[str]] = []

    def replaced() -> bool:
        assert kept.answered(WAITS)
        now = associations(db)
        if now and now not in seen:
            seen.append(now)
        return len(seen) > 4 and not seen[0] & seen[-1]

    wait_until(replaced, 400)
    kept.close()
    for host in verified:
        host.run("rm /etc/ipsec.d/a-short-lives.conf; systemctl restart ipsec")
    comes_back(verified)


@pytest.mark.parametrize("restarted", LINK)
def test_a_restarted_daemon_comes_back_and_so_does_an_open_connection(verified: Hosts, restarted: str) -> None:
    comes_back(verified)
    kept = Kept(verified)
    assert kept.answered(WAITS)
    host = next(host for host in verified if host.name == restarted)
    host.run("systemctl stop ipsec")
    for address in DB:
        assert ask(*verified, "httpd_t", address) == "timeout"
    host.run("systemctl start ipsec")
    comes_back(verified)
    assert kept.answered(WAITS)
    kept.close()


@pytest.mark.parametrize("restarted", LINK)
@pytest.mark.parametrize("how", ["reboot", "power_cut"])
def test_a_host_that_boots_again_is_back_without_help(verified: Hosts, restarted: str, how: str) -> None:
    comes_back(verified)
    host = next(host for host in verified if host.name == restarted)
    getattr(host, how)()
    assert {ask(*verified, "unconfined_t", address) for address in DB} <= {"refused", "timeout"}
    comes_back(verified)
    assert denials(host) == ""


def test_without_its_key_the_flow_stays_refused(verified: Hosts) -> None:
    web, db = verified
    comes_back(verified)
    # On either host, the daemon starting again
    for host in verified:
        set_up(host, labelled_ipsec_psk=WRONG_KEY)
        host.run("systemctl restart ipsec")
        for address in DB:
            assert ask(web, db, "httpd_t", address, 10) == "timeout"
        set_up(host)
        comes_back(verified)


def test_a_changed_flow_leaves_running_associations_alone(verified: Hosts) -> None:
    comes_back(verified)
    kept = Kept(verified)
    assert kept.answered(WAITS)
    before = [associations(host) for host in verified]
    later = {**FLEET, "ports": [PORT, KEPT_PORT, LATER_PORT]}
    # The file and what libreswan has of it: the flow that goes with it is none of this test
    assert changed(set_up(*verified, labelled_ipsec_flows=[later])) == 2 * len(verified)
    assert [associations(host) for host in verified] == before
    assert kept.answered(WAITS)
    assert changed(set_up(*verified)) == 2 * len(verified)
    assert [associations(host) for host in verified] == before
    assert kept.answered(WAITS)
    kept.close()


def test_certificates_take_the_place_of_the_key(verified: Hosts, tmp_path: Path) -> None:
    web, db = verified
    first = by_certificates(certificates(tmp_path / "first"))
    done = role(*verified, flags=("--diff", "-vvv"), **first)
    assert done.rc == 0, done.output
    assert not any(text in done.output for text in [KEY, *first["certificates"].values()])
    comes_back(verified)
    again = role(*verified, **first)
    assert (again.rc, changed(again)) == (0, 0), again.output
    for host in verified:
        assert host.run(f"ls {FILES}.secrets", check=False).rc != 0
        assert denials(host) == ""
    # A host with the name and the addresses, and a certificate of another authority
    other = by_certificates(certificates(tmp_path / "other"))
    set_up(web, **other)
    for address in DB:
        assert ask(web, db, "httpd_t", address, 10) == "timeout"
    set_up(web, **first)
    comes_back(verified)
    set_up(*verified)
    comes_back(verified)
    assert "lab authority" not in web.run("certutil -L -d sql:/var/lib/ipsec/nss").stdout


def test_a_third_machine_is_refused(verified: Hosts, lab: Lab) -> None:
    if lab.kind != "uml":
        pytest.skip("only User Mode Linux has a third machine on the link")
    with lab.start(STRANGER, state="slim", link=True) as stranger:
        for address in ("10.77.0.3/24", "fd77::3/64 nodad"):
            stranger.run(f"ip link set eth1 up; ip address add dev eth1 {address}")
        for address in DB:
            assert ask(stranger, verified[1], "httpd_t", address) == "timeout"
            assert ask(stranger, verified[1], "unconfined_t", address) == "timeout"
            assert connect(stranger, address, 22).result == "connected"
            assert ask(*verified, "httpd_t", address) == "connected"


def test_a_flow_with_the_port_of_ssh_is_refused(verified: Hosts) -> None:
    done = role(*verified, labelled_ipsec_flows=[{**FLEET, "ports": [22]}])
    assert done.rc != 0
    assert "has port 22, on which this host is managed by SSH" in " ".join(done.output.split())
    assert changed(done) == 0


def test_what_is_taken_away_is_what_the_role_has_made(verified: Hosts) -> None:
    web, db = verified
    applied(db, OBSERVED)
    web.put("conn theirs\n\tleft=10.77.0.1\n\tright=10.77.0.9\n\tauto=add\n", "/etc/ipsec.d/theirs.conf")
    web.run("ipsec auto --add theirs")
    for flags in (("--check",), ()):
        done = role(*verified, flags=flags, labelled_ipsec_flows=None, labelled_ipsec_psk=None,
                    labelled_ipsec_address_variable=None, labelled_ipsec_state="absent")  # fmt: skip
        assert (done.rc, changed(done) > 0) == (0, True), done.output
    for host in verified:
        assert host.run("ls -d /etc/ipsec.d/senet* /var/lib/senet-labelled*", check=False).stdout == ""
        assert MODULE not in modules(host)
        assert "senet" not in host.run("ip xfrm policy; ip xfrm state").stdout
    assert '"theirs"' in web.run("ipsec whack --status").stdout
    assert web.run("systemctl is-active ipsec").stdout.strip() == "active"
    assert db.run("systemctl is-active ipsec", check=False).stdout.strip() == "inactive"
    again = role(*verified, labelled_ipsec_state="absent")
    assert (again.rc, changed(again)) == (0, 0), again.output
    for address in DB:
        assert ask(web, db, "httpd_t", address) == "connected"
    for host in (db, web):
        applied(host, FLOW)
    for address in DB:
        assert ask(web, db, "httpd_t", address) == "connected"
