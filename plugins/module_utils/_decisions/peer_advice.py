# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What to do about a check of a peer, an interface, a node or IPsec. No I/O."""

from typing import Any, Dict, List, Optional

from ansible_collections.senet.firewall.plugins.module_utils._decisions.advice import (
    ADDRESS,
    AS_ASKED,
    LOOK,
    PEER_LABEL,
    Advice,
    Known,
)
from ansible_collections.senet.firewall.plugins.module_utils._decisions.denials import Group, flows_of_peer
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import (
    UNLABELED_TYPE,
    VERIFY_ADDRESS,
    VERIFY_IPSEC,
    VERIFY_NONE,
    Flow,
    PeerLabel,
)
from ansible_collections.senet.firewall.plugins.module_utils._values.peers import (
    DEFAULT_PEER_TYPE,
    LOOPBACK_PEER_TYPE,
    SPD_TYPE,
)


def advise_peer(group: Group, known: Known) -> Advice:
    """What to do about a group of another class than packets and connects."""
    tclass, thing = group.key.what
    if tclass == "peer":
        return _peer(group, thing, known)
    if tclass == "netif":
        return _interface(group, thing, known)
    doing = " and ".join(sorted(group.permissions))
    if tclass == "node":
        text = (
            "The policy does not let '{0}' {1} addresses of the type {2}. With peer labels of this collection every "
            "domain may, so ask flows_info whether its policy module is missing."
        )
    elif thing == SPD_TYPE:
        text = (
            "'{0}' is in no flow with verify_source=ipsec, so its packets do not use the associations of these flows "
            "({1} on {2}). They leave in the clear, and the servers refuse them. If '{0}' should be permitted, add it "
            "to the flow's source."
        )
        return Advice(AS_ASKED, text.format(group.key.who, doing, thing))
    else:
        text = (
            "The policy does not let '{0}' use IPsec associations of the type {2} ({1}). That is labelled IPsec of no "
            "flow: see 'ip xfrm policy' and the policy module that it was set up with."
        )
    return Advice(LOOK, text.format(group.key.who, doing, thing))


def _peer(group: Group, peer: str, known: Known) -> Advice:
    who = group.key.who
    label = {label.type: label for label in known.flows.peers}.get(peer)
    if label is not None:
        return _labelled(who, label)
    flow = _verified(group, known)
    if flow is None:
        text = (
            "No flow of '{0}' on record verifies its clients, and the policy does not let it receive from peers of the "
            "type {1}. Peer labels turn on that check for the whole host: ask flows_info whether the policy module is "
            "as on record, and 'netlabelctl unlbl list' who labels peers."
        )
        return Advice(LOOK, text.format(who, peer))
    if peer == LOOPBACK_PEER_TYPE:
        text = (
            "'{0}' verifies its clients on this host by their domain (flow '{1}'), and these packets carried none: "
            "they came over ::1 or another address than 127.0.0.1, the connection was open before the labels, or the "
            "client is in no domain of the flow. Have a client of the flow use 127.0.0.1 and connect again."
        )
        return Advice(AS_ASKED, text.format(who, flow.name))
    if peer in (DEFAULT_PEER_TYPE, UNLABELED_TYPE):
        return _stranger(group, flow)
    others = flows_of_peer(peer)
    if others:
        text = (
            "These peers are clients of the flow {0}, and '{1}' is not a destination of it: the flow refuses them as "
            "intended."
        )
        return Advice(AS_ASKED, text.format(" and ".join("'{0}'".format(name) for name in others), who))
    text = (
        "The client runs in '{0}' on {3}, which is not a source of the flow '{1}' to '{2}': the flow refuses it "
        "as intended. If '{0}' should be permitted, add it to the flow's source."
    )
    place = "another host" if flow.verify_source == VERIFY_IPSEC else "this host"
    source = sorted({peer, *flow.source})
    return Advice(AS_ASKED, text.format(peer, flow.name, who, place), dict(flow.as_dict(), source=source))


def _labelled(who: str, label: PeerLabel) -> Advice:
    if not label.receivers:
        text = (
            "Every domain may receive from peers labelled {0}. So these records are from before that, or the policy "
            "module is missing: ask flows_info."
        )
        return Advice(LOOK, text.format(label.type))
    text = (
        "From peers labelled {0} only {1} may receive, as intended. If '{2}' should be permitted, add it to the "
        "label's receivers."
    )
    receivers = sorted({who, *label.receivers})
    options = dict(label.as_dict(), receivers=receivers)  # type: Dict[str, Any]
    return Advice(PEER_LABEL, text.format(label.type, " and ".join(label.receivers), who), label=options)


def _stranger(group: Group, flow: Flow) -> Advice:
    """A peer whose address no flow names."""
    clients = sorted(group.clients)
    if flow.verify_source == VERIFY_IPSEC:
        text = (
            "'{0}' verifies clients of other hosts by the labels of IPsec associations (flow '{1}'), and these packets "
            "from {2} came without one: the client is in no domain of the flow, or its host has no association. See "
            "'ip xfrm policy' and 'ip xfrm state' on both hosts."
        )
        return Advice(AS_ASKED, text.format(group.key.who, flow.name, " and ".join(clients) or "another host"))
    text = "'{0}' receives from the addresses of its flows alone, and {1} is none of those of '{2}'."
    text = text.format(group.key.who, " and ".join(clients) or "this address", flow.name)
    if flow.verify_source != VERIFY_ADDRESS or not clients:
        return Advice(LOOK, text + " Ask flows_info what is on record.")
    addresses = flow.as_dict().get("source_addresses", []) + clients
    text += " If that is a client of the flow, add it to source_addresses."
    return Advice(ADDRESS, text, dict(flow.as_dict(), source_addresses=addresses))


def _verified(group: Group, known: Known) -> Optional[Flow]:
    """The flow whose clients the receiving domain verifies: that of the port, else any of them."""
    flows = [
        flow
        for flow in known.flows.flows
        if flow.verify_source != VERIFY_NONE and flow.is_destination(group.key.who)
    ]  # type: List[Flow]
    port = group.key.port
    fitting = [flow for flow in flows if port is not None and flow.has_port(port)]
    return next(iter(fitting + flows), None)


def _interface(group: Group, interface_type: str, known: Known) -> Advice:
    who = group.key.who
    label = {label.type: label for label in known.flows.peers}.get(who)
    names = " and ".join(sorted(group.interfaces)) or "the interface"
    if label is not None and label.interface_type:
        text = (
            "Packets of peers labelled {0} may arrive only on interfaces of the type {1}, and these arrived on {2}: "
            "they are dropped, as intended."
        )
        return Advice(AS_ASKED, text.format(who, label.interface_type, names))
    text = (
        "The policy does not let '{0}' use {1}, which has the type {2}. If it should be permitted, give the interface "
        "another type with interface_context, or grant it in a policy module of your own (class netif)."
    )
    return Advice(LOOK, text.format(who, names, interface_type))
