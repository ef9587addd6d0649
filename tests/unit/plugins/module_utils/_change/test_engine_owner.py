# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine with the layer owner: alone on hosts without SELinux, beside the layer selinux, and changing over."""

import io
from contextlib import redirect_stderr
from typing import Any

import pytest

from ansible_collections.senet.firewall.plugins.module_utils._agent import commands
from ansible_collections.senet.firewall.plugins.module_utils._change import confirm, engine, kernel_answers, load
from ansible_collections.senet.firewall.plugins.module_utils._change.change import Options
from ansible_collections.senet.firewall.plugins.module_utils._compile import rule_sets
from ansible_collections.senet.firewall.plugins.module_utils._values import requests
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import flow_set
from ansible_collections.senet.firewall.plugins.module_utils._values.layers import OWNER, Owners
from tests.unit.flows import WEB_DB, flow
from tests.unit.scripted_host import ScriptedHost, before_call, empty_families

WEB = {"web_db": Owners(("www-data",), ("apache2.service",))}
NOTHING = requests.Replace(flow_set([]))


def apply(host: ScriptedHost, request: requests.Request, check_mode: bool = False, **options: Any) -> engine.Outcome:
    return engine.run(host.host(), request, Options(0, "t0", owners=WEB)._replace(**options), check_mode)


def without_selinux() -> ScriptedHost:
    return ScriptedHost(mode="disabled")


@pytest.mark.parametrize(
    ("backend", "restores"), [("iptables", ["restore ipv4", "restore ipv6"]), ("nftables", ["restore owner_inet"])]
)
def test_a_host_without_selinux_gets_rules_and_no_policy(backend: str, restores: list[str]) -> None:
    host = without_selinux()
    before = host.state()
    predicted = apply(host, requests.Replace(WEB_DB), check_mode=True, backend=backend)
    assert host.state() == before
    done = apply(host, requests.Replace(WEB_DB), backend=backend)
    assert (done.layers, done.steps, done.diffs) == (("owner",), predicted.steps, predicted.diffs)
    assert host.writes == [*restores, "install service", "write intent", "start service"]
    assert [(row.uids, row.running) for row in done.owners] == [((33,), ("apache2.service",))]
    assert (done.answers, done.cuts) == (kernel_answers.NOT_ASKED, ())
    assert any("NO domain is checked on this host" in warning for warning in done.warnings)

    host.writes.clear()
    assert not apply(host, requests.Replace(WEB_DB), backend=backend).changed
    assert host.writes == []
    assert apply(host, NOTHING).changed
    assert host.state() == before


def test_flows_on_record_are_merged_and_removed_by_name_without_a_policy() -> None:
    host = without_selinux()
    apply(host, requests.Replace(WEB_DB))
    added = apply(host, requests.Merge((flow("cache", ports=[6379], users=["www-data"]),)))
    assert [one.name for one in added.flows.flows] == ["cache", "web_db"]
    assert [one.name for one in apply(host, requests.Remove(("web_db",))).flows.flows] == ["cache"]


def test_units_that_are_not_checked_any_more_are_told() -> None:
    host = without_selinux()
    apply(host, requests.Replace(flow_set([flow(users=["www-data"], units=["apache2.service"])])))
    done = apply(host, requests.Replace(flow_set([flow(users=["www-data"])])))
    assert [one.options for one in done.opened] == [("units",)]
    assert done.opened[0].message in done.warnings


def test_both_layers_beside_each_other_and_back() -> None:
    host = ScriptedHost()
    apply(host, requests.Replace(WEB_DB))
    only_labels = host.state()
    both = apply(host, requests.Replace(WEB_DB), layers=("selinux", "owner"))
    assert both.answers.access
    assert both.owners
    assert "SENET_OWNER_OUTPUT" in host.families["ipv4"].save()
    assert "SENET_OUTPUT" in host.families["ipv4"].rules("OUTPUT")
    # who says nothing about layers keeps them
    assert apply(host, requests.Merge(WEB_DB.flows)).layers == ("selinux", "owner")
    apply(host, requests.Replace(WEB_DB), layers=("selinux",))
    assert host.state() == only_labels
    apply(host, requests.Replace(WEB_DB), layers=("owner",))
    assert host.policy is None
    assert not host.families["ipv4"].chains
    apply(host, NOTHING)
    assert not any(table.save() for table in host.families.values())


def test_the_tables_are_saved_once_for_both_layers() -> None:
    host = ScriptedHost()
    apply(host, requests.Replace(WEB_DB), layers=("selinux", "owner"))
    host.reads.clear()
    apply(host, requests.Replace(WEB_DB), layers=("selinux", "owner"))
    assert sorted(host.reads) == ["other variants", "policy", "ruleset", "save ipv4", "save ipv6"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"users": ["no-one"]}, "The user 'no-one' of the flow 'web_db' is not on this host"),
        ({"units": ["no.service"]}, "The unit 'no.service' of the flow 'web_db' is not known to systemd"),
    ],
)
def test_unknown_users_and_units_are_named_and_nothing_is_written(change: dict[str, Any], message: str) -> None:
    host = without_selinux()
    with pytest.raises(SenetError, match=message):
        apply(host, requests.Replace(flow_set([flow(**change)])))
    assert host.writes == []


def test_units_need_control_groups_of_version_2_those_of_the_catalogue_are_left_out() -> None:
    host = without_selinux()
    host.accounts.cgroups = False
    with pytest.raises(SenetError, match="The units of the flow 'web_db' cannot be checked on this host"):
        apply(host, requests.Replace(flow_set([flow(units=["apache2.service"])])))
    done = apply(host, requests.Replace(WEB_DB))
    assert [(row.users, row.units) for row in done.owners] == [(("www-data",), ())]
    assert any("Every program of www-data may use the flow 'web_db'" in warning for warning in done.warnings)


def test_users_of_the_catalogue_that_a_host_lacks_mean_nobody() -> None:
    host = without_selinux()
    del host.accounts.uids["www-data"]
    done = apply(host, requests.Replace(WEB_DB))
    assert any("Nobody on this host may use the flow 'web_db'" in warning for warning in done.warnings)
    rules = host.families["ipv4"].tables["filter"]["SENET_OWNER_OUTPUT"]
    assert rules[2:] == ["-p tcp -m tcp --dport 5432 -m comment --comment web_db -j REJECT --reject-with tcp-reset"]


def test_a_unit_that_was_started_again_is_known_again_when_it_says_so() -> None:
    host = without_selinux()
    apply(host, requests.Replace(WEB_DB))
    assert host.service.units == ("apache2.service",)
    assert load.standing(host.host()).complete
    host.accounts.groups["apache2.service"] = 4712
    assert not load.standing(host.host()).complete
    host.writes.clear()
    load.refresh(host.host())
    assert host.writes == ["restore ipv4", "restore ipv6"]
    assert "web_db-cgroup-4712" in host.families["ipv4"].save()
    assert not apply(host, requests.Replace(WEB_DB)).changed


@pytest.mark.parametrize("backend", ["iptables", "nftables"])
def test_a_unit_that_stops_is_no_loss_of_rules_and_what_others_take_is(backend: str) -> None:
    host = without_selinux()
    apply(host, requests.Replace(WEB_DB), backend=backend)
    families = list(rule_sets.names_of(backend, OWNER))
    del host.accounts.groups["apache2.service"]
    with redirect_stderr(io.StringIO()):
        commands._repair(host.host())
        assert load.standing(host.host()).complete
        assert host.guard.notes == []
        host.families.update(empty_families())
        commands._repair(host.host())
    assert host.guard.notes == [" and ".join(families)]


def test_where_systemd_does_not_answer_labels_are_loaded_and_owners_stay_as_they_are() -> None:
    host = ScriptedHost()
    apply(host, requests.Replace(WEB_DB), layers=("selinux", "owner"))
    owners = host.families["ipv4"].tables["filter"]
    host.accounts.answers = False
    del host.families["ipv4"].tables["security"]
    assert not load.standing(host.host()).complete
    with pytest.raises(SenetError, match="systemd did not answer"):
        load.load(host.host())
    assert host.families["ipv4"].chains
    assert host.families["ipv4"].tables["filter"] == owners
    with pytest.raises(SenetError, match="systemd did not answer"):
        load.standing(host.host())


def test_a_unit_started_while_a_change_waits_meets_the_rules_of_the_change() -> None:
    host = without_selinux()
    apply(host, requests.Replace(WEB_DB), confirm_timeout=30)
    assert host.guard.record is not None
    assert host.service.units == ("apache2.service",)
    host.accounts.groups["apache2.service"] = 4712
    load.refresh(host.host())
    assert "web_db-cgroup-4712" in host.families["ipv4"].save()


def test_a_unit_started_while_a_change_is_made_meets_its_rules_too(monkeypatch: pytest.MonkeyPatch) -> None:
    host = without_selinux()
    arm = host.guard.arm

    def start_meanwhile(*words: Any) -> None:
        host.accounts.groups["apache2.service"] = 4712
        arm(*words)

    monkeypatch.setattr(host.guard, "arm", start_meanwhile)
    apply(host, requests.Replace(WEB_DB), confirm_timeout=30)
    assert "web_db-cgroup-4712" in host.families["ipv4"].save()


@pytest.mark.parametrize("fail", ["restore ipv4", "restore ipv6"])
def test_what_was_done_before_a_failure_is_undone(fail: str) -> None:
    host = without_selinux()
    before = host.state()
    host.fail = fail
    with pytest.raises(SenetError, match=f"^Could not {fail}.*undone"):
        apply(host, requests.Replace(WEB_DB))
    assert host.state() == before


def test_the_guard_brings_back_the_layers_that_were() -> None:
    host = ScriptedHost()
    apply(host, requests.Replace(WEB_DB))
    before = (*host.state(), host.service.units)
    apply(host, requests.Replace(WEB_DB), layers=("owner",), confirm_timeout=30)
    assert host.state() != before[:-1]
    confirm.abort(host.host(), "t0", "the test says so")
    assert (*host.state(), host.service.units) == before


BOTH_LAYERS = ("selinux", "owner")
MORE = requests.Merge((flow("cache", ports=[6379], users=["www-data"]),))


@pytest.mark.parametrize("backend", ["iptables", "nftables"])
@pytest.mark.parametrize("other", [BOTH_LAYERS, ("selinux",)])
def test_undoing_keeps_who_was_refused_refused_while_the_policy_is_rebuilt(
    backend: str, other: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    host = ScriptedHost()
    apply(host, requests.Replace(WEB_DB), layers=BOTH_LAYERS, backend=backend)
    before = host.state()
    apply(host, MORE, layers=other, confirm_timeout=30, backend=backend)
    rules_then: list[Any] = []
    before_call(monkeypatch, host, "install", lambda: rules_then.append(host.state()[1:-3]))
    confirm.abort(host.host(), "t0", "the test says so")
    assert rules_then == [before[1:-3]]
    assert host.state() == before


def test_undoing_does_not_touch_owner_rules_that_the_change_had_not_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    host = ScriptedHost()
    apply(host, requests.Replace(WEB_DB), layers=BOTH_LAYERS, backend="nftables")
    host.writes.clear()
    host.fail = "install policy"
    with pytest.raises(SenetError, match="Could not install policy.*undone"):
        apply(host, MORE, confirm_timeout=30)
    assert not [write for write in host.writes if write.startswith("restore")]


def test_undoing_puts_the_owners_of_now_back_where_a_unit_has_stopped_meanwhile() -> None:
    host = ScriptedHost()
    apply(host, requests.Replace(WEB_DB), layers=BOTH_LAYERS)
    apply(host, MORE, confirm_timeout=30)
    del host.accounts.groups["apache2.service"]
    host.writes.clear()
    confirm.abort(host.host(), "t0", "the test says so")
    assert load.standing(host.host()).complete
    first = host.writes.index("install policy")
    assert not [write for write in host.writes[first:] if write.startswith("restore")]


@pytest.mark.parametrize("backend", ["iptables", "nftables"])
def test_a_change_is_undone_at_boot_though_no_unit_has_a_control_group_yet(backend: str) -> None:
    host = without_selinux()
    apply(host, requests.Replace(WEB_DB), backend=backend)
    apply(host, NOTHING, confirm_timeout=30)
    host.reboot()
    host.accounts.groups.clear()
    assert commands._load(host.host()) == 0
    assert (host.guard.outcome() or {})["rolled_back"]
    assert load.standing(host.host()).complete
    text = "".join(table.save() for table in host.families.values())
    assert "reject" in text.lower()
    assert "apache2.service" not in text


def without_record(*layers: str) -> ScriptedHost:
    """A host whose flows are in force in these layers, and whose record is lost."""
    host = ScriptedHost()
    apply(host, requests.Replace(WEB_DB), layers=layers)
    host.service.text = None
    host.writes.clear()
    return host


CACHE = flow("cache", ports=[6379], users=["www-data"])


@pytest.mark.parametrize("layers", [("owner",), ("selinux", "owner")])
@pytest.mark.parametrize("request_", [requests.Merge((CACHE,)), requests.Remove(("cache",))], ids=["add", "remove"])
def test_without_a_record_no_rule_of_the_layer_owner_goes_with_another_flow(
    request_: requests.Request, layers: tuple[str, ...]
) -> None:
    host = without_record(*layers)
    with pytest.raises(SenetError, match="flows of the layer owner are not known.*purge=true"):
        apply(host, request_)
    assert host.writes == []


@pytest.mark.parametrize("layers", [("owner",), ("selinux", "owner")])
def test_without_a_record_the_layers_in_force_stay_those_of_the_host(layers: tuple[str, ...]) -> None:
    host = without_record(*layers)
    assert apply(host, requests.Replace(WEB_DB)).layers == layers


def test_a_layer_that_is_given_up_without_a_record_is_told() -> None:
    done = apply(without_record("selinux", "owner"), requests.Replace(WEB_DB), layers=("selinux",))
    assert "The layer owner no longer enforces the flows of this host: web_db." in done.warnings


def test_the_layer_owner_is_loaded_where_selinux_has_been_disabled_since() -> None:
    host = ScriptedHost()
    apply(host, requests.Replace(WEB_DB), layers=("selinux", "owner"))
    host.families = empty_families()
    host.mode = "disabled"
    said = io.StringIO()
    with redirect_stderr(said):
        assert commands._load(host.host()) == 1
    assert "SENET_OWNER_OUTPUT" in host.families["ipv4"].save()
    assert "SENET_OUTPUT" not in host.families["ipv4"].save()
    assert "SELinux is disabled on this host, so the layer selinux does NOT enforce the flow 'web_db';" in (
        said.getvalue()
    )
    standing = load.standing(host.host())
    assert standing.complete
    assert standing.lacking


def owner_chains(host: ScriptedHost) -> str:
    """What the legacy variant prints where it has the host's chains of IPv4."""
    return str(host.families["ipv4"].save())


@pytest.mark.parametrize("layers", [("owner",), BOTH_LAYERS])
@pytest.mark.parametrize("check_mode", [True, False])
def test_owner_rules_left_in_the_other_variant_are_named_whatever_is_asked(
    check_mode: bool, layers: tuple[str, ...]
) -> None:
    host = ScriptedHost()
    apply(host, requests.Replace(WEB_DB), layers=("owner",))
    host.legacy["ipv4"] = owner_chains(host)
    # Those of the default variant are made anew
    host.families["ipv4"] = type(host.families["ipv4"])()
    host.writes.clear()
    allow = requests.Replace(flow_set([flow(users=["www-data", "reports"])]))
    for request in (allow, NOTHING, requests.Replace(WEB_DB)):
        with pytest.raises(SenetError) as refusal:
            apply(host, request, check_mode, layers=layers)
        said = str(refusal.value)
        assert "the layer owner are in force" in said
        assert "'iptables-legacy filter: -A SENET_OWNER_INPUT -m conntrack" in said
        assert "'iptables-legacy -F SENET_OWNER_INPUT' and 'iptables-legacy -F SENET_OWNER_OUTPUT'" in said
    assert host.writes == []
    host.legacy["ipv4"] = "".join(line + "\n" for line in host.legacy["ipv4"].splitlines() if "-A SENET" not in line)
    assert apply(host, allow, check_mode, layers=layers).changed


@pytest.mark.parametrize("request_", [requests.Replace(WEB_DB), NOTHING])
def test_they_are_named_where_nothing_is_to_be_changed(request_: requests.Request) -> None:
    host = without_selinux()
    apply(host, requests.Replace(WEB_DB))
    text = owner_chains(host)
    apply(host, request_)
    host.legacy["ipv6"] = text
    with pytest.raises(SenetError, match="'ip6tables-legacy filter: -A SENET_OWNER_INPUT"):
        apply(host, request_)
    host.legacy["ipv6"] = ""
    assert not apply(host, request_).changed


def test_owner_rules_that_only_nft_shows_are_named_by_it() -> None:
    host = without_selinux()
    assert apply(host, requests.Replace(WEB_DB), backend="nftables").changed
    host.listed = (
        "table ip filter {\n\tchain SENET_OWNER_OUTPUT {\n\t\tct state established counter return\n\t}\n"
        "\tchain OUTPUT {\n\t\tcounter jump SENET_OWNER_OUTPUT\n\t}\n}\n"
    )
    del host.tools["ipv4"], host.tools["ipv6"]
    with pytest.raises(SenetError) as refusal:
        apply(host, NOTHING)
    assert "'nft ip filter SENET_OWNER_OUTPUT: ct state established counter return'" in str(refusal.value)
    assert "'nft flush chain ip filter SENET_OWNER_OUTPUT'" in str(refusal.value)
