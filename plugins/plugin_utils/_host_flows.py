# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One definition for a fleet into the flows of one host. No I/O: how a host's addresses are found is handed in."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.fields import (
    Network,
    address_text,
    parse_networks,
    refuse_empty,
)
from ansible_collections.senet.firewall.plugins.module_utils._values.options import FLOW_OPTIONS
from ansible_collections.senet.firewall.plugins.module_utils._values.pairs import PAIRS

_SIDES = ("clients", "servers")
# The sides say these
_DERIVED = {"source_addresses": "clients", "destination_addresses": "servers"}
_OPTIONS = (*(option for option in (*FLOW_OPTIONS, "mode") if option not in _DERIVED), *_SIDES)
_LOOPBACK = ("127.0.0.0/8", "::1")

Groups = Mapping[str, Sequence[str]]
Addresses = Callable[[str], Sequence[str]]


class Side(NamedTuple):
    """Who is on one side of a flow: hosts of the inventory, and addresses that are none of its hosts'."""

    hosts: frozenset[str]
    addresses: tuple[str, ...]


class FleetFlow(NamedTuple):
    """A flow of all hosts, as it is given and with its sides."""

    name: str
    raw: Mapping[str, Any]
    clients: Side
    servers: Side


def host_flows(flows: Any, host: str, groups: Groups, addresses: Addresses) -> list[dict[str, Any]]:
    """The flows of ``host`` out of those of all hosts, as the module flows takes them.

    ``addresses`` has the addresses of a host of the inventory.

    :raises SenetError: an item is malformed, or a side names nobody.
    """
    result = []
    for flow in fleet_flows(flows, host, groups):
        limits = _limits(host, flow.clients, flow.servers, _needs(flow.raw), addresses)
        if limits:
            given = {key: value for key, value in flow.raw.items() if key not in _SIDES}
            minimal = {option: _minimal(flow.name, option, texts) for option, texts in limits.items()}
            result.append({**given, **minimal})
    return result


def fleet_flows(flows: Any, host: str, groups: Groups) -> list[FleetFlow]:
    """The flows of all hosts, with what their sides stand for.

    :raises SenetError: an item is malformed, a side names nobody, or there is no such host.
    """
    if not isinstance(flows, Sequence) or isinstance(flows, str) or not flows:
        raise SenetError("The flows of the fleet are not a list, or an empty one; list at least one flow.")
    if host not in groups.get("all", ()):
        raise SenetError(f"The host '{host}' is not in the inventory; give inventory_hostname.")
    result: dict[str, FleetFlow] = {}
    for raw in flows:
        name = _checked(raw)
        if name in result:
            raise SenetError(f"The flow '{name}' is listed twice; give each flow a name of its own.")
        clients, servers = (_side(name, side, raw[side], groups) for side in _SIDES)
        if not clients.hosts and not servers.hosts:
            raise SenetError(
                f"The flow '{name}' names no host of the inventory, so nothing would enforce it; name hosts or a group "
                "as its clients or servers."
            )
        result[name] = FleetFlow(name, raw, clients, servers)
    return list(result.values())


def _limits(
    host: str, clients: Side, servers: Side, needs: tuple[str, ...], addresses: Addresses
) -> dict[str, list[str]]:
    """What the flow of this host has in place of its sides; nothing where the host is on neither.

    A client's flow is about the servers alone. A server's flow is about whatever address it is reached at, so that none
    is left open; so is that of a host on both sides, which is its own client over loopback.
    """
    is_client, is_server = host in clients.hosts, host in servers.hosts
    limits: dict[str, list[str]] = {}
    if is_server:
        limits["source_addresses"] = _addresses(clients, addresses) + (list(_LOOPBACK) if is_client else [])
    elif is_client and "source_addresses" in needs:
        limits["source_addresses"] = list(addresses(host))
    if is_client and (not is_server or "destination_addresses" in needs):
        limits["destination_addresses"] = _addresses(servers, addresses)
    elif is_server and "destination_addresses" in needs:
        limits["destination_addresses"] = list(addresses(host))
    return limits


def _addresses(side: Side, addresses: Addresses) -> list[str]:
    return [*side.addresses, *(text for host in sorted(side.hosts) for text in addresses(host))]


def _minimal(name: str, option: str, texts: list[str]) -> list[str]:
    """The fewest prefixes that hold exactly these addresses, in one order."""
    return [address_text(network) for network in parse_networks(name, option, sorted(set(texts)))]


def _checked(raw: Any) -> str:
    """The name of a flow that says all it must, and nothing that is unknown."""
    if not isinstance(raw, Mapping):
        raise SenetError(f"The flow {raw!r} is not a dictionary; write name, pair, clients and servers.")
    name = raw.get("name") or raw.get("pair")
    if not name:
        raise SenetError("A flow of the fleet has neither name nor pair; give one of them.")
    for option in raw:
        if option in _DERIVED:
            raise SenetError(
                f"The flow '{name}' has {option}, which its {_DERIVED[option]} say; list the addresses there."
            )
        if option not in _OPTIONS:
            nearest = difflib.get_close_matches(str(option), _OPTIONS, n=1, cutoff=0)[0]
            raise SenetError(
                f"The flow '{name}' has the unknown option '{option}'; write '{nearest}' if you mean that."
            )
    for side in _SIDES:
        if not raw.get(side):
            raise SenetError(
                f"The flow '{name}' has no {side}; name groups, hosts or addresses, such as 192.0.2.0/24."
            )
    refuse_empty(dict(raw))
    return str(name)


def _side(name: str, side: str, raw: Any, groups: Groups) -> Side:
    hosts: set[str] = set()
    found = []
    for item in raw if isinstance(raw, (list, tuple)) else [raw]:
        known = isinstance(item, str)
        is_host, is_group = known and item in groups["all"], known and item in groups
        if is_host and is_group:
            raise SenetError(
                f"'{item}' of the {side} of the flow '{name}' is a host and a group as well; rename one of them."
            )
        if is_group and not groups[item]:
            raise SenetError(
                f"The group '{item}' of the {side} of the flow '{name}' has no hosts; add them, or leave the group out."
            )
        if is_group:
            hosts.update(groups[item])
        elif is_host:
            hosts.add(item)
        elif network(item) is not None:
            found.append(str(item))
        else:
            raise SenetError(
                f"{str(item)!r} of the {side} of the flow '{name}' is not a group, host or address; correct it, or "
                "add it to the inventory."
            )
    return Side(frozenset(str(host) for host in hosts), tuple(found))


def network(text: Any) -> Network | None:
    """The address or network of a text, if it is one."""
    try:
        return parse_networks("", "", [text])[0]
    except SenetError:
        return None


def _needs(raw: Mapping[str, Any]) -> tuple[str, ...]:
    pair = PAIRS.get(raw.get("pair", ""))
    return pair.needs if pair else ()
