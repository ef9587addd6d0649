# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from typing import Any, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.senet.firewall.plugins.module_utils._interface import (
    ADD,
    DELETE,
    MODIFY,
    IfContext,
    parse_context,
    plan,
)
from ansible_collections.senet.firewall.plugins.module_utils._model import SenetError
from ansible_collections.senet.firewall.plugins.modules import interface_context

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


class Kernel:
    """A loaded policy with these types."""

    def __init__(self, mode: str = "enforcing") -> None:
        self.mode = mode

    def status(self) -> str:
        return self.mode

    def mls(self) -> bool:
        return True

    def canonical(self, context: str) -> Optional[str]:
        return context if context.split(":")[2] in ("public_iface_t", "netif_t") else None


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    made = Store()
    monkeypatch.setattr(interface_context, "seobject", made)
    return made


def run(check_mode: bool = False, **change: Any) -> dict[str, Any]:
    params = {"interface": "eth0", "type": "public_iface_t", "level": "s0", "state": "present", **change}
    result: dict[str, Any] = interface_context._run(params, Kernel(), check_mode)  # type: ignore[arg-type]
    return result


def test_it_gives_a_context_once(store: Store) -> None:
    planned = run(check_mode=True)
    assert store.calls == []
    result = run()
    assert result == planned
    assert result["changed"]
    assert (result["previous"], result["context"]) == (None, str(PUBLIC))
    assert result["diff"]["after"] == "system_u:object_r:public_iface_t:s0\n"
    assert not run()["changed"]
    assert store.calls == [("add", "eth0")]


def test_it_modifies_what_is_there_on_the_host_or_in_the_policy(store: Store) -> None:
    run()
    assert run(type="netif_t")["previous"] == str(PUBLIC)
    assert run(interface="lo")["context"] == str(PUBLIC)
    assert store.calls == [("add", "eth0"), ("modify", "eth0"), ("modify", "lo")]


def test_absent_takes_away_what_was_given_on_the_host_alone(store: Store) -> None:
    assert not run(state="absent")["changed"]
    assert not run(state="absent", interface="lo")["changed"]
    run()
    assert run(state="absent", check_mode=True)["context"] is None
    result = run(state="absent")
    assert (result["changed"], result["previous"], result["context"]) == (True, str(PUBLIC), None)
    assert result["diff"]["before"] == f"{PUBLIC}\n"
    assert not run(state="absent")["changed"]
    assert store.local == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"type": "nosuch_t"}, "'system_u:object_r:nosuch_t:s0' of the interface 'eth0' is not valid in the loaded"),
        ({"type": "a b"}, "The type 'a b' of the interface 'eth0' is not the name"),
        ({"level": "s0;x"}, "The level 's0;x' of the interface 'eth0' is not a SELinux level"),
        ({"interface": "eth*"}, "The interface 'eth.' is not the name of a network interface"),
    ],
)
def test_bad_input_is_told_and_nothing_changed(store: Store, change: dict[str, Any], message: str) -> None:
    with pytest.raises(SenetError, match=message):
        run(**change)
    assert store.calls == []


def test_what_the_store_says_is_told(store: Store) -> None:
    store.refuses = True
    with pytest.raises(SenetError, match="refused to add .*'eth0' .Could not start semanage transaction."):
        run()


def test_without_selinux_nothing_is_done(store: Store) -> None:
    with pytest.raises(SenetError, match="SELinux is disabled"):
        interface_context._run({}, Kernel("disabled"), False)  # type: ignore[arg-type]


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
