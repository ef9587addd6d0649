# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
import json
from typing import Any

from hypothesis import given

from ansible_collections.senet.firewall.plugins.module_utils._change import target
from ansible_collections.senet.firewall.plugins.module_utils._compile import iptables, xtables
from ansible_collections.senet.firewall.plugins.module_utils._compile.owner import Accounts
from ansible_collections.senet.firewall.plugins.module_utils._compile.rule_sets import RULE_SETS
from ansible_collections.senet.firewall.plugins.module_utils._decisions import plan
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import FlowSet, flow_set
from ansible_collections.senet.firewall.plugins.module_utils._values.intent import Intent
from tests.unit.flows import SEVERAL, WEB_DB, flow, flow_sets
from tests.unit.scripted_host import Xtables

EMPTY = FlowSet(())
FAMILIES = ("ipv4", "ipv6")


def wanted(flows: FlowSet) -> plan.Desired:
    return target.desired_state(Intent(flows, "iptables"), Accounts({}, {}), FAMILIES)


def observed(flows: FlowSet) -> plan.HostState:
    """A host on which these flows are in force."""
    desired = wanted(flows)
    tables = {}
    for family, rules in desired.rules.items():
        kernel = Xtables()
        if rules is not None:
            kernel.restore(xtables.restore_text(RULE_SETS["ipv4"].parse(""), rules))
        tables[family] = RULE_SETS["ipv4"].parse(kernel.save())
    return plan.HostState(desired.policy, True, tables, desired.intent, not flows.empty)


def actions(before: plan.HostState, flows: FlowSet, guarded: bool = False) -> list[str]:
    return [step.action for step in plan.plan(before, wanted(flows), guarded)]


def diffs_of(before: FlowSet, after: FlowSet) -> list[dict[str, Any]]:
    state, desired = observed(before), wanted(after)
    return plan.diffs(state, desired, plan.plan(state, desired, guarded=False))


@given(flow_sets())
def test_nothing_is_to_do_where_all_is_as_wanted(flows: FlowSet) -> None:
    assert actions(observed(flows), flows) == actions(observed(flows), flows, guarded=True) == []


@given(flow_sets(), flow_sets())
def test_the_guard_surrounds_exactly_what_changes_policy_or_rules(first: FlowSet, second: FlowSet) -> None:
    plain, guarded = (actions(observed(first), second, guarded) for guarded in (False, True))
    if first == second:
        assert plain == guarded == []
        return
    assert guarded == [plan.ARM_GUARD, *plain[:-1], plan.AWAIT_CONFIRMATION, plan.PERSIST]
    assert plain[-2:] == [plan.VERIFY, plan.PERSIST]


def test_policy_comes_before_rules_and_goes_after_them() -> None:
    rules = [plan.RESTORE_RULES] * 2
    assert actions(observed(EMPTY), WEB_DB) == [
        plan.INSTALL_POLICY, plan.CHECK_ACCESS, *rules, plan.VERIFY, plan.PERSIST
    ]  # fmt: skip
    assert actions(observed(WEB_DB), flow_set([flow("cache", ports=[6379])])) == [
        plan.INSTALL_POLICY, plan.CHECK_ACCESS, *rules, plan.VERIFY, plan.PERSIST
    ]  # fmt: skip
    assert actions(observed(WEB_DB), EMPTY) == [
        *[plan.RESTORE_RULES, plan.DROP_TABLE] * 2, plan.REMOVE_POLICY, plan.VERIFY, plan.PERSIST
    ]  # fmt: skip


def test_a_policy_that_is_stored_but_not_loaded_is_installed_again() -> None:
    before = observed(WEB_DB)._replace(loaded=False)
    assert actions(before, WEB_DB) == [plan.INSTALL_POLICY, plan.CHECK_ACCESS, plan.VERIFY, plan.PERSIST]


def test_what_only_the_files_lack_is_made_permanent_without_a_guard() -> None:
    for change in ({"intent": None}, {"service": False}):
        before = observed(WEB_DB)._replace(**change)
        assert actions(before, WEB_DB, guarded=True) == [plan.PERSIST]
    assert actions(observed(EMPTY)._replace(service=True), EMPTY, guarded=True) == [plan.PERSIST]


def test_the_table_stays_if_something_else_is_in_it() -> None:
    before = observed(WEB_DB)
    tables = {family: table._replace(bare=False) for family, table in before.tables.items()}
    assert plan.DROP_TABLE not in actions(before._replace(tables=tables), EMPTY)
    tables = {family: table._replace(marked=False) for family, table in before.tables.items()}
    assert plan.DROP_TABLE not in actions(before._replace(tables=tables), EMPTY)


@given(flow_sets())
def test_releasing_leaves_no_label_and_is_not_repeated(flows: FlowSet) -> None:
    before = observed(flows)
    steps = plan.release_steps(before.tables)
    assert [step.name for step in steps] == (list(FAMILIES) if not flows.empty else [])
    for step in steps:
        assert step.payload is not None
        kernel = Xtables()
        kernel.restore(xtables.restore_text(RULE_SETS["ipv4"].parse(""), iptables.compile_rules(flows)))
        kernel.restore(step.payload)
        table = RULE_SETS["ipv4"].parse(kernel.save())
        assert "SECMARK" not in kernel.save()
        assert table.rules == ()
        assert plan.release_steps({"ipv4": table, "ipv6": table}) == ()


@given(flow_sets())
def test_a_state_comes_back_from_the_guards_record_as_it_was(flows: FlowSet) -> None:
    state = plan.as_desired(observed(flows))
    assert state == wanted(flows)
    assert plan.from_record(json.loads(json.dumps(plan.as_record(state)))) == state


def test_the_diff_shows_each_part_that_changes_and_no_other() -> None:
    diffs = diffs_of(EMPTY, WEB_DB)
    assert [diff["after_header"] for diff in diffs] == [
        "policy module senet_firewall", "ipv4 rules", "ipv6 rules", "/etc/senet/flows.json"
    ]  # fmt: skip
    assert {diff["before"] for diff in diffs} == {""}
    assert "-A SENET_OUTPUT" in diffs[1]["after"]
    same = flow_set([one._replace(source=("cron_t",)) for one in SEVERAL.flows])
    diffs = diffs_of(SEVERAL, same)
    assert [diff["before_header"] for diff in diffs] == ["policy module senet_firewall", "/etc/senet/flows.json"]
