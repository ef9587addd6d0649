# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which running processes a set of flows would cut, and which of them it does not mean to. No I/O."""

import ipaddress
from typing import Any, Container, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Set

from ansible_collections.senet.firewall.plugins.module_utils._values.fields import Network
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import (
    ENFORCE,
    VERIFY_IPSEC,
    Flow,
    FlowSet,
    PeerLabel,
)
from ansible_collections.senet.firewall.plugins.module_utils._values.peers import KERNEL, LOOPBACK
from ansible_collections.senet.firewall.plugins.module_utils._values.processes import Process
from ansible_collections.senet.firewall.plugins.module_utils._values.sockets import Socket

SSH_DOMAIN = "sshd_t"


class Cut(NamedTuple):
    """A socket that loses its traffic, or would if the mode were enforce.

    ``flow`` is empty where it is its domain's confinement that takes it, the peer label ``label``, or the context of
    ``interface``; ``meant`` is True for what these are for.
    """

    domain: str
    flow: str
    pid: int
    command: str
    socket: str
    mode: str
    meant: bool
    label: str = ""
    interface: str = ""

    def as_dict(self) -> Dict[str, Any]:
        """The cut as the module returns it."""
        place = {"interface": self.interface} if self.interface else {}  # type: Dict[str, Any]
        return dict(place, **self._common())

    def _common(self) -> Dict[str, Any]:
        return {
            "domain": self.domain,
            "flow": self.flow or None,
            "label": self.label or None,
            "pid": self.pid,
            "command": self.command,
            "socket": self.socket,
            "mode": self.mode,
        }

    def __str__(self) -> str:
        return "'{0}' ({1}, pid {2}, {3}) by {4}".format(
            self.domain,
            self.command,
            self.pid,
            self.socket,
            _taker(self),
        )


def find_cuts(flows: FlowSet, processes: Sequence[Process], own_pid: int) -> List[Cut]:
    """The sockets whose packets the flows' labels would take from their domains.

    Labels follow ports on both ends: a flow's port here makes this the server's side, there the client's. A cut is
    meant where a client loses its way to the service, where a destination loses a client of another address, and
    where a confined domain loses what no flow allows. It is not meant where somebody serves a flow's port without
    being its destination, where a server's peer happens to use such a port, and never for the processes that this
    change came through. An interface is not looked at: a socket does not tell which one its packets take.
    """
    protected = lineage(processes, own_pid)
    served = {(sock.protocol, sock.local_port) for process in processes for sock in process.listening}
    cuts = set()
    for process in processes:
        for sock in process.listening + process.connected:
            domain = _domain_of(process, sock)
            if domain is None:
                continue
            is_client = not sock.is_listening and (sock.protocol, sock.local_port) not in served
            wanted = domain != SSH_DOMAIN and process.pid not in protected
            verdict = _verdict(flows, domain, sock, is_client)
            if verdict is not None:
                meant = verdict.meant and wanted
                cuts.add(Cut(domain, verdict.flow, process.pid, process.command, _said(sock), verdict.mode, meant))
            label = _unheard(flows, domain, sock)
            if label:
                cuts.add(Cut(domain, "", process.pid, process.command, _said(sock), ENFORCE, wanted, label))
    return sorted(cuts)


def ipsec_cuts(
    before: FlowSet,
    flows: FlowSet,
    processes: Sequence[Process],
    own_pid: int,
    addresses: Mapping[str, Sequence[str]],
) -> List[Cut]:
    """The connections with other hosts that flows with verify_source=ipsec take from their destinations, other than
    those that it was so for before, on a host without labelled IPsec; ``addresses`` are those of each interface."""
    old = _verified_by_ipsec(before)
    held = {domain: flow for domain, flow in _verified_by_ipsec(flows).items() if domain not in old}
    protected = lineage(processes, own_pid)
    cuts = set()
    for process in processes:
        for sock in process.connected:
            domain = _domain_of(process, sock)
            if domain not in held or sock.remote_address is None or interface_of(sock, addresses) == LOOPBACK:
                continue
            if _labelled_for(flows, domain, sock):
                continue
            meant = domain != SSH_DOMAIN and process.pid not in protected
            cuts.add(Cut(domain, held[domain], process.pid, process.command, _said(sock), ENFORCE, meant))
    return sorted(cuts)


def _domain_of(process: Process, sock: Socket) -> Optional[str]:
    """The child of sshd is in its user's domain on some distributions, and its socket is still sshd_t."""
    return sock.domain or (process.context.type if process.context else None)


def _verified_by_ipsec(flows: FlowSet) -> Dict[str, str]:
    """The domains that receive from other hosts by labelled IPsec alone, each with a flow that says so."""
    return {
        domain: flow.name
        for flow in flows.flows
        if flow.verify_source == VERIFY_IPSEC and flow.mode == ENFORCE
        for domain in flow.destination
    }


def interface_of(sock: Socket, addresses: Mapping[str, Sequence[str]]) -> Optional[str]:
    """The interface that a connection's packets take, by its own address; None where it has no other end, or no
    interface has the address. What a host sends to itself takes lo."""
    if sock.remote_address is None:
        return None
    local, remote = (text.partition("%")[0] for text in (sock.local_address, sock.remote_address))
    names = {address: name for name, own in addresses.items() for address in own}
    if remote in names or ipaddress.ip_address(remote).is_loopback:
        return LOOPBACK
    return names.get(local)


def interface_cut(process: Process, sock: Socket, domain: str, interface: str, protected: Container[int]) -> Cut:
    """The cut of a connection by the context of its interface."""
    meant = domain != SSH_DOMAIN and process.pid not in protected
    return Cut(domain, "", process.pid, process.command, _said(sock), ENFORCE, meant, interface=interface)


def refusal(cuts: Iterable[Cut]) -> Optional[str]:
    """The error for cuts that are not meant; None where all are."""
    unmeant = [cut for cut in cuts if not cut.meant and cut.mode == ENFORCE]
    if not unmeant:
        return None
    more = "; and {0} more".format(len(unmeant) - 5) if len(unmeant) > 5 else ""
    shown = "; ".join(str(cut) for cut in unmeant[:5]) + more
    if any(cut.interface for cut in unmeant):
        return (
            "These running processes would be cut off while peer labels are in use: {0}. Nothing was changed; choose a "
            "type that has the attribute netif_type, or one whose policy lets their domains use the interface (class "
            "netif).".format(shown)
        )
    if any(cut.label for cut in unmeant):
        return (
            "These running processes would be cut off: {0}. Nothing was changed; add the domain to the receivers of "
            "the label, or remove the address from it.".format(shown)
        )
    return (
        "These running processes would be cut off: {0}. Nothing was changed; where a flow cuts one, add its domain to "
        "the flow's source or destination, add the client's address to source_addresses, or choose other ports; where "
        "a confinement does, add a flow; or use mode=observe first.".format(shown)
    )


class _Verdict(NamedTuple):
    """What takes a socket's packets away: a flow or, where that is empty, the domain's confinement."""

    flow: str
    mode: str
    meant: bool


def _verdict(flows: FlowSet, domain: str, sock: Socket, is_client: bool) -> Optional[_Verdict]:
    touched = []  # type: List[_Verdict]
    for flow in flows.flows:
        local, remote = sock.local_address, sock.remote_address
        if _has(flow, sock.protocol, sock.local_port) and _within(flow.destination_addresses, local):
            if flow.is_destination(domain) and _within(flow.source_addresses, remote):
                return None
            # A destination loses a client of another address, which is what the addresses are for.
            touched.append(_Verdict(flow.name, flow.mode, flow.is_destination(domain)))
        if _has(flow, sock.protocol, sock.remote_port) and _within(flow.destination_addresses, remote):
            # With a flow's port on either end, the tuple's direction decides which label wins: one permitted is enough.
            if flow.is_source(domain) and _within(flow.source_addresses, local):
                return None
            touched.append(_Verdict(flow.name, flow.mode, is_client))
    if touched:
        return touched[0]
    mode = dict(flows.confine).get(domain)
    return None if mode is None else _Verdict("", mode, True)


def _unheard(flows: FlowSet, domain: str, sock: Socket) -> str:
    """The peer label of a socket's other end, where its domain is not a receiver of that; empty otherwise."""
    label = _label_of(flows, sock) if domain != KERNEL else None
    return label.type if label is not None and label.receivers and domain not in label.receivers else ""


def _labelled_for(flows: FlowSet, domain: str, sock: Socket) -> bool:
    """Whether the domain is a receiver of the peer label of a socket's other end."""
    label = _label_of(flows, sock)
    return label is not None and domain in label.receivers


def _label_of(flows: FlowSet, sock: Socket) -> Optional[PeerLabel]:
    """The peer label of a socket's other end; of two, that of the longer prefix."""
    if sock.remote_address is None:
        return None
    remote = ipaddress.ip_address(sock.remote_address.partition("%")[0])
    found = [
        (network.prefixlen, label)
        for label in flows.peers
        for network in label.addresses
        if network.version == remote.version and remote in network
    ]
    return max(found)[1] if found else None


def _taker(cut: Cut) -> str:
    if cut.interface:
        return "the context of the interface '{0}'".format(cut.interface)
    if cut.label:
        return "the peer label '{0}'".format(cut.label)
    return "the flow '{0}'".format(cut.flow) if cut.flow else "its confinement"


def _within(networks: Sequence[Network], address: Optional[str]) -> bool:
    """Whether an address may be one of these; a socket that takes any address, or knows none yet, may."""
    if not networks or address is None:
        return True
    parsed = ipaddress.ip_address(address.partition("%")[0])
    return parsed.is_unspecified or any(parsed in network for network in networks if network.version == parsed.version)


def _has(flow: Flow, protocol: str, port: Optional[int]) -> bool:
    return port is not None and flow.protocol == protocol and flow.has_port(port)


def lineage(processes: Sequence[Process], pid: int) -> Set[int]:
    """A process and all that it descends from, but for the first of all: those that a change comes through."""
    parents = {process.pid: process.ppid for process in processes}
    lineage = set()  # type: Set[int]
    while pid in parents and pid not in lineage and pid != 1:
        lineage.add(pid)
        pid = parents[pid]
    return lineage


def _said(sock: Socket) -> str:
    local = "{0} {1} port {2}".format(sock.protocol, sock.local_address, sock.local_port)
    if sock.remote_port is None:
        return local
    return "{0} to {1} port {2}".format(local, sock.remote_address, sock.remote_port)
