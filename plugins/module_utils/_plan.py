# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is there and what is wanted, as ordered steps from the one to the other. No I/O.

The order is the promise: policy before rules when adding, rules before policy when removing, so that no packet ever
carries a type that the loaded policy does not know (it would count as unlabelled), or one that nobody may send.
"""

from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._compile import cil, iptables

FAMILIES = ("ipv4", "ipv6")

INSTALL_POLICY = "install_policy"
REMOVE_POLICY = "remove_policy"
RESTORE_RULES = "restore_rules"
DROP_TABLE = "drop_table"
CHECK_ACCESS = "check_access"


class HostState(NamedTuple):
    """What a host has of ours: the policy module's text, whether the kernel has it loaded, a table per family."""

    policy: Optional[str]
    loaded: bool
    tables: Mapping[str, iptables.Table]


class Desired(NamedTuple):
    """What a host shall have: the policy module's text, rules per family; None for nothing of ours."""

    policy: Optional[str]
    rules: Mapping[str, Optional[Tuple[str, ...]]]


class Step(NamedTuple):
    """One action. ``payload`` is the policy text or the restore input, ``family`` is set for rules and tables."""

    action: str
    family: Optional[str]
    payload: Optional[str]

    def __str__(self) -> str:
        return _SAID[self.action].format(module=cil.MODULE_NAME, family=self.family)


_SAID = {
    INSTALL_POLICY: "install the policy module {module}",
    REMOVE_POLICY: "remove the policy module {module}",
    RESTORE_RULES: "restore the {family} rules",
    DROP_TABLE: "drop the empty {family} table security",
    CHECK_ACCESS: "ask the kernel for every running domain's access",
}


def plan(observed: HostState, desired: Desired) -> Tuple[Step, ...]:
    """The steps that turn what is observed into what is desired; none when they are equal."""
    steps = []  # type: List[Step]
    new_policy = desired.policy is not None and (observed.policy != desired.policy or not observed.loaded)
    lost_types = cil.declared_types(observed.policy) - cil.declared_types(desired.policy)
    tables = dict(observed.tables)

    if desired.policy is not None and lost_types:
        for family in FAMILIES:
            rules = tables[family].rules
            kept = iptables.without_types(rules or (), lost_types)
            if rules and kept != rules:
                steps.append(Step(RESTORE_RULES, family, iptables.restore_text(tables[family], kept)))
                tables[family] = tables[family]._replace(rules=kept, jumps={hook: (0,) for hook in iptables.HOOKS})
    if new_policy:
        steps.append(Step(INSTALL_POLICY, None, desired.policy))

    rule_steps = [step for family in FAMILIES for step in _rule_steps(family, tables[family], desired.rules[family])]
    if desired.policy is not None and (new_policy or rule_steps):
        steps.append(Step(CHECK_ACCESS, None, None))
    steps.extend(rule_steps)
    if desired.policy is None and observed.policy is not None:
        steps.append(Step(REMOVE_POLICY, None, None))
    return tuple(steps)


def diffs(observed: HostState, desired: Desired) -> List[Dict[str, Any]]:
    """What changes, for Ansible's ``--diff``: the policy module and each family's own rules."""
    result = [_diff("policy module " + cil.MODULE_NAME, observed.policy or "", desired.policy or "")]
    for family in FAMILIES:
        before = observed.tables[family].rules or ()
        after = desired.rules[family] or ()
        result.append(_diff("{0} table security".format(family), _text(before), _text(after)))
    return [diff for diff in result if diff["before"] != diff["after"]]


def _rule_steps(family: str, table: iptables.Table, rules: Optional[Tuple[str, ...]]) -> List[Step]:
    if rules is not None:
        if table.installed(rules):
            return []
        return [Step(RESTORE_RULES, family, iptables.restore_text(table, rules))]
    if not table.ours:
        return []
    steps = [Step(RESTORE_RULES, family, iptables.restore_text(table, None))]
    if table.marked and table.bare:
        steps.append(Step(DROP_TABLE, family, None))
    return steps


def _diff(header: str, before: str, after: str) -> Dict[str, Any]:
    return {"before_header": header, "after_header": header, "before": before, "after": after}


def _text(rules: Tuple[str, ...]) -> str:
    return "".join(rule + "\n" for rule in rules)
