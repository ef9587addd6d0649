# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
import os
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.senet.firewall.plugins.module_utils._change import change, engine
from ansible_collections.senet.firewall.plugins.module_utils._decisions.enforcement import KERNEL_MODULES
from ansible_collections.senet.firewall.plugins.module_utils._values import requests
from ansible_collections.senet.firewall.plugins.modules import enforcement_info as plugin
from tests.unit.flows import WEB_DB
from tests.unit.module_run import assert_documented, run_module
from tests.unit.scripted_host import ScriptedHost

OPEN = "(allow domain unlabeled_t (packet (send recv)))"
MODULES = dict.fromkeys(KERNEL_MODULES, True)

Run = Callable[[], dict[str, Any]]


@pytest.fixture
def host() -> ScriptedHost:
    made = ScriptedHost()
    made.extra_policy = OPEN
    return made


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], host: ScriptedHost) -> Run:
    monkeypatch.setattr(plugin, "kernel_modules", lambda names, release: MODULES)

    def call() -> dict[str, Any]:
        result = run_module(monkeypatch, capsys, plugin, host, {}, check_mode=True)
        if not result.get("failed"):
            assert_documented(plugin, result)
        assert host.writes == []
        return result

    return call


def test_a_host_that_enforces_says_so(run: Run) -> None:
    result = run()
    assert not result["changed"]
    assert result["selinux"] == {"status": "enforcing", "policy": "default", "mls": True, "policy_version": 33}
    assert result["iptables"]["ipv6"] == {
        "path": "/sbin/ip6tables", "version": "1.8.9", "variant": "nf_tables", "selinux_match": False
    }  # fmt: skip
    assert result["nft"] == {"path": "/sbin/nft", "version": "1.0.6"}
    assert result["kernel"] == {
        "release": os.uname().release, "modules": MODULES, "unlabelled_mptcp": False
    }  # fmt: skip
    assert (result["label_rules"], result["domains_cut"]) == ([], [])
    layer = result["layers"]["selinux"]
    assert (layer["available"], layer["enforced"], layer["reasons"], layer["notes"]) == (True, True, [], [])
    assert all(backend["available"] for backend in layer["backends"].values())


def test_the_domains_that_unlabelled_packets_are_closed_to_are_named(run: Run, host: ScriptedHost) -> None:
    host.extra_policy = "(allow httpd_t unlabeled_t (packet (send recv)))"
    result = run()
    assert result["domains_cut"] == ["init_t", "postgresql_t"]
    assert "init_t, postgresql_t" in result["layers"]["selinux"]["notes"][0]


def test_labels_of_all_programs_are_listed(run: Run, host: ScriptedHost) -> None:
    engine.run(host.host(), requests.Replace(WEB_DB), change.Options(0, "t1"), check_mode=False)
    host.writes.clear()
    rule = "-A OUTPUT -j SECMARK --selctx system_u:object_r:http_server_packet_t:s0"
    host.families["ipv6"].chains["OUTPUT"].append(rule.removeprefix("-A OUTPUT "))
    host.listed = "table ip other {\n\tchain out {\n\t\tmeta secmark set \"ssh\"\n\t}\n}\n"
    result = run()
    rules = result["label_rules"]
    assert f"security: {rule}" in rules
    assert result["foreign_labels"] == [f"ip6tables security: {rule}", 'nft ip other out: meta secmark set "ssh"']
    assert len([one for one in rules if "senet_web_db_client_packet_t" in one]) % 2 == 0


def test_without_selinux_everything_else_is_still_told(run: Run, host: ScriptedHost) -> None:
    host.mode = "disabled"
    del host.tools["ipv6"], host.tools["nft"]
    result = run()
    assert result["selinux"] == {"status": "disabled", "policy": "default", "mls": None, "policy_version": None}
    assert (list(result["iptables"]), result["nft"], result["domains_cut"]) == (["ipv4"], None, [])
    assert not result["layers"]["selinux"]["available"]
    assert len(result["layers"]["selinux"]["reasons"]) == 3
    assert host.reads == ["saves", "ruleset"]


def test_modules_that_cannot_be_listed_are_null(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin, "kernel_modules", lambda names, release: None)
    result = run()
    assert result["kernel"]["modules"] is None
    assert result["layers"]["selinux"]["enforced"]
