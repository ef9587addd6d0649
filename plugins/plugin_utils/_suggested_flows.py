# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The suggestions of many hosts as flows of each, with both ends known where both are among them. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_address, ip_network
from typing import Any

from ansible_collections.senet.firewall.plugins.module_utils._decisions.naming import flow_name, pair_of
from ansible_collections.senet.firewall.plugins.module_utils._decisions.suggestions import LOOPBACK
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.fields import EVERY_DOMAIN
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import flow_set
from ansible_collections.senet.firewall.plugins.module_utils._values.pairs import names
from ansible_collections.senet.firewall.plugins.module_utils._values.parsing import parse_flow

Flow = dict[str, Any]


def merge(results: Mapping[str, Mapping[str, Any]]) -> dict[str, list[Flow]]:
    """The flows of each host. A client's flow gets the servers' domains, and a server's the clients', where the host at
    the other end is among these; names of pairs follow from both.

    :raises SenetError: a result is none of the module's, or two flows of a host claim one packet.
    """
    given = {host: _flows(host, result) for host, result in sorted(results.items())}
    owners = _owners(results)
    merged = {
        host: [_completed(host, one["flow"], one["pair"], given, owners) for one in ones]
        for host, ones in given.items()
    }
    return {host: _named(host, flows, given[host]) for host, flows in merged.items()}


def _flows(host: str, result: Any) -> list[Flow]:
    found = result.get("suggestions") if isinstance(result, Mapping) else None
    if not isinstance(found, list) or not isinstance(result.get("addresses"), list):
        raise SenetError(
            f"What is given for the host '{host}' is not a result of flow_suggestion_info; give those of the hosts "
            "where the task succeeded."
        )
    return [{"flow": parse_flow(one["flow"]).as_dict(), "pair": one["pair"], "mode": one["flow"].get("mode")}
            for one in found]  # fmt: skip


def _owners(results: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The host of each address. One that several hosts have, as those of bridges for containers, is nobody's."""
    hosts: dict[str, set[str]] = {}
    for host, result in results.items():
        for text in result["addresses"]:
            hosts.setdefault(str(ip_address(text)), set()).add(host)
    return {address: min(own) for address, own in hosts.items() if len(own) == 1}


def _completed(
    host: str, flow: Flow, pair: str | None, given: Mapping[str, list[Flow]], owners: Mapping[str, str]
) -> tuple[Flow, str | None]:
    """A flow with the domains at its other end, and its pair."""
    servers = _hosts(host, flow.get("destination_addresses", ()), owners)
    clients = _hosts(host, flow.get("source_addresses", ()), owners)
    if servers:
        others = list(_facing(flow, servers, given, _is_server))
        flow = _with(flow, "destination", [other["destination"] for other in others])
    elif clients and flow["source"] == [EVERY_DOMAIN]:
        others = list(_facing(flow, clients, given, lambda other: _goes_to(other, host, owners)))
        flow = _with(flow, "source", [other["source"] for other in others])
    ends = [flow["source"], flow["destination"]]
    if pair is None and all(EVERY_DOMAIN not in end for end in ends):
        found = {
            pair_of(client, server, int(flow["ports"][0].split("-")[0]), flow["protocol"], None)
            for client in ends[0]
            for server in ends[1]
        }
        pair = found.pop() if len(found) == 1 else None
    return flow, pair


def _hosts(host: str, addresses: Any, owners: Mapping[str, str]) -> set[str]:
    """The other hosts that have these addresses; none unless each has one, loopback and the host's own aside."""
    networks = [ip_network(text) for text in addresses]
    others = [net for net in networks if not net.is_loopback and owners.get(str(net.network_address)) != host]
    found = [owners.get(str(net.network_address)) if net.num_addresses == 1 else None for net in others]
    return {name for name in found if name is not None} if None not in found else set()


def _facing(flow: Flow, hosts: set[str], given: Mapping[str, list[Flow]], fits: Any) -> Iterator[Flow]:
    """The flows of other hosts that are the other end of this one; nothing where one of them has none."""
    found = []
    for name in sorted(hosts):
        own = [
            one["flow"]
            for one in given[name]
            if one["flow"]["protocol"] == flow["protocol"]
            and set(one["flow"]["ports"]) & set(flow["ports"])
            and fits(one["flow"])
        ]
        if not own:
            return
        found.extend(own)
    yield from found


def _is_server(flow: Flow) -> bool:
    """Whether a flow is to its own host."""
    return LOOPBACK[0] in flow.get("destination_addresses", LOOPBACK)


def _goes_to(flow: Flow, host: str, owners: Mapping[str, str]) -> bool:
    return any(
        owners.get(str(ip_network(text).network_address)) == host for text in flow.get("destination_addresses", ())
    )


def _with(flow: Flow, side: str, ends: list[list[str]]) -> Flow:
    """The flow with these domains at one end, if they are known."""
    domains = sorted({domain for end in ends for domain in end})
    return {**flow, side: domains} if domains and EVERY_DOMAIN not in domains else flow


def _named(host: str, flows: list[tuple[Flow, str | None]], given: list[Flow]) -> list[Flow]:
    """The flows with names that fit both ends, and checked against each other."""
    taken: set[str] = set()
    named = []
    for (flow, pair), before in zip(flows, given, strict=True):
        name = flow["name"]
        if before["mode"] is None:
            domains = [flow["source"][0], flow["destination"][0]]
            port = int(flow["ports"][0].split("-")[0])
            name = str(names({"pair": pair, "protocol": flow["protocol"]})[0]) if pair else name
            if pair is None and flow != before["flow"]:
                name = flow_name(domains, port, flow["protocol"], taken)
            if name in taken:
                name = flow_name(domains, port, flow["protocol"], taken)
        taken.add(name)
        # The mode is the reviewer's, but for a flow that the host has
        kept = {key: value for key, value in flow.items() if key != "mode" or before["mode"] is not None}
        named.append({**kept, "name": name})
    try:
        flow_set(parse_flow(flow) for flow in named)
    except SenetError as error:
        raise SenetError(f"The suggestions of the host '{host}' do not fit together: {error}") from error
    return sorted(named, key=lambda flow: str(flow["name"]))
