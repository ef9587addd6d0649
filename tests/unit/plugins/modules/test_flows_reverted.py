# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module goes back to flows that the host had before: state=reverted, and what flows_info tells of the history."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.senet.firewall.plugins.module_utils._change import confirm, engine, history
from ansible_collections.senet.firewall.plugins.module_utils._change.change import Options
from ansible_collections.senet.firewall.plugins.module_utils._compile import cil
from ansible_collections.senet.firewall.plugins.module_utils._values import requests
from ansible_collections.senet.firewall.plugins.module_utils._values.parsing import parse_peer_label
from ansible_collections.senet.firewall.plugins.modules import flows as plugin
from ansible_collections.senet.firewall.plugins.modules import flows_info
from tests.unit.module_run import assert_documented, run_module
from tests.unit.scripted_host import Killed, ScriptedHost, connected, process

FLOW = {"name": "web_db", "source": ["httpd_t"], "destination": ["postgresql_t"], "ports": [5432]}
CACHE = {"name": "cache", "source": ["httpd_t"], "destination": ["redis_t"], "ports": [6379]}
NAMES = {"name": "dns", "source": ["httpd_t"], "destination": ["named_t"], "ports": [53]}
SETS: list[dict[str, Any]] = [
    {"flows": [FLOW], "purge": True},
    {"flows": [FLOW, {**CACHE, "mode": "observe"}], "confine": ["httpd_t"], "purge": True},
    {"flows": [{**FLOW, "source_addresses": ["192.0.2.7", "2001:db8::/32"]}], "backend": "nftables", "purge": True},
    {"flows": [{**FLOW, "users": ["www-data"]}], "layers": ["selinux", "owner"], "purge": True},
    {"confine": ["redis_t"]},
    {"state": "absent"},
]

Run = Callable[..., dict[str, Any]]
Info = Callable[[], dict[str, Any]]


@pytest.fixture
def host() -> ScriptedHost:
    return ScriptedHost()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], host: ScriptedHost) -> Run:
    """The module without a guard, unless it is told otherwise."""

    def call(check_mode: bool = False, **arguments: Any) -> dict[str, Any]:
        return run_module(monkeypatch, capsys, plugin, host, {"confirm_timeout": 0, **arguments}, check_mode)

    return call


@pytest.fixture
def info(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], host: ScriptedHost) -> Info:
    def call() -> dict[str, Any]:
        result = run_module(monkeypatch, capsys, flows_info, host, {})
        assert_documented(flows_info, result)
        return result

    return call


def names(result: dict[str, Any]) -> list[str]:
    assert not result.get("failed"), result
    return [flow["name"] for flow in result["flows"]]


def in_force(host: ScriptedHost) -> tuple[Any, ...]:
    tables = {name: table.save() for name, table in host.families.items()}
    return (host.service.text, host.policy and cil.live(host.policy), tables)


def refused(host: ScriptedHost, result: dict[str, Any], why: str) -> None:
    assert result.get("failed"), result
    assert why in result["msg"]
    assert host.guard.record is None


@pytest.mark.parametrize("step", [1, -1])
@pytest.mark.parametrize("number", range(len(SETS)))
def test_the_set_before_the_last_change_comes_back_as_it_was(
    run: Run, info: Info, host: ScriptedHost, number: int, step: int
) -> None:
    chosen = {"backend": "iptables", "layers": ["selinux"]}
    first, second = (
        each if each.get("state") == "absent" else {**chosen, **each}
        for each in (SETS[number], SETS[(number + step) % len(SETS)])
    )
    run(**first)
    before = in_force(host)[:2]
    assert run(**second)["changed"]
    seen = run(state="reverted", check_mode=True)
    result = run(state="reverted")
    assert_documented(plugin, result)
    assert (result["steps"], result["diff"]) == (seen["steps"], seen["diff"])
    assert result["changed"]
    assert (in_force(host)[:2], info()["drift"]) == (before, [])
    assert not run(state="reverted")["changed"]


def test_check_mode_writes_nothing(run: Run, host: ScriptedHost) -> None:
    run(flows=[FLOW])
    kept, writes = dict(host.history.texts), list(host.writes)
    assert run(state="reverted", check_mode=True)["changed"]
    assert (host.history.texts, host.writes) == (kept, writes)


def test_twice_changes_nothing_and_further_back_or_forth_takes_a_time(run: Run, host: ScriptedHost, info: Info) -> None:
    run(flows=[FLOW])
    run(flows=[CACHE], purge=True)
    run(flows=[NAMES], purge=True)
    assert names(run(state="reverted")) == ["cache"]
    again = run(state="reverted")
    assert (names(again), again["changed"], again["steps"]) == (["cache"], False, [])
    rows = info()["history"]
    assert [(row["flows"], row["reverted"]) for row in rows] == [
        (["dns"], True), (["cache"], False), (["web_db"], False), ([], False),
    ]  # fmt: skip
    assert [row["replaced"] for row in rows[1:]] == [row["confirmed"] for row in rows[:-1]]
    assert rows[-1]["confirmed"] is None
    assert names(run(state="reverted", revert_to=rows[2]["confirmed"])) == ["web_db"]
    assert not run(state="reverted", revert_to=rows[2]["confirmed"])["changed"]
    assert names(run(state="reverted", revert_to=rows[0]["confirmed"])) == ["dns"]
    # A change that does not go back is undone again
    run(flows=[FLOW], purge=True)
    assert names(run(state="reverted")) == ["dns"]


def test_a_moment_that_the_last_change_is_older_than_changes_nothing(run: Run, host: ScriptedHost) -> None:
    run(flows=[FLOW])
    run(flows=[CACHE])
    host.history.time += 7200
    result = run(state="reverted", revert_to="1h")
    assert (names(result), result["changed"]) == (["cache", "web_db"], False)
    assert names(run(state="reverted", revert_to="1d")) == []


def test_a_host_that_is_not_as_it_should_be_is_mended_where_there_is_nothing_to_go_back(
    run: Run, host: ScriptedHost
) -> None:
    run(flows=[FLOW])
    run(flows=[CACHE])
    run(state="reverted")
    before = in_force(host)
    host.families["ipv6"].chains["SENET_OUTPUT"].clear()
    assert run(state="reverted")["changed"]
    assert in_force(host) == before


def test_the_removal_of_all_flows_can_be_undone(run: Run, host: ScriptedHost) -> None:
    run(flows=[FLOW, CACHE], confine=["httpd_t"])
    before = in_force(host)
    run(state="absent")
    assert host.policy is None
    run(state="reverted")
    assert in_force(host) == before


def test_flows_that_go_and_domains_that_are_free_again_are_named(run: Run, host: ScriptedHost) -> None:
    run(flows=[FLOW])
    run(flows=[CACHE], confine=["httpd_t"])
    for check_mode in (True, False):
        result = run(state="reverted", check_mode=check_mode)
        assert result["removed"] == ["cache"]
        [gone] = [warning for warning in result["warnings"] if "By going back" in warning]
        assert "these flows are removed, since the earlier set does not have them: cache. Their ports" in gone
        assert "The domain 'httpd_t' is no longer confined: it may use what no flow allows." in result["warnings"]
    last = run(state="reverted", revert_to="999999d")
    assert (names(last), last["removed"]) == ([], ["web_db"])
    assert any("By going back these flows are removed" in warning for warning in last["warnings"])


def test_flows_and_domains_that_are_only_observed_again_are_named(run: Run, host: ScriptedHost) -> None:
    run(flows=[FLOW, CACHE], confine=["httpd_t", "redis_t"], mode="observe")
    run(flows=[FLOW, {**CACHE, "mode": "observe"}], confine=["redis_t"])
    for check_mode in (True, False):
        result = run(state="reverted", check_mode=check_mode)
        assert [one["flow"] or one["domain"] for one in result["opened"]] == ["web_db", "redis_t"]
        assert {one["message"] for one in result["opened"]} <= set(result["warnings"])
    assert run(state="reverted")["opened"] == []


def test_labels_of_peers_stay(run: Run, host: ScriptedHost) -> None:
    label = parse_peer_label({"type": "partner_peer_t", "addresses": ["192.0.2.0/24"]})
    run(flows=[FLOW])
    run(flows=[CACHE])
    labels = requests.Alter(lambda current: current.with_peers([label]), peers=True)
    engine.run(host.host(), labels, Options(0, "t2"), check_mode=False)
    assert len(host.history.texts) == 2
    assert names(run(state="reverted")) == ["web_db"]
    assert "partner_peer_t" in (host.service.text or "")


def test_a_set_is_kept_once_its_successor_is_confirmed_and_not_before(run: Run, host: ScriptedHost, info: Info) -> None:
    run(flows=[FLOW])
    kept = dict(host.history.texts)
    for arguments in ({}, {"confirm": "manual"}):
        run(flows=[CACHE], token="t1", confirm_timeout=30, **arguments)
        assert host.history.texts == kept
        refused_now = run(state="reverted")
        assert "The change t1 of this host waits to be confirmed" in refused_now["msg"]
        confirm.abort(host.host(), "t1", "it was aborted")
        assert host.history.texts == kept
    run(flows=[CACHE], token="t1", confirm_timeout=30, confirm="manual")
    confirm.confirm(host.host(), "t1")
    assert [row["flows"] for row in info()["history"]] == [["web_db"], []]


def test_it_waits_for_its_confirmation_like_any_change_and_is_undone_without(
    run: Run, host: ScriptedHost, info: Info
) -> None:
    run(flows=[FLOW])
    run(flows=[CACHE], purge=True)
    before, kept = in_force(host), dict(host.history.texts)
    result = run(state="reverted", token="t1", confirm_timeout=30)
    assert_documented(plugin, result)
    assert result["guard"] == {"token": "t1", "confirmed": False}
    confirm.abort(host.host(), "t1", "it was aborted")
    assert (in_force(host), host.history.texts) == (before, kept)
    run(state="reverted", token="t2", confirm_timeout=30, confirm="manual")
    confirm.confirm(host.host(), "t2")
    assert info()["history"][0]["reverted"]
    assert not run(state="reverted")["changed"]


def test_nothing_to_go_back_to_is_an_error(run: Run, host: ScriptedHost) -> None:
    for arguments in ({}, {"revert_to": "2h"}):
        result = run(state="reverted", **arguments)
        refused(host, result, "This host has no earlier set of flows to go back to")
    assert host.writes == []


def test_what_speaks_against_any_change_speaks_against_going_back(run: Run, host: ScriptedHost) -> None:
    run(flows=[{**CACHE, "destination": ["my_app.process"]}])
    run(flows=[FLOW], purge=True)
    before = in_force(host)
    host.running.append(process(9, "sshd_t", connected(22, 6379)))
    refused(host, run(state="reverted", confirm_timeout=30), "sshd_t")
    host.running.pop()
    text = host.history.texts[2].replace("my_app.process", "gone_t")
    host.history.texts[2] = text
    for check_mode in (True, False):
        result = run(state="reverted", confirm_timeout=30, check_mode=check_mode)
        refused(host, result, "The domain 'gone_t' of the flow 'cache' is not in the loaded policy")
    assert in_force(host) == before


def test_an_interface_that_has_gone_is_told_as_it_is_of_any_flow(run: Run, host: ScriptedHost) -> None:
    placed = {**FLOW, "interfaces": ["eth7"]}
    first = run(flows=[placed])
    run(state="absent")
    result = run(state="reverted")
    assert [warning for warning in result["warnings"] if "eth7" in warning]
    assert set(first["warnings"]) == set(result["warnings"])


def test_a_unit_of_the_catalogue_that_the_host_has_not_comes_back_as_it_was(run: Run, host: ScriptedHost) -> None:
    run(flows=[{"pair": "httpd_to_postgresql"}], layers=["selinux", "owner"])
    text = host.service.text or ""
    assert "php8.2-fpm.service" in text
    run(state="absent")
    assert names(run(state="reverted")) == ["httpd_to_postgresql"]
    assert host.service.text == text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"flows": [FLOW]}, "so flows cannot be chosen; leave it out"),
        ({"confine": ["httpd_t"], "mode": "observe"}, "so confine and mode cannot be chosen; leave them out"),
        ({"flows": [FLOW], "purge": True}, "so flows and purge cannot be chosen"),
        ({"layers": ["owner"]}, "so layers cannot be chosen"),
        ({"backend": "nftables"}, "so backend cannot be chosen"),
        ({"revert_to": ""}, "revert_to is given and empty"),
        ({"revert_to": "yesterday"}, "The option revert_to is 'yesterday', which is not a time"),
        ({"revert_to": "2099-01-01"}, "The option revert_to is '2099-01-01', which is in the future"),
        ({"state": "present", "flows": [FLOW], "revert_to": "2h"}, "The option revert_to is for state=reverted"),
        ({"state": "absent", "revert_to": "2h"}, "The option revert_to is for state=reverted"),
    ],
)
def test_what_cannot_be_is_told(run: Run, host: ScriptedHost, arguments: dict[str, Any], message: str) -> None:
    run(flows=[FLOW])
    before, writes = in_force(host), list(host.writes)
    refused(host, run(**{"state": "reverted", **arguments}), message)
    assert (in_force(host), host.writes) == (before, writes)


def test_only_the_last_sets_are_kept(run: Run, host: ScriptedHost, info: Info) -> None:
    for port in range(1, history.KEPT + 5):
        run(flows=[{**FLOW, "ports": [port]}])
    rows = info()["history"]
    assert len(rows) == len(host.history.texts) == history.KEPT
    assert sorted(host.history.texts)[-1] == history.KEPT + 4
    result = run(state="reverted", revert_to="100d")
    refused(host, result, "No set of flows in /etc/senet/history was in force at 20")
    oldest = run(state="reverted", revert_to=rows[-1]["confirmed"])
    assert oldest["flows"][0]["ports"] == ["4"]


def test_a_file_that_is_no_set_of_flows_is_named_and_does_not_keep_others_from_it(
    run: Run, host: ScriptedHost, info: Info
) -> None:
    for flow in (FLOW, CACHE):
        run(flows=[flow], purge=True)
    before = in_force(host)
    whole = host.history.texts[2]
    damages = {
        whole[:40]: "The file /etc/senet/history/2.json is damaged",
        json.dumps({**json.loads(whole), "format": 7}): "The file /etc/senet/history/2.json has the format 7, which",
    }
    for text, said in damages.items():
        host.history.texts[2] = text
        refused(host, run(state="reverted"), said)
        assert in_force(host) == before
        found = info()
        assert [row["flows"] for row in found["history"]] == [[]]
        assert [warning for warning in found["warnings"] if warning.startswith(said)]
    # A change is made and confirmed all the same, and what it replaced can be had back
    run(flows=[NAMES], purge=True)
    del host.history.texts[2]
    rows = info()["history"]
    assert [(row["flows"], row["confirmed"] is None) for row in rows] == [(["cache"], True), ([], True)]
    first = rows[-1]["replaced"]
    refused(host, run(state="reverted", revert_to=first), "No set of flows in /etc/senet/history was in force at")
    assert names(run(state="reverted")) == ["cache"]


@pytest.mark.parametrize("later", [{"state": "absent"}, {"flows": [CACHE], "purge": True}])
def test_a_set_after_one_that_is_lost_does_not_stand_for_it(
    run: Run, host: ScriptedHost, later: dict[str, Any]
) -> None:
    run(flows=[FLOW])
    run(**later)
    host.history.texts[2] = "{"
    run(flows=[NAMES], purge=True)
    assert sorted(host.history.texts) == [1, 2, 3]
    # The one is too old by now, and the other was removed, as its error says
    del host.history.texts[1], host.history.texts[2]
    before = in_force(host)
    refused(host, run(state="reverted", revert_to="1d"), "No set of flows in /etc/senet/history was in force at")
    assert in_force(host) == before


@pytest.mark.parametrize("guarded", [True, False])
def test_where_the_set_of_before_cannot_be_kept_the_change_is_undone(
    run: Run, host: ScriptedHost, guarded: bool
) -> None:
    run(flows=[FLOW])
    before, kept = in_force(host), dict(host.history.texts)
    host.fail = "write history"
    if guarded:
        run(flows=[CACHE], token="t1", confirm_timeout=30)
        with pytest.raises(Exception, match=r"history/2.json cannot be written. The change was undone."):
            confirm.confirm(host.host(), "t1")
    else:
        result = run(flows=[CACHE])
        assert result["failed"]
        assert "history/2.json cannot be written. What had been done was undone." in result["msg"]
    assert (in_force(host), host.history.texts) == (before, kept)


def test_a_change_that_is_undone_after_its_predecessor_was_kept_leaves_no_trace(
    run: Run, host: ScriptedHost, info: Info
) -> None:
    run(flows=[FLOW])
    run(flows=[CACHE], purge=True)
    rows = info()["history"]
    for failure in ("write intent", "death"):
        run(flows=[NAMES], purge=True, token="t1", confirm_timeout=30)
        if failure == "death":
            # the file of the history is the first write of confirming, and that of the flows the second
            host.die_at = host.touches + 2
            with pytest.raises(Killed):
                confirm.confirm(host.host(), "t1")
            confirm.abort(host.host(), "t1", "it was aborted")
        else:
            host.fail = failure
            with pytest.raises(Exception, match="was undone"):
                confirm.confirm(host.host(), "t1")
        assert len(host.history.texts) == 3
        assert info()["history"] == rows
        assert names(run(state="reverted", check_mode=True)) == ["web_db"]
    run(flows=[NAMES], purge=True)
    assert [row["flows"] for row in info()["history"]] == [["cache"], ["web_db"], []]
    assert info()["history"][0]["confirmed"] == rows[0]["replaced"]


def test_without_a_record_it_is_not_known_what_would_go(run: Run, host: ScriptedHost) -> None:
    run(flows=[FLOW])
    run(flows=[CACHE])
    host.service.text = None
    host.history.time += 7200
    before = in_force(host)
    for arguments in ({}, {"revert_to": "1h"}):
        result = run(state="reverted", **arguments)
        refused(host, result, "The file /etc/senet/flows.json is missing, so it is not known")
    assert in_force(host) == before
    kept = dict(host.history.texts)
    run(flows=[NAMES], purge=True)
    # Nor is it said to have been none
    assert host.history.texts == kept


def test_times_that_a_changed_clock_has_put_in_disorder_are_not_trusted(run: Run, host: ScriptedHost) -> None:
    host.history.time += 3600 * 24 * 365
    run(flows=[FLOW])
    host.history.time -= 3600 * 24 * 365
    run(flows=[CACHE], purge=True)
    result = run(state="reverted", revert_to="1h")
    refused(host, result, "The times in /etc/senet/history are not in order, since the clock of this host was changed")
    assert names(run(state="reverted")) == ["web_db"]
