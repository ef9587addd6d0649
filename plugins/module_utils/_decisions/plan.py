# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is there and what is wanted, as ordered steps from the one to the other. No I/O.

The order is the promise: policy before rules where packets have labels afterwards, rules before policy where they have
none, so that no packet ever carries a type that the loaded policy does not know (it would count as unlabelled). What a
port is labelled with before the rules change stays in the policy with its grants, as a retired type.
"""

from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._compile import cil, rule_families
from ansible_collections.senet.firewall.plugins.module_utils._compile.rule_families import Rules
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import UNLABELED_TYPE

ARM_GUARD = "arm_guard"
INSTALL_POLICY = "install_policy"
REMOVE_POLICY = "remove_policy"
CHECK_ACCESS = "check_access"
RESTORE_RULES = "restore_rules"
DROP_TABLE = "drop_table"
SET_INTERFACE = "set_interface"
VERIFY = "verify"
AWAIT_CONFIRMATION = "await_confirmation"
PERSIST = "persist"


class HostState(NamedTuple):
    """What a host has of ours.

    ``policy`` is the policy module's text and ``loaded`` whether the kernel has it; ``tables`` has a table per family
    that was looked at, ``texts`` what the tools printed of them;
    ``intent`` is the text of /etc/senet/flows.json; ``service`` says whether the units are in place and run;
    ``interfaces`` has the context that an interface was given on this host, None without one, for those that were
    looked at.
    """

    policy: Optional[str]
    loaded: bool
    tables: Mapping[str, Any]
    intent: Optional[str]
    service: bool
    texts: Mapping[str, str] = {}
    interfaces: Mapping[str, Optional[str]] = {}


class Desired(NamedTuple):
    """What a host shall have: policy text, rules per family, the text of flows.json; None for nothing of ours.
    Interfaces that are not named keep their contexts."""

    policy: Optional[str]
    rules: Mapping[str, Rules]
    intent: Optional[str]
    interfaces: Mapping[str, Optional[str]] = {}


class Step(NamedTuple):
    """One action. ``payload`` is the policy text, the restore input, or an interface's context; ``family`` is set for
    rules and tables, and is the interface's name."""

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
    SET_INTERFACE: "give the interface {family} its context",
    VERIFY: "read everything back and ask the kernel for the flows' access",
    AWAIT_CONFIRMATION: "wait for the confirmation over a new connection",
    PERSIST: "make it permanent in /etc/senet",
}


def plan(
    observed: HostState, desired: Desired, guarded: bool, between: Optional[Desired] = None
) -> Tuple[Step, ...]:
    """The steps that turn what is observed into what is desired, by way of what is between; none when they are equal.

    With ``guarded``, a change of policy or rules is undone by a timer unless it is confirmed.
    """
    steps = list(enforcement_steps(observed, desired))
    if steps and between is not None:
        steps = list(enforcement_steps(observed, between))
        steps.extend(enforcement_steps(_reached(observed, between, steps), desired))
    if steps:
        steps.append(Step(VERIFY))
        if guarded:
            steps = [Step(ARM_GUARD)] + steps + [Step(AWAIT_CONFIRMATION)]
    if steps or observed.intent != desired.intent or observed.service != (desired.intent is not None):
        steps.append(Step(PERSIST))
    return tuple(steps)


def enforcement_steps(observed: HostState, desired: Desired) -> Tuple[Step, ...]:
    """The steps that change policy and rules."""
    # What gets rules comes before what loses them: a host that changes its backend is labelled by both in between.
    families = sorted(observed.tables, key=lambda family: (desired.rules[family] is None, family))
    rules = {family: _rule_steps(family, observed.tables[family], desired.rules[family]) for family in families}
    freed, given = _interface_steps(observed, desired)
    if desired.policy is None:
        steps = freed + [step for family in families for step in rules[family]] + given
        return tuple(steps + ([Step(REMOVE_POLICY)] if observed.policy is not None else []))

    early = _early([family for family in families if rules[family]], desired)
    before = freed + [step for family in early for step in rules[family]]
    after = [step for family in families if family not in early for step in rules[family]]
    install = []  # type: List[Step]
    if not cil.alike(observed.policy, desired.policy) or not observed.loaded:
        kept = (observed.tables[family].rules or () for family in families if family not in early)
        carried = rule_families.carried_types(rule for own in kept for rule in own)
        lost = carried.intersection(cil.declared_types(observed.policy)) - cil.declared_types(desired.policy)
        install.append(Step(INSTALL_POLICY, None, cil.with_retired(desired.policy, observed.policy, lost)))
    after += given
    if before or install or after:
        install.append(Step(CHECK_ACCESS))
    return tuple(before + install + after)


def _interface_steps(observed: HostState, desired: Desired) -> Tuple[List[Step], List[Step]]:
    """The steps before the policy changes, which free the types that go with it, and those after it."""
    lost = cil.declared_types(observed.policy) - cil.declared_types(desired.policy)
    freed, given = [], []  # type: List[Step], List[Step]
    for name, context in sorted(desired.interfaces.items()):
        now = observed.interfaces.get(name)
        if now == context:
            continue
        if now is not None and now.split(":")[2] in lost:
            freed.append(Step(SET_INTERFACE, name))
            now = None
        if now != context:
            given.append(Step(SET_INTERFACE, name, context))
    return freed, given


def _early(changing: Sequence[str], desired: Desired) -> List[str]:
    """The families that change before the policy does: those whose labels go and have no successor, and before these
    what the layer owner puts in their place."""
    labelled = any(
        rules is not None and rule_families.labels_packets(family) for family, rules in desired.rules.items()
    )
    leaving = [
        family
        for family in changing
        if desired.rules[family] is None
        and (family == rule_families.NETLABEL or (rule_families.labels_packets(family) and not labelled))
    ]
    if not any(rule_families.labels_packets(family) for family in leaving):
        return leaving
    owners = [family for family in changing if rule_families.is_owner(family)]
    return [family for family in owners if desired.rules[family] is not None] + leaving


def _reached(observed: HostState, desired: Desired, steps: Iterable[Step]) -> HostState:
    """What is observed once these steps have led to what was desired."""
    installed = [step.payload for step in steps if step.action == INSTALL_POLICY]
    tables = {
        family: rule_families.restored(family, table, desired.rules[family])
        for family, table in observed.tables.items()
    }
    return observed._replace(
        policy=(installed or [observed.policy])[-1],
        loaded=True,
        tables=tables,
        interfaces=dict(observed.interfaces, **desired.interfaces),
    )


def release_steps(tables: Mapping[str, Any]) -> Tuple[Step, ...]:
    """The steps that let all traffic through at once: our rules gone, so that no packet gets a label of ours."""
    return tuple(
        Step(RESTORE_RULES, family, rule_families.restore_text(family, table, ()))
        for family, table in tables.items()
        if table.rules
    )


def retreat_steps(tables: Mapping[str, Any], policy: Optional[str], before: Desired) -> Tuple[Step, ...]:
    """The steps that take effect off a change at once, while ``policy`` is loaded: the labels of before where it judges
    them as it did before, and none where it does not."""
    labels = [(name, rules) for name, rules in before.rules.items() if rules and rule_families.labels_packets(name)]
    back = {name: rules for name, rules in labels if name in tables and _same_grants(policy, before.policy, rules)}
    steps = [
        Step(RESTORE_RULES, family, rule_families.restore_text(family, tables[family], rules))
        for family, rules in back.items()
        if not tables[family].installed(rules)
    ]
    return tuple(steps) + release_steps({family: table for family, table in tables.items() if family not in back})


def _same_grants(policy: Optional[str], before: Optional[str], rules: Iterable[str]) -> bool:
    """Whether two policies judge packets with the labels of these rules, and without one, in the same way."""
    types = rule_families.carried_types(rules).union({UNLABELED_TYPE})
    return cil.grants(policy, types) == cil.grants(before, types) and types <= cil.declared_types(policy).union(
        {UNLABELED_TYPE}
    )


def as_desired(observed: HostState) -> Desired:
    """An observed state as one to return to."""
    rules = {family: table.rules if table.ours else None for family, table in observed.tables.items()}
    return Desired(observed.policy, rules, observed.intent, observed.interfaces)


def as_record(desired: Desired) -> Dict[str, Any]:
    """A state as plain data for the guard's record."""
    return {
        "policy": desired.policy,
        "rules": dict(desired.rules),
        "intent": desired.intent,
        "interfaces": dict(desired.interfaces),
    }


def from_record(record: Mapping[str, Any]) -> Desired:
    """The state in the guard's record."""
    rules = {family: None if lines is None else tuple(lines) for family, lines in record["rules"].items()}
    return Desired(record["policy"], rules, record["intent"], record.get("interfaces", {}))


def diffs(observed: HostState, desired: Desired, steps: Iterable[Step]) -> List[Dict[str, Any]]:
    """What these steps change, for Ansible's ``--diff``: the policy module, each family's own rules, flows.json."""
    policy = None if desired.policy is None else observed.policy
    for step in steps:
        policy = step.payload if step.action == INSTALL_POLICY else policy
    result = [_diff("policy module " + cil.MODULE_NAME, observed.policy or "", policy or "")]
    for family, table in observed.tables.items():
        after = desired.rules[family] or ()
        result.append(_diff("{0} rules".format(family), _text(table.rules or ()), _text(after)))
    for name, context in sorted(desired.interfaces.items()):
        result.append(_diff("interface {0}".format(name), _context(observed.interfaces.get(name)), _context(context)))
    result.append(_diff("/etc/senet/flows.json", observed.intent or "", desired.intent or ""))
    return [diff for diff in result if diff["before"] != diff["after"]]


def _rule_steps(family: str, table: Any, rules: Rules) -> List[Step]:
    if rules is not None:
        if table.installed(rules):
            return []
        return [Step(RESTORE_RULES, family, rule_families.restore_text(family, table, rules))]
    if not table.ours:
        return []
    steps = [Step(RESTORE_RULES, family, rule_families.restore_text(family, table, None))]
    if rule_families.leaves_empty_table(family, table):
        steps.append(Step(DROP_TABLE, family))
    return steps


def _diff(header: str, before: str, after: str) -> Dict[str, Any]:
    return {"before_header": header, "after_header": header, "before": before, "after": after}


def _context(context: Optional[str]) -> str:
    return "" if context is None else context + "\n"


def _text(rules: Tuple[str, ...]) -> str:
    return "".join(rule + "\n" for rule in rules)
