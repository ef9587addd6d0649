# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
import re
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings

from ansible_collections.senet.firewall.plugins.module_utils._change import confirm, engine
from ansible_collections.senet.firewall.plugins.module_utils._change.change import Options
from ansible_collections.senet.firewall.plugins.module_utils._compile import cil, iptables
from ansible_collections.senet.firewall.plugins.module_utils._compile.rule_sets import RULE_SETS
from ansible_collections.senet.firewall.plugins.module_utils._decisions import plan
from ansible_collections.senet.firewall.plugins.module_utils._host import guard
from ansible_collections.senet.firewall.plugins.module_utils._host.guard import Pending
from ansible_collections.senet.firewall.plugins.module_utils._values import requests
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import FlowSet, flow_set
from tests.unit.flows import SEVERAL, WEB_DB, flow, flow_sets
from tests.unit.scripted_host import (
    Killed,
    ScriptedHost,
    before_call,
    connected,
    empty_families,
    listens,
    process,
)

NOTHING = requests.Replace(FlowSet(()))
OBSERVED = flow_set([flow(mode="observe")])

UNGUARDED = Options(0, "t0")
GUARDED = Options(30, "t1")


def apply(
    host: ScriptedHost, request: requests.Request, check_mode: bool = False, options: Options = UNGUARDED
) -> engine.Outcome:
    return engine.run(host.host(), request, options, check_mode)


def test_the_policy_is_loaded_before_the_rules_and_leaves_after_them() -> None:
    host = ScriptedHost()
    before = host.state()
    outcome = apply(host, requests.Replace(WEB_DB))
    assert outcome.changed
    assert host.writes == [
        "install policy", "restore ipv4", "restore ipv6", "install service", "write intent", "start service",
    ]  # fmt: skip

    host.writes.clear()
    apply(host, NOTHING)
    assert host.writes == [
        "restore ipv4", "drop ipv4", "restore ipv6", "drop ipv6", "remove policy", "remove intent", "uninstall service",
    ]  # fmt: skip
    assert host.state() == before


def test_the_second_run_changes_and_writes_nothing_and_reads_once() -> None:
    host = ScriptedHost()
    apply(host, requests.Replace(SEVERAL))
    host.writes.clear()
    host.reads.clear()
    outcome = apply(host, requests.Replace(SEVERAL))
    assert not outcome.changed
    assert host.writes == []
    assert sorted(host.reads) == ["other variants", "policy", "ruleset", "save ipv4", "save ipv6"]
    assert outcome.answers.access


def test_check_mode_says_what_the_run_then_does_and_writes_nothing() -> None:
    host = ScriptedHost()
    before = host.state()
    predicted = apply(host, requests.Replace(WEB_DB), check_mode=True)
    assert host.state() == before
    assert host.writes == []
    done = apply(host, requests.Replace(WEB_DB))
    assert (predicted.changed, predicted.steps, predicted.diffs) == (True, done.steps, done.diffs)


@pytest.mark.long
@settings(max_examples=40)
@given(flow_sets(), flow_sets())
def test_from_any_set_to_any_other_and_to_nothing(first: FlowSet, second: FlowSet) -> None:
    host = ScriptedHost()
    empty = host.state()
    for flows in (first, second):
        apply(host, requests.Replace(flows))
        outcome = apply(host, requests.Replace(flows))
        assert not outcome.changed
        assert outcome.flows == flows
    apply(host, NOTHING)
    assert host.state() == empty


def test_types_stay_in_the_policy_until_no_rule_carries_them_and_go_with_the_next_one() -> None:
    host = ScriptedHost()
    apply(host, requests.Replace(flow_set([flow(), flow("cache", ports=[6379])])))
    host.writes.clear()
    mail = flow("mail", ports=[25])
    predicted = apply(host, requests.Replace(flow_set([flow(), mail])), check_mode=True)
    done = apply(host, requests.Replace(flow_set([flow(), mail])))
    assert host.writes == ["install policy", "restore ipv4", "restore ipv6", "write intent"]
    retired = set(flow("cache").packet_types)
    assert cil.declared_types(host.policy) == {*flow_set([flow(), mail]).packet_types, *retired}
    assert predicted.diffs == done.diffs
    assert host.policy == done.diffs[0]["after"]
    assert not apply(host, requests.Replace(flow_set([flow(), mail]))).changed
    apply(host, requests.Replace(flow_set([mail])))
    assert retired.isdisjoint(cil.declared_types(host.policy))
    apply(host, NOTHING)
    assert host.state() == ScriptedHost().state()


def test_the_guard_gives_time_for_each_rebuild_of_the_policy() -> None:
    host = ScriptedHost()
    apply(host, requests.Replace(WEB_DB))
    moved = flow_set([flow(source=["redis_t"], ports=[5433]), flow("other")])
    outcome = apply(host, requests.Replace(moved), options=GUARDED)
    assert outcome.steps.count("install the policy module senet_firewall") == 2
    assert host.guard.timers == [("apply", 30 + 2 * engine.APPLY_SECONDS), ("confirm", 30)]


def test_a_flow_that_changes_its_place_and_its_domains_has_another_name_on_the_way() -> None:
    host = ScriptedHost()
    apply(host, requests.Replace(WEB_DB))
    moved = flow_set([flow(source=["redis_t"], ports=[5433]), flow("other")])
    host.writes.clear()
    # It is killed on the way, with no guard, and the next run adds a flow to what was asked for.
    host.die_at = host.touches + 4
    with pytest.raises(Killed):
        apply(host, requests.Replace(moved))
    assert host.writes == ["install policy", "restore ipv4", "restore ipv6"]
    assert "senet_changing1_client_packet_t" in host.families["ipv4"].save()
    outcome = apply(host, requests.Merge((flow("mail", ports=[25]),)))
    assert [one.name for one in outcome.flows.flows] == ["mail", "other", "web_db"]
    assert not apply(host, requests.Replace(outcome.flows)).changed
    assert "senet_changing1" not in host.families["ipv4"].save() + host.families["ipv6"].save()


def test_flows_are_merged_and_removed_by_name() -> None:
    host = ScriptedHost()
    apply(host, requests.Replace(WEB_DB))
    apply(host, requests.Merge((flow("cache", ports=[6379]),)))
    outcome = apply(host, requests.Merge((flow(ports=[5433]),)))
    assert [(one.name, str(one.ports[0])) for one in outcome.flows.flows] == [("cache", "6379"), ("web_db", "5433")]
    outcome = apply(host, requests.Remove(("cache", "unknown")))
    assert [one.name for one in outcome.flows.flows] == ["web_db"]
    apply(host, requests.Remove(("web_db",)))
    assert host.policy is None


def test_a_module_edited_by_hand_is_replaced_as_a_whole_but_never_guessed_at() -> None:
    host = ScriptedHost()
    apply(host, requests.Replace(WEB_DB))
    host.policy = "(type other_t)\n"
    with pytest.raises(SenetError, match="does not say which flows"):
        apply(host, requests.Merge((flow("cache", ports=[6379]),)))
    assert apply(host, requests.Replace(WEB_DB)).changed


@pytest.mark.parametrize("fail", ["install", "restore ipv4", "restore ipv6"])
@pytest.mark.parametrize("first", [FlowSet(()), flow_set([flow("cache", ports=[6379])])])
def test_what_was_done_before_a_failure_is_undone(fail: str, first: FlowSet) -> None:
    host = ScriptedHost()
    apply(host, requests.Replace(first))
    before = host.state()
    host.fail = fail
    with pytest.raises(SenetError, match=f"^Could not {fail}.*undone"):
        apply(host, requests.Replace(WEB_DB))
    assert host.state() == before


@pytest.mark.parametrize("fail", ["remove policy", "restore ipv6", "drop ipv4"])
def test_a_failed_removal_is_undone(fail: str) -> None:
    host = ScriptedHost()
    apply(host, requests.Replace(WEB_DB))
    before = host.state()
    host.fail = fail
    with pytest.raises(SenetError, match="undone"):
        apply(host, NOTHING)
    assert host.policy == before[0]
    for family in ("ipv4", "ipv6"):
        assert RULE_SETS["ipv4"].parse(host.save(family)).installed(iptables.compile_rules(WEB_DB))


def test_a_failed_undo_says_how_to_let_traffic_through() -> None:
    host = ScriptedHost()
    host.extra_policy = "(allow unconfined_t senet_web_db_client_packet_t (packet (send)))"
    host.running.append(process(5, "unconfined_t"))
    host.fail = "remove"
    with pytest.raises(SenetError, match="'unconfined_t'.*Undoing it failed as well.*iptables -t security -F"):
        apply(host, requests.Replace(WEB_DB))


def test_a_grant_of_another_module_is_not_called_enforced() -> None:
    host = ScriptedHost(process(5, "unconfined_t"), process(6, "httpd_t"))
    host.extra_policy = "(allow unconfined_t senet_web_db_client_packet_t (packet (send)))"
    with pytest.raises(SenetError, match="does not enforce.*'unconfined_t'.*may send.*undone"):
        apply(host, requests.Replace(WEB_DB))
    assert host.policy is None
    # and it is noticed on a host where everything else is as it should be
    host.extra_policy = ""
    apply(host, requests.Replace(WEB_DB))
    host.extra_policy = "(allow unconfined_t senet_web_db_server_packet_t (packet (send)))"
    with pytest.raises(SenetError, match="does not enforce"):
        apply(host, requests.Replace(WEB_DB))


def test_the_access_matrix_is_the_kernels_answer() -> None:
    host = ScriptedHost(process(1, "init_t"), process(2, "httpd_t"), process(3, "kernel_t"))
    rows = {row.domain: row.as_dict() for row in apply(host, requests.Replace(WEB_DB)).answers.access}
    assert {domain: (row["can_connect"], row["can_serve"]) for domain, row in rows.items()} == {
        "httpd_t": (True, False),
        "postgresql_t": (False, True),
        "init_t": (False, False),
        "kernel_t": (False, False),
    }
    assert rows["init_t"]["client"] == rows["init_t"]["server"] == []


def test_a_source_that_the_policy_lets_connect_to_no_such_port_is_told() -> None:
    host = ScriptedHost()
    host.no_name_connect = {("httpd_t", 5432), ("postgresql_t", 5432), ("httpd_t", 5440)}
    outcome = apply(host, requests.Replace(flow_set([flow(ports=["5432", "5440-5449", "6000"])])))
    rows = {row.domain: row.as_dict() for row in outcome.answers.access}
    assert (rows["httpd_t"]["can_connect"], rows["httpd_t"]["refused_ports"]) == (False, [5432, 5440])
    assert "refused_ports" not in rows["postgresql_t"]
    said = "The policy does not let 'httpd_t' connect to port 5432, 5440 of the flow 'web_db'"
    assert [warning for warning in outcome.warnings if said in warning]
    # It is the policy's answer to something else, and no deviation from the flow.
    again = apply(host, requests.Replace(flow_set([flow(ports=["5432", "5440-5449", "6000"])])))
    assert (again.changed, again.warnings) == (False, outcome.warnings)


@pytest.mark.parametrize("change", [{"protocol": "udp"}, {"source": ["domain"]}])
def test_only_named_sources_of_tcp_are_asked_for_their_ports(change: dict[str, Any]) -> None:
    host = ScriptedHost()
    host.no_name_connect = {("httpd_t", 5432), ("init_t", 5432)}
    outcome = apply(host, requests.Replace(flow_set([flow(**change)])))
    assert not [row for row in outcome.answers.access if row.refused_ports]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": ["htpd_t"]}, "'htpd_t' of the flow 'web_db' is not in the loaded policy"),
        ({"destination": ["httpd_exec_t"]}, "'httpd_exec_t' of the flow 'web_db' is not a domain"),
    ],
)
def test_an_unknown_domain_is_refused_before_anything_is_written(change: dict[str, Any], message: str) -> None:
    host = ScriptedHost()
    with pytest.raises(SenetError, match=message):
        apply(host, requests.Replace(flow_set([flow(**change)])))
    assert host.writes == []


def test_an_alias_stands_for_its_type() -> None:
    host = ScriptedHost()
    outcome = apply(host, requests.Replace(flow_set([flow(source=["apache_t"])])))
    assert outcome.flows == WEB_DB
    assert not apply(host, requests.Replace(WEB_DB)).changed


def test_without_selinux_its_layer_is_refused_and_nothing_written() -> None:
    host = ScriptedHost(mode="disabled")
    with pytest.raises(SenetError, match="SELinux is disabled on this host"):
        apply(host, requests.Replace(WEB_DB), options=UNGUARDED._replace(layers=("selinux",)))
    assert host.writes == []


def test_permissive_mode_works_and_is_warned_about() -> None:
    outcome = apply(ScriptedHost(mode="permissive"), requests.Replace(WEB_DB))
    assert outcome.changed
    assert any("permissive" in warning and "nothing is enforced" in warning for warning in outcome.warnings)


@pytest.mark.parametrize("check_mode", [True, False])
@pytest.mark.parametrize(
    ("flows", "told"),
    [
        (WEB_DB, "domains httpd_t, init_t permissive: no flow refuses them anything, until"),
        (
            flow_set([], {"redis_t": "enforce", "httpd_t": "enforce"}.items()),
            "domains httpd_t, init_t, redis_t permissive: no flow refuses them anything, and confine has no effect on "
            "httpd_t, "
            "redis_t, until",
        ),
    ],
)
def test_permissive_domains_are_warned_about(flows: FlowSet, told: str, check_mode: bool) -> None:
    host = ScriptedHost()
    # One that runs, one that is named and runs, and one that is named at most
    host.permissive = {"init_t", "httpd_t", "redis_t"}
    for dummy in range(2):
        outcome = apply(host, requests.Replace(flows), check_mode)
        assert [warning for warning in outcome.warnings if told in warning]
    host.mode = "permissive"
    assert not any("declares" in warning for warning in apply(host, requests.Replace(flows), check_mode).warnings)


def test_a_flow_of_services_that_do_not_run_is_warned_about() -> None:
    outcome = apply(ScriptedHost(process(1, "init_t")), requests.Replace(WEB_DB))
    assert any("No process runs in a domain of the flow 'web_db'" in warning for warning in outcome.warnings)


@pytest.mark.parametrize("check_mode", [True, False])
def test_an_interface_that_the_host_has_not_is_warned_about(check_mode: bool) -> None:
    host = ScriptedHost()
    wanted = flow_set([flow(interfaces=["eth0", "enp1s0"])])
    for dummy in range(2):
        warnings = apply(host, requests.Replace(wanted), check_mode).warnings
        assert [warning.split(", which")[0] for warning in warnings if "interface" in warning] == [
            "The flow 'web_db' is limited to the interface 'enp1s0'"
        ]


@pytest.mark.parametrize(
    ("layers", "warned"), [(("auto",), True), (("selinux",), False), (("selinux", "owner"), False)]
)
def test_users_that_no_layer_looks_at_are_warned_about(layers: tuple[str, ...], warned: bool) -> None:
    wanted = flow_set([flow(users=["root"])])
    outcome = apply(ScriptedHost(), requests.Replace(wanted), options=UNGUARDED._replace(layers=layers))
    assert any("users and units of the flow 'web_db'" in warning for warning in outcome.warnings) == warned


def test_a_locked_policy_store_is_refused_with_its_holder() -> None:
    host = ScriptedHost()
    host.holder = "pid 77 (semodule)"
    with pytest.raises(SenetError, match="'default' is locked by pid 77 .semodule..*Nothing was changed"):
        apply(host, requests.Replace(WEB_DB))
    assert host.writes == []


def test_labels_of_others_are_refused_with_the_rule() -> None:
    host = ScriptedHost()
    rule = "-A OUTPUT -j SECMARK --selctx system_u:object_r:http_server_packet_t:s0"
    host.families["ipv6"].restore(f"*security\n{rule}\nCOMMIT\n")
    with pytest.raises(SenetError, match=f"labels packets too.*security: {rule}"):
        apply(host, requests.Replace(WEB_DB))
    assert host.writes == []


def test_rules_are_not_put_into_a_dormant_table() -> None:
    host = ScriptedHost()
    host.asleep = ["ip6 filter", "ip6 security"]
    with pytest.raises(SenetError, match="The table 'ip6 security' is dormant.*Nothing was changed; wake it with 'nft"):
        apply(host, requests.Replace(WEB_DB))
    assert host.writes == []


@pytest.mark.parametrize("check_mode", [True, False])
def test_a_table_that_was_put_to_sleep_is_an_error_though_nothing_is_to_be_changed(check_mode: bool) -> None:
    host = ScriptedHost()
    apply(host, requests.Replace(WEB_DB))
    host.asleep = ["ip security"]
    with pytest.raises(SenetError, match="'ip security' is dormant.*NOT enforced; wake it with 'nft add table"):
        apply(host, requests.Replace(WEB_DB), check_mode)
    # Nobody's rules are in the way of taking ours away
    assert apply(host, NOTHING, check_mode).steps


def test_a_dormant_table_without_rules_of_ours_is_no_trouble() -> None:
    host = ScriptedHost()
    host.asleep = ["ip filter", "inet security", "ip security"]
    assert apply(host, requests.Replace(WEB_DB), options=UNGUARDED._replace(backend="nftables")).steps
    host.asleep = ["ip filter"]
    assert apply(host, requests.Replace(WEB_DB), options=UNGUARDED._replace(backend="iptables")).steps


@pytest.mark.parametrize("check_mode", [True, False])
@pytest.mark.parametrize("place", ["ipv4", "ipv6", "legacy", "nft"])
@pytest.mark.parametrize("backend", ["iptables", "nftables"])
def test_labels_of_others_that_came_later_are_an_error_though_nothing_is_to_be_changed(
    backend: str, place: str, check_mode: bool
) -> None:
    host = ScriptedHost()
    options = Options(0, "t0", backend)
    apply(host, requests.Replace(WEB_DB), options=options)
    rule = "-A OUTPUT -j SECMARK --selctx system_u:object_r:http_server_packet_t:s0"
    table = f"*security\n{rule}\nCOMMIT\n"
    if place == "nft":
        rule = 'meta secmark set "theirs"'
        host.listed = f"table inet theirs {{\n\tchain output {{\n\t\t{rule}\n\t}}\n}}\n"
    elif place == "legacy":
        host.legacy["ipv6"] = table
    else:
        host.families[place].restore(table)
    host.writes.clear()
    with pytest.raises(SenetError, match=f"in place, but may not be enforced.*: {re.escape(rule)}'.*Remove that"):
        apply(host, requests.Replace(WEB_DB), check_mode, options)
    assert host.writes == []
    # They are nothing to a host without labels of ours.
    assert not apply(ScriptedHost(), NOTHING, check_mode).changed


@pytest.mark.parametrize("types", [(), ("dmz_iface_t",)])
@pytest.mark.parametrize("check_mode", [True, False])
@pytest.mark.parametrize("family", ["ipv4", "ipv6", "inet"])
def test_the_policy_stays_while_another_namespace_has_labels(
    family: str, check_mode: bool, types: tuple[str, ...]
) -> None:
    host = ScriptedHost()
    backend = "nftables" if family == "inet" else "iptables"
    flows = WEB_DB.with_interface_types(types)
    apply(host, requests.Alter(lambda current: flows), options=Options(0, "t0", backend))
    host.namespaces["/proc/7/ns/net"] = {**empty_families(), family: deepcopy(host.families[family])}
    host.writes.clear()
    with pytest.raises(SenetError, match="namespace /proc/7/ns/net .*'nsenter --net=/proc/7/ns/net .* clear'"):
        apply(host, NOTHING, check_mode)
    assert host.writes == []

    host.namespaces["/proc/7/ns/net"] = empty_families()
    assert apply(host, NOTHING).changed
    assert cil.declared_types(host.policy) == set(types)


def test_other_namespaces_are_looked_at_only_when_the_policy_goes() -> None:
    host = ScriptedHost()
    for request in (requests.Replace(WEB_DB), requests.Replace(SEVERAL), requests.Replace(WEB_DB)):
        apply(host, request)
    assert "elsewhere" not in host.reads


@pytest.mark.parametrize("check_mode", [True, False])
def test_a_server_that_no_flow_names_is_not_cut(check_mode: bool) -> None:
    host = ScriptedHost(process(7, "sshd_t", listens(22), command="sshd"))
    with pytest.raises(SenetError, match="'sshd_t' .sshd, pid 7, tcp 0.0.0.0 port 22. by the flow 'web_db'.*Nothing"):
        apply(host, requests.Replace(flow_set([flow(ports=[22])])), check_mode)
    assert host.writes == []


def test_connections_that_will_be_cut_are_told() -> None:
    host = ScriptedHost(process(3, "postgresql_t", listens(5432)), process(8, "unconfined_t", connected(40000, 5432)))
    outcome = apply(host, requests.Replace(WEB_DB), check_mode=True)
    assert [cut.as_dict()["domain"] for cut in outcome.cuts] == ["unconfined_t"]


def test_a_guarded_run_writes_down_what_was_before_anything_else_and_stops_short_of_confirming(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    host = ScriptedHost()
    apply(host, requests.Replace(SEVERAL))
    rules = iptables.compile_rules(SEVERAL)
    both = {"ipv4": rules, "ipv6": rules}
    earlier = {"policy": host.policy, "rules": both, "intent": host.service.text, "interfaces": {}}
    host.writes.clear()
    seen: list[Pending | None] = []
    before_call(monkeypatch, host.service, "install", lambda: seen.append(host.guard.record))
    outcome = apply(host, requests.Replace(WEB_DB), options=GUARDED)
    assert seen[0] is not None
    assert (seen[0].token, seen[0].complete, seen[0].before) == ("t1", False, earlier)
    assert outcome.pending
    assert outcome.steps == (
        "arm the guard, which undoes the change unless it is confirmed",
        "install the policy module senet_firewall",
        "ask the kernel for every running domain's access",
        "restore the ipv4 rules",
        "restore the ipv6 rules",
        "read everything back and ask the kernel for the flows' access",
        "wait for the confirmation over a new connection",
        "make it permanent in /etc/senet",
    )
    assert host.writes == ["arm apply", "install policy", "restore ipv4", "restore ipv6", "arm confirm"]
    # before each step the record says which one it is; only the last says that the change is whole
    assert tuple(dict.fromkeys(stage.step for stage in host.guard.stages)) == outcome.steps[:-1]
    assert [stage.complete for stage in host.guard.stages].index(True) == len(host.guard.stages) - 1
    record = host.guard.stages[-1]
    assert record.deadline == pytest.approx(guard.clock() + 30, abs=5)
    assert record.before == earlier
    assert record.after["intent"] != host.service.text
    assert host.guard.timers == [("apply", 30 + engine.APPLY_SECONDS), ("confirm", 30)]
    assert host.service.text == earlier["intent"]


@pytest.mark.parametrize("check_mode", [True, False])
def test_a_second_change_is_refused_while_one_waits(check_mode: bool) -> None:
    host = ScriptedHost()
    apply(host, requests.Replace(WEB_DB), options=GUARDED)
    before = host.state()
    writes = list(host.writes)
    message = r"The change t1 of this host waits.* in (29|30) seconds.*\(token=t1 state=confirmed\).*state=aborted"
    for request in (requests.Replace(WEB_DB), NOTHING):
        with pytest.raises(SenetError, match=message):
            apply(host, request, check_mode, Options(30, "t2"))
    assert (host.state(), host.writes) == (before, writes)


def overdue(host: ScriptedHost) -> ScriptedHost:
    """A change whose time is over, and that the host has not managed to undo."""
    apply(host, requests.Replace(WEB_DB), options=GUARDED)
    assert host.guard.record is not None
    host.guard.record = host.guard.record._replace(deadline=0.1)
    host.writes.clear()
    return host


def test_a_change_whose_time_is_over_is_a_dead_one_and_undone_first() -> None:
    host = ScriptedHost()
    before = host.state()
    overdue(host)
    with pytest.raises(SenetError, match="t1 of this host was not confirmed in time.*has not managed to undo it yet"):
        apply(host, requests.Replace(SEVERAL), check_mode=True)
    outcome = apply(host, NOTHING)
    assert any("The earlier change t1 was not confirmed in time" in said for said in outcome.warnings)
    assert host.guard.record is None
    assert host.guard.last == {"token": "t1", "rolled_back": True, "reason": "it was not confirmed in time"}
    assert host.state() == before


def test_a_change_whose_undoing_has_failed_is_undone_first_and_told() -> None:
    host = ScriptedHost()
    apply(host, requests.Replace(WEB_DB), options=GUARDED)
    host.fail = "remove policy"
    with pytest.raises(SenetError, match="Could not remove policy"):
        confirm.abort(host.host(), "t1", "it was aborted")
    outcome = apply(host, NOTHING)
    assert any("The earlier change t1 was to be undone" in said for said in outcome.warnings)
    assert host.guard.last == {"token": "t1", "rolled_back": True, "reason": "undoing it had been begun before"}


def test_a_dead_change_that_cannot_be_undone_now_either_is_told_and_stays_on_record() -> None:
    host = overdue(ScriptedHost())
    host.fail = "remove policy"
    with pytest.raises(SenetError, match="Could not remove policy"):
        apply(host, requests.Replace(SEVERAL))
    assert host.guard.record is not None
    assert apply(host, requests.Replace(SEVERAL)).changed


def test_the_guard_is_armed_only_when_the_launcher_was_seen_to_run() -> None:
    host = ScriptedHost()
    apply(host, requests.Replace(WEB_DB), options=GUARDED)
    assert host.guard.proved == ["t1"]
    host = ScriptedHost(fail="prove")
    before = host.state()
    with pytest.raises(SenetError, match="A trial run of the guard failed. What had been done was undone"):
        apply(host, requests.Replace(WEB_DB), options=GUARDED)
    assert host.guard.timers == []
    assert host.state() == before
    assert not any(write.startswith(("restore", "install policy")) for write in host.writes)


@pytest.mark.parametrize("options", [GUARDED, UNGUARDED])
@pytest.mark.parametrize("check_mode", [True, False])
def test_without_an_interpreter_for_root_nothing_is_changed(options: Options, check_mode: bool) -> None:
    host = ScriptedHost()
    host.service.interpreter = ""
    with pytest.raises(SenetError, match="has no Python interpreter"):
        apply(host, requests.Replace(WEB_DB), check_mode, options)
    assert host.writes == []
    assert host.guard.stages == []


@pytest.mark.parametrize("systemd", [True, False])
def test_without_systemd_no_service_is_claimed(systemd: bool) -> None:
    host = ScriptedHost()
    host.service.systemd = systemd
    for dummy in range(2):
        outcome = apply(host, requests.Replace(WEB_DB))
        assert any("This host does not run systemd" in said for said in outcome.warnings) != systemd
        assert not any("senet-firewall.service" in step for step in outcome.steps)
    assert not any("systemd" in said for said in apply(host, NOTHING).warnings)


def test_a_change_of_an_earlier_boot_is_undone_first() -> None:
    host = ScriptedHost()
    apply(host, requests.Replace(WEB_DB), options=GUARDED)
    host.reboot()
    outcome = apply(host, requests.Replace(SEVERAL), options=Options(30, "t2"))
    assert host.guard.last is not None
    assert (host.guard.last["token"], host.guard.last["rolled_back"]) == ("t1", True)
    assert any("The earlier change t1 was not confirmed in time" in said for said in outcome.warnings)
    assert host.guard.record is not None
    assert host.guard.record.token == "t2"
    assert host.guard.record.before["policy"] is None


def dead(host: ScriptedHost) -> ScriptedHost:
    """The host after a guarded run that was killed when it had installed the policy."""
    host.die_at = 5
    with pytest.raises(Killed):
        apply(host, requests.Replace(WEB_DB), options=GUARDED)
    return host


def test_what_a_dead_run_left_is_undone_and_told() -> None:
    host = dead(ScriptedHost())
    outcome = apply(host, requests.Replace(SEVERAL))
    assert any("ended at the step 'install the policy module senet_firewall'" in said for said in outcome.warnings)
    assert host.guard.record is None
    assert not apply(host, requests.Replace(SEVERAL)).changed
    # also when there is nothing left to change after that
    host = dead(ScriptedHost())
    assert not apply(host, NOTHING).changed
    assert host.guard.record is None
    assert host.state() == ScriptedHost().state()


def test_check_mode_does_not_undo_a_dead_run_and_says_so() -> None:
    host = dead(ScriptedHost())
    before = host.state()
    with pytest.raises(SenetError, match="The change t1 .*died at the step 'install.*without check mode"):
        apply(host, requests.Replace(WEB_DB), check_mode=True)
    assert host.state() == before
    assert host.guard.record is not None


def test_two_runs_never_write_at_once() -> None:
    host = ScriptedHost()
    with host.guard.lock(0), pytest.raises(SenetError, match="Another run is changing the flows"):
        apply(host, requests.Replace(WEB_DB))
    assert host.writes == []
    # looking needs no lock
    apply(host, requests.Replace(WEB_DB))
    with host.guard.lock(0):
        assert not apply(host, requests.Replace(WEB_DB)).changed
        assert apply(host, NOTHING, check_mode=True).changed


def test_what_another_run_did_before_the_lock_is_seen() -> None:
    host = ScriptedHost()
    lock = host.guard.lock

    def late(wait: float) -> Any:
        host.guard.lock = lock  # type: ignore[method-assign]
        apply(host, requests.Replace(SEVERAL))
        return lock(wait)

    host.guard.lock = late  # type: ignore[method-assign]
    outcome = apply(host, requests.Merge((flow("mail", ports=[25]),)))
    assert [one.name for one in outcome.flows.flows] == ["cache", "dns", "mail", "web_db"]


def test_without_a_timeout_there_is_no_guard() -> None:
    host = ScriptedHost()
    outcome = apply(host, requests.Replace(WEB_DB))
    assert not outcome.pending
    assert not any("guard" in step or "confirmation" in step for step in outcome.steps)
    assert (host.guard.stages, host.guard.timers) == ([], [])


def test_putting_the_service_back_needs_no_guard() -> None:
    host = ScriptedHost()
    apply(host, requests.Replace(WEB_DB))
    host.service.running = False
    host.writes.clear()
    outcome = apply(host, requests.Replace(WEB_DB), options=GUARDED)
    assert outcome.steps == (str(plan.Step(plan.PERSIST)),)
    assert not outcome.pending
    assert host.writes == ["start service"]
    # and what a run that was killed while it removed everything has left of it goes
    apply(host, NOTHING)
    host.service.installed = host.service.running = True
    assert apply(host, NOTHING).steps == (str(plan.Step(plan.PERSIST)),)
    assert not host.service.installed


@pytest.mark.parametrize("fail", ["arm apply", "install policy", "restore ipv6", "arm confirm"])
def test_a_guarded_change_that_fails_is_undone_at_once_and_leaves_no_record(fail: str) -> None:
    host = ScriptedHost()
    before = host.state()
    host.fail = fail
    with pytest.raises(SenetError, match=f"^Could not {fail}. What had been done was undone.$"):
        apply(host, requests.Replace(WEB_DB), options=GUARDED)
    assert host.state() == before
    assert host.guard.record is None
    assert host.guard.last == {"token": "t1", "rolled_back": True, "reason": f"Could not {fail}."}


def test_observing_cuts_nobody_and_audits_whoever_would_be() -> None:
    host = ScriptedHost(
        process(1, "init_t"), process(2, "httpd_t"), process(3, "postgresql_t"), process(7, "unconfined_t")
    )
    outcome = apply(host, requests.Replace(OBSERVED))
    rows = [row.as_dict() for row in outcome.answers.access]
    assert {(row["domain"], row["can_connect"], row["can_serve"]) for row in rows} == {
        (domain, True, True) for domain in ("init_t", "httpd_t", "postgresql_t", "unconfined_t")
    }
    assert host.policy is not None
    assert host.policy.count("(auditallow ") == 6


def test_observing_is_not_refused_for_those_it_would_cut() -> None:
    host = ScriptedHost(process(7, "sshd_t", listens(5432), command="sshd"))
    outcome = apply(host, requests.Replace(OBSERVED), check_mode=True)
    assert [(cut.domain, cut.mode, cut.meant) for cut in outcome.cuts] == [("sshd_t", "observe", False)]
    apply(host, requests.Replace(OBSERVED))
    with pytest.raises(SenetError, match="'sshd_t' .sshd, pid 7"):
        apply(host, requests.Replace(WEB_DB))


def test_from_observing_to_enforcing_the_policy_changes_and_then_what_is_sampled() -> None:
    host = ScriptedHost()
    apply(host, requests.Replace(OBSERVED))
    host.writes.clear()
    outcome = apply(host, requests.Replace(WEB_DB))
    assert host.writes == ["install policy", "restore ipv4", "restore ipv6", "write intent"]
    assert not any("_unlogged_" in host.families[family].save() for family in ("ipv4", "ipv6"))
    assert not any(row.as_dict()["can_connect"] for row in outcome.answers.access if row.domain == "init_t")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 2, "backend": "iptables", "flows": []}', "\0"])
@pytest.mark.parametrize("check_mode", [True, False])
def test_a_damaged_file_is_told_and_nothing_written(text: str, check_mode: bool) -> None:
    host = ScriptedHost()
    apply(host, requests.Replace(WEB_DB))
    host.service.text = text
    host.writes.clear()
    with pytest.raises(SenetError, match="/etc/senet/flows.json is damaged .*; remove it and run the play again"):
        apply(host, requests.Replace(SEVERAL), check_mode)
    assert host.writes == []
    # and the remedy works
    host.service.text = None
    apply(host, requests.Replace(WEB_DB))
    assert host.writes == ["write intent"]


def test_repairs_by_the_watch_are_told_once() -> None:
    host = ScriptedHost()
    apply(host, requests.Replace(WEB_DB))
    host.guard.repaired("2026-01-01T00:00:00 ipv4")
    warnings = apply(host, requests.Replace(WEB_DB)).warnings
    assert any("put them back, last at 2026-01-01T00:00:00 ipv4" in said for said in warnings)
    apply(host, requests.Replace(SEVERAL))
    assert not any("put them back" in said for said in apply(host, requests.Replace(SEVERAL)).warnings)
