# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a job would have a server's host refuse permitted clients for want of labelled IPsec. No I/O."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import ENFORCE, VERIFY_IPSEC
from ansible_collections.senet.firewall.plugins.module_utils._values.pairs import names
from ansible_collections.senet.firewall.plugins.plugin_utils._host_flows import Groups, fleet_flows

_FIRST_OBSERVE = (
    "First roll {0} out to these hosts with mode=observe, then set up IPsec there with the role labelled_ipsec, "
    "then roll out with mode=enforce (docs/labelled-ipsec.md)."
)
_FIRST_TAKE_AWAY = (
    "First roll the flow out with verify_source=ipsec and mode=observe, then take IPsec away with "
    "labelled_ipsec_state=absent, then do this (docs/labelled-ipsec.md)."
)
_WIDEN = "Widen senet_hosts or the limit of the job."
# What a host on both sides has among its clients' addresses
_ITSELF = "::1"
_MOST_NAMES = 10

# By name of the flow
_Flows = Mapping[str, Mapping[str, Any]]


class Change(NamedTuple):
    """The flows of a host before the job and after it."""

    before: _Flows
    after: _Flows


class _Sides(NamedTuple):
    """The hosts on the sides of a flow; ``others`` says that addresses of no host are its clients too."""

    clients: frozenset[str]
    servers: frozenset[str]
    others: bool = False


def change(result: Mapping[str, Any], record: Mapping[str, Any]) -> Change:
    """What the module flows returned in check mode, and flows_info where that does not say what the host had."""
    after = result.get("flows") or []
    before = after
    if result.get("changed"):
        previous = result.get("previous_flows")
        before = record.get("flows") if previous is None else previous.get("flows", [])
        if before is None:
            raise SenetError("What a host of the job had is not known; give what flows_info returned there as well.")
    return Change(*({str(flow["name"]): flow for flow in flows} for flows in (before, after)))


def refusals(flows: Any, groups: Groups, hosts: Collection[str], changes: Mapping[str, Change]) -> list[str]:
    """Why a job must not be done: sentences for each flow, none if no permitted client is refused on the way.

    ``flows`` are those of the fleet. The sides of a flow that is not among them are taken from what the hosts have.
    ``changes`` are those of the ``hosts`` of the job.

    :raises SenetError: the flows of the fleet are malformed.
    """
    states = {host: changes.get(host, Change({}, {})) for host in hosts}
    named = {name for each in states.values() for own in each for name, flow in own.items() if _by_ipsec(flow)}
    defined = _defined(flows, groups, hosts) if named else {}
    found: list[str] = []
    for name in sorted(named):
        sides = defined.get(name)
        found.extend(_too_early(name, sides or _seen(name, states, "after"), states))
        found.extend(_too_late(name, sides or _seen(name, states, "before"), states))
    return found


def _too_early(name: str, sides: _Sides, states: Mapping[str, Change]) -> Iterator[str]:
    """Servers' hosts that would refuse clients which do not use IPsec yet."""
    enforcing: set[str] = set()
    lacking: set[str] = set()
    observed = False
    for server in sides.servers.intersection(states):
        clients = sides.clients - {server}
        if _begins(name, states[server]) and (clients or sides.others):
            needed = {server, *clients}
            without = {host for host in needed if host not in states or not _by_ipsec(states[host].before.get(name))}
            if without:
                enforcing.add(server)
                lacking.update(without)
                observed = observed or states[server].after[name].get("mode") != ENFORCE
    since = "since an enforced flow has the same destination, " if observed else ""
    subject = f"{_listed(enforcing)} would enforce the flow '{name}' with verify_source=ipsec, {since}and"
    known, unknown = lacking.intersection(states), lacking.difference(states)
    if known:
        have = "does not have" if len(known) == 1 else "do not have"
        yield (
            f"{subject} {_listed(known)} {have} this flow with verify_source=ipsec yet, so permitted clients would be "
            f"refused. {_FIRST_OBSERVE.format('the flow and that one' if observed else 'the flow')}"
        )
    if unknown:
        yield (
            f"{subject} {_absent(unknown)}, so nobody knows whether its clients there have this flow with "
            f"verify_source=ipsec already. {_WIDEN}"
        )


def _too_late(name: str, sides: _Sides, states: Mapping[str, Change]) -> Iterator[str]:
    """Clients' hosts that would not use IPsec any more while a server's host still refuses them without it."""
    losing: set[str] = set()
    blocking: set[str] = set()
    for client in sides.clients.intersection(states):
        before, after = (own.get(name) for own in states[client])
        if not _by_ipsec(before) or _by_ipsec(after):
            continue
        servers = sides.servers - {client}
        enforcing = {
            server
            for server in servers.intersection(states)
            if any(_enforced(name, flows) for flows in states[server])
            # A client that the flow does not have any more
            and not (after is None and _by_ipsec(states[server].after.get(name)))
        }
        if enforcing or servers.difference(states):
            losing.add(client)
            blocking.update(enforcing, servers.difference(states))
    subject = f"{_listed(losing)} would lose verify_source=ipsec of the flow '{name}',"
    known, unknown = blocking.intersection(states), blocking.difference(states)
    if known:
        enforces = "enforces" if len(known) == 1 else "enforce"
        yield (
            f"{subject} which {_listed(known)} {enforces}, so permitted clients would be refused. {_FIRST_TAKE_AWAY}"
        )
    if unknown:
        yield f"{subject} and {_absent(unknown)}, so nobody knows whether it is enforced there. {_WIDEN}"


def _defined(flows: Any, groups: Groups, hosts: Iterable[str]) -> dict[str, _Sides]:
    """The sides of the flows of the fleet, by the names that the flows have on a host."""
    if not flows:
        return {}
    found: dict[str, _Sides] = {}
    for flow in fleet_flows(flows, next(iter(hosts)), groups):
        sides = _Sides(flow.clients.hosts, flow.servers.hosts, bool(flow.clients.addresses))
        found.update((str(name), sides) for name in names(flow.raw))
    return found


def _seen(name: str, states: Mapping[str, Change], when: str) -> _Sides:
    """The sides of a flow that some hosts have: a server's flow has the clients' addresses. One that has the servers'
    too, as the flows of some pairs, may be either's."""
    having = {host: getattr(each, when)[name] for host, each in states.items() if name in getattr(each, when)}
    sources = {host: flow.get("source_addresses") or () for host, flow in having.items()}
    clients = frozenset(
        host
        for host, addresses in sources.items()
        if not addresses or _ITSELF in addresses or having[host].get("destination_addresses")
    )
    return _Sides(clients, frozenset(host for host, addresses in sources.items() if addresses))


def _by_ipsec(flow: Mapping[str, Any] | None) -> bool:
    return flow is not None and flow.get("verify_source") == VERIFY_IPSEC


def _enforced(name: str, flows: _Flows) -> bool:
    """Whether a host with these flows refuses clients of this one on other hosts without IPsec."""
    flow = flows.get(name)
    return _by_ipsec(flow) and (_holds(flow) or not _enforced_domains(flows).isdisjoint(_destination(flow)))


def _begins(name: str, state: Change) -> bool:
    """Whether a host begins to refuse them. One whose destination is enforced already on behalf of another flow has
    refused them before, and so it does if the flow is observed there."""
    before, after = (flows.get(name) for flows in state)
    if _holds(after):
        return not _holds(before)
    held = _enforced_domains(state.after) - _enforced_domains(state.before)
    return _by_ipsec(after) and not held.isdisjoint(_destination(after))


def _holds(flow: Mapping[str, Any] | None) -> bool:
    return flow is not None and _by_ipsec(flow) and flow.get("mode") == ENFORCE


def _enforced_domains(flows: _Flows) -> set[str]:
    """The destinations that receive nothing from other hosts without IPsec, whatever the flow: peer labels know
    domains alone."""
    return {domain for flow in flows.values() if _holds(flow) for domain in _destination(flow)}


def _destination(flow: Mapping[str, Any] | None) -> Collection[str]:
    return (flow or {}).get("destination") or ()


def _absent(hosts: Collection[str]) -> str:
    return f"{_listed(hosts)} {'is' if len(hosts) == 1 else 'are'} not among the hosts of this job"


def _listed(hosts: Collection[str]) -> str:
    """Hosts as a sentence lists them; the first of many."""
    ordered = sorted(hosts)
    shown = ordered if len(ordered) <= _MOST_NAMES else [*ordered[:_MOST_NAMES], f"{len(ordered) - _MOST_NAMES} others"]
    return " and ".join(filter(None, [", ".join(shown[:-1]), *shown[-1:]]))
