# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is there and what is wanted, as ordered steps from the one to the other. No I/O.

The order is the promise: policy before rules when adding, rules before policy when removing, so that no packet ever
carries a type that the loaded policy does not know (it would count as unlabelled), or one that nobody may send.
"""

from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple

from ansible_collections.senet.firewall.plugins.module_utils import _backends
from ansible_collections.senet.firewall.plugins.module_utils._backends import Rules
from ansible_collections.senet.firewall.plugins.module_utils._compile import cil

ARM_GUARD = "arm_guard"
INSTALL_POLICY = "install_policy"
REMOVE_POLICY = "remove_policy"
CHECK_ACCESS = "check_access"
RESTORE_RULES = "restore_rules"
DROP_TABLE = "drop_table"
VERIFY = "verify"
AWAIT_CONFIRMATION = "await_confirmation"
PERSIST = "persist"


class HostState(NamedTuple):
    """What a host has of ours.

    ``policy`` is the policy module's text and ``loaded`` whether the kernel has it; ``tables`` has a table per family
    that was looked at;
    ``intent`` is the text of /etc/senet/flows.json; ``service`` says whether the units are in place and run.
    """

    policy: Optional[str]
    loaded: bool
    tables: Mapping[str, Any]
    intent: Optional[str]
    service: bool


class Desired(NamedTuple):
    """What a host shall have: policy text, rules per family, the text of flows.json; None for nothing of ours."""

    policy: Optional[str]
    rules: Mapping[str, Rules]
    intent: Optional[str]


class Step(NamedTuple):
    """One action. ``payload`` is the policy text or the restore input, ``family`` is set for rules and tables."""

    action: str
    family: Optional[str] = None
    payload: Optional[str] = None

    def __str__(self) -> str:
        return _SAID[self.action].format(module=cil.MODULE_NAME, family=self.family)


_SAID = {
    ARM_GUARD: "arm the guard, which undoes the change unless it is confirmed",
    INSTALL_POLICY: "install the policy module {module}",
    REMOVE_POLICY: "remove the policy module {module}",
    CHECK_ACCESS: "ask the kernel for every running domain's access",
    RESTORE_RULES: "restore the {family} rules",
    DROP_TABLE: "drop the empty {family} table that was made for them",
    VERIFY: "read everything back and ask the kernel for the flows' access",
    AWAIT_CONFIRMATION: "wait for the confirmation over a new connection",
    PERSIST: "make it permanent in /etc/senet",
}


def plan(observed: HostState, desired: Desired, guarded: bool) -> Tuple[Step, ...]:
    """The steps that turn what is observed into what is desired; none when they are equal.

    With ``guarded``, a change of policy or rules is undone by a timer unless it is confirmed.
    """
    steps = list(enforcement_steps(observed, desired))
    if steps:
        steps.append(Step(VERIFY))
        if guarded:
            steps = [Step(ARM_GUARD)] + steps + [Step(AWAIT_CONFIRMATION)]
    if steps or observed.intent != desired.intent or observed.service != (desired.intent is not None):
        steps.append(Step(PERSIST))
    return tuple(steps)


def enforcement_steps(observed: HostState, desired: Desired) -> Tuple[Step, ...]:
    """The steps that change policy and rules."""
    steps = []  # type: List[Step]
    new_policy = desired.policy is not None and (observed.policy != desired.policy or not observed.loaded)
    lost_types = cil.declared_types(observed.policy) - cil.declared_types(desired.policy)
    tables = dict(observed.tables)

    if desired.policy is not None and lost_types:
        for family, table in observed.tables.items():
            kept = _backends.without_types(family, table.rules or (), lost_types)
            if table.rules and kept != table.rules:
                steps.append(Step(RESTORE_RULES, family, _backends.restore_text(family, table, kept)))
                tables[family] = _backends.restored(family, table, kept)
    if new_policy:
        steps.append(Step(INSTALL_POLICY, None, desired.policy))

    # What gets rules comes before what loses them: a host that changes its backend is labelled by both in between.
    families = sorted(tables, key=lambda family: (desired.rules[family] is None, family))
    rule_steps = [step for family in families for step in _rule_steps(family, tables[family], desired.rules[family])]
    if desired.policy is not None and (new_policy or rule_steps):
        steps.append(Step(CHECK_ACCESS))
    steps.extend(rule_steps)
    if desired.policy is None and observed.policy is not None:
        steps.append(Step(REMOVE_POLICY))
    return tuple(steps)


def release_steps(tables: Mapping[str, Any]) -> Tuple[Step, ...]:
    """The steps that let all traffic through at once: our rules gone, so that no packet gets a label of ours."""
    return tuple(
        Step(RESTORE_RULES, family, _backends.restore_text(family, table, ()))
        for family, table in tables.items()
        if table.rules
    )


def as_desired(observed: HostState) -> Desired:
    """An observed state as one to return to."""
    rules = {family: table.rules if table.ours else None for family, table in observed.tables.items()}
    return Desired(observed.policy, rules, observed.intent)


def as_record(desired: Desired) -> Dict[str, Any]:
    """A state as plain data for the guard's record."""
    return {"policy": desired.policy, "rules": dict(desired.rules), "intent": desired.intent}


def from_record(record: Mapping[str, Any]) -> Desired:
    """The state in the guard's record."""
    rules = {family: None if lines is None else tuple(lines) for family, lines in record["rules"].items()}
    return Desired(record["policy"], rules, record["intent"])


def diffs(observed: HostState, desired: Desired) -> List[Dict[str, Any]]:
    """What changes, for Ansible's ``--diff``: the policy module, each family's own rules, flows.json."""
    result = [_diff("policy module " + cil.MODULE_NAME, observed.policy or "", desired.policy or "")]
    for family, table in observed.tables.items():
        after = desired.rules[family] or ()
        result.append(_diff("{0} rules".format(family), _text(table.rules or ()), _text(after)))
    result.append(_diff("/etc/senet/flows.json", observed.intent or "", desired.intent or ""))
    return [diff for diff in result if diff["before"] != diff["after"]]


def _rule_steps(family: str, table: Any, rules: Rules) -> List[Step]:
    if rules is not None:
        if table.installed(rules):
            return []
        return [Step(RESTORE_RULES, family, _backends.restore_text(family, table, rules))]
    if not table.ours:
        return []
    steps = [Step(RESTORE_RULES, family, _backends.restore_text(family, table, None))]
    if _backends.leaves_empty_table(family, table):
        steps.append(Step(DROP_TABLE, family))
    return steps


def _diff(header: str, before: str, after: str) -> Dict[str, Any]:
    return {"before_header": header, "after_header": header, "before": before, "after": after}


def _text(rules: Tuple[str, ...]) -> str:
    return "".join(rule + "\n" for rule in rules)
