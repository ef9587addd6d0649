# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What rules of iptables mean as flows between domains. No I/O."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.fields import (
    EVERY_DOMAIN,
    parse_confined,
    parse_ports,
)
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import Flow, flow_set
from ansible_collections.senet.firewall.plugins.module_utils._values.pairs import PAIRS
from ansible_collections.senet.firewall.plugins.module_utils._values.parsing import parse_flow
from ansible_collections.senet.firewall.plugins.plugin_utils._iptables_rules import Policy, Rule

_FOLLOWING = {"ESTABLISHED", "RELATED"}
# Parts of a flow of which two may differ in one and still be one flow
_PARTS = ("source", "ports", "source_addresses", "destination_addresses", "interfaces")
# Users that packages make for their service, on both distribution families
_USERS = {"apache": "httpd_t", "www-data": "httpd_t", "postgres": "postgresql_t", "mysql": "mysqld_t"}


class Meaning(NamedTuple):
    """Flows and confined domains as the module flows takes them, and a sentence on what each line became."""

    flows: list[dict[str, Any]]
    confine: list[str]
    notes: list[str]


class _Box(NamedTuple):
    """What one or more rules accept: every combination of these parts, and nothing else."""

    rule: Rule
    protocol: str
    destination: str
    parts: dict[str, frozenset[str]]


def mean(rules: Sequence[Rule], policies: Iterable[Policy] = ()) -> Meaning:
    """The flows that the rules ask for, with a note on each policy that they cannot mean.

    :raises SenetError: a rule cannot be meant by flows, or two cannot be meant together.
    """
    notes: list[str] = []
    accepted: list[Rule] = []
    confine: set[str] = set()
    for rule in rules:
        if rule.client or rule.server:
            notes.append(_note(rule, "no kernel has the match 'selinux'; labels and policy do what it describes."))
        if rule.states and set(rule.states) <= _FOLLOWING:
            if rule.target != "ACCEPT":
                raise rule.wrong("it refuses packets of connections that a flow permits")
            notes.append(_note(rule, "nothing is needed, since labels follow the connection both ways."))
        elif rule.states and "NEW" not in rule.states:
            state = rule.states[0]
            if rule.target == "ACCEPT":
                raise rule.wrong(f"packets in the state '{state}' have the label of their ports, like all others")
            notes.append(_note(rule, f"nothing is needed, since packets in the state '{state}' are labelled too."))
        elif rule.target == "ACCEPT":
            accepted.extend(_accept(rule, rules, notes))
        else:
            confine.update(_refuse(rule, rules, notes))
    notes.extend(_policy_note(policy) for policy in policies if policy.target == "DROP")
    flows = _flows([_box(rule, rules) for rule in accepted])
    if accepted and len({rule.family for rule in rules}) == 1:
        notes.append("All rules are for one address family; a flow applies to both.")
    for domain in sorted(confine):
        notes.append(
            f"'{domain}' is confined: name servers, loopback and its own listening ports need flows too, and no rule "
            "here names them."
        )
    return Meaning([_as_options(flow) for flow in flows], list(parse_confined(confine)), notes)


def _policy_note(policy: Policy) -> str:
    if policy.chain == "FORWARD":
        said = "flows apply to what the host itself sends and receives; keep this policy of FORWARD."
        return f"Line {policy.line}: {said}"
    verb = "sends" if policy.chain == "OUTPUT" else "receives"
    return (
        f"Line {policy.line}: no flow refuses everything else that the host {verb}, as the policy DROP of "
        f"{policy.chain} does: what no flow names stays open to every domain that is not confined. Keep the policy "
        "beside the flows, or confine the domains that it is meant for."
    )


def _accept(rule: Rule, rules: Sequence[Rule], notes: list[str]) -> list[Rule]:
    for other in rules:
        if other.target != "ACCEPT" and other.may_be_before(rule) and other.meets(rule):
            if other.covers(rule):
                raise rule.wrong(f"line {other.line} refuses the same packets first, so it permits nothing")
            if rule.ports:
                raise rule.wrong(f"line {other.line} refuses a part of its packets first, and a flow has no exceptions")
    if rule.ports:
        if not (rule.user or rule.client or rule.server):
            raise rule.wrong("it permits everybody, whatever the domain; name the client's (--selinux-source)")
        if rule.user and rule.client:
            notes.append(
                _note(
                    rule,
                    f"the user '{rule.user}' is not checked, since the domain is more precise; to check both, give "
                    f"the flow users: [{rule.user}] and the host layers: [selinux, owner].",
                )
            )
        if rule.client and rule.chain == "INPUT":
            notes.append(
                _note(
                    rule,
                    "the client's host checks the client's domain, so give both hosts the flow; with verify_source: "
                    "loopback the server's kernel checks clients of its own host as well.",
                )
            )
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


def _refuse(rule: Rule, rules: Sequence[Rule], notes: list[str]) -> set[str]:
    """The domains that a rule confines; none if flows refuse already what it refuses."""
    first = next((other for other in rules if other.before(rule) and other.covers(rule)), None)
    if first is not None:
        notes.append(_note(rule, f"it is never reached, since line {first.line} matches the same packets first."))
        return set()
    if rule.ports:
        if rule.client or rule.server or rule.user:
            raise rule.wrong("a flow names who may connect, and refuses everybody else already")
        line = _closed_by(rule, rules)
        notes.append(_note(rule, f"nothing is needed, as the flow of line {line} refuses everybody else."))
        return set()
    if rule.chain != "OUTPUT":
        raise rule.wrong("it refuses everything that comes in, whatever domain receives it")
    for word in (rule.protocol, *rule.source, *rule.destination, rule.interface):
        if word:
            raise rule.wrong(
                f"it refuses only packets with '{word}', and a confined domain is refused everything but its flows"
            )
    domain = rule.client or _domain_of(rule, rules)
    notes.append(_note(rule, f"'{domain}' is confined to its flows: every process in that domain is, and no other."))
    return {domain}


def _closed_by(rule: Rule, rules: Sequence[Rule]) -> int:
    """The line of a flow in whose place everything that a rule refuses is."""
    closing = [
        other
        for other in rules
        if other.target == "ACCEPT"
        and other.ports
        and other.protocol == rule.protocol
        and other.destination in ((), rule.destination)
        and other.interface in ("", rule.interface)
    ]
    # Ranges that touch are one, so what is covered is within one of them.
    covered = parse_ports("", [port for other in closing for port in other.ports] or rule.ports)
    for ports in parse_ports("", rule.ports):
        if not closing or not any(one.low <= ports.low and ports.high <= one.high for one in covered):
            raise rule.wrong(f"it lets nobody reach port {ports}, and a flow needs at least one domain that may")
    return closing[0].line


def _domain_of(rule: Rule, rules: Sequence[Rule]) -> str:
    """The domain that a user's processes run in, by another rule or by what the packages do."""
    if not rule.user:
        raise rule.wrong("it refuses everything that goes out, whatever domain sends it")
    for other in rules:
        if other.user == rule.user and other.client:
            return other.client
    if rule.user not in _USERS:
        raise rule.wrong(f"no line names the domain of the processes of the user '{rule.user}' (--selinux-source)")
    return _USERS[rule.user]


def _box(rule: Rule, rules: Sequence[Rule]) -> _Box:
    if not rule.protocol:
        raise rule.wrong("it has a port without a protocol (-p tcp)")
    source, destination = _ends(rule, rules)
    interfaces = (rule.interface,) if rule.interface else ()
    values = map(frozenset, ((source,), rule.ports, rule.source, rule.destination, interfaces))
    return _Box(rule, rule.protocol, destination, dict(zip(_PARTS, values, strict=True)))


def _merged(boxes: list[_Box]) -> list[_Box]:
    """The boxes, two joined wherever that accepts what both do and nothing else: where they differ in one part."""
    for number, first in enumerate(boxes):
        for second in boxes[number + 1:]:
            if (first.protocol, first.destination) != (second.protocol, second.destination):
                continue
            differing = [name for name in _PARTS if first.parts[name] != second.parts[name]]
            if len(differing) > 1:
                continue
            joined = {name: _either(first.parts[name], second.parts[name]) for name in differing}
            rest = [box for box in boxes if box is not first and box is not second]
            return _merged([first._replace(parts={**first.parts, **joined}), *rest])
    return boxes


def _either(one: frozenset[str], other: frozenset[str]) -> frozenset[str]:
    """What is not limited in one is not limited at all."""
    return one | other if one and other else frozenset()


def _flows(boxes: list[_Box]) -> list[Flow]:
    flows: list[Flow] = []
    for box in sorted(_merged(boxes), key=lambda box: box.rule.line):
        parts = {name: sorted(values) for name, values in box.parts.items()}
        raw = {**parts, "destination": [box.destination], "protocol": box.protocol}
        try:
            # The name must be one before the parts are known to be good.
            parsed = parse_flow({**raw, "name": "flow"})
            flows = list(flow_set([*flows, parsed._replace(name=_name(parsed, {flow.name for flow in flows}))]).flows)
        except SenetError as error:
            raise box.rule.wrong(f"it cannot become a flow: {str(error).rstrip('.')}") from error
    return flows


def _ends(rule: Rule, rules: Sequence[Rule]) -> tuple[str, str]:
    """The domains of a conversation: what a rule does not say, another on the same port or the catalogue does."""
    source, destination = rule.client, rule.server
    for other in rules:
        if other.ports and other.protocol == rule.protocol and other.meets(rule):
            source = source or other.client
            destination = destination or other.server
    if rule.user and not source:
        source = _domain_of(rule, rules)
    pairs = [pair for pair in PAIRS.values() if rule.protocol in pair.protocols and set(pair.ports) & set(rule.ports)]
    if source and not destination:
        destination = _only(pair.servers for pair in pairs if source in pair.clients)
    elif destination and not source:
        source = _only(pair.clients for pair in pairs if destination in pair.servers)
    if not source or not destination:
        end, option = ("client", "--selinux-source") if not source else ("server", "--selinux-dest")
        raise rule.wrong(f"no line and no pair of the catalogue names the {end}'s domain for this port ({option})")
    return source, destination


def _only(ends: Iterable[Collection[str]]) -> str:
    """The one domain that all pairs of the catalogue name, so that nothing is guessed; empty if there is none."""
    domains = {domain for end in ends for domain in end}
    return domains.pop() if len(domains) == 1 and EVERY_DOMAIN not in domains else ""


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
