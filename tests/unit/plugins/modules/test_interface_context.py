# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.senet.firewall.plugins.module_utils._change import confirm, engine, modules, observation
from ansible_collections.senet.firewall.plugins.module_utils._change.change import Options
from ansible_collections.senet.firewall.plugins.module_utils._values import requests
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import FlowSet
from ansible_collections.senet.firewall.plugins.module_utils._values.interface import parse_context
from ansible_collections.senet.firewall.plugins.module_utils._values.parsing import parse_peer_label
from ansible_collections.senet.firewall.plugins.modules import interface_context
from tests.unit.flows import SEVERAL, WEB_DB, flow_set
from tests.unit.flows import flow as make_flow
from tests.unit.module_run import assert_documented, run_module
from tests.unit.scripted_host import Killed, ScriptedHost, before_call, connected, process

PUBLIC = "system_u:object_r:public_iface_t:s0"
# As every policy has it, and two types: an interface of everybody's, and one that a module of the admin's gives httpd_t
STOCK = """
(allow domain netif_type (netif (ingress egress)))
(allow unlabeled_t netif_type (netif (ingress egress)))
(typeattributeset netif_type (public_iface_t))
(allow httpd_t web_iface_t (netif (ingress egress)))
(allow unlabeled_t web_iface_t (netif (ingress egress)))
"""
WEB = {"type": "web_iface_t"}


@pytest.fixture
def host() -> ScriptedHost:
    made = ScriptedHost()
    made.other_types.update(["public_iface_t", "web_iface_t"])
    made.extra_policy = STOCK
    return made


Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(host: ScriptedHost) -> Run:
    def call(check_mode: bool = False, guarded: bool = False, **change: Any) -> dict[str, Any]:
        params = {
            "interface": "eth0", "type": "public_iface_t", "create_type": False, "level": "s0", "state": "present",
            "confirm_timeout": 30 if guarded else 0, "token": "t1", **change,
        }  # fmt: skip
        outcome = modules._change_context(host.host(), params, check_mode)
        said = {"changed": outcome.changed, "steps": outcome.steps, "diff": outcome.diffs, "cut": outcome.cuts}
        return {**modules._context_returned(outcome, params), **said, "warnings": outcome.warnings}

    return call


def over(interface: str, domain: str, pid: int = 7) -> Any:
    """A process with a connection over an interface."""
    local = {"eth0": "192.0.2.1", "eth1": "10.77.0.2"}[interface]
    return process(pid, domain, connected(22, 40001)._replace(local_address=local, remote_address="198.51.100.9"))


def test_it_gives_a_context_once(run: Run, host: ScriptedHost) -> None:
    planned = run(check_mode=True)
    assert host.writes == []
    result = run()
    assert result == planned
    assert result["changed"]
    assert (result["previous"], result["context"]) == (None, PUBLIC)
    assert [diff["after"] for diff in result["diff"]] == [f"{PUBLIC}\n"]
    assert not run()["changed"]
    assert host.writes == ["set eth0"]


def test_it_modifies_what_is_there(run: Run, host: ScriptedHost) -> None:
    run()
    assert run(type="netif_t")["previous"] == PUBLIC
    assert run(interface="lo")["context"] == PUBLIC
    assert host.writes == ["set eth0", "set eth0", "set lo"]


def test_absent_takes_away_what_was_given_on_the_host_alone(run: Run, host: ScriptedHost) -> None:
    assert not run(state="absent")["changed"]
    run()
    assert run(state="absent", check_mode=True)["context"] is None
    result = run(state="absent")
    assert (result["changed"], result["previous"], result["context"]) == (True, PUBLIC, None)
    assert result["diff"][0]["before"] == f"{PUBLIC}\n"
    assert not run(state="absent")["changed"]
    assert host.given == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"type": "nosuch_t"}, "'system_u:object_r:nosuch_t:s0' of the interface 'eth0' is not.*create_type=true"),
        ({"type": "nosuch", "create_type": True}, "'nosuch' of the interface 'eth0' cannot be created"),
        ({"type": "senet_default_t", "create_type": True}, "without 'senet_' in front"),
        ({"level": "s7"}, "has no level 's7'"),
        ({"type": "nosuch_t", "level": "s7", "create_type": True}, "has no level 's7'"),
        ({"type": "a b"}, "The type 'a b' of the interface 'eth0' is not the name"),
        ({"level": "s0;x"}, "The level 's0;x' of the interface 'eth0' is not an SELinux level"),
        ({"interface": "eth*"}, "The interface 'eth.' is not the name of a network interface"),
    ],
)
def test_bad_input_is_told_and_nothing_changed(
    run: Run, host: ScriptedHost, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(SenetError, match=message):
        run(**change)
    assert host.writes == []


def test_a_missing_type_is_created_and_goes_with_its_last_interface(run: Run, host: ScriptedHost) -> None:
    before = host.state()
    create = {"type": "dmz_iface_t", "create_type": True}
    planned = run(**create, check_mode=True)
    assert (host.state(), host.writes) == (before, [])
    result = run(**create)
    assert result == planned
    assert result["created_types"] == ["dmz_iface_t"]
    assert [diff["before_header"] for diff in result["diff"]] == ["policy module senet_firewall", "interface eth0"]
    assert not run(**create)["changed"]
    # Policy alone: no labels, nothing at boot
    assert host.writes == ["install policy", "set eth0"]
    run(**create, interface="eth1")
    gone = {"state": "absent", "create_type": True}
    assert run(**gone)["created_types"] == ["dmz_iface_t"]
    planned = run(**gone, interface="eth1", check_mode=True)
    result = run(**gone, interface="eth1")
    assert result == planned
    assert (result["changed"], result["created_types"]) == (True, [])
    assert not run(**gone, interface="eth1")["changed"]
    assert host.state() == before


def test_a_type_comes_before_the_context_and_goes_after_it(
    run: Run, host: ScriptedHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    types = []
    before_call(
        monkeypatch, host, "set_interface", lambda: types.append(observation.installed(host.host()).interface_types)
    )
    run(type="one_iface_t", create_type=True)
    # It has the type of every other while its own goes.
    run(type="two_iface_t", create_type=True)
    run(state="absent", create_type=True)
    assert types == [("one_iface_t",), ("one_iface_t",), ("two_iface_t",), ("two_iface_t",)]
    assert host.policy is None


def test_the_hosts_flows_and_created_types_leave_each_other_alone(run: Run, host: ScriptedHost) -> None:
    def flows(request: requests.Request) -> engine.Outcome:
        return engine.run(host.host(), request, Options(0, "t1"), False)

    flows(requests.Replace(WEB_DB))
    rules = host.families["ipv4"].save()
    run(type="dmz_iface_t", create_type=True)
    assert host.families["ipv4"].save() == rules
    assert not flows(requests.Replace(WEB_DB)).changed
    for request in (requests.Replace(SEVERAL), requests.Merge(WEB_DB.flows), requests.Remove(("web_db",))):
        flows(request)
        assert observation.installed(host.host()).interface_types == ("dmz_iface_t",)
    flows(requests.Replace(FlowSet(())))
    assert observation.installed(host.host()).interface_types == ("dmz_iface_t",)
    assert "packet" not in (host.policy or "")
    assert not host.families["ipv4"].save()
    assert host.service.text is None
    assert not flows(requests.Replace(FlowSet(()))).changed
    run(state="absent", create_type=True)
    assert host.policy is None


def test_a_type_that_a_peer_label_names_stays_as_long(run: Run, host: ScriptedHost) -> None:
    label = parse_peer_label(
        {"type": "partner_peer_t", "addresses": ["192.0.2.7"], "interface_type": "dmz_iface_t"}
    )

    def labels(change: Callable[[FlowSet], FlowSet]) -> None:
        engine.run(host.host(), requests.Alter(change, True), Options(0, "t1"), False)

    run(type="dmz_iface_t", create_type=True)
    labels(lambda current: current.with_peers([label]))
    gone = {"state": "absent", "create_type": True}
    assert run(**gone)["created_types"] == ["dmz_iface_t"]
    assert not run(**gone)["changed"]
    labels(lambda current: current.without_peers([label.type]))
    assert run(**gone)["created_types"] == []
    assert host.policy is None


def test_a_type_whose_interface_is_refused_goes_again(run: Run, host: ScriptedHost) -> None:
    before = host.state()
    host.fail = "set eth0"
    with pytest.raises(SenetError, match="Could not set eth0. What had been done was undone."):
        run(type="dmz_iface_t", create_type=True)
    assert host.state() == before


def test_without_selinux_no_interface_has_a_context_and_none_can_have_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    host = ScriptedHost(mode="disabled")

    def run(**arguments: Any) -> dict[str, Any]:
        return run_module(monkeypatch, capsys, interface_context, host, {"interface": "eth0", **arguments})

    assert "SELinux is disabled" in run(type="public_iface_t")["msg"]
    for create_type, types in ((False, None), (True, [])):
        gone = run(state="absent", create_type=create_type)
        assert_documented(interface_context, gone)
        assert (gone["changed"], gone["context"], gone["created_types"]) == (False, None, types)


@pytest.mark.parametrize("check_mode", [True, False])
@pytest.mark.parametrize("who", ["sshd_t", "own"])
def test_the_connection_that_the_change_comes_by_is_not_cut(
    run: Run, host: ScriptedHost, who: str, check_mode: bool
) -> None:
    session = over("eth0", "sshd_t" if who == "sshd_t" else "unconfined_t")
    host.running += [session, process(999, "unconfined_t")._replace(ppid=7)]
    with pytest.raises(SenetError, match="cut off while peer labels are in use: .*pid 7.* of the interface 'eth0'"):
        run(**WEB, check_mode=check_mode)
    assert host.writes == []
    # Over the other interface nobody is connected, and everybody may use this type.
    assert run(**WEB, interface="eth1", check_mode=check_mode)["changed"]
    assert run(check_mode=check_mode)["changed"]


def test_others_that_lose_their_connections_are_told(run: Run, host: ScriptedHost) -> None:
    host.running += [over("eth0", "redis_t"), over("eth0", "httpd_t", 8), over("eth1", "redis_t", 9)]
    result = run(**WEB, check_mode=True)
    assert [(cut.domain, cut.pid, cut.as_dict()["interface"]) for cut in result["cut"]] == [("redis_t", 7, "eth0")]
    assert run(**WEB)["cut"] == result["cut"]
    # back to what everybody may use
    assert run(state="absent")["cut"] == ()


def test_a_socket_counts_by_its_own_label(run: Run, host: ScriptedHost) -> None:
    session = over("eth0", "httpd_t")
    [sock] = session.connected
    host.running.append(session._replace(connected=(sock._replace(context="system_u:system_r:sshd_t:s0"),)))
    with pytest.raises(SenetError, match="'sshd_t'"):
        run(**WEB)


def test_whence_nobody_can_log_in_is_told(run: Run, host: ScriptedHost) -> None:
    host.running.append(process(6, "sshd_t"))
    [warning] = run(**WEB, interface="eth1")["warnings"]
    assert "so nobody can log in by SSH over 'eth1' while peer labels are in use" in warning
    assert run()["warnings"] == ()


def test_a_peer_that_may_not_come_by_the_interface_is_cut_too(run: Run, host: ScriptedHost) -> None:
    label = {"type": "partner_peer_t", "addresses": ["198.51.100.0/24"], "interface_type": "public_iface_t"}
    host.running.append(over("eth0", "sshd_t"))
    run()
    labels = requests.Alter(lambda current: current.with_peers([parse_peer_label(label)]), True)
    engine.run(host.host(), labels, Options(0, "t1"), False)
    with pytest.raises(SenetError, match="'sshd_t'.*of the interface 'eth0'"):
        run(type="netif_t")


def test_peer_labels_are_refused_where_an_interface_would_take_ssh(host: ScriptedHost, run: Run) -> None:
    run(**WEB)
    host.running.append(over("eth0", "sshd_t"))
    verified = requests.Replace(flow_set([make_flow(verify_source="loopback")]))
    with pytest.raises(SenetError, match="'sshd_t'.*of the interface 'eth0'"):
        engine.run(host.host(), verified, Options(0, "t1"), False)
    assert engine.run(host.host(), requests.Replace(WEB_DB), Options(0, "t1"), False).changed


def test_the_guard_brings_context_and_type_back(run: Run, host: ScriptedHost) -> None:
    run(type="one_iface_t", create_type=True)
    before = host.state()
    planned = run(type="two_iface_t", create_type=True, guarded=True, check_mode=True)
    assert host.state() == before
    result = run(type="two_iface_t", create_type=True, guarded=True)
    assert planned["steps"] == result["steps"]
    assert "give the interface eth0 its context" in result["steps"]
    assert host.guard.timers == [("apply", 330), ("confirm", 30)]
    assert confirm.abort(host.host(), "t1", "it was not confirmed in time")["rolled_back"]
    assert host.state() == before
    run(type="two_iface_t", create_type=True, guarded=True)
    assert not confirm.confirm(host.host(), "t1")["rolled_back"]
    assert not run(type="two_iface_t", create_type=True)["changed"]


@pytest.mark.parametrize("first", [{}, {"type": "one_iface_t", "create_type": True}])
def test_a_run_that_dies_at_any_write_is_undone(first: dict[str, Any]) -> None:
    for number in range(1, 20):
        host = ScriptedHost()
        host.other_types.add("public_iface_t")
        host.extra_policy = STOCK
        params = {"interface": "eth0", "type": "public_iface_t", "create_type": False, "level": "s0"}
        params.update(state="present", token="t1", confirm_timeout=0)
        modules._change_context(host.host(), {**params, **first}, False)
        before = host.state()
        host.die_at = host.touches + number
        second = {**params, "type": "two_iface_t", "create_type": True, "confirm_timeout": 30}
        try:
            modules._change_context(host.host(), second, False)
        except Killed:
            host.die_at = 0
            if host.guard.record is not None:
                confirm.abort(host.host(), "t1", "why")
            assert host.state() == before
        else:
            assert number > 5
            return


@given(st.text(max_size=12), st.text(max_size=12))
def test_a_context_has_no_more_than_its_words(setype: str, level: str) -> None:
    try:
        context = parse_context("eth0", setype, level)
    except SenetError:
        return
    assert str(context).isascii()
    assert not set(str(context)) & set(" ;\"'\n()")
