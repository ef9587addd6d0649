# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A confined domain has its flows and nothing else: not on loopback, not a name server, not as a server."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.lab.controller import Controller
from tests.lab.lab import Lab
from tests.lab.probes import ADDRESSES, as_domain, connect, context, listener, through_apache
from tests.lab.vm import Host
from tests.vm.conftest import WEB_DB, Module
from tests.vm.facts import FEDORA, policy_name

pytestmark = [pytest.mark.core, pytest.mark.smoke]

WEB = {"name": "web", "source": ["domain"], "destination": ["httpd_t"], "ports": [80]}
DNS = {"name": "dns", "source": ["domain"], "destination": ["unconfined_t"], "protocol": "udp", "ports": [53]}
SSH, DNS_PORT, OTHER = 22, 53, 60911
UDP = ("--protocol", "udp")
each_family = pytest.mark.parametrize("family", sorted(ADDRESSES))


@pytest.fixture(scope="module")
def confined(lab: Lab) -> Iterator[tuple[Host, dict[str, Any]]]:
    """A host with httpd_t confined, and what the module said of it."""
    with lab.start("web", state="slim") as host, Controller(host) as controller:
        through_apache(host, "redis4")
        result = controller.module(host, "senet.firewall.flows", flows=[WEB_DB, WEB], confine=["httpd_t"])
        assert result.get("changed"), result
        yield host, result


@each_family
def test_it_reaches_its_flow_and_nothing_else(confined: tuple[Host, dict[str, Any]], family: str) -> None:
    host, dummy = confined
    address = ADDRESSES[family]
    assert through_apache(host, f"pg{family[-1]}").result == "connected"
    assert through_apache(host, f"redis{family[-1]}").result == "refused"
    assert as_domain(host, "httpd_t", address, SSH).result == "refused"
    with listener(host, address, DNS_PORT, *UDP):
        assert as_domain(host, "httpd_t", address, DNS_PORT, *UDP, "--expect-reply").result == "refused"
        assert connect(host, address, DNS_PORT, *UDP, "--expect-reply").result == "connected"


@each_family
def test_nobody_reaches_it_but_by_its_flow(confined: tuple[Host, dict[str, Any]], family: str) -> None:
    host, dummy = confined
    assert connect(host, ADDRESSES[family], 80).result == "connected"
    with listener(host, ADDRESSES[family], OTHER, "--as-context", context("httpd_t")):
        assert connect(host, ADDRESSES[family], OTHER).result == "timeout"


@each_family
def test_everybody_else_is_left_alone(confined: tuple[Host, dict[str, Any]], family: str) -> None:
    host, dummy = confined
    assert connect(host, ADDRESSES[family], SSH).result == "connected"
    assert connect(host, ADDRESSES[family], 6379).result == "connected"
    assert connect(host, ADDRESSES[family], 5432).result == "refused"


def test_the_kernels_answer_and_what_is_lost_are_told(confined: tuple[Host, dict[str, Any]]) -> None:
    host, result = confined
    # Fedora's policy lets everybody use unlabelled packets, which no module can take back.
    unlabelled = ["recv", "send"] if policy_name(host) == FEDORA else []
    row = {"domain": "httpd_t", "mode": "enforce", "elsewhere": [], "unlabelled": unlabelled}
    assert result["confined"] == [row]
    with Controller(host) as controller:
        again = controller.module(host, "senet.firewall.flows", flows=[WEB_DB, WEB], confine=["httpd_t"])
    assert (again["changed"], again["confined"]) == (False, [row])
    said = "httpd_t is confined in this network namespace only"
    assert any(said in warning for warning in again["warnings"]) == bool(unlabelled)


def test_a_name_server_is_a_flow_of_every_domain_and_freedom_comes_back(
    lab: Lab, module: Callable[[Host], Module]
) -> None:
    with lab.start("web", state="slim") as host:
        flows = module(host)
        port = ["--as-context", context("httpd_t")]
        with listener(host, "127.0.0.1", OTHER, *port):
            check = flows("flows", check=True, flows=[WEB_DB], purge=True, confine=["httpd_t"])
            assert any("'httpd_t' has sockets that no flow allows" in said for said in check["warnings"])
            lost = {cut["socket"] for cut in check["cut"] if (cut["domain"], cut["flow"]) == ("httpd_t", None)}
            assert {"tcp 127.0.0.1 port 80", "tcp ::1 port 80"} <= lost
            observed = flows("flows", flows=[WEB_DB], confine=["httpd_t"], mode="observe")
            assert observed["confined"][0]["elsewhere"] == ["recv", "send"]
            assert connect(host, "127.0.0.1", OTHER).result == "connected"
        assert through_apache(host, "redis4").result == "connected"
        log = host.run("ausearch --input-logs --message AVC </dev/null | grep granted").stdout
        assert any("scontext=system_u:system_r:httpd_t" in line and "dest=6379" in line for line in log.splitlines())

        enforced = flows("flows", flows=[WEB_DB, DNS], confine=["httpd_t"])
        assert enforced["confined"][0]["elsewhere"] == []
        with listener(host, "127.0.0.1", DNS_PORT, *UDP):
            ask = ("127.0.0.1", DNS_PORT, *UDP, "--expect-reply")
            assert as_domain(host, "httpd_t", *ask).result == "connected"
            assert as_domain(host, "httpd_t", "127.0.0.1", SSH).result == "refused"

            freed = flows("flows", state="absent", flows=[DNS], confine=["httpd_t"])
            assert (freed["confined"], [flow["name"] for flow in freed["flows"]]) == ([], ["web_db"])
            assert as_domain(host, "httpd_t", "127.0.0.1", SSH).result == "connected"
