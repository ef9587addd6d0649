# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who talks to whom on a host: its sockets, and what its flows observed, by service. No I/O."""

from ipaddress import ip_address
from typing import Dict, Iterable, List, NamedTuple, Optional, Sequence, Set, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._decisions.advice import Known
from ansible_collections.senet.firewall.plugins.module_utils._decisions.denials import CLIENT, Group
from ansible_collections.senet.firewall.plugins.module_utils._decisions.flow_advice import protocol_of
from ansible_collections.senet.firewall.plugins.module_utils._values.peers import KERNEL
from ansible_collections.senet.firewall.plugins.module_utils._values.processes import Process
from ansible_collections.senet.firewall.plugins.module_utils._values.records import OBSERVED
from ansible_collections.senet.firewall.plugins.module_utils._values.sockets import Socket

# A protocol and the port of a service
Place = Tuple[str, int]
# Connections that are not, or not yet, made
_ATTEMPTS = ("syn_sent", "syn_recv", "new_syn_recv", "close")


class Service:
    """A service of this host: the domains of its clients here and of its servers, and the addresses of its clients, of
    those elsewhere apart."""

    def __init__(self) -> None:
        self.source = set()  # type: Set[str]
        self.destination = set()  # type: Set[str]
        self.local_clients = set()  # type: Set[str]
        self.clients = set()  # type: Set[str]
        self.connections = 0
        self.records = 0


class Remote:
    """A service of other hosts: by address, the domains of its clients here."""

    def __init__(self) -> None:
        self.sources = {}  # type: Dict[str, Set[str]]
        self.connections = {}  # type: Dict[str, int]
        self.records = {}  # type: Dict[str, int]


class Conversations(NamedTuple):
    """What was seen: the services of this host, those of others, and who listens here."""

    local: Dict[Place, Service]
    remote: Dict[Place, Remote]
    served: Dict[Place, Set[str]]


def conversations(processes: Sequence[Process], groups: Iterable[Group], known: Known) -> Conversations:
    """Who talks to whom, and who tried where a flow or a confinement observes.

    Processes in other network namespaces are left out, since rules hold in one. So are connections that are only tried.
    """
    here = _namespace(processes)
    mine = [process for process in processes if process.network_namespace in (here, None)]
    seen = Conversations({}, {}, _served(mine))
    for process in mine:
        for sock in process.connected:
            domain = _domain(process, sock)
            if domain is not None and sock.state not in _ATTEMPTS:
                _add_socket(seen, sock, domain, known)
    for group in groups:
        _add_group(seen, group, known)
    return seen


def is_near(address: str, known: Known) -> bool:
    """Whether an address is one of the host's own."""
    text = address.partition("%")[0]
    return text in known.addresses or ip_address(text).is_loopback


def _namespace(processes: Sequence[Process]) -> Optional[int]:
    """That of process 1, where the rules are."""
    return next((process.network_namespace for process in processes if process.pid == 1), None)


def _domain(process: Process, sock: Socket) -> Optional[str]:
    return sock.domain or (process.context.type if process.context is not None else None)


def _served(processes: Iterable[Process]) -> Dict[Place, Set[str]]:
    found = {}  # type: Dict[Place, Set[str]]
    for process in processes:
        for sock in process.listening:
            domain = _domain(process, sock)
            if domain is not None:
                found.setdefault((sock.protocol, sock.local_port), set()).add(domain)
    return found


def _add_socket(seen: Conversations, sock: Socket, domain: str, known: Known) -> None:
    if sock.remote_address is None or sock.remote_port is None:
        return
    here, there = (sock.protocol, sock.local_port), (sock.protocol, sock.remote_port)
    near = is_near(sock.remote_address, known)
    # Some servers ask others from their own port; the lower port is then the service's.
    if here in seen.served and (there not in seen.served or sock.local_port <= sock.remote_port):
        service = seen.local.setdefault(here, Service())
        service.destination.add(domain)
        # A client of this host is counted at its own socket.
        if not near:
            service.clients.add(sock.remote_address.partition("%")[0])
            service.connections += 1
    elif near:
        service = seen.local.setdefault(there, Service())
        service.source.add(domain)
        service.local_clients.add(sock.local_address.partition("%")[0])
        service.connections += 1
    else:
        address = sock.remote_address.partition("%")[0]
        _add_remote(seen, there, address, domain).connections[address] += 1


def _add_remote(seen: Conversations, place: Place, address: str, domain: str) -> Remote:
    remote = seen.remote.setdefault(place, Remote())
    remote.sources.setdefault(address, set()).add(domain)
    remote.connections.setdefault(address, 0)
    remote.records.setdefault(address, 0)
    return remote


def _add_group(seen: Conversations, group: Group, known: Known) -> None:
    """Records of packets alone: a connect that the policy refuses does not belong to a flow."""
    key = group.key
    if key.verdict != OBSERVED or key.owner or key.what[0] or key.port is None or key.who == KERNEL:
        return
    place = (protocol_of(group, known), key.port)
    named = {domain for flow in known.flows.flows if flow.name == key.flow for domain in flow.destination}
    if key.side != CLIENT:
        service = seen.local.setdefault(place, Service())
        service.destination.add(key.who)
        service.clients.update(address for address in group.clients if not is_near(address, known))
        service.records += group.count
        return
    for address in sorted(group.servers):
        if is_near(address, known):
            service = seen.local.setdefault(place, Service())
            service.source.add(key.who)
            service.destination.update(named)
            service.local_clients.update(group.clients)
            service.records += group.count
        else:
            _add_remote(seen, place, address, key.who).records[address] += group.count


def by_domains(remote: Remote) -> List[Tuple[Tuple[str, ...], List[str]]]:
    """The addresses of a service elsewhere, those with the same clients together."""
    found = {}  # type: Dict[Tuple[str, ...], List[str]]
    for address in sorted(remote.sources):
        found.setdefault(tuple(sorted(remote.sources[address])), []).append(address)
    return sorted(found.items())
