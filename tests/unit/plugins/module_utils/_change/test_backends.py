# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

import io
from contextlib import redirect_stderr
from copy import deepcopy
from typing import Optional

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.senet.firewall.plugins.module_utils._agent import commands
from ansible_collections.senet.firewall.plugins.module_utils._change import change, confirm, drift, engine, load, repair
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


@pytest.mark.long
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


WAYS = [("iptables", "nftables"), ("nftables", "iptables")]
LAYERS = [("selinux",), ("owner",), ("selinux", "owner")]


def by_both(old: str, recorded: str, layers: tuple[str, ...] = ("selinux",)) -> ScriptedHost:
    """A host whose flows are on record by one backend, where rules of the other, of earlier flows, have come back."""
    host = ScriptedHost()
    earlier = flow_set([flow(users=["www-data"]), flow("cache", ports=[6379], users=["www-data"])])
    options = change.Options(0, "t0", old, layers)
    engine.run(host.host(), requests.Replace(earlier), options, False)
    rules = {name: deepcopy(host.families[name]) for name in sets_of(old)}
    after = requests.Replace(flow_set([flow(users=["www-data"])]))
    engine.run(host.host(), after, options._replace(backend=recorded), False)
    host.families.update(rules)
    host.writes.clear()
    host.reads.clear()
    return host


def sets_of(backend: str) -> tuple[str, ...]:
    return ("inet", "owner_inet") if backend == "nftables" else ("ipv4", "ipv6")


def again(host: ScriptedHost, check_mode: bool = False, flows: tuple[str, ...] = ("web_db",)) -> engine.Outcome:
    kept = requests.Replace(flow_set([flow(users=["www-data"])] if flows else []))
    return engine.run(host.host(), kept, change.Options(0, "t1"), check_mode)


@pytest.mark.parametrize("layers", LAYERS)
@pytest.mark.parametrize(("old", "recorded"), WAYS)
def test_rules_of_the_backend_that_is_not_on_record_go_with_the_next_run(
    old: str, recorded: str, layers: tuple[str, ...]
) -> None:
    host = by_both(old, recorded, layers)
    assert drift.report(host.host())["drift"]
    predicted = again(host, check_mode=True)
    assert host.writes == []
    done = again(host)
    assert done.changed
    assert (done.steps, done.diffs) == (predicted.steps, predicted.diffs)
    assert [warning for warning in done.warnings if f"by the backend {old}" in warning]
    assert not any(host.families[name].save() for name in sets_of(old))
    assert "install policy" not in host.writes
    assert again(host).steps == ()
    assert drift.report(host.host())["drift"] == []
    assert load.standing(host.host(), True).complete


@pytest.mark.parametrize(("old", "recorded"), WAYS)
def test_a_run_that_changes_nothing_reads_each_tool_once(old: str, recorded: str) -> None:
    host = by_both(old, recorded)
    again(host)
    host.reads.clear()
    assert not again(host).changed
    assert len(host.reads) == len(set(host.reads))


@pytest.mark.parametrize("layers", LAYERS)
@pytest.mark.parametrize(("old", "recorded"), WAYS)
def test_they_go_when_the_rules_on_record_are_loaded(old: str, recorded: str, layers: tuple[str, ...]) -> None:
    host = by_both(old, recorded, layers)
    for name in sets_of(recorded):
        host.families[name] = type(host.families[name])(*(["inet senet"] if name == "inet" else []))
    host.families["owner_inet"].name = "inet senet_owner"
    assert not load.standing(host.host(), True).complete
    loaded = load.load(host.host())
    names = tuple(dict.fromkeys(write.split()[1] for write in host.writes))
    # What is on record comes first
    assert names.index(next(name for name in sets_of(old) if name in names)) >= len(set(names) & set(sets_of(recorded)))
    assert set(loaded.left_over) <= set(sets_of(old)) | {"owner_ipv4", "owner_ipv6"}
    assert loaded.left_over
    assert not any(host.families[name].save() for name in sets_of(old))
    assert load.standing(host.host(), True).complete
    assert load.load(host.host()).left_over == []


def test_they_stay_while_the_rules_on_record_cannot_be_loaded() -> None:
    host = by_both("iptables", "nftables")
    host.families["inet"].text = ""
    host.fail = "restore inet"
    with pytest.raises(SenetError, match="Could not restore inet"):
        load.load(host.host())
    assert all(host.families[name].save() for name in sets_of("iptables"))


@pytest.mark.parametrize(("old", "recorded"), WAYS)
def test_stopping_takes_the_rules_of_both_out_of_force(old: str, recorded: str) -> None:
    host = by_both(old, recorded, ("selinux", "owner"))
    with redirect_stderr(io.StringIO()):
        assert commands._clear(host.host()) == 0
    text = "".join(table.save() for table in host.families.values())
    assert "secmark" not in text.lower()
    assert "reject" not in text.lower()


@pytest.mark.parametrize(("old", "recorded"), WAYS)
def test_the_last_flow_goes_with_the_rules_of_both(old: str, recorded: str) -> None:
    host = by_both(old, recorded, ("selinux", "owner"))
    assert again(host, flows=()).changed
    assert not any(table.save() for table in host.families.values())
    assert host.policy is None


@pytest.mark.parametrize(("old", "recorded"), WAYS)
def test_where_packet_access_is_asked_they_count_as_labels_of_others(old: str, recorded: str) -> None:
    host = by_both(old, recorded)
    assert repair.foreign_labels(host.host())
    again(host)
    assert repair.foreign_labels(host.host()) == []


def test_a_tool_that_fails_has_no_rules_of_ours_unless_they_are_on_record(monkeypatch: pytest.MonkeyPatch) -> None:
    host = ScriptedHost()
    apply(host, WEB_DB, "iptables")

    def fail() -> str:
        raise SenetError("nft cannot read the rules of this host.")

    monkeypatch.setattr(host, "ruleset", str)
    monkeypatch.setattr(host.families["inet"], "save", fail)
    monkeypatch.setattr(host.families["owner_inet"], "save", fail)
    assert not apply(host, WEB_DB, "auto").changed
    assert load.standing(host.host(), True).complete
    with pytest.raises(SenetError, match="nft cannot read"):
        apply(host, WEB_DB, "nftables")
