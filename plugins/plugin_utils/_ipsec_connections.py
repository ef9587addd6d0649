# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One definition for a fleet into libreswan's connections of one host. No I/O: how addresses are found is handed in."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from ipaddress import ip_address
from typing import Any, NamedTuple

from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.fields import parse_ports
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import VERIFY_IPSEC
from ansible_collections.senet.firewall.plugins.module_utils._values.pairs import PAIRS, expand
from ansible_collections.senet.firewall.plugins.module_utils._values.parsing import parse_name
from ansible_collections.senet.firewall.plugins.module_utils._values.peers import SPD_TYPE
from ansible_collections.senet.firewall.plugins.plugin_utils._host_flows import (
    Addresses,
    FleetFlow,
    Groups,
    Side,
    fleet_flows,
    network,
)

PREFIX = "senet-"
# Each port is an IPsec policy of its own for each other host and address.
MOST_PORTS = 64
# By number, since libreswan looks names up in /etc/protocols, which a small host may not have.
_PROTOCOLS = {"tcp": 6, "udp": 17, "dccp": 33, "sctp": 132}


class Connection(NamedTuple):
    """What a host and another one say to each other about one port."""

    flow: str
    protocol: str
    port: int
    local: str
    remote: str
    # Whether this host has the port
    serves: bool

    @property
    def title(self) -> str:
        client, server = (self.remote, self.local) if self.serves else (self.local, self.remote)
        return f"{self.flow}: {client} -> {server}, {self.protocol} {self.port}"


def host_connections(
    flows: Any, host: str, groups: Groups, addresses: Addresses, ssh_ports: Collection[int]
) -> list[Connection]:
    """The connections of ``host`` out of the flows of all hosts, those with verify_source=ipsec.

    :raises SenetError: an item is malformed, a side is a network, two hosts have no address of the same family, or a
        port is one of ``ssh_ports``.
    """
    by_ipsec = [flow for flow in fleet_flows(flows, host, groups) if flow.raw.get("verify_source") == VERIFY_IPSEC]
    if not by_ipsec:
        raise SenetError(
            "No flow of the fleet has verify_source=ipsec, so IPsec would protect nothing; set it for the flows whose "
            "clients the servers' hosts are to verify."
        )
    found: set[Connection] = set()
    for flow in by_ipsec:
        is_client, is_server = host in flow.clients.hosts, host in flow.servers.hosts
        services = list(_services(flow, ssh_ports))
        for others, serves in ((flow.servers, False), (flow.clients, True)):
            if is_server if serves else is_client:
                pairs = list(_pairs_of_addresses(flow, host, others, addresses))
                found.update(
                    Connection(name, protocol, port, local, remote, serves)
                    for name, protocol, port in services
                    for local, remote in pairs
                )
    return sorted(found)


def options(connection: Connection, certificate: str | None) -> list[tuple[str, str]]:
    """The lines of a connection in libreswan's file. Both hosts prove their addresses, by the key that they share or by
    certificates that name them."""
    ours, theirs = (connection.port, 0) if connection.serves else (0, connection.port)
    protocol = _PROTOCOLS[connection.protocol]
    # In quotes, since a blank outside them is a syntax error, for which libreswan loads no connection of anybody
    proof = [("leftcert", f'"{certificate}"'), ("leftsendcert", "always")] if certificate else [("authby", "secret")]
    return [
        ("left", connection.local),
        ("leftid", connection.local),
        ("leftprotoport", f"{protocol}/{ours}"),
        ("right", connection.remote),
        ("rightid", connection.remote),
        ("rightprotoport", f"{protocol}/{theirs}"),
        *proof,
        ("ikev2", "insist"),
        ("type", "transport"),
        ("policy-label", f"system_u:object_r:{SPD_TYPE}:s0"),
        # A host that lost its associations does not say so: it is asked, and then associations are made anew.
        ("dpddelay", "10"),
        ("retransmit-timeout", "20s"),
        ("auto", "ondemand"),
    ]


def connection_name(connection: Connection, certificate: str | None, version: str) -> str:
    """A name that tells the content: libreswan's list of names then says whether what it has loaded is what is wanted.
    A name may have letters, digits, '.', '_' and '-' only. Of two connections with the same name it loads one."""
    content = repr((connection, options(connection, certificate), version if certificate else ""))
    return f"{PREFIX}{connection.flow}-{hashlib.sha256(content.encode()).hexdigest()[:16]}"


def _services(flow: FleetFlow, ssh_ports: Collection[int]) -> Iterator[tuple[str, str, int]]:
    """The name, the protocol and each port of the flows that one item stands for."""
    needed = {option: ["given by the sides"] for option in _needs(flow.raw)}
    # The domains differ by distribution; they do not count here.
    domains = {side: ["any_t"] for side in ("source", "destination")}
    for one in expand({**flow.raw, **domains, **needed}, None):
        name, protocol = parse_name(one.get("name")), str(one.get("protocol") or "tcp")
        if protocol not in _PROTOCOLS:
            raise SenetError(f"The flow '{name}' has the protocol {protocol!r}; use one of {', '.join(_PROTOCOLS)}.")
        found = parse_ports(name, _listed(one.get("ports")))
        ports = [port for ports in found for port in range(ports.low, ports.high + 1)]
        if len(ports) > MOST_PORTS:
            raise SenetError(
                f"The flow '{name}' has {len(ports)} ports, and libreswan needs a connection for each; list at most "
                f"{MOST_PORTS} for verify_source=ipsec."
            )
        for port in ports:
            if protocol == "tcp" and port in ssh_ports:
                raise SenetError(
                    f"The flow '{name}' has port {port}, on which this host is managed by SSH, and an IPsec that fails "
                    "would cut SSH off; take verify_source=ipsec from this flow."
                )
            yield name, protocol, port


def _listed(value: Any) -> list[Any]:
    """As Ansible makes a list of what is given for one."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",")]
    return list(value) if isinstance(value, Iterable) else [] if value is None else [value]


def _needs(raw: Mapping[str, Any]) -> tuple[str, ...]:
    pair = PAIRS.get(raw.get("pair", ""))
    return pair.needs if pair else ()


def _pairs_of_addresses(flow: FleetFlow, host: str, others: Side, addresses: Addresses) -> Iterator[tuple[str, str]]:
    """Each address of the host with each of the others' that has its family. What the host sends to itself needs no
    association."""
    own = [str(ip_address(text)) for text in map(_address, addresses(host))]
    sides = [(other, addresses(other)) for other in sorted(others.hosts - {host})]
    named = [text for text in others.addresses if not _loopback(text)]
    sides.extend((text, [_one_host(flow, text)]) for text in named if _address(text) not in own)
    for other, texts in sides:
        remotes = [remote for remote in map(_address, texts) if remote not in own]
        if not remotes:
            raise SenetError(
                f"The hosts '{host}' and '{other}' of the flow '{flow.name}' have the same address {texts[0]}; give "
                "each its own, or name a variable that has it."
            )
        matches = list(_matches(own, remotes))
        if not matches:
            raise SenetError(
                f"The host '{host}' and '{other}' of the flow '{flow.name}' have no address of the same family; give "
                "both an IPv4 or both an IPv6 address."
            )
        yield from matches


def _matches(own: Iterable[str], theirs: Collection[str]) -> Iterator[tuple[str, str]]:
    for local in own:
        for remote in theirs:
            if ip_address(local).version == ip_address(remote).version:
                yield local, remote


def _loopback(text: str) -> bool:
    found = network(text)
    return found is not None and found.is_loopback


def _one_host(flow: FleetFlow, text: str) -> str:
    found = network(text)
    if found is None or found.num_addresses > 1:
        raise SenetError(
            f"The flow '{flow.name}' names the network {text}, and labelled IPsec is set up with each host of its own; "
            "name the hosts, a group of them or their addresses."
        )
    return text


def _address(text: str) -> str:
    """An address without the length of its prefix, in its usual form."""
    return str(ip_address(str(text).partition("/")[0]))
