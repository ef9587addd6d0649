# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is there and what is wanted, as ordered steps from the one to the other. No I/O.

The order is the promise: policy before rules where packets have labels afterwards, rules before policy where they have
none, so that no packet ever carries a type that the loaded policy does not know (it would count as unlabelled). What a
port is labelled with before the rules change stays in the policy with its grants, as a retired type.
"""

from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._compile import cil, rule_sets
from ansible_collections.senet.firewall.plugins.module_utils._compile.rule_sets import RULE_SETS, Rules
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import UNLABELED_TYPE
from ansible_collections.senet.firewall.plugins.module_utils._values.layers import OWNER

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

    ``policy`` is the policy module's text and ``loaded`` whether the kernel has it; ``tables`` has a table per set
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
    """What a host shall have: policy text, rules per set, the text of flows.json; None for nothing of ours.
    Interfaces that are not named keep their contexts."""

    policy: Optional[str]
    rules: Mapping[str, Rules]
    intent: Optional[str]
    interfaces: Mapping[str, Optional[str]] = {}


class Step(NamedTuple):
    """One action. ``payload`` is the policy text, the restore input, or an interface's context; ``name`` is set for
    rules and tables, and is the interface's name."""

    action: str
    name: Optional[str] = None
    payload: Optional[str] = None

    def __str__(self) -> str:
        return _SAID[self.action].format(module=cil.MODULE_NAME, name=self.name)


_SAID = {
    ARM_GUARD: "arm the guard, which undoes the change unless it is confirmed",
    INSTALL_POLICY: "install the policy module {module}",
    REMOVE_POLICY: "remove the policy module {module}",
    CHECK_ACCESS: "ask the kernel for every running domain's access",
    RESTORE_RULES: "restore the {name} rules",
    DROP_TABLE: "drop the empty {name} table that was made for them",
    SET_INTERFACE: "give the interface {name} its context",
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
    sets = sorted(observed.tables, key=lambda name: (desired.rules[name] is None, name))
    rules = {name: _rule_steps(name, observed.tables[name], desired.rules[name]) for name in sets}
    freed, given = _interface_steps(observed, desired)
    if desired.policy is None:
        steps = freed + [step for name in sets for step in rules[name]] + given
        return tuple(steps + ([Step(REMOVE_POLICY)] if observed.policy is not None else []))

    early = _early([name for name in sets if rules[name]], desired)
    before = freed + [step for name in early for step in rules[name]]
    after = [step for name in sets if name not in early for step in rules[name]]
    install = []  # type: List[Step]
    if not cil.alike(observed.policy, desired.policy) or not observed.loaded:
        kept = (observed.tables[name].rules or () for name in sets if name not in early)
        carried = rule_sets.carried_types(rule for own in kept for rule in own)
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
    """The sets that change before the policy does: those whose labels go and have no successor, and before these
    what the layer owner puts in their place."""
    labelled = any(
        rules is not None and RULE_SETS[name].labels_packets for name, rules in desired.rules.items()
    )
    leaving = [
        name
        for name in changing
        if desired.rules[name] is None
        and (name == rule_sets.NETLABEL or (RULE_SETS[name].labels_packets and not labelled))
    ]
    if not any(RULE_SETS[name].labels_packets for name in leaving):
        return leaving
    owners = [name for name in changing if RULE_SETS[name].layer == OWNER]
    return [name for name in owners if desired.rules[name] is not None] + leaving


def _reached(observed: HostState, desired: Desired, steps: Iterable[Step]) -> HostState:
    """What is observed once these steps have led to what was desired."""
    installed = [step.payload for step in steps if step.action == INSTALL_POLICY]
    tables = {
        name: RULE_SETS[name].restored(table, desired.rules[name])
        for name, table in observed.tables.items()
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
        Step(RESTORE_RULES, name, RULE_SETS[name].restore_text(table, ()))
        for name, table in tables.items()
        if table.rules
    )


def removal_steps(tables: Mapping[str, Any]) -> Tuple[Step, ...]:
    """The steps that take everything of ours out of these tables."""
    return tuple(step for name, table in tables.items() for step in _rule_steps(name, table, None))


def retreat_steps(tables: Mapping[str, Any], policy: Optional[str], before: Desired) -> Tuple[Step, ...]:
    """The steps that take effect off a change at once, while ``policy`` is loaded: the rules of before where it judges
    them as it did before, as it does all of the layer owner, and none where it does not."""
    held = [name for name, rules in before.rules.items() if rules and name in tables]
    back = [name for name in sorted(held, key=_owner_first) if _means_the_same(name, policy, before)]
    steps = []  # type: List[Step]
    for name in back:
        rules = before.rules[name] or ()
        if not tables[name].installed(rules):
            steps.append(Step(RESTORE_RULES, name, RULE_SETS[name].restore_text(tables[name], rules)))
    return tuple(steps) + release_steps({name: table for name, table in tables.items() if name not in back})


def _owner_first(name: str) -> bool:
    return RULE_SETS[name].layer != OWNER


def _means_the_same(name: str, policy: Optional[str], before: Desired) -> bool:
    """Whether the rules of a set of before, under this policy, refuse whom they refused then, and nobody else."""
    if RULE_SETS[name].layer == OWNER:
        return True
    types = rule_sets.carried_types(before.rules[name] or ())
    if name == rule_sets.NETLABEL:
        # With it the interfaces' contexts count, and these come back with the policy
        same = not before.interfaces and cil.peer_grants(policy) == cil.peer_grants(before.policy)
    else:
        types = types.union({UNLABELED_TYPE})
        same = True
    known = cil.declared_types(policy).union({UNLABELED_TYPE})
    return same and types <= known and cil.grants(policy, types) == cil.grants(before.policy, types)


def as_desired(observed: HostState) -> Desired:
    """An observed state as one to return to."""
    rules = {name: table.rules if table.ours else None for name, table in observed.tables.items()}
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
    rules = {name: None if lines is None else tuple(lines) for name, lines in record["rules"].items()}
    return Desired(record["policy"], rules, record["intent"], record.get("interfaces", {}))


def diffs(observed: HostState, desired: Desired, steps: Iterable[Step]) -> List[Dict[str, Any]]:
    """What these steps change, for Ansible's ``--diff``: the policy module, the rules of each set, flows.json."""
    policy = None if desired.policy is None else observed.policy
    for step in steps:
        policy = step.payload if step.action == INSTALL_POLICY else policy
    result = [_diff("policy module " + cil.MODULE_NAME, observed.policy or "", policy or "")]
    for name, table in observed.tables.items():
        after = desired.rules[name] or ()
        result.append(_diff("{0} rules".format(name), _text(table.rules or ()), _text(after)))
    for name, context in sorted(desired.interfaces.items()):
        result.append(_diff("interface {0}".format(name), _context(observed.interfaces.get(name)), _context(context)))
    result.append(_diff("/etc/senet/flows.json", observed.intent or "", desired.intent or ""))
    return [diff for diff in result if diff["before"] != diff["after"]]


def _rule_steps(name: str, table: Any, rules: Rules) -> List[Step]:
    if rules is not None:
        if table.installed(rules):
            return []
        return [Step(RESTORE_RULES, name, RULE_SETS[name].restore_text(table, rules))]
    if not table.ours:
        return []
    steps = [Step(RESTORE_RULES, name, RULE_SETS[name].restore_text(table, None))]
    if RULE_SETS[name].leaves_empty_table(table):
        steps.append(Step(DROP_TABLE, name))
    return steps


def _diff(header: str, before: str, after: str) -> Dict[str, Any]:
    return {"before_header": header, "after_header": header, "before": before, "after": after}


def _context(context: Optional[str]) -> str:
    return "" if context is None else context + "\n"


def _text(rules: Tuple[str, ...]) -> str:
    return "".join(rule + "\n" for rule in rules)
