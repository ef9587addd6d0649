# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.senet.firewall.plugins.module_utils._change import engine
from ansible_collections.senet.firewall.plugins.module_utils._change.change import Options
from ansible_collections.senet.firewall.plugins.module_utils._values import requests
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import FlowSet, flow_set
from ansible_collections.senet.firewall.plugins.modules import packet_access_info as plugin
from tests.unit.flows import PEERS, WEB_DB, flow
from tests.unit.module_run import assert_documented, run_module
from tests.unit.scripted_host import ScriptedHost, process

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def host() -> ScriptedHost:
    names = ("init_t", "httpd_t", "postgresql_t", "redis_t")
    return ScriptedHost(*(process(number, name) for number, name in enumerate(names, 1)))


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], host: ScriptedHost) -> Run:
    def call(**arguments: Any) -> dict[str, Any]:
        before = list(host.writes)
        result = run_module(monkeypatch, capsys, plugin, host, arguments, check_mode=True)
        if not result.get("failed"):
            assert_documented(plugin, result)
        assert host.writes == before
        return result

    return call


def change(host: ScriptedHost, flows: FlowSet, *layers: str) -> None:
    options = Options(0, "t1", layers=layers or ("auto",))
    engine.run(host.host(), requests.Replace(flows), options, check_mode=False)


def texts(result: dict[str, Any]) -> list[str]:
    return [finding["text"] for finding in result["findings"]]


def rows(result: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(row["flow"], row["domain"]): row for row in result["access"]}


def test_a_host_without_flows(run: Run) -> None:
    result = run()
    assert (result["access"], result["findings"], result["selinux"]) == ([], [], "enforcing")


def test_what_is_as_asked_has_no_findings(run: Run, host: ScriptedHost) -> None:
    change(host, WEB_DB)
    result = run()
    assert texts(result) == []
    found = rows(result)
    assert sorted(domain for dummy, domain in found) == ["httpd_t", "postgresql_t"]
    assert found["web_db", "httpd_t"] == {
        "flow": "web_db", "domain": "httpd_t", "source": True, "destination": False, "client": ["recv", "send"],
        "server": ["recv"], "refused": None, "name_connect": True, "refused_ports": [], "can_connect": True,
        "can_serve": False, "permissive": False,
    }  # fmt: skip
    assert found["web_db", "postgresql_t"]["name_connect"] is None


def test_domains_that_are_asked_for_have_every_row_also_where_they_do_not_run(run: Run, host: ScriptedHost) -> None:
    change(host, WEB_DB.with_flows([flow("cache", destination=["redis_t"], ports=[6379])]))
    host.no_name_connect.add(("named_t", 6379))
    found = rows(run(domains=["named_t"]))
    assert sorted(found) == [("cache", "named_t"), ("web_db", "named_t")]
    assert (found["cache", "named_t"]["client"], found["cache", "named_t"]["refused_ports"]) == ([], [6379])
    assert found["web_db", "named_t"]["name_connect"] is True
    assert texts(run(domains=["named_t"])) == []
    assert {name for name, dummy in rows(run(flows=["cache"]))} == {"cache"}


def test_a_boolean_that_is_off_is_a_finding(run: Run, host: ScriptedHost) -> None:
    change(host, WEB_DB)
    host.no_name_connect.add(("httpd_t", 5432))
    result = run()
    assert (result["findings"][0]["flow"], result["findings"][0]["domain"]) == ("web_db", "httpd_t")
    assert "does not let it connect to port 5432" in texts(result)[0]
    assert not rows(result)["web_db", "httpd_t"]["can_connect"]


def test_what_another_module_grants_and_what_is_missing_are_findings(run: Run, host: ScriptedHost) -> None:
    change(host, WEB_DB)
    host.extra_policy = "(allow redis_t senet_web_db_client_packet_t (packet (send recv)))"
    assert texts(run()) == [
        "'redis_t' may recv and send packets of the flow 'web_db' that are for other domains only."
    ]
    host.extra_policy = ""
    host.policy = (host.policy or "").replace("(allow httpd_t senet_web_db_client_packet_t (packet (send recv)))", "")
    assert texts(run()) == ["'httpd_t' may not connect by the flow 'web_db'."]


def test_types_that_the_policy_does_not_know(run: Run, host: ScriptedHost) -> None:
    change(host, WEB_DB)
    host.policy = None
    result = run()
    assert result["access"] == []
    assert "does not know the types of the flow 'web_db'" in texts(result)[0]


def test_confined_domains_and_verified_destinations(run: Run, host: ScriptedHost) -> None:
    change(host, flow_set([flow()], {"httpd_t": "enforce"}.items()))
    assert run()["confined"] == [{"domain": "httpd_t", "mode": "enforce", "elsewhere": [], "unlabelled": []}]
    host.extra_policy = "(allow httpd_t senet_default_packet_t (packet (send recv)))"
    assert "which is confined, may recv and send packets of no flow" in texts(run())[0]
    host.extra_policy = ""
    change(host, PEERS)
    result = run()
    assert {row["domain"] for row in result["peers"]} == {"init_t", "postgresql_t", "redis_t"}
    assert texts(result) == []


def test_permissive_is_a_finding(run: Run, host: ScriptedHost) -> None:
    change(host, WEB_DB)
    host.permissive.add("httpd_t")
    assert "declares 'httpd_t' permissive" in texts(run())[0]
    host.mode = "permissive"
    assert "SELinux is permissive on this host" in texts(run())[0]


def test_another_rule_that_labels_packets_is_a_finding(run: Run, host: ScriptedHost) -> None:
    rule = "-j SECMARK --selctx system_u:object_r:http_server_packet_t:s0"
    change(host, WEB_DB)
    host.families["ipv4"].tables["security"]["OUTPUT"].append(rule)
    [finding] = run()["findings"]
    assert (finding["flow"], finding["domain"]) == (None, None)
    assert f"Another rule labels packets too, and the last label wins: 'iptables security: -A OUTPUT {rule}'" in (
        finding["text"]
    )


def test_without_selinux_there_is_nothing_to_ask(run: Run, host: ScriptedHost) -> None:
    host.mode = "disabled"
    change(host, flow_set([flow(users=["www-data"])]), "owner")
    result = run()
    assert (result["selinux"], result["access"], result["findings"]) == ("disabled", [], [])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"domains": ["nosuch_t"]}, "The domain 'nosuch_t' is not in the loaded policy"),
        ({"flows": ["nosuch"]}, "The flow 'nosuch' is not among those"),
        ({"flows": []}, "The option flows is given and empty"),
    ],
)
def test_what_is_unknown_is_an_error(run: Run, host: ScriptedHost, arguments: dict[str, Any], says: str) -> None:
    change(host, WEB_DB)
    result = run(**arguments)
    assert result["failed"] is True
    assert says in result["msg"]
