# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What rules of iptables mean as flows between domains. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from ansible_collections.senet.firewall.plugins.module_utils._catalogue import PAIRS
from ansible_collections.senet.firewall.plugins.module_utils._model import (
    Flow,
    SenetError,
    flow_set,
    parse_confined,
    parse_flow,
)
from ansible_collections.senet.firewall.plugins.plugin_utils._iptables_rules import Rule

_FOLLOWING = {"ESTABLISHED", "RELATED"}
# Users that packages make for their service, on both distribution families
_USERS = {"apache": "httpd_t", "www-data": "httpd_t", "postgres": "postgresql_t", "mysql": "mysqld_t"}


class Meaning(NamedTuple):
    """Flows and confined domains as the module flows takes them, and a sentence on what each line became."""

    flows: list[dict[str, Any]]
    confine: list[str]
    notes: list[str]


def mean(rules: Sequence[Rule]) -> Meaning:
    """The flows that the rules ask for.

    :raises SenetError: a rule cannot be meant by flows, or two cannot be meant together.
    """
    notes: list[str] = []
    accepted: list[Rule] = []
    confine: set[str] = set()
    for rule in rules:
        if rule.client or rule.server:
            notes.append(_note(rule, "the match 'selinux' is in no kernel; labels and policy do what it says."))
        if rule.states and set(rule.states) <= _FOLLOWING:
            if rule.target != "ACCEPT":
                raise rule.wrong("it refuses packets of connections that a flow permits")
            notes.append(_note(rule, "nothing is needed, since labels follow the connection both ways."))
        elif rule.target == "ACCEPT":
            accepted.extend(_accept(rule, rules, notes))
        else:
            confine.update(_refuse(rule, rules, accepted, notes))
    flows = _flows(accepted, rules)
    if accepted and len({rule.family for rule in rules}) == 1:
        notes.append("All rules are for one family of addresses; a flow is for both.")
    for domain in sorted(confine):
        notes.append(
            f"'{domain}' is confined: name servers, loopback and its own listening ports need flows too, and no rule "
            "here names them."
        )
    return Meaning([_as_options(flow) for flow in flows], list(parse_confined(confine)), notes)


def _accept(rule: Rule, rules: Sequence[Rule], notes: list[str]) -> list[Rule]:
    before = [other for other in rules if other.target != "ACCEPT" and other.takes(rule)]
    if before:
        raise rule.wrong(f"line {before[0].line} refuses the same packets first, so it permits nothing")
    if rule.ports:
        if rule.user and rule.client:
            notes.append(_note(rule, f"the user '{rule.user}' is not asked, since the domain says more."))
        if rule.client and rule.chain == "INPUT":
            notes.append(_note(rule, "the client's host holds the client's domain to it; give both hosts the flow."))
        return [rule]
    if rule.client and rule.chain == "OUTPUT":
        where = f" through {rule.interface}" if rule.interface else ""
        notes.append(
            _note(
                rule,
                f"'{rule.client}' may send anything{where} unless it is confined; then list its services as flows with "
                f"their ports{' and interfaces: [' + rule.interface + ']' if rule.interface else ''}.",
            )
        )
        return []
    raise rule.wrong("it accepts packets without saying a domain and a port (--dport)")


def _refuse(rule: Rule, rules: Sequence[Rule], accepted: list[Rule], notes: list[str]) -> set[str]:
    """The domains that a rule confines; none if flows refuse already what it refuses."""
    before = [other for other in rules if other.takes(rule)]
    if before:
        notes.append(_note(rule, f"it is never reached, since line {before[0].line} matches the same packets first."))
        return set()
    if rule.ports:
        covered = [other for other in rules if other.target == "ACCEPT" and set(other.ports) & set(rule.ports)]
        if rule.client or rule.server:
            raise rule.wrong("a flow says who may, and everybody else is refused already")
        if not covered:
            raise rule.wrong("nobody is to reach this port, and a flow needs somebody who may")
        notes.append(_note(rule, f"nothing is needed, as the flow of line {covered[0].line} refuses everybody else."))
        return set()
    if rule.chain != "OUTPUT":
        raise rule.wrong("it refuses all that comes in, whoever it is for")
    domain = rule.client or _domain_of(rule, rules)
    notes.append(_note(rule, f"'{domain}' is confined to its flows, which holds for each process of it and no other."))
    return {domain}


def _domain_of(rule: Rule, rules: Sequence[Rule]) -> str:
    """The domain that a user's processes run in, by another rule or by what the packages do."""
    if not rule.user:
        raise rule.wrong("it refuses all that goes out, whoever sends it")
    for other in rules:
        if other.user == rule.user and other.client:
            return other.client
    if rule.user not in _USERS:
        raise rule.wrong(f"no line says in which domain the processes of the user '{rule.user}' run (--selinux-source)")
    return _USERS[rule.user]


def _flows(accepted: Iterable[Rule], rules: Sequence[Rule]) -> list[Flow]:
    merged: dict[tuple[str, ...], dict[str, Any]] = {}
    for rule in accepted:
        if not rule.protocol:
            raise rule.wrong("it has a port without a protocol (-p tcp)")
        source, destination = _ends(rule, rules)
        key = (source, destination, rule.protocol)
        known = merged.setdefault(key, {"rule": rule, "ports": [], "places": []})
        known["ports"].extend(rule.ports)
        known["places"].append(rule)
    flows: list[Flow] = []
    names: set[str] = set()
    for (source, destination, protocol), known in merged.items():
        raw = {
            "source": [source],
            "destination": [destination],
            "protocol": protocol,
            "ports": known["ports"],
            "source_addresses": _union([rule.source for rule in known["places"]]),
            "destination_addresses": _union([rule.destination for rule in known["places"]]),
            "interfaces": _union([(rule.interface,) if rule.interface else () for rule in known["places"]]),
        }
        rule = known["rule"]
        try:
            # The name must be one before the parts are known to be good.
            parsed = parse_flow({**raw, "name": "flow"})
        except SenetError as error:
            raise rule.wrong(f"it makes no flow, because: {str(error).rstrip('.')}") from error
        name = _name(parsed, names)
        names.add(name)
        flows.append(parsed._replace(name=name))
    return list(flow_set(flows).flows)


def _ends(rule: Rule, rules: Sequence[Rule]) -> tuple[str, str]:
    """The domains of a conversation: what a rule does not say, another on the same port or the catalogue does."""
    source, destination = rule.client, rule.server
    for other in rules:
        if set(other.ports) & set(rule.ports) and other.protocol == rule.protocol:
            source = source or other.client
            destination = destination or other.server
    if rule.user and not source:
        source = _domain_of(rule, rules)
    for pair in PAIRS.values():
        if pair.protocol == rule.protocol and set(pair.ports) & set(rule.ports):
            if source in pair.source:
                destination = destination or pair.destination[0]
            if destination in pair.destination:
                source = source or pair.source[0]
    if not source or not destination:
        end, option = ("client", "--selinux-source") if not source else ("server", "--selinux-dest")
        raise rule.wrong(f"no line and no pair of the catalogue says the {end}'s domain on this port ({option})")
    return source, destination


def _union(parts: list[tuple[str, ...]]) -> list[str]:
    """All of them; whatever is not limited once is not limited."""
    if not all(parts):
        return []
    return sorted({one for part in parts for one in part})


def _name(flow: Flow, taken: set[str]) -> str:
    ends = [domain[:-2] if domain.endswith("_t") else domain for domain in (flow.source[0], flow.destination[0])]
    stem = "".join(char if char.isalnum() else "_" for char in "_to_".join(ends).lower())
    stem = f"{stem[:24]}_{flow.ports[0].low}"
    stem = stem if stem[0].isalpha() else f"f{stem}"[:31]
    for number in range(1, len(taken) + 2):
        name = stem if number == 1 else f"{stem[: 30 - len(str(number))]}_{number}"
        if name not in taken:
            return name
    raise AssertionError(stem)


def _as_options(flow: Flow) -> dict[str, Any]:
    """As the module takes it, without what is its default."""
    options = flow.as_dict()
    del options["mode"]
    return options


def _note(rule: Rule, text: str) -> str:
    return f"Line {rule.line}: {text}"
