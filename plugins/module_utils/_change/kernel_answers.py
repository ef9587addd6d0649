# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kernel grants, asked domain by domain, and compared with what is wanted. It writes nothing."""

from typing import Dict, FrozenSet, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._decisions.access import (
    CHECKED,
    Access,
    Elsewhere,
    contexts_by_domain,
    cut_domains,
    deviations,
)
from ansible_collections.senet.firewall.plugins.module_utils._decisions.peers import LabelAccess, ReceiverAccess
from ansible_collections.senet.firewall.plugins.module_utils._decisions.preflight import (
    SSH_DOMAIN,
    Cut,
    interface_cut,
    interface_of,
    lineage,
)
from ansible_collections.senet.firewall.plugins.module_utils._host.host import Host
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import (
    DEFAULT_PACKET_TYPE,
    ENFORCE,
    UNLABELED_TYPE,
    FlowSet,
)
from ansible_collections.senet.firewall.plugins.module_utils._values.peers import Peering, peering
from ansible_collections.senet.firewall.plugins.module_utils._values.processes import Process

_FORWARDED = frozenset(["forward_in", "forward_out"])
# A run of semodule that was killed has stored a policy, which the kernel has not yet
_DISAGREES = (
    "The kernel does not {0}: {1}; another policy module grants or denies it (find its rule with 'sesearch -A "
    "-c {2}'), or the stored policy is not the loaded one (load it with 'load_policy')."
)


class Answers(NamedTuple):
    """What the kernel grants: packets of flows and of none, peers, peer labels."""

    access: Tuple[Access, ...] = ()
    confined: Tuple[Elsewhere, ...] = ()
    receivers: Tuple[ReceiverAccess, ...] = ()
    peer_labels: Tuple[LabelAccess, ...] = ()


NOT_ASKED = Answers()


def ask(host: Host, flows: FlowSet, processes: Sequence[Process]) -> Answers:
    """All that the kernel says of these flows."""
    return Answers(
        access=tuple(access_matrix(host, flows, processes)),
        confined=tuple(confined_access(host, flows)),
        receivers=tuple(receiver_access(host, peering(flows))),
        peer_labels=tuple(label_access(host, flows, processes)),
    )


def access_matrix(
    host: Host, flows: FlowSet, processes: Iterable[Process], only: Sequence[str] = ()
) -> List[Access]:
    """The kernel's answer for each flow and each domain that runs or that a flow names, or for these ``only``. Which
    ports it may connect to is asked for sources, and for domains asked for: the kernel logs what it refuses."""
    contexts = {domain: host.selinux.context(domain) for domain in flows.domains + tuple(only)}
    contexts.update(contexts_by_domain(processes))
    if only:
        contexts = {domain: contexts[domain] for domain in only}
    ordered = sorted(contexts.items())
    matrix = []
    refused_ports = _refused_ports(host, flows, contexts, only)
    if flows.flows:
        host.decisions.refresh()
    for flow in flows.flows:
        targets = [host.selinux.context(packet_type) for packet_type in flow.packet_types]
        for domain, context in ordered:
            decisions = [host.decisions.access(context, target) for target in targets]
            allowed = [decision.allowed & CHECKED for decision in decisions]
            refused = allowed[2] if flow.source_addresses else None
            is_asked = flow.protocol == "tcp" and (domain in flow.source or only)
            closed = refused_ports[domain] if is_asked else None
            ports = tuple(ports.low for ports in flow.ports if closed and ports.low in closed)
            permissive, asked = decisions[0].permissive, closed is not None
            matrix.append(Access(flow.name, domain, allowed[0], allowed[1], permissive, refused, ports, asked))
    return matrix


def _refused_ports(
    host: Host, flows: FlowSet, contexts: Mapping[str, str], only: Sequence[str]
) -> Dict[str, Optional[FrozenSet[int]]]:
    """The ports that each of these domains may not connect to, None where that cannot be asked: of the flows that it is
    a source of, and of all for ``only``. Of a range, its first port stands for all."""
    asked = {}  # type: Dict[str, List[int]]
    for flow in flows.flows:
        if flow.protocol == "tcp":
            for domain in only or flow.source:
                asked.setdefault(domain, []).extend(ports.low for ports in flow.ports)
    refused = {}  # type: Dict[str, Optional[FrozenSet[int]]]
    for domain, ports in sorted(asked.items()):
        if domain in contexts:
            found = host.refused_ports(contexts[domain], sorted(set(ports)))
            refused[domain] = None if found is None else frozenset(found)
    return refused


def confined_access(host: Host, flows: FlowSet) -> List[Elsewhere]:
    """The kernel's answer for each confined domain and packets of no flow, or perhaps of none."""
    rows = []
    if flows.confine:
        host.decisions.refresh()
    midstream = [name for flow in flows.flows if flows.parts_midstream(flow) for name in flow.midstream_types]
    for domain, mode in flows.confine:
        context = host.selinux.context(domain)
        labelled, unlabelled = (
            frozenset().union(
                *(host.decisions.access(context, host.selinux.context(name)).allowed & CHECKED for name in names)
            )
            for names in ([DEFAULT_PACKET_TYPE] + midstream, [UNLABELED_TYPE])
        )
        rows.append(Elsewhere(domain, mode, labelled, unlabelled))
    return rows


def check_access(flows: FlowSet, matrix: Iterable[Access], confined: Iterable[Elsewhere]) -> None:
    """Hold the kernel's answers against the flows.

    :raises SenetError: it grants more or less than they say.
    """
    found = deviations(flows, matrix, confined)
    if found:
        raise SenetError(_DISAGREES.format("enforce the flows", "; ".join(found), "packet"))


def check_nobody_is_cut(host: Host, flows: FlowSet, processes: Iterable[Process]) -> None:
    """Ask the kernel whether every running domain that is not confined may use the packets that no flow names.

    :raises SenetError: some may not, and would be cut off by the first rule.
    """
    if not flows.labels_packets:
        return
    confined = [domain for domain, mode in flows.confine if mode == ENFORCE]
    targets = [host.selinux.context(name) for name in (DEFAULT_PACKET_TYPE, UNLABELED_TYPE)]
    cut = cut_domains(host.selinux.access, processes, targets, confined)
    if cut:
        raise SenetError(
            "The rules would cut off the running domains {0}: the loaded policy denies them packet send or recv for "
            "ordinary packets; see with 'sesearch -A -t {1} -c packet' what it grants.".format(
                ", ".join(cut), DEFAULT_PACKET_TYPE
            )
        )


def receiver_access(host: Host, peers: Peering) -> List[ReceiverAccess]:
    """The kernel's answer for each verified destination and each type of peer that is of interest to any."""
    rows = []
    for receiver in peers.receivers:
        context = host.selinux.context(receiver.domain)
        asked = sorted(set(receiver.receives + receiver.refuses + peers.types + peers.mapped + (UNLABELED_TYPE,)))
        received = frozenset(name for name in asked if _receives(host, context, name))
        rows.append(ReceiverAccess(receiver, received))
    return rows


def check_peer_access(rows: Iterable[ReceiverAccess], labels: Iterable[LabelAccess]) -> None:
    """Hold the kernel's answers against what the flows verify, and against the receivers of peer labels.

    :raises SenetError: it grants more or less.
    """
    for what, found in (
        ("verify the sources of the flows", [clause for row in rows for clause in row.deviations()]),
        ("limit the peer labels to their receivers", [clause for label in labels for clause in label.deviations()]),
    ):
        if found:
            raise SenetError(_DISAGREES.format(what, "; ".join(found), "peer"))


def check_peers_are_received(
    host: Host, peers: Peering, processes: Iterable[Process], packets: bool
) -> None:
    """Ask the kernel whether every running domain may receive from its peers, but for the verified destinations, and
    those that a peer label names receivers for; and, where ``packets`` are labelled too, whether what peers send may be
    forwarded.

    :raises SenetError: some cannot, and would be cut off by the first peer label.
    """
    if peers.empty:
        return
    held = {receiver.domain for receiver in peers.receivers if receiver.mode == ENFORCE}
    types = peers.common_types + peers.mapped + (UNLABELED_TYPE,)
    placed = {label.type for label in peers.named if label.interface_type}
    senders = [host.selinux.context(name) for name in types if name not in placed]
    places = ((host.selinux.initial("netif"), "netif", "egress"), (host.selinux.initial("node"), "node", "sendto"))
    cut = [
        domain
        for domain, context in sorted(contexts_by_domain(processes).items())
        if not all(verb in host.selinux.access(context, place, tclass).allowed for place, tclass, verb in places)
        or (domain not in held and not all(_receives(host, context, name) for name in types))
    ]
    stopped = [
        sender
        for sender in senders
        for place, tclass, verb in ((places[0][0], "netif", "ingress"), (places[1][0], "node", "recvfrom"))
        if verb not in host.selinux.access(sender, place, tclass).allowed
    ]
    stopped += [
        sender
        for sender in [host.selinux.context(name) for name in peers.types if packets]
        for packet_type in (UNLABELED_TYPE, DEFAULT_PACKET_TYPE)
        if not host.selinux.access(sender, host.selinux.context(packet_type), "packet").allowed >= _FORWARDED
    ]
    if cut or stopped:
        raise SenetError(
            "Peer labels would cut off {0}: the loaded policy denies them peer recv, the use of an interface or "
            "address, or forwarding; see with 'sesearch -A -c peer,netif,node,packet' what it grants.".format(
                ", ".join(sorted({*cut, *stopped}))
            )
        )


def interface_cuts(
    host: Host, contexts: Mapping[str, Optional[str]], peers: Peering, processes: Sequence[Process]
) -> List[Cut]:
    """The connections whose packets the kernel would not let pass interfaces with these contexts, or with that of every
    other interface where it is None. It checks interfaces while peer labels are in use."""
    common = host.selinux.initial("netif")
    # A type that is yet to be declared will be everybody's
    known = {name: text or common for name, text in contexts.items() if host.selinux.canonical(text or common)}
    protected = lineage(processes, host.pid)
    addresses = host.addresses() if known else {}
    cuts = set()
    for process in processes:
        for sock in process.connected:
            name = interface_of(sock, addresses) or ""
            subject = sock.context or (process.context.raw if process.context else "")
            if name not in known or subject.count(":") < 2:
                continue
            types = peers.sender_types(name, sock.remote_address or "")
            senders = [host.selinux.context(sender) for sender in types]
            if not _passes(host, subject, "egress", known[name]) or not all(
                _passes(host, sender, "ingress", known[name]) for sender in senders if host.selinux.canonical(sender)
            ):
                cuts.add(interface_cut(process, sock, subject.split(":")[2], name, protected))
    return sorted(cuts)


def interface_warnings(
    host: Host, contexts: Mapping[str, Optional[str]], processes: Iterable[Process]
) -> List[str]:
    """Over which of these interfaces nobody can log in any longer, each a sentence."""
    sshd = contexts_by_domain(processes).get(SSH_DOMAIN)
    return [
        "The domain '{0}' may not use an interface with the context '{2}', so nobody can log in by SSH over '{1}' "
        "while peer labels are in use.".format(SSH_DOMAIN, name, context)
        for name, context in sorted(contexts.items())
        if sshd and context and host.selinux.canonical(context) and not _passes(host, sshd, "egress", context)
    ]


def _passes(host: Host, subject: str, verb: str, interface: str) -> bool:
    return verb in host.selinux.access(subject, interface, "netif").allowed


def _receives(host: Host, context: str, peer_type: str) -> bool:
    return "recv" in host.selinux.access(context, host.selinux.context(peer_type), "peer").allowed


def label_access(host: Host, flows: FlowSet, processes: Iterable[Process]) -> List[LabelAccess]:
    """The kernel's answer for each peer label and each domain that runs or that is named."""
    contexts = {domain: host.selinux.context(domain) for domain in flows.domains}
    contexts.update(contexts_by_domain(processes))
    return [
        LabelAccess(
            label,
            frozenset(domain for domain, context in contexts.items() if _receives(host, context, label.type)),
        )
        for label in flows.peers
    ]


def permissive_domains(host: Host, flows: FlowSet, processes: Iterable[Process]) -> List[str]:
    """The domains that run here or that are named, and that an enforcing kernel refuses nothing."""
    if flows.empty or host.selinux.status() != "enforcing":
        return []
    host.decisions.refresh()
    contexts = {domain: host.selinux.context(domain) for domain in flows.domains}
    contexts.update(contexts_by_domain(processes))
    # It is a matter of the source alone, so that types the policy does not have yet need not be asked about.
    target = host.selinux.context(UNLABELED_TYPE)
    return sorted(domain for domain, context in contexts.items() if host.decisions.access(context, target).permissive)
