# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flows for what was seen on a host, and what each would cut. No I/O.

A suggestion names those who were seen to talk, and a person reviews it: who was not seen would be refused.
"""

from ipaddress import ip_address
from typing import Any, Dict, Iterable, List, NamedTuple, Optional, Sequence, Set, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._decisions.advice import Known
from ansible_collections.senet.firewall.plugins.module_utils._decisions.conversations import (
    Conversations,
    Place,
    Service,
    by_domains,
)
from ansible_collections.senet.firewall.plugins.module_utils._decisions.flow_advice import SHARED, UNCONFINED
from ansible_collections.senet.firewall.plugins.module_utils._decisions.naming import (
    flow_name,
    pair_is_for_everybody,
    pair_of,
    servers_of,
)
from ansible_collections.senet.firewall.plugins.module_utils._decisions.preflight import SSH_DOMAIN, find_cuts
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.fields import EVERY_DOMAIN, Network
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import OBSERVE, Flow, FlowSet
from ansible_collections.senet.firewall.plugins.module_utils._values.pairs import PAIRS, names
from ansible_collections.senet.firewall.plugins.module_utils._values.parsing import parse_flow
from ansible_collections.senet.firewall.plugins.module_utils._values.processes import Process

LOOPBACK = ("127.0.0.0/8", "::1")
# Mail, names, the web: what anybody may be a client of, whoever was seen
_PUBLIC = (25, 53, 80, 443)
# Where clients get their source ports from (net.ipv4.ip_local_port_range)
_EPHEMERAL = range(32768, 61000)


class Suggestion(NamedTuple):
    """A flow, the pair of the catalogue that it is, and what it was made from. ``changes`` says that the host has a
    flow of this name, which would get what was seen beside its own."""

    flow: Dict[str, Any]
    pair: Optional[str]
    connections: int
    records: int
    notes: Tuple[str, ...] = ()
    changes: bool = False


class Skipped(NamedTuple):
    """A service for which there is no suggestion, and why."""

    protocol: str
    port: int
    domains: Tuple[str, ...]
    text: str

    def as_dict(self) -> Dict[str, Any]:
        """The row that the module returns."""
        return dict(self._asdict(), domains=list(self.domains))


def suggest(
    seen: Conversations, known: Known, running: Iterable[str]
) -> Tuple[List[Suggestion], List[Skipped]]:
    """The flows for what was seen, none for what the host's flows have already; ``running`` are the domains of its
    processes."""
    skipped = []  # type: List[Skipped]
    found = []  # type: List[Suggestion]
    _add_idle(seen, known, set(running))
    for place in sorted(seen.local):
        service = seen.local[place]
        reason = _why_not_local(place, service, seen)
        if reason:
            skipped.append(Skipped(place[0], place[1], tuple(sorted(service.source | service.destination)), reason))
        else:
            found.append(_of_service(place, service, seen, known))
    for place in sorted(seen.remote):
        for domains, addresses in by_domains(seen.remote[place]):
            reason = _why_not_remote(place, domains, known)
            if reason:
                skipped.append(Skipped(place[0], place[1], domains, reason))
            else:
                counts = seen.remote[place]
                found.append(
                    _of_remote(
                        place, domains, addresses, known,
                        sum(counts.connections[address] for address in addresses),
                        sum(counts.records[address] for address in addresses),
                    )
                )  # fmt: skip
    return _fitted(_joined(found), known, skipped), skipped


def row(suggestion: Suggestion, processes: Sequence[Process], own_pid: int) -> Dict[str, Any]:
    """A suggestion as the module returns it, with the sockets that it alone would cut now."""
    cuts = find_cuts(FlowSet((parse_flow(suggestion.flow),)), processes, own_pid)
    return {
        "flow": suggestion.flow,
        "pair": suggestion.pair,
        "changes": suggestion.changes,
        "connections": suggestion.connections,
        "records": suggestion.records,
        "notes": list(suggestion.notes),
        "cut": [cut.as_dict() for cut in cuts],
    }


def _add_idle(seen: Conversations, known: Known, running: Set[str]) -> None:
    """Services that the catalogue has a client for which runs here, although no connection was open just now."""
    for place, servers in seen.served.items():
        protocol, port = place
        if place in seen.local or port in _PUBLIC:
            continue
        clients = {
            client
            for client in running - {UNCONFINED}
            for server in servers
            for pair in [pair_of(client, server, port, protocol, known.distribution)]
            if pair is not None and not pair_is_for_everybody(pair)
        }
        if clients:
            service = seen.local[place] = Service()
            service.source |= clients


def _why_not_local(place: Place, service: Service, seen: Conversations) -> str:
    servers = seen.served.get(place, set()) | service.destination
    if SSH_DOMAIN in servers:
        return "This is how you log in: write a flow for it by hand, with every address that you come from."
    if not servers:
        return (
            "Nobody listens here on this port in the host's own network namespace, so the connection is redirected or "
            "goes to a container: write a flow for the port that answers."
        )
    if service.source == {UNCONFINED} and not service.clients:
        return (
            "The only clients run in 'unconfined_t', as every program of an unconfined user does: run what is meant to "
            "connect as a service in a domain of its own."
        )
    return ""


def _why_not_remote(place: Place, domains: Sequence[str], known: Known) -> str:
    if set(domains) == {UNCONFINED}:
        return (
            "The only clients run in 'unconfined_t', as every program of an unconfined user does: run what is meant to "
            "connect as a service in a domain of its own."
        )
    if place[1] in _EPHEMERAL and pair_of(domains[0], None, place[1], place[0], known.distribution) is None:
        return (
            "Clients get such ports as source ports, so this may be the answering end of a connection: write the flow "
            "by hand if a service has this port."
        )
    return ""


def _of_service(place: Place, service: Service, seen: Conversations, known: Known) -> Suggestion:
    """A flow to a service of this host."""
    port = place[1]
    source = sorted(service.source - {UNCONFINED})
    destination = sorted(seen.served.get(place, set()) | service.destination)
    pair = _common_pair(source or [EVERY_DOMAIN], destination, place, known)
    notes = _notes(service.source, destination)
    flow = {"source": source, "destination": destination}  # type: Dict[str, Any]
    needs = PAIRS[pair].needs if pair is not None else ()
    anybody = port in _PUBLIC or (pair is not None and pair_is_for_everybody(pair))
    if anybody:
        flow["source"] = [EVERY_DOMAIN]
        notes.append("Every domain may connect, since anybody may be a client of such a service.")
    if service.clients and (not anybody or "source_addresses" in needs):
        near = sorted(service.local_clients) if source else []
        flow["source_addresses"] = sorted(service.clients) + (_with_loopback(near) if source else [])
        flow["source"] = flow["source"] or [EVERY_DOMAIN]
        notes.append("Clients of other addresses than these, which were seen, are refused.")
    elif not service.clients and not anybody:
        notes.append("Clients on other hosts are not limited, since none was seen: add source_addresses to limit them.")
    if place in seen.remote or "destination_addresses" in needs:
        flow["destination_addresses"] = _with_loopback(known.addresses)
    return _made(flow, place, pair, service.connections, service.records, notes)


def _of_remote(
    place: Place, domains: Sequence[str], addresses: Sequence[str], known: Known, connections: int, records: int
) -> Suggestion:
    """A flow to a service of other hosts."""
    source = sorted(set(domains) - {UNCONFINED})
    pair = _common_pair(source, None, place, known)
    notes = _notes(domains, ())
    if pair is not None and pair_is_for_everybody(pair):
        source = [EVERY_DOMAIN]
        notes.append("Every domain may connect, since anybody may be a client of such a service.")
    flow = {
        "source": source,
        "destination": list(servers_of(pair, known.distribution)) if pair is not None else [EVERY_DOMAIN],
        "destination_addresses": list(addresses),
    }
    return _made(flow, place, pair, connections, records, notes)


def _common_pair(
    source: Sequence[str], destination: Optional[Sequence[str]], place: Place, known: Known
) -> Optional[str]:
    """The pair that all these clients and servers are of, if there is one."""
    found = {
        pair_of(client, server, place[1], place[0], known.distribution)
        for client in source
        for server in (destination if destination is not None else [None])
    }
    return found.pop() if len(found) == 1 else None


def _made(
    flow: Dict[str, Any], place: Place, pair: Optional[str], connections: int, records: int, notes: List[str]
) -> Suggestion:
    whole = dict(flow, protocol=place[0], ports=[str(place[1])])
    return Suggestion(whole, pair, connections, records, tuple(notes))


def _notes(source: Iterable[str], destination: Iterable[str]) -> List[str]:
    notes = []
    if UNCONFINED in source:
        notes.append(
            "Clients in 'unconfined_t' were seen and are left out, since every program of an unconfined user is there, "
            "root's among them."
        )
    if UNCONFINED in destination:
        notes.append(
            "The server runs in 'unconfined_t', so every program of an unconfined user may answer in its place: run it "
            "as a service in a domain of its own."
        )
    shared = sorted(set(SHARED).intersection(set(source) | set(destination)))
    notes.extend(
        "'{0}' is the domain of every service that has none of its own, and all of them may.".format(name)
        for name in shared
    )
    return notes


def addresses_elsewhere(addresses: Iterable[str]) -> List[str]:
    """Those at which other hosts know a host: neither loopback nor of one link alone."""
    parsed = {ip_address(text) for text in addresses}
    return sorted(str(address) for address in parsed if not address.is_loopback and not address.is_link_local)


def _with_loopback(addresses: Iterable[str]) -> List[str]:
    return list(LOOPBACK) + addresses_elsewhere(addresses)


def _joined(found: Iterable[Suggestion]) -> List[Suggestion]:
    """One flow for the ports of a pair that differ in nothing else."""
    kept = {}  # type: Dict[Tuple[Any, ...], Suggestion]
    for number, one in enumerate(found):
        rest = sorted((key, str(value)) for key, value in one.flow.items() if key != "ports")
        key = (one.pair, number if one.pair is None else tuple(rest))
        if key in kept:
            first = kept[key]
            kept[key] = first._replace(
                flow=dict(first.flow, ports=first.flow["ports"] + one.flow["ports"]),
                connections=first.connections + one.connections,
                records=first.records + one.records,
            )
        else:
            kept[key] = one
    return list(kept.values())


def _fitted(found: Iterable[Suggestion], known: Known, skipped: List[Skipped]) -> List[Suggestion]:
    """The suggestions with names, less what the host's flows say already; what they observe is added to them."""
    fitted = []  # type: List[Suggestion]
    flows = known.flows
    for one in found:
        named = dict(one.flow, name=_name(one, {flow.name for flow in flows.flows}))
        parsed = parse_flow(named)
        try:
            flows = flows.with_flows([parsed])
        except SenetError:
            more = _more(one, parsed, flows)
            if more is not None:
                flows = flows.with_flows([parse_flow(more.flow)])
                fitted = [other for other in fitted if other.flow["name"] != more.flow["name"]] + [more]
            elif not _permitted(parsed, flows):
                text = "A flow that the host has, or that is suggested, claims some of these packets: see flows_info."
                skipped.append(Skipped(parsed.protocol, parsed.ports[0].low, parsed.domains, text))
            continue
        fitted.append(one._replace(flow=_ordered(parsed)))
    return fitted


def _name(one: Suggestion, taken: Set[str]) -> str:
    flow = one.flow
    if one.pair is not None:
        name = str(names({"pair": one.pair, "protocol": flow["protocol"]})[0])
        if name not in taken:
            return name
    domains = [flow["source"][0], flow["destination"][0]]
    return flow_name(domains, int(flow["ports"][0]), flow["protocol"], taken)


def _claimants(parsed: Flow, flows: FlowSet) -> List[Flow]:
    return [
        flow
        for flow in flows.flows
        if flow.protocol == parsed.protocol
        and any(flow.has_port(ports.low) for ports in parsed.ports)
        and not flow.disjoint(parsed)
    ]


def _permitted(parsed: Flow, flows: FlowSet) -> bool:
    """Whether one of the flows has all that was seen."""
    return any(not _missing(parsed, flow) for flow in _claimants(parsed, flows))


def _missing(parsed: Flow, flow: Flow) -> Dict[str, List[str]]:
    """What was seen and a flow does not name, by option."""
    wanted, own = parsed.as_dict(), flow.as_dict()
    found = {
        side: [domain for domain in wanted[side] if domain not in own[side] and EVERY_DOMAIN not in own[side]]
        for side in ("source", "destination")
        if wanted[side] != [EVERY_DOMAIN]
    }
    if flow.source_addresses:
        found["source_addresses"] = [
            str(text)
            for text, network in zip(wanted.get("source_addresses", ()), parsed.source_addresses)
            if not any(_inside(network, net) for net in flow.source_addresses)
        ]
    return {option: more for option, more in found.items() if more}


def _inside(network: Network, other: Network) -> bool:
    return (
        network.version == other.version
        and network.prefixlen >= other.prefixlen
        and network.network_address in other
    )


def _more(one: Suggestion, parsed: Flow, flows: FlowSet) -> Optional[Suggestion]:
    """The flow that observes in the suggestion's place, with what it lacks; None where there is no such flow."""
    claimants = _claimants(parsed, flows)
    if len(claimants) != 1 or claimants[0].mode != OBSERVE:
        return None
    missing = _missing(parsed, claimants[0])
    if not missing:
        return None
    own = claimants[0].as_dict()
    own.update((option, sorted(own[option] + more)) for option, more in missing.items())
    notes = one.notes + ("The host's flow only observes, and keeps its mode; this is what it does not name yet.",)
    return one._replace(flow=own, changes=True, notes=notes)


def _ordered(flow: Flow) -> Dict[str, Any]:
    """The flow as the modules take it, without the mode, which is the reviewer's."""
    return {key: value for key, value in flow.as_dict().items() if key != "mode"}
