# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.senet.firewall.plugins.module_utils._change import confirm, engine
from ansible_collections.senet.firewall.plugins.module_utils._change.change import Options
from ansible_collections.senet.firewall.plugins.module_utils._values import requests
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import FlowSet
from ansible_collections.senet.firewall.plugins.module_utils._values.parsing import parse_peer_label
from ansible_collections.senet.firewall.plugins.modules import flows_info as plugin
from tests.unit.flows import SEVERAL, WEB_DB
from tests.unit.module_run import assert_documented, run_module
from tests.unit.scripted_host import ScriptedHost

Run = Callable[[], dict[str, Any]]


@pytest.fixture
def host() -> ScriptedHost:
    return ScriptedHost()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], host: ScriptedHost) -> Run:
    def call() -> dict[str, Any]:
        before = list(host.writes)
        result = run_module(monkeypatch, capsys, plugin, host, {})
        assert host.writes == before
        assert_documented(plugin, result)
        assert not result["changed"]
        return result

    return call


def change(host: ScriptedHost, flows: FlowSet, timeout: int = 0, backend: str = "auto") -> None:
    options = Options(timeout, "t1", backend)
    engine.run(host.host(), requests.Replace(flows), options, check_mode=False)


def test_a_host_without_flows_has_nothing_to_tell(run: Run) -> None:
    found = run()
    assert (found["flows"], found["layers"], found["backend"]) == ([], [], None)
    assert (found["pending"], found["outcome"], found["drift"]) == (None, None, [])


@pytest.mark.parametrize("backend", ["iptables", "nftables"])
def test_what_is_in_force_as_asked_has_no_drift(run: Run, host: ScriptedHost, backend: str) -> None:
    change(host, SEVERAL, backend=backend)
    # The types of interfaces are on no record, and no drift
    keeps = requests.Alter(lambda current: current.with_interface_types(["public_iface_t"]))
    engine.run(host.host(), keeps, Options(0, "t2"), check_mode=False)
    found = run()
    assert [flow["name"] for flow in found["flows"]] == [flow.name for flow in SEVERAL.flows]
    assert (found["backend"], found["layers"], found["selinux"]) == (backend, ["selinux"], "enforcing")
    assert (found["drift"], found["diff"]) == ([], [])


def test_what_another_program_took_away_is_the_drift_that_the_next_run_mends(run: Run, host: ScriptedHost) -> None:
    change(host, WEB_DB)
    host.families["ipv6"].chains["SENET_OUTPUT"].clear()
    found = run()
    assert "restore the ipv6 rules" in found["drift"]
    assert [diff["after_header"] for diff in found["diff"]] == ["ipv6 rules"]
    change(host, WEB_DB)
    assert run()["drift"] == []


def test_a_record_that_is_gone_leaves_all_as_drift(run: Run, host: ScriptedHost) -> None:
    change(host, WEB_DB)
    host.service.text = None
    found = run()
    assert found["flows"] == []
    assert "remove the policy module senet_firewall" in found["drift"]


def test_a_change_that_waits_and_what_became_of_it_are_told(run: Run, host: ScriptedHost) -> None:
    change(host, WEB_DB, timeout=30)
    found = run()
    assert (found["pending"]["token"], found["pending"]["complete"]) == ("t1", True)
    assert 0 < found["pending"]["seconds_left"] <= 30
    assert (found["flows"], found["drift"], found["outcome"]) == ([], None, None)
    confirm.abort(host.host(), "t1", "it was aborted")
    found = run()
    assert (found["pending"], found["outcome"]) == (
        None,
        {"token": "t1", "rolled_back": True, "reason": "it was aborted"},
    )
    assert found["drift"] == []


def test_where_selinux_has_been_disabled_its_flows_are_told(run: Run, host: ScriptedHost) -> None:
    label = parse_peer_label({"type": "partner_peer_t", "addresses": ["192.0.2.0/24"]})
    change(host, WEB_DB)
    labels = requests.Alter(lambda current: current.with_peers([label], ["httpd_t"]), peers=True)
    engine.run(host.host(), labels, Options(0, "t2"), check_mode=False)
    host.reboot()
    host.mode = "disabled"
    found = run()
    assert (found["selinux"], [flow["name"] for flow in found["flows"]]) == ("disabled", ["web_db"])
    assert (found["peer_labels"], found["loopback_domains"]) == ([label.as_dict()], ["httpd_t"])
    assert found["drift"]
