# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.senet.firewall.plugins.module_utils import _engine, _survey
from ansible_collections.senet.firewall.plugins.module_utils._interface import (
    ADD,
    DELETE,
    MODIFY,
    IfContext,
    parse_context,
    plan,
)
from ansible_collections.senet.firewall.plugins.module_utils._model import FlowSet, SenetError, parse_peer_label
from ansible_collections.senet.firewall.plugins.modules import interface_context
from tests.unit.flows import SEVERAL, WEB_DB
from tests.unit.module_run import assert_documented, run_module
from tests.unit.scripted_host import ScriptedHost, before_call

PUBLIC = IfContext("system_u", "object_r", "public_iface_t", "s0")
LO = ("system_u", "object_r", "lo_netif_t", "s0 - mls_systemhigh")


class Store:
    """seobject and its policy store: the policy's own entries, and those that were made on the host."""

    def __init__(self) -> None:
        self.policy: dict[str, tuple[str, ...]] = {"lo": LO}
        self.local: dict[str, tuple[str, ...]] = {}
        self.calls: list[tuple[str, ...]] = []
        self.refuses = False

    def interfaceRecords(self) -> "Store":
        return self

    def get_all(self, locallist: int = 0) -> dict[str, tuple[str, ...]]:
        return dict(self.local) if locallist else {**self.policy, **self.local}

    def add(self, interface: str, serange: str, setype: str) -> None:
        assert interface not in self.get_all()
        self._write("add", interface, serange, setype)

    def modify(self, interface: str, serange: str, setype: str) -> None:
        assert interface in self.get_all()
        self._write("modify", interface, serange, setype)

    def delete(self, interface: str) -> None:
        self.calls.append(("delete", interface))
        del self.local[interface]

    def _write(self, verb: str, interface: str, serange: str, setype: str) -> None:
        self.calls.append((verb, interface))
        if self.refuses:
            raise ValueError("Could not start semanage transaction")
        self.local[interface] = ("system_u", "object_r", setype, serange)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    made = Store()
    monkeypatch.setattr(interface_context, "seobject", made)
    return made


@pytest.fixture
def host() -> ScriptedHost:
    made = ScriptedHost()
    made.other_types.add("public_iface_t")
    return made


Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(store: Store, host: ScriptedHost) -> Run:
    def call(check_mode: bool = False, **change: Any) -> dict[str, Any]:
        params = {
            "interface": "eth0", "type": "public_iface_t", "create_type": False, "level": "s0", "state": "present",
            **change,
        }  # fmt: skip
        return interface_context._run(params, host.host(), check_mode)

    return call


def test_it_gives_a_context_once(run: Run, store: Store) -> None:
    planned = run(check_mode=True)
    assert store.calls == []
    result = run()
    assert result == planned
    assert result["changed"]
    assert (result["previous"], result["context"]) == (None, str(PUBLIC))
    assert result["diff"][0]["after"] == "system_u:object_r:public_iface_t:s0\n"
    assert not run()["changed"]
    assert store.calls == [("add", "eth0")]


def test_it_modifies_what_is_there_on_the_host_or_in_the_policy(run: Run, store: Store) -> None:
    run()
    assert run(type="netif_t")["previous"] == str(PUBLIC)
    assert run(interface="lo")["context"] == str(PUBLIC)
    assert store.calls == [("add", "eth0"), ("modify", "eth0"), ("modify", "lo")]


def test_absent_takes_away_what_was_given_on_the_host_alone(run: Run, store: Store) -> None:
    assert not run(state="absent")["changed"]
    assert not run(state="absent", interface="lo")["changed"]
    run()
    assert run(state="absent", check_mode=True)["context"] is None
    result = run(state="absent")
    assert (result["changed"], result["previous"], result["context"]) == (True, str(PUBLIC), None)
    assert result["diff"][0]["before"] == f"{PUBLIC}\n"
    assert not run(state="absent")["changed"]
    assert store.local == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"type": "nosuch_t"}, "'system_u:object_r:nosuch_t:s0' of the interface 'eth0' is not.*create_type=true"),
        ({"type": "nosuch", "create_type": True}, "'nosuch' of the interface 'eth0' cannot be created"),
        ({"type": "senet_default_t", "create_type": True}, "without 'senet_' in front"),
        ({"level": "s7"}, "has no level 's7'"),
        ({"type": "nosuch_t", "level": "s7", "create_type": True}, "has no level 's7'"),
        ({"type": "a b"}, "The type 'a b' of the interface 'eth0' is not the name"),
        ({"level": "s0;x"}, "The level 's0;x' of the interface 'eth0' is not a SELinux level"),
        ({"interface": "eth*"}, "The interface 'eth.' is not the name of a network interface"),
    ],
)
def test_bad_input_is_told_and_nothing_changed(
    run: Run, store: Store, host: ScriptedHost, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(SenetError, match=message):
        run(**change)
    assert store.calls == []
    assert host.writes == []


def test_a_missing_type_is_created_and_goes_with_its_last_interface(
    run: Run, store: Store, host: ScriptedHost
) -> None:
    before = host.state()
    create = {"type": "dmz_iface_t", "create_type": True}
    planned = run(**create, check_mode=True)
    assert (host.state(), store.calls) == (before, [])
    result = run(**create)
    assert result == planned
    assert result["created_types"] == ["dmz_iface_t"]
    assert [(diff["before"], diff["after"]) for diff in result["diff"]] == [
        ("", "system_u:object_r:dmz_iface_t:s0\n"), ("", "dmz_iface_t\n"),
    ]  # fmt: skip
    assert not run(**create)["changed"]
    # Policy alone: no labels, no guard, nothing at boot
    assert host.writes == ["install policy"]
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
    run: Run, store: Store, host: ScriptedHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    types = []
    for verb in ("add", "modify", "delete"):
        before_call(monkeypatch, store, verb, lambda: types.append(_survey.installed(host.host()).interface_types))
    run(type="one_iface_t", create_type=True)
    run(type="two_iface_t", create_type=True)
    run(state="absent", create_type=True)
    assert types == [("one_iface_t",), ("one_iface_t", "two_iface_t"), ("two_iface_t",)]
    assert host.policy is None


def test_the_hosts_flows_and_created_types_leave_each_other_alone(run: Run, host: ScriptedHost) -> None:
    def flows(request: _survey.Request) -> _engine.Outcome:
        return _engine.run(host.host(), request, _engine.Options(0, "t1"), False)

    flows(_survey.Replace(WEB_DB))
    rules = host.families["ipv4"].save()
    run(type="dmz_iface_t", create_type=True)
    assert host.families["ipv4"].save() == rules
    assert not flows(_survey.Replace(WEB_DB)).changed
    for request in (_survey.Replace(SEVERAL), _survey.Merge(WEB_DB.flows), _survey.Remove(("web_db",))):
        flows(request)
        assert _survey.installed(host.host()).interface_types == ("dmz_iface_t",)
    flows(_survey.Replace(FlowSet(())))
    assert _survey.installed(host.host()).interface_types == ("dmz_iface_t",)
    assert "packet" not in (host.policy or "")
    assert not host.families["ipv4"].save()
    assert host.service.text is None
    assert not flows(_survey.Replace(FlowSet(()))).changed
    run(state="absent", create_type=True)
    assert host.policy is None


def test_a_type_that_a_peer_label_names_stays_as_long(run: Run, host: ScriptedHost) -> None:
    label = parse_peer_label(
        {"type": "partner_peer_t", "addresses": ["192.0.2.7"], "interface_type": "dmz_iface_t"}
    )

    def labels(change: Callable[[FlowSet], FlowSet]) -> None:
        _engine.run(host.host(), _survey.Alter(change, True), _engine.Options(0, "t1"), False)

    run(type="dmz_iface_t", create_type=True)
    labels(lambda current: current.with_peers([label]))
    gone = {"state": "absent", "create_type": True}
    assert run(**gone)["created_types"] == ["dmz_iface_t"]
    assert not run(**gone)["changed"]
    labels(lambda current: current.without_peers([label.type]))
    assert run(**gone)["created_types"] == []
    assert host.policy is None


def test_a_type_whose_interface_is_refused_goes_again(run: Run, store: Store, host: ScriptedHost) -> None:
    store.refuses = True
    with pytest.raises(SenetError, match="Could not start semanage transaction.*Nothing was changed"):
        run(type="dmz_iface_t", create_type=True)
    assert host.policy is None


def test_what_the_store_says_is_told(run: Run, store: Store) -> None:
    store.refuses = True
    with pytest.raises(SenetError, match="refused to add .*'eth0' .Could not start semanage transaction."):
        run()


def test_without_selinux_no_interface_has_a_context_and_none_can_have_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Such a host need not have the bindings
    monkeypatch.setattr(interface_context, "seobject", None)
    host = ScriptedHost(mode="disabled")

    def run(**arguments: Any) -> dict[str, Any]:
        return run_module(monkeypatch, capsys, interface_context, host, {"interface": "eth0", **arguments})

    assert "SELinux is disabled" in run(type="public_iface_t")["msg"]
    for create_type, types in ((False, None), (True, [])):
        gone = run(state="absent", create_type=create_type)
        assert_documented(interface_context, gone)
        assert (gone["changed"], gone["context"], gone["created_types"]) == (False, None, types)


def test_the_plan_is_the_least() -> None:
    assert plan(None, False, PUBLIC) == ADD
    assert plan(IfContext(*LO), False, PUBLIC) == MODIFY
    assert plan(PUBLIC, True, PUBLIC) == ""
    assert plan(PUBLIC, True, None) == DELETE
    assert plan(IfContext(*LO), False, None) == ""


@given(st.text(max_size=12), st.text(max_size=12))
def test_a_context_has_no_more_than_its_words(setype: str, level: str) -> None:
    try:
        context = parse_context("eth0", setype, level)
    except SenetError:
        return
    assert str(context).isascii()
    assert not set(str(context)) & set(" ;\"'\n()")
