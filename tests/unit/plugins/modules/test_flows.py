# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
import json
from collections.abc import Callable
from typing import Any, Optional

import pytest
import yaml

from ansible_collections.senet.firewall.plugins.doc_fragments import change, guarded
from ansible_collections.senet.firewall.plugins.module_utils._compile import cil
from ansible_collections.senet.firewall.plugins.module_utils._values.moments import parse_moment
from ansible_collections.senet.firewall.plugins.modules import flows as plugin
from tests.unit.module_arguments import patch_module_args
from tests.unit.module_run import assert_documented, run_module
from tests.unit.scripted_host import ScriptedHost, connected, listens, process

FLOW = {"name": "web_db", "source": ["httpd_t"], "destination": ["postgresql_t"], "ports": [5432]}
CACHE = {"name": "cache", "source": ["httpd_t"], "destination": ["redis_t"], "ports": ["6379-6380"]}

NOTHING: list[Any] = [[], ""]

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def host() -> ScriptedHost:
    return ScriptedHost()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], host: ScriptedHost) -> Run:
    """The module without a guard, unless it is told otherwise."""

    def call(check_mode: bool = False, **arguments: Any) -> dict[str, Any]:
        return run_module(monkeypatch, capsys, plugin, host, {"confirm_timeout": 0, **arguments}, check_mode)

    return call


def moment(text: str) -> float:
    return parse_moment("", text, 0) or 0


def names(result: dict[str, Any]) -> list[str]:
    return [flow["name"] for flow in result["flows"]]


def test_a_result_is_as_documented_in_every_state(run: Run, host: ScriptedHost) -> None:
    host.running += [process(8, "unconfined_t", connected(40000, 5432)), process(9, "redis_t", listens(6379))]
    results = [
        run(flows=[FLOW, CACHE], check_mode=True),
        run(flows=[FLOW, CACHE]),
        run(flows=[FLOW, CACHE]),
        run(state="absent", confirm_timeout=30),
    ]
    for result in results:
        assert_documented(plugin, result)
    assert [result["changed"] for result in results] == [True, True, False, True]
    assert results[0]["access"] == []
    assert results[1]["access"]
    assert [cut["domain"] for cut in results[1]["cut"]] == ["unconfined_t"]
    assert results[0]["steps"] == results[1]["steps"]
    assert results[0]["diff"] == results[1]["diff"] != []
    assert results[2]["steps"] == results[2]["diff"] == []


def test_a_guarded_change_is_named_and_waits(run: Run, host: ScriptedHost) -> None:
    result = run(flows=[FLOW], token="abc", confirm_timeout=30)
    assert result["guard"] == {"token": "abc", "confirmed": False}
    assert host.guard.record is not None
    assert host.guard.record.token == "abc"
    assert host.guard.timers[-1] == ("confirm", 30)
    refused = run(flows=[FLOW], confirm_timeout=30)
    assert refused["failed"]
    assert "token=abc" in refused["msg"]


def test_a_change_that_others_confirm_says_how_long_it_waits(run: Run, host: ScriptedHost) -> None:
    seen = run(flows=[FLOW], confirm="manual", confirm_timeout=60, check_mode=True)
    assert (seen["changed"], "guard" in seen, host.writes) == (True, False, [])
    result = run(flows=[FLOW], confirm="manual", token="abc", confirm_timeout=60)
    assert_documented(plugin, result)
    assert result["steps"] == seen["steps"]
    left = result["guard"].pop("confirm_by")
    assert 30 < left <= 60
    assert result["guard"] == {"token": "abc", "confirmed": False}
    assert host.service.text is None
    assert host.guard.timers[-1] == ("confirm", 60)


SETS: dict[str, dict[str, Any]] = {
    "none": {"state": "absent"},
    "one": {"flows": [FLOW], "purge": True},
    "observed": {"flows": [{**FLOW, "mode": "observe"}, CACHE], "purge": True},
    "placed": {
        "flows": [{**FLOW, "source_addresses": ["192.0.2.7", "2001:db8::/32"], "interfaces": ["eth0"]}],
        "purge": True,
    },
    "confined": {"flows": [FLOW, CACHE], "confine": ["httpd_t"], "purge": True},
    "watched": {"flows": [FLOW], "confine": ["httpd_t"], "mode": "observe", "purge": True},
    "nft": {"flows": [FLOW], "backend": "nftables", "purge": True},
    "owner": {"flows": [{**FLOW, "users": ["www-data"]}], "layers": ["owner"], "purge": True},
}


@pytest.mark.parametrize("first", SETS)
@pytest.mark.parametrize("second", SETS)
def test_a_change_returns_what_brings_the_set_of_before_back(
    run: Run, host: ScriptedHost, first: str, second: str
) -> None:
    chosen = {"backend": "iptables", "layers": ["selinux"]}
    asked = [SETS[name] if name == "none" else {**chosen, **SETS[name]} for name in (first, second)]
    run(**asked[0])
    before = (host.service.text, host.policy and cil.live(host.policy), run(check_mode=True, **SETS[first])["flows"])
    seen = run(check_mode=True, **asked[1])
    result = run(**asked[1])
    assert_documented(plugin, result)
    assert result.get("previous_flows") == seen.get("previous_flows")
    assert ("previous_flows" in result) == (first != second)
    if first != second:
        back = run(**result["previous_flows"])
        assert not back.get("failed"), back
        assert (host.service.text, host.policy and cil.live(host.policy), back["flows"]) == before


def test_where_one_task_cannot_ask_for_the_set_of_before_there_is_none(run: Run, host: ScriptedHost) -> None:
    run(confine=["httpd_t"])
    assert run(flows=[FLOW])["previous_flows"] is None
    run(confine=["redis_t"], mode="observe")
    result = run(flows=[{**CACHE, "ports": [11211]}])
    assert result["previous_flows"] is None
    assert_documented(plugin, result)
    host.policy = "(type other_t)\n"
    assert run(flows=[FLOW], purge=True)["previous_flows"] is None


def test_where_nothing_changes_nothing_waits(run: Run) -> None:
    run(flows=[FLOW])
    result = run(flows=[FLOW], confirm="manual", confirm_timeout=60)
    assert (result["changed"], "guard" in result) == (False, False)


@pytest.mark.parametrize("check_mode", [True, False])
def test_without_a_guard_nobody_else_can_confirm(run: Run, host: ScriptedHost, check_mode: bool) -> None:
    result = run(flows=[FLOW], confirm="manual", confirm_timeout=0, check_mode=check_mode)
    assert "confirm_timeout=0 no change waits to be confirmed" in result["msg"]
    assert host.writes == []


def test_without_a_name_a_change_gets_one_and_the_guard_is_the_default(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], host: ScriptedHost
) -> None:
    result = run_module(monkeypatch, capsys, plugin, host, {"flows": [FLOW]})
    assert host.guard.record is not None
    assert result["guard"]["token"] == host.guard.record.token
    assert len(host.guard.record.token) == 12
    assert host.guard.timers[-1] == ("confirm", 30)


def test_check_mode_leaves_no_guard(run: Run, host: ScriptedHost) -> None:
    result = run(flows=[FLOW], confirm_timeout=30, check_mode=True)
    assert "guard" not in result
    assert result["steps"][0].startswith("arm the guard")
    assert (host.writes, host.guard.stages) == ([], [])


@pytest.mark.parametrize("token", ["T1", "a b", "../x", "", "a" * 33, "t1\n"])
def test_a_token_that_cannot_name_a_unit_is_refused(run: Run, host: ScriptedHost, token: str) -> None:
    result = run(flows=[FLOW], token=token)
    assert result["failed"]
    assert "cannot name a change; use 1 to 32 lower-case letters and digits" in result["msg"]
    assert host.writes == []


def test_the_list_is_the_whole_set_or_is_merged(run: Run) -> None:
    run(flows=[FLOW])
    assert names(run(flows=[CACHE], purge=False)) == ["cache", "web_db"]
    changed = run(flows=[{**CACHE, "ports": [11211]}], purge=False)
    assert [flow["ports"] for flow in changed["flows"]] == [["11211"], ["5432"]]


def test_flows_that_are_not_listed_go_only_by_purge_and_are_named(run: Run, host: ScriptedHost) -> None:
    run(flows=[FLOW], confine=["httpd_t"])
    kept = run(flows=[CACHE])
    assert (names(kept), kept["removed"], kept["warnings"]) == (["cache", "web_db"], [], [])
    for check_mode in (True, False):
        purged = run(flows=[CACHE], purge=True, check_mode=check_mode)
        assert (names(purged), purged["removed"]) == (["cache"], ["web_db"])
        assert purged["warnings"] == [
            "With purge=true these flows are removed, since they are not listed: web_db. Their ports are "
            "open to everybody unless another flow covers them.",
            "The domain 'httpd_t' is no longer confined: it may use what no flow allows.",
        ]
    again = run(flows=[CACHE], purge=True)
    assert (again["changed"], again["removed"], again["warnings"]) == (False, [], [])


def test_all_flows_are_removed_with_a_warning_that_names_them(run: Run, host: ScriptedHost) -> None:
    run(flows=[FLOW, CACHE], confine=["httpd_t"])
    for check_mode in (True, False):
        gone = run(state="absent", check_mode=check_mode)
        assert gone["removed"] == ["cache", "web_db"]
        assert gone["warnings"] == [
            "With state=absent these flows are removed, since no flows are named: cache, web_db. Their ports are open "
            "to everybody unless another flow covers them.",
            "The domain 'httpd_t' is no longer confined: it may use what no flow allows.",
        ]
    assert run(state="absent")["warnings"] == []
    run(flows=[FLOW, CACHE])
    assert run(state="absent", flows=[{"name": "cache"}])["warnings"] == []


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"metrics_directory": "none"}, "metrics_directory would have no effect"),
        ({"layers": ["owner"]}, "layers would have no effect"),
        ({"backend": "nftables", "layers": ["owner"]}, "backend and layers would have no effect"),
    ],
)
def test_what_says_how_flows_are_to_be_does_not_remove_all(
    run: Run, host: ScriptedHost, given: dict[str, Any], named: str
) -> None:
    run(flows=[FLOW])
    writes = list(host.writes)
    result = run(state="absent", **given)
    assert result["failed"]
    assert named in result["msg"]
    assert host.writes == writes


@pytest.mark.parametrize(
    ("first", "second", "options"),
    [
        ({"ports": ["5432"]}, {"ports": ["5433"]}, ["ports"]),
        ({"source_addresses": ["192.0.2.1"]}, {}, ["source_addresses"]),
        ({"interfaces": ["eth0"]}, {"interfaces": ["lo"]}, ["interfaces"]),
        ({"verify_source": "loopback"}, {}, ["verify_source"]),
        ({}, {"mode": "observe"}, ["mode"]),
    ],
)
def test_a_flow_of_the_same_name_that_opens_something_is_told_of(
    run: Run, first: dict[str, Any], second: dict[str, Any], options: list[str]
) -> None:
    pair = {"pair": "httpd_to_postgresql"}
    assert run(flows=[{**pair, **first}])["opened"] == []
    for check_mode in (True, False):
        result = run(flows=[{**pair, **second}], check_mode=check_mode)
        assert_documented(plugin, result)
        assert [(one["flow"], one["options"]) for one in result["opened"]] == [("httpd_to_postgresql", options)]
        assert [text for text in result["warnings"] if "opens what was closed" in text] == [
            one["message"] for one in result["opened"]
        ]
    again = run(flows=[{**pair, **second}])
    assert (again["opened"], [text for text in again["warnings"] if "opens" in text]) == ([], [])


def test_domains_that_are_free_again_are_told_of_and_named_ones_without_a_warning(run: Run) -> None:
    run(flows=[FLOW, CACHE], confine=["httpd_t", "redis_t"])
    observed = run(confine=["httpd_t"], mode="observe")
    assert_documented(plugin, observed)
    assert [(one["domain"], one["options"]) for one in observed["opened"]] == [("httpd_t", ["mode"])]
    assert observed["opened"][0]["message"] in observed["warnings"]
    free = run(state="absent", confine=["redis_t"])
    assert [(one["domain"], one["options"]) for one in free["opened"]] == [("redis_t", ["confine"])]
    assert free["warnings"] == []


def test_without_flows_the_host_keeps_what_it_has_by_another_backend(run: Run) -> None:
    run(flows=[FLOW, CACHE])
    moved = run(backend="nftables")
    assert (moved["changed"], moved["backend"], names(moved)) == (True, "nftables", ["cache", "web_db"])
    assert not run(backend="nftables")["changed"]


def test_flows_are_removed_by_name_or_all(run: Run, host: ScriptedHost) -> None:
    run(flows=[FLOW, CACHE])
    assert names(run(state="absent", flows=[{"name": "cache"}])) == ["web_db"]
    assert not run(state="absent", flows=[{"name": "cache"}])["changed"]
    run(flows=[{"pair": "httpd_to_postgresql"}, CACHE], purge=True)
    assert names(run(state="absent", flows=[{"pair": "httpd_to_postgresql"}])) == ["cache"]
    gone = run(state="absent")
    assert (gone["flows"], gone["removed"]) == ([], ["cache"])
    assert host.policy is None


def test_a_flows_own_mode_goes_before_that_of_the_set(run: Run) -> None:
    result = run(flows=[FLOW, {**CACHE, "mode": "observe"}])
    assert [flow["mode"] for flow in result["flows"]] == ["observe", "enforce"]
    result = run(flows=[{**FLOW, "mode": "enforce"}, CACHE], mode="observe")
    assert [flow["mode"] for flow in result["flows"]] == ["observe", "enforce"]


def test_a_pair_of_two_protocols_comes_and_goes_as_two_flows(run: Run) -> None:
    dns = {"pair": "domain_to_named", "name": "dns"}
    assert names(run(flows=[FLOW, dns])) == ["dns_tcp", "dns_udp", "web_db"]
    assert names(run(state="absent", flows=[{**dns, "protocol": "tcp"}])) == ["dns_udp", "web_db"]
    assert names(run(state="absent", flows=[dns])) == ["web_db"]
    assert names(run(flows=[{**dns, "protocol": "udp"}], purge=False)) == ["dns_udp", "web_db"]


def test_what_a_pair_needs_is_asked_for_before_anything_is_changed(run: Run, host: ScriptedHost) -> None:
    assert "The pair 'domain_to_sshd' needs source_addresses" in run(flows=[{"pair": "domain_to_sshd"}])["msg"]
    assert host.writes == []
    assert not run(state="absent", flows=[{"pair": "domain_to_sshd"}])["changed"]


def test_a_pair_fills_in_what_is_not_given(run: Run) -> None:
    result = run(flows=[{"pair": "httpd_to_postgresql", "ports": [5433]}])
    assert result["flows"] == [
        {"name": "httpd_to_postgresql", "source": ["httpd_t"], "destination": ["postgresql_t"], "protocol": "tcp",
         "ports": ["5433"], "mode": "enforce"}
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "state=present needs flows or confine, or a backend, layers or metrics_directory"),
        ({"purge": True, "confine": ["httpd_t"]}, "purge is True but all of the following are missing: flows"),
        *(
            ({"state": state, "purge": purge, "flows": []}, "flows is given and empty; list the flows that are meant")
            for state, purge in (("present", False), ("present", True), ("absent", False))
        ),
        ({"flows": [FLOW], "confine": []}, "confine is given and empty; leave it out if no domain is to be confined"),
        ({"flows": [FLOW], "health_checks": []}, "health_checks is given and empty; leave it out"),
        ({"flows": [FLOW], "health_commands": [""]}, "health_commands is given and empty; leave it out"),
        ({"flows": [FLOW], "layers": []}, "layers is given and empty"),
        *(
            ({"flows": [{**FLOW, option: nothing}]}, f"The option {option} of the flow 'web_db' is given and empty")
            for nothing in NOTHING
            for option in (
                "source",
                "destination",
                "ports",
                "source_addresses",
                "destination_addresses",
                "interfaces",
                "users",
                "units",
            )
        ),
        ({"flows": [{**FLOW, "pair": ""}]}, "The option pair of the flow 'web_db' is given and empty"),
        ({"flows": [{"pair": "domain_to_sshd", "source_addresses": []}]}, "leave it out if any address may"),
        ({"flows": [{"ports": [1]}]}, "one of the following is required: name, pair"),
        ({"flows": [{"pair": "httpd_to_x"}]}, "'httpd_to_x' is not in the catalogue"),
        ({"flows": [{key: value for key, value in FLOW.items() if key != "ports"}]}, "'web_db' has no ports"),
        ({"flows": [{**FLOW, "protocol": "icmp"}]}, "value of protocol must be one of: tcp, udp, sctp, dccp"),
        ({"flows": [FLOW, {**CACHE, "ports": [5432]}]}, "both claim tcp/5432"),
        ({"flows": [FLOW], "mode": "permissive"}, "value of mode must be one of: enforce, observe"),
        ({"flows": [{**FLOW, "source": ["no_t"]}]}, "'no_t' of the flow 'web_db' is not in the loaded policy"),
        ({"state": "absent", "flows": [{"name": "Web"}]}, "'Web' cannot become part of a type name"),
        ({"flows": [FLOW], "confirm_timeout": "soon"}, "confirm_timeout"),
    ],
)
def test_what_cannot_be_is_told_and_nothing_written(
    run: Run, host: ScriptedHost, arguments: dict[str, Any], message: str
) -> None:
    result = run(**arguments)
    assert result["failed"]
    assert message in result["msg"]
    assert host.writes == []


def test_warnings_reach_the_user(run: Run, host: ScriptedHost) -> None:
    host.mode = "permissive"
    result = run(flows=[FLOW])
    assert result["selinux"] == "permissive"
    assert any("SELinux is permissive on this host" in warning for warning in result["warnings"])


def test_the_options_are_those_of_the_documentation(monkeypatch: pytest.MonkeyPatch) -> None:
    specs = []

    class Stop(Exception):
        pass

    def stop(**kwargs: Any) -> None:
        specs.append(kwargs["argument_spec"])
        raise Stop

    monkeypatch.setattr(plugin, "AnsibleModule", stop)
    with patch_module_args({}), pytest.raises(Stop):
        plugin.main()

    def comparable(options: dict[str, Any], below: str) -> dict[str, Any]:
        return {
            name: {
                **{key: option.get(key) for key in ("type", "elements", "choices", "default")},
                "options": comparable(option.get(below, {}), below),
            }
            for name, option in options.items()
        }

    documented = yaml.safe_load(plugin.DOCUMENTATION)["options"]
    for fragment in (change, guarded):
        documented.update(yaml.safe_load(fragment.ModuleDocFragment.DOCUMENTATION)["options"])
    assert comparable(specs[0], "options") == comparable(documented, "suboptions")


EXAMPLES = [task for task in yaml.safe_load(plugin.EXAMPLES) if "senet.firewall.flows" in task]


@pytest.mark.parametrize("task", EXAMPLES, ids=lambda task: task["name"])
def test_the_examples_work(run: Run, host: ScriptedHost, task: dict[str, Any]) -> None:
    if task["senet.firewall.flows"].get("state") == "reverted":
        run(flows=[FLOW])
        host.history.time = moment("2026-12-01T00:00Z")
        run(flows=[CACHE])
    result = run(**task["senet.firewall.flows"])
    assert not result.get("failed"), result


def test_the_examples_in_sequence_leave_in_force_what_they_do_not_name(run: Run, host: ScriptedHost) -> None:
    enforced: set[str] = set()
    for task in EXAMPLES:
        options = {**task["senet.firewall.flows"], "confirm": "auto", "confirm_timeout": 0}
        result = run(**options)
        assert not result.get("failed"), (task["name"], result)
        host.history.time = max(host.history.time, moment("2026-12-01T00:00Z"))
        after = {flow["name"] for flow in result["flows"] if flow["mode"] == "enforce"}
        if not options.get("purge") and options.get("flows"):
            assert enforced - after <= {flow.get("name", flow.get("pair")) for flow in options["flows"]}, task["name"]
        enforced = after


METRICS = "/var/lib/metrics"


def recorded(host: ScriptedHost) -> Optional[str]:
    directory: Optional[str] = json.loads(host.service.text or "{}").get("metrics_directory")
    return directory


def test_a_directory_for_metrics_stays_until_it_is_taken_back(run: Run, host: ScriptedHost) -> None:
    assert run(flows=[FLOW], metrics_directory=METRICS + "/")["changed"]
    assert recorded(host) == METRICS
    assert not run(flows=[FLOW], metrics_directory=METRICS)["changed"]
    assert run(flows=[CACHE], purge=True)["changed"]
    assert recorded(host) == METRICS
    host.metrics.files[METRICS] = "figures"
    taken = run(metrics_directory="none")
    assert_documented(plugin, taken)
    assert taken["steps"] == ["make it permanent in /etc/senet"]
    assert "metrics_directory" in taken["diff"][0]["before"]
    assert recorded(host) is None
    assert not host.metrics.files
    # What is returned brings it back
    assert run(**taken["previous_flows"])["changed"]
    assert recorded(host) == METRICS
    assert not run(metrics_directory=METRICS)["changed"]


def test_check_mode_says_that_metrics_change_and_leaves_them(run: Run, host: ScriptedHost) -> None:
    run(flows=[FLOW], metrics_directory=METRICS)
    host.metrics.files[METRICS] = "figures"
    host.writes.clear()
    assert run(metrics_directory="/srv/metrics", check_mode=True)["changed"]
    assert (recorded(host), host.metrics.files, host.writes) == (METRICS, {METRICS: "figures"}, [])
    assert run(metrics_directory="/srv/metrics")["changed"]
    assert (recorded(host), host.metrics.files) == ("/srv/metrics", {})


def test_the_file_of_metrics_goes_with_the_last_flow(run: Run, host: ScriptedHost) -> None:
    run(flows=[FLOW], metrics_directory=METRICS)
    host.metrics.files[METRICS] = "figures"
    run(state="absent", flows=[FLOW], metrics_directory=METRICS)
    assert host.service.text is None
    assert not host.metrics.files


def test_a_directory_that_cannot_be_used_changes_nothing(run: Run, host: ScriptedHost) -> None:
    for directory in ("/nonexistent", "metrics", "/a/../b"):
        failed = run(flows=[FLOW], metrics_directory=directory)
        assert failed["failed"]
        assert directory in failed["msg"]
    assert "given and empty" in run(flows=[FLOW], metrics_directory="")["msg"]
    assert "this host has no flows" in run(metrics_directory=METRICS)["msg"]
    host.service.systemd = False
    assert "without systemd this host has no watch" in run(flows=[FLOW], metrics_directory=METRICS)["msg"]
    assert not host.writes


def test_no_change_of_flows_fails_for_a_directory_of_metrics_that_has_gone(run: Run, host: ScriptedHost) -> None:
    run(flows=[FLOW], metrics_directory=METRICS)
    host.metrics.directories.clear()
    assert run(flows=[CACHE], metrics_directory=METRICS)["changed"]
