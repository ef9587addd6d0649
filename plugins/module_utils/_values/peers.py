# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The labels of peers that a set of flows asks for: flows with verify_source, and peer labels.

Peer labels know neither ports nor flows: a domain receives from a peer or it does not, as a server and as a client.
"""

import ipaddress
from typing import Dict, FrozenSet, Iterable, List, NamedTuple, Optional, Sequence, Set, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.fields import EVERY_DOMAIN, Network
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import (
    ENFORCE,
    OBSERVE,
    UNLABELED_TYPE,
    VERIFY_ADDRESS,
    VERIFY_IPSEC,
    VERIFY_LOOPBACK,
    VERIFY_NONE,
    Flow,
    FlowSet,
    PeerLabel,
)

# What arrives without a label of its own: over the interface lo, and over any other
LOOPBACK_PEER_TYPE = "senet_loopback_peer_t"
DEFAULT_PEER_TYPE = "senet_default_peer_t"
LOOPBACK = "lo"
# What the IPsec policies of flows with verify_source=ipsec carry; only the domains of these flows match it
SPD_TYPE = "senet_ipsec_spd_t"
# It answers for closed sockets of every domain
KERNEL = "kernel_t"
_EVERYWHERE = (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0"))  # type: Tuple[Network, ...]


class Receiver(NamedTuple):
    """A verified destination: the types it may receive from, and those that stand for everybody else."""

    domain: str
    mode: str
    receives: Tuple[str, ...]
    refuses: Tuple[str, ...]


class Label(NamedTuple):
    """A static label: the type of what comes from a network, on each interface without labels of its own if None."""

    interface: Optional[str]
    network: Network
    type: str


class Peering(NamedTuple):
    """What the kernel shall know of a host's peers; all empty where peers need no labels.

    ``mapped`` are the domains whose packets carry their own label over IPv4 loopback; ``named`` are the peer labels
    that were asked for, beside those that flows need; ``associated`` are the domains whose packets to other hosts may
    go by an IPsec association that carries their label.
    """

    receivers: Tuple[Receiver, ...]
    mapped: Tuple[str, ...]
    labels: Tuple[Label, ...]
    named: Tuple[PeerLabel, ...] = ()
    associated: Tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether peers have no labels."""
        return not self.labels and not self.mapped

    @property
    def types(self) -> Tuple[str, ...]:
        """The types of the static labels, sorted."""
        return tuple(sorted({label.type for label in self.labels}))

    @property
    def common_types(self) -> Tuple[str, ...]:
        """Those of them from which every domain may receive that is not a verified destination."""
        return tuple(sorted(set(self.types) - {label.type for label in self.named if label.receivers}))

    def sender_types(self, interface: str, address: str) -> Tuple[str, ...]:
        """The types that the sender of a packet may have which comes by an interface from an address."""
        remote = ipaddress.ip_address(address.partition("%")[0])
        placed = [label for label in self.labels if label.interface == interface]
        common = [label for label in self.labels if label.interface is None]
        found = [
            (label.network.prefixlen, label.type)
            for label in placed or common
            if label.network.version == remote.version and remote in label.network
        ]
        told = max(found)[1] if found else UNLABELED_TYPE
        return (told,) + (self.mapped if interface == LOOPBACK else ())


class _Remote(NamedTuple):
    """Hosts that a flow lets a receiver talk with."""

    flow: str
    networks: Tuple[Network, ...]


def peering(flows: FlowSet) -> Peering:
    """What the flows with ``verify_source`` ask for, and the peer labels.

    With one that verifies on loopback, or with loopback domains, every receiver is told same-host peers by their
    domains.

    :raises SenetError: peer labels cannot tell what they ask for.
    """
    verified = [flow for flow in flows.flows if flow.verify_source != VERIFY_NONE]
    loopback = any(flow.verify_source == VERIFY_LOOPBACK for flow in verified) or bool(flows.loopback_domains)
    by_address = {domain for flow in verified if flow.verify_source == VERIFY_ADDRESS for domain in flow.destination}
    receivers = sorted({domain for flow in verified for domain in flow.destination})
    if EVERY_DOMAIN in receivers:
        raise SenetError(
            "The flow '{0}' has every domain as its destination, so verify_source would limit every domain of the "
            "host to the flow's sources; name the destination domains one by one.".format(
                next(flow.name for flow in verified if EVERY_DOMAIN in flow.destination)
            )
        )
    by_ipsec = {domain for flow in verified if flow.verify_source == VERIFY_IPSEC for domain in flow.destination}
    associated = _associated(verified)
    if by_ipsec:
        _check_ipsec(flows, by_ipsec)
    remotes = {domain: _remotes(domain, flows, loopback) for domain in sorted(by_address)}
    everyone = [remote for own in remotes.values() for remote in own]
    _check_apart(flows.peers, everyone)
    # One on lo: what comes from this host needs no association.
    named = _named_labels(everyone, flows.peers, loopback or bool(by_ipsec), bool(by_address or by_ipsec))
    types = {label.type for label, dummy in named}
    mapped = set(flows.loopback_domains)
    found = []
    for domain in receivers:
        receives = _partners(domain, flows) if loopback else set()
        mapped |= receives
        if domain in by_ipsec:
            receives |= _partners_elsewhere(domain, verified)
        strangers = set(flows.loopback_domains).union(associated if domain in by_ipsec else ()) - receives
        receives = receives.union(label.type for label in flows.peers if domain in label.receivers)
        if domain in by_address:
            own = {remote.flow for remote in remotes[domain]}
            receives = receives.union(label.type for label, names in named if own.intersection(names))
        elif domain in by_ipsec:
            receives = receives.union(() if loopback else (LOOPBACK_PEER_TYPE,))
        else:
            kept = {label.type for label in flows.peers if label.receivers}.union({LOOPBACK_PEER_TYPE})
            receives = receives.union(types - kept, {UNLABELED_TYPE})
        modes = {flow.mode for flow in verified if domain in flow.destination}
        mode = ENFORCE if ENFORCE in modes else OBSERVE
        refuses = strangers.union(types - receives)
        if domain in by_address.union(by_ipsec):
            refuses.add(UNLABELED_TYPE)
        found.append(Receiver(domain, mode, tuple(sorted(receives)), tuple(sorted(refuses))))
    labels = tuple(label for label, dummy in named)
    return Peering(tuple(found), tuple(sorted(mapped)), labels, flows.peers, associated)


def _associated(verified: Iterable[Flow]) -> Tuple[str, ...]:
    return tuple(
        sorted({domain for flow in verified if flow.verify_source == VERIFY_IPSEC for domain in flow.domains})
    )


def _partners_elsewhere(domain: str, verified: Iterable[Flow]) -> Set[str]:
    """The domains on other hosts that a receiver talks with by labelled associations."""
    partners = set()  # type: Set[str]
    for flow in verified:
        if flow.verify_source == VERIFY_IPSEC:
            partners.update(flow.source if flow.is_destination(domain) else ())
            partners.update(flow.destination if flow.is_source(domain) else ())
    return partners


def _check_ipsec(flows: FlowSet, receivers: Set[str]) -> None:
    """Raise where a receiver of clients by IPsec must receive from other hosts' packets without a label as well."""
    for flow in flows.flows:
        by_ipsec = flow.verify_source == VERIFY_IPSEC
        if by_ipsec and EVERY_DOMAIN in flow.source:
            raise SenetError(
                "The flow '{0}' has every domain as its source, so verify_source=ipsec would verify nothing; name the "
                "source domains one by one, or leave verify_source out.".format(flow.name)
            )
        if flow.verify_source == VERIFY_ADDRESS:
            raise SenetError(
                "The flow '{0}' has verify_source=address and another flow has verify_source=ipsec, and a host "
                "verifies other hosts in one of these ways; choose one for all flows of this host.".format(flow.name)
            )
        named = [domain for domain in sorted(receivers) if flow.is_source(domain) or flow.is_destination(domain)]
        if named and not by_ipsec and flow.interfaces != (LOOPBACK,):
            raise SenetError(
                "The flow '{0}' lets '{1}' talk with other hosts without IPsec, and peer labels apply to all ports, so "
                "verify_source=ipsec cannot limit '{1}' to the sources of a flow; give '{0}' verify_source=ipsec as "
                "well, or interfaces=[lo].".format(flow.name, named[0])
            )


def _partners(domain: str, flows: FlowSet) -> Set[str]:
    """The domains that a receiver talks with over loopback, itself and the kernel among them."""
    partners = {domain, KERNEL}
    for flow in flows.flows:
        others = flow.source if flow.is_destination(domain) else ()
        others += flow.destination if flow.is_source(domain) else ()
        if EVERY_DOMAIN in others:
            raise SenetError(
                "The flow '{0}' lets '{1}' talk with every domain, and peer labels apply to all ports, so "
                "verify_source cannot limit '{1}' to the sources of another flow; name the domains of '{0}' one by "
                "one, or leave verify_source out.".format(flow.name, domain)
            )
        partners.update(others)
    return partners


def _remotes(domain: str, flows: FlowSet, loopback: bool) -> List[_Remote]:
    """The hosts that a receiver talks with."""
    remotes = []
    for flow in flows.flows:
        if loopback and flow.interfaces == (LOOPBACK,):
            continue
        sides = (
            (flow.is_destination(domain), "source_addresses", flow.source_addresses),
            (flow.is_source(domain), "destination_addresses", flow.destination_addresses),
        )
        for taken, option, networks in sides:
            if taken and not networks:
                raise SenetError(
                    "The flow '{0}' lets '{1}' talk with any address, and peer labels apply to all ports, so "
                    "verify_source=address cannot limit '{1}' to the addresses of a flow; give '{0}' the option "
                    "{2}.".format(
                        flow.name, domain, option
                    )
                )
            if taken:
                remotes.append(_Remote(flow.name, networks))
    return remotes


def _check_apart(labels: Sequence[PeerLabel], remotes: Sequence[_Remote]) -> None:
    """Raise where a peer would need two labels; of two peer labels the one with the longer prefix counts."""
    taken = {}  # type: Dict[Network, str]
    for label in labels:
        for network in label.addresses:
            if network in taken:
                raise SenetError(
                    "The peer labels '{0}' and '{1}' both name {2}, and a peer has one label only; remove it from one "
                    "of them.".format(taken[network], label.type, network)
                )
            taken[network] = label.type
            for remote in remotes:
                if any(network.version == other.version and network.overlaps(other) for other in remote.networks):
                    raise SenetError(
                        "The peer label '{0}' and the flow '{1}', which has verify_source=address, name the same "
                        "addresses, and a peer has one label only; remove these addresses from one of the two.".format(
                            label.type, remote.flow
                        )
                    )


def _named_labels(
    remotes: Sequence[_Remote], own: Sequence[PeerLabel], loopback: bool, address: bool
) -> List[Tuple[Label, FrozenSet[str]]]:
    """The static labels, each with the flows that name its network.

    The kernel looks at the labels of the interface alone if it has any, and there for the longest prefix. Only lo gets
    any: the kernel drops the labels of another interface that goes down, and goes on checking peers until it is
    booted again (netlbl_unlhsh_netdev_handler does not count down), when the policy for it may be gone.
    """
    result = []  # type: List[Tuple[Label, FrozenSet[str]]]
    types = {network: label.type for label in own for network in label.addresses}
    networks = set(types)
    if address:
        networks.update(_EVERYWHERE, *(remote.networks for remote in remotes))
    for network in sorted(networks, key=lambda net: (net.version, int(net.network_address), net.prefixlen)):
        names = frozenset(remote.flow for remote in remotes if any(_covers(wide, network) for wide in remote.networks))
        result.append((Label(None, network, types.get(network) or _type(names)), names))
    if loopback:
        # Not even a flow's own addresses: a peer of this host is told by its domain.
        result.extend((Label(LOOPBACK, network, LOOPBACK_PEER_TYPE), frozenset()) for network in _EVERYWHERE)
    return result


def _covers(wide: Network, network: Network) -> bool:
    return (
        wide.version == network.version
        and wide.prefixlen <= network.prefixlen
        and network.network_address in wide
    )


def _type(flows: FrozenSet[str]) -> str:
    """The type of the peers that these flows name; '-' is in no flow's name."""
    return "senet_{0}_host_peer_t".format("-".join(sorted(flows))) if flows else DEFAULT_PEER_TYPE
