# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whoever is refused is in the next report, with the right domain and flow, and the advice does what it says."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab.controller import Controller
from tests.lab.lab import Lab
from tests.lab.probes import as_domain, connect, context, listener, through_apache
from tests.lab.vm import Host
from tests.vm.conftest import WEB_DB

JOBS, PLACED = 60910, 60920
LOOPBACK = "127.0.0.1"
FLOWS = [
    WEB_DB,
    {"name": "web", "source": ["domain"], "destination": ["httpd_t"], "ports": [80]},
    {"name": "jobs", "source": ["httpd_t"], "destination": ["unconfined_t"], "ports": [JOBS]},
    {
        "name": "placed", "source": ["httpd_t"], "destination": ["unconfined_t"], "ports": [PLACED],
        "source_addresses": ["192.0.2.1"],
    },
]  # fmt: skip
WEB, DB = "10.77.0.1", "10.77.0.2"
LABEL = {"type": "partner_peer_t", "addresses": [WEB], "receivers": ["postgresql_t"], "interface_type": "dmz_iface_t"}


class Asked:
    """A host where flows are in force, and what the modules say of it."""

    def __init__(self, host: Host, controller: Controller) -> None:
        self.host = host
        self._controller = controller

    def module(self, name: str, **options: Any) -> dict[str, Any]:
        result = self._controller.module(self.host, f"senet.firewall.{name}", **options)
        assert not result["failed"], result
        return result

    def groups(self, **wish: Any) -> list[dict[str, Any]]:
        """What packet_denial_info says; nothing was lost or garbled."""
        result = self.module("packet_denial_info", **wish)
        assert (result["unreadable"], result["left_out"], result["lost"]) == (0, 0, False)
        return list(result["groups"])

    def only(self, **wish: Any) -> dict[str, Any]:
        groups = self.groups(**wish)
        assert len(groups) == 1, groups
        return groups[0]

    def access(self, flow: str, domain: str) -> dict[str, Any]:
        (row,) = self.module("packet_access_info", flows=[flow], domains=[domain])["access"]
        return dict(row)


def kinds(group: dict[str, Any]) -> list[str]:
    return [advice["kind"] for advice in group["advice"]]


@pytest.fixture(scope="module")
def asked(lab: Lab) -> Iterator[Asked]:
    """A host with FLOWS, httpd_t confined to them."""
    with lab.start("web", state="slim") as host, Controller(host) as controller:
        made = controller.module(host, "senet.firewall.flows", flows=FLOWS, confine=["httpd_t"])
        assert made.get("changed"), made
        yield Asked(host, controller)


@pytest.mark.core
def test_the_kernels_answer_is_what_the_flows_say(asked: Asked) -> None:
    result = asked.module("packet_access_info")
    assert result["findings"] == []
    rows = {(row["flow"], row["domain"]): row for row in result["access"]}
    assert rows["web_db", "httpd_t"]["can_connect"]
    assert rows["web_db", "httpd_t"]["name_connect"] is True
    assert rows["web_db", "postgresql_t"]["can_serve"]
    assert ("web_db", "unconfined_t") not in rows
    outsider = asked.access("web_db", "unconfined_t")
    assert (outsider["client"], outsider["server"], outsider["source"]) == ([], [], False)


@pytest.mark.core
def test_a_client_that_the_flow_refuses_is_told_as_asked(asked: Asked) -> None:
    assert connect(asked.host, LOOPBACK, 5432).result == "refused"
    group = asked.only(domains=["unconfined_t"], flows=["web_db"])
    told = {key: group[key] for key in ("verdict", "flow", "side", "direction", "port", "protocol", "classes")}
    assert told == {
        "verdict": "refused", "flow": "web_db", "side": "client", "direction": "out", "port": 5432, "protocol": "tcp",
        "classes": ["packet"],
    }  # fmt: skip
    assert (group["clients"], group["servers"], group["interfaces"]) == ([LOOPBACK], [LOOPBACK], ["lo"])
    assert (kinds(group), group["processes_reliable"]) == (["as_asked"], False)
    assert group["advice"][0]["flow"] is None


@pytest.mark.core
def test_a_client_is_let_in_by_the_flow_that_the_advice_gives(asked: Asked) -> None:
    with listener(asked.host, LOOPBACK, JOBS):
        assert as_domain(asked.host, "sshd_t", LOOPBACK, JOBS).result == "refused"
        group = asked.only(domains=["sshd_t"], flows=["jobs"])
        assert kinds(group) == ["as_asked"]
        asked.module("flows", flows=[group["advice"][0]["flow"]])
        assert as_domain(asked.host, "sshd_t", LOOPBACK, JOBS).result == "connected"
        assert connect(asked.host, LOOPBACK, JOBS).result == "refused"
    assert asked.access("jobs", "sshd_t")["can_connect"]


@pytest.mark.core
def test_a_server_that_is_no_destination_is_told(asked: Asked) -> None:
    with listener(asked.host, LOOPBACK, JOBS, "--as-context", context("postgresql_t")):
        assert as_domain(asked.host, "httpd_t", LOOPBACK, JOBS).result == "timeout"
    group = asked.only(domains=["postgresql_t"], flows=["jobs"])
    assert (group["side"], group["direction"], group["port"]) == ("server", "in", JOBS)
    assert group["advice"][0]["flow"]["destination"] == ["postgresql_t", "unconfined_t"]


@pytest.mark.core
def test_an_address_that_the_flow_lacks_is_told(asked: Asked) -> None:
    with listener(asked.host, LOOPBACK, PLACED):
        assert as_domain(asked.host, "httpd_t", LOOPBACK, PLACED).result == "refused"
        group = asked.only(domains=["httpd_t"], flows=["placed"])
        assert kinds(group) == ["address"]
        assert group["advice"][0]["flow"]["source_addresses"] == ["192.0.2.1", LOOPBACK]
        asked.module("flows", flows=[group["advice"][0]["flow"]])
        assert as_domain(asked.host, "httpd_t", LOOPBACK, PLACED).result == "connected"


@pytest.mark.core
def test_a_confined_domain_is_told_the_flow_that_it_lacks(asked: Asked) -> None:
    assert through_apache(asked.host, "redis4").result == "refused"
    (group,) = [one for one in asked.groups(domains=["httpd_t"]) if one["port"] == 6379]
    assert (group["flow"], group["side"], kinds(group)) == (None, "client", ["flow"])
    flow = group["advice"][0]["flow"]
    assert (flow["source"], flow["destination"], flow["ports"]) == (["httpd_t"], ["redis_t"], ["6379"])
    assert "apache2.service" in {one["unit"] for one in group["running"]}
    asked.module("flows", flows=[flow])
    assert through_apache(asked.host, "redis4").result == "connected"
    assert connect(asked.host, LOOPBACK, 6379).result == "refused"


@pytest.mark.thorough
def test_a_boolean_that_is_off_is_told_before_the_flow(asked: Asked) -> None:
    asked.host.run("setsebool httpd_can_network_connect=off httpd_can_network_connect_db=off")
    try:
        assert as_domain(asked.host, "httpd_t", LOOPBACK, 5432).result == "denied"
        group = asked.only(domains=["httpd_t"], flows=["web_db"])
        assert (group["permissions"], group["port"], kinds(group)) == (["name_connect"], 5432, ["boolean"])
        assert (group["advice"][0]["booleans"], group["processes_reliable"]) == (["httpd_can_network_connect_db"], True)
        assert {one["command"] for one in group["processes"]} == {"senet-probe"}
        found = asked.module("packet_access_info", flows=["web_db"])["findings"]
        assert [(one["flow"], one["domain"]) for one in found] == [("web_db", "httpd_t")]
        assert "does not let it connect to port 5432" in found[0]["text"]
        # That question is nobody's attempt
        after = asked.module("packet_denial_info", domains=["httpd_t"], flows=["web_db"])
        assert (after["records"], after["questions"] >= 1) == (group["count"], True)
        asked.host.run("setsebool httpd_can_network_connect_db=on")
        assert as_domain(asked.host, "httpd_t", LOOPBACK, 5432).result == "connected"
        assert asked.module("packet_access_info", flows=["web_db"])["findings"] == []
    finally:
        asked.host.run("setsebool httpd_can_network_connect=on")


@pytest.mark.thorough
def test_what_a_log_had_before_is_left_out_by_time(asked: Asked) -> None:
    assert connect(asked.host, LOOPBACK, 5432).result == "refused"
    # The next second
    wait = "was=$(date +%s); until [ $(date +%s) -gt $was ]; do sleep 0.05; done"
    now = asked.host.run(f"{wait}; date -u +%Y-%m-%dT%H:%M:%S").stdout.strip()
    assert asked.groups(until=now, flows=["web_db"])
    assert asked.groups(since=now, flows=["web_db"]) == []


@pytest.mark.thorough
def test_rotated_and_compressed_logs_are_read(asked: Asked) -> None:
    assert connect(asked.host, LOOPBACK, 5432).result == "refused"
    before = asked.only(domains=["unconfined_t"], flows=["web_db"])["count"]
    asked.host.run("cd /var/log/audit && cp audit.log audit.log.7 && gzip audit.log.7")
    try:
        assert asked.only(domains=["unconfined_t"], flows=["web_db"])["count"] == 2 * before
    finally:
        asked.host.run("rm /var/log/audit/audit.log.7.gz")


@pytest.mark.thorough
def test_without_auditd_the_journal_or_the_kernels_log_tells(asked: Asked) -> None:
    # systemctl may not stop auditd
    asked.host.run("kill $(pidof auditd); while pidof auditd; do sleep 0.1; done; mv /var/log/audit /var/log/away")
    try:
        assert as_domain(asked.host, "sshd_t", LOOPBACK, PLACED).result == "refused"
        # Once, although the journal has the kernel's log and the records, those of the tests before this one too
        assert asked.only(domains=["sshd_t"], flows=["placed"])["count"] == 1
    finally:
        asked.host.run("mv /var/log/away /var/log/audit; systemctl start auditd")


@pytest.mark.thorough
def test_who_would_be_refused_by_the_layer_owner(lab: Lab) -> None:
    pair = {"pair": "httpd_to_postgresql"}
    with lab.start("web", state="slim") as host, Controller(host) as controller:
        owner = Asked(host, controller)
        owner.module("flows", flows=[pair], layers=["owner"], mode="observe")
        assert connect(host, LOOPBACK, 5432).result == "connected"
        group = owner.only(flows=["httpd_to_postgresql"])
        assert (group["verdict"], group["domain"], group["users"]) == ("observed", None, ["root"])
        assert (group["classes"], kinds(group)) == (["owner"], ["as_asked"])
        flow = {**group["advice"][0]["flow"], "mode": "enforce"}
        # A shell over SSH is in no unit of Apache
        del flow["units"]
        assert flow["users"] == ["root", "www-data"]
        owner.module("flows", flows=[flow])
        assert connect(host, LOOPBACK, 5432).result == "connected"
        assert connect(host, LOOPBACK, 5432, user="nobody").result == "refused"


@pytest.mark.thorough
def test_peers_and_interfaces(lab: Lab) -> None:
    port = 60901
    with (
        lab.start("web", state="slim", link=True) as web,
        lab.start("db", state="slim", link=True) as db,
        Controller(db) as controller,
    ):
        asked = Asked(db, controller)
        asked.module("interface_context", interface="eth1", type="dmz_iface_t", create_type=True)
        asked.module("peer_label", **LABEL)
        with listener(db, DB, port, "--as-context", context("httpd_t")):
            assert connect(web, DB, port).result == "timeout"
            group = asked.only(domains=["httpd_t"])
            assert (group["classes"], group["types"], group["clients"]) == (["peer"], ["partner_peer_t"], [WEB])
            assert (group["side"], group["port"], kinds(group)) == ("server", port, ["peer_label"])
            asked.module("peer_label", **group["advice"][0]["peer_label"])
            assert connect(web, DB, port).result == "connected"
            asked.module("interface_context", interface="eth1", state="absent")
            assert connect(web, DB, port).result == "timeout"
        group = asked.only(domains=["partner_peer_t"])
        assert (group["classes"], group["interfaces"], kinds(group)) == (["netif"], ["eth1"], ["as_asked"])
