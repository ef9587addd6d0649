# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from typing import Optional

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.senet.firewall.plugins.module_utils._change import change, confirm, drift, engine, load
from ansible_collections.senet.firewall.plugins.module_utils._compile.rule_sets import names_of
from ansible_collections.senet.firewall.plugins.module_utils._decisions.backend import choose_backend
from ansible_collections.senet.firewall.plugins.module_utils._values import requests
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import FlowSet, flow_set
from tests.unit.flows import WEB_DB, flow, flow_sets
from tests.unit.scripted_host import ScriptedHost

BOTH = ["iptables", "nftables"]


def apply(host: ScriptedHost, flows: FlowSet, backend: str, timeout: int = 0) -> engine.Outcome:
    options = change.Options(timeout, "t0", backend)
    return engine.run(host.host(), requests.Replace(flows), options, False)


@pytest.mark.parametrize(
    ("asked", "recorded", "available", "backend", "reason"),
    [
        ("nftables", "iptables", BOTH, "nftables", "asked for"),
        ("auto", "nftables", BOTH, "nftables", "use it already"),
        ("auto", None, BOTH, "iptables", "first of those"),
        ("auto", None, ["nftables"], "nftables", "this backend only"),
        ("auto", "iptables", ["nftables"], "nftables", "this backend only"),
    ],
)
def test_the_choice_says_why(
    asked: str, recorded: Optional[str], available: list[str], backend: str, reason: str
) -> None:
    choice = choose_backend(asked, recorded, available)
    assert choice.backend == backend
    assert reason in choice.reason


@pytest.mark.parametrize(
    ("asked", "available", "message"),
    [
        ("auto", [], "neither iptables and ip6tables nor nft.*install the package iptables"),
        ("iptables", ["nftables"], "the backend 'iptables' are not on this host; install the package iptables"),
    ],
)
def test_a_host_without_the_commands_is_told_what_to_install(asked: str, available: list[str], message: str) -> None:
    with pytest.raises(SenetError, match=message):
        choose_backend(asked, None, available)


@pytest.mark.parametrize("backend", BOTH)
def test_a_policy_without_levels_gets_contexts_without_one(backend: str) -> None:
    host = ScriptedHost()
    host.levels = False
    flows = flow_set([flow(verify_source="address", source_addresses=["192.0.2.7"])])
    assert apply(host, flows, backend).changed
    kept = [host.host().save(family) for family in (*names_of(backend), "netlabel")]
    assert all("senet_web_db" in text for text in kept)
    assert not any(":s0" in text for text in kept)
    assert load.standing(host.host()).complete
    assert not apply(host, flows, backend).changed
    assert drift.report(host.host())["drift"] == []


@settings(max_examples=40)
@given(flow_sets(), flow_sets(), st.sampled_from(BOTH), st.sampled_from(BOTH))
def test_from_any_set_by_any_backend_to_any_other_and_to_nothing(
    first: FlowSet, second: FlowSet, backend: str, other: str
) -> None:
    host = ScriptedHost()
    empty = host.state()
    for flows, name in ((first, backend), (second, other)):
        apply(host, flows, name)
        assert not apply(host, flows, name).changed
        assert not apply(host, flows, "auto").changed
        for family in (family for each in BOTH for family in names_of(each)):
            assert bool(host.families[family].save()) == (not flows.empty and family in names_of(name))
    apply(host, FlowSet(()), "auto")
    assert host.state() == empty


@pytest.mark.parametrize(("backend", "other"), [("iptables", "nftables"), ("nftables", "iptables")])
def test_a_host_that_changes_its_backend_is_never_without_labels(backend: str, other: str) -> None:
    host = ScriptedHost()
    apply(host, WEB_DB, backend)
    host.writes.clear()
    apply(host, WEB_DB, other)
    restores = [write.split()[1] for write in host.writes if write.startswith("restore")]
    assert restores == [*names_of(other), *names_of(backend)]
    assert "install policy" not in host.writes


def test_with_nftables_alone_nothing_asks_for_iptables() -> None:
    host = ScriptedHost()
    del host.tools["ipv4"], host.tools["ipv6"]
    assert apply(host, WEB_DB, "auto").backend.backend == "nftables"
    assert not [read for read in host.reads if "ipv" in read]


def test_a_type_is_in_the_policy_until_no_map_has_it() -> None:
    host = ScriptedHost()
    apply(host, flow_set([flow(), flow("cache", ports=[6379])]), "nftables")
    host.writes.clear()
    apply(host, WEB_DB, "nftables")
    assert [write for write in host.writes if "intent" not in write] == ["install policy", "restore inet"]


def test_the_guard_brings_the_old_backend_back() -> None:
    host = ScriptedHost()
    apply(host, WEB_DB, "iptables")
    before = host.state()
    apply(host, WEB_DB, "nftables", timeout=30)
    assert host.families["inet"].save()
    confirm.abort(host.host(), "t0", "it was aborted")
    assert host.state() == before


def test_labels_of_maps_that_were_flushed_are_loaded_again() -> None:
    host = ScriptedHost()
    apply(host, WEB_DB, "nftables")
    text = host.families["inet"].save()
    host.families["inet"].text = ""
    assert load.load(host.host()).sets == ["inet"]
    assert host.families["inet"].save() == text
