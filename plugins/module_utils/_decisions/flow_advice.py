# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What to do about a group of the kernel's records. No I/O.

Where a flow refuses whom it does not name, it does what it is for, and the advice says so first. No advice grants
anybody a type of ours by another policy module: who may is said by flows alone.
"""

from ipaddress import ip_address
from typing import Any, Dict, List, Optional, Set

from ansible_collections.senet.firewall.plugins.module_utils._decisions.advice import (
    ADDRESS,
    AS_ASKED,
    BOOLEAN,
    FLOW,
    LOOK,
    Advice,
    Known,
    keeps,
    place,
)
from ansible_collections.senet.firewall.plugins.module_utils._decisions.denials import CLIENT, Group, is_midstream
from ansible_collections.senet.firewall.plugins.module_utils._decisions.naming import booleans_for, flow_name, pair_of
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.fields import EVERY_DOMAIN
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import (
    DEFAULT_PACKET_TYPE,
    UNLABELED_TYPE,
    Flow,
)
from ansible_collections.senet.firewall.plugins.module_utils._values.parsing import parse_flow
from ansible_collections.senet.firewall.plugins.module_utils._values.peers import KERNEL
from ansible_collections.senet.firewall.plugins.module_utils._values.records import OBSERVED, SOCKET_CLASSES

UNCONFINED = "unconfined_t"
# Where services run that have no domain of their own
SHARED = ("initrc_t", "unconfined_service_t", "init_t")


def advise_flow(group: Group, known: Known) -> List[Advice]:
    """What to do about packets and connects, in the order in which to do it."""
    flow = {flow.name: flow for flow in known.flows.flows}.get(group.key.flow)
    if group.key.owner:
        return [_owner(group, flow, known)]
    found = [_connect(group, known)] if group.connects else []
    if "packet" in group.classes:
        found += _packets(group, flow, known)
    elif flow is not None and not flow.is_source(group.key.who):
        found.append(_as_asked(group, flow))
    return found


def _packets(group: Group, flow: Optional[Flow], known: Known) -> List[Advice]:
    if not group.key.flow:
        return _no_flow(group, known)
    if flow is None:
        text = (
            "This host has no flow '{0}' on record: it was removed or renamed since, or a change that waits has it. If "
            "there are new records, ask flows_info."
        )
        return [Advice(LOOK, text.format(group.key.flow))]
    who, client = group.key.who, group.key.side == CLIENT
    named = flow.is_source(who) if client else flow.is_destination(who)
    if is_midstream(group.types):
        text = (
            "'{0}' is confined, and only the source port of these packets belongs to the flow '{1}': the connection "
            "was open before the labels, or was made from that port. Have the client connect again."
        )
        return [Advice(AS_ASKED, text.format(who, flow.name))]
    if not named:
        return [_as_asked(group, flow)]
    if flow.refused_type in group.types and _strangers(group, flow):
        return [_address(group, flow)]
    text = (
        "The flow '{0}' names '{1}', so these records are from before it did, or the loaded policy is not that of the "
        "record. Ask packet_access_info what the kernel answers now."
    )
    return [Advice(LOOK, text.format(flow.name, who))]


def _as_asked(group: Group, flow: Flow) -> Advice:
    """A domain that a flow does not name."""
    who, client = group.key.who, group.key.side == CLIENT
    text = "The flow '{0}' {1} '{2}' {3} {4}, as intended, since it does not name that domain.".format(
        flow.name, keeps(group), who, "from connecting to" if client else "from answering on", place(group, flow)
    )
    side = "source" if client else "destination"
    if who == KERNEL:
        text += (
            " '{0}' stands for MPTCP sockets before Linux 6.5, and for what the kernel does by itself, such as "
            "mounting a share. If it is a program with MPTCP, have the program use TCP."
        )
        return Advice(AS_ASKED, text.format(who))
    if who == UNCONFINED:
        text += (
            " Do not add it, since every program of an unconfined user runs in '{0}', root's among them: run the "
            "program that should connect as a service in a domain of its own."
        )
        return Advice(AS_ASKED, text.format(who))
    text += " If '{0}' should be permitted, add it to the flow's {1}.".format(who, side)
    if who in SHARED:
        text += " It is the domain of every service without a domain of its own, and all of them may then."
    domains = sorted({who, *(flow.source if client else flow.destination)})
    return Advice(AS_ASKED, text, dict(flow.as_dict(), **{side: domains}))


def _address(group: Group, flow: Flow) -> Advice:
    """A client of another address than the flow's."""
    clients = _strangers(group, flow)
    text = (
        "The flow '{0}' permits clients with the addresses {1}, and {2} {3} {4}. If that is a client of the flow, add "
        "it to source_addresses."
    ).format(
        flow.name,
        " or ".join(flow.as_dict()["source_addresses"]),
        " and ".join(clients),
        "were" if len(clients) > 1 else "was",
        "seen" if group.key.verdict == OBSERVED else "refused",
    )
    addresses = flow.as_dict()["source_addresses"] + clients
    return Advice(ADDRESS, text, dict(flow.as_dict(), source_addresses=addresses))


def _strangers(group: Group, flow: Flow) -> List[str]:
    """The clients whose address the flow does not have, if it has any."""
    clients = [ip_address(text) for text in sorted(group.clients)] if flow.source_addresses else []
    return [
        str(client)
        for client in clients
        if not any(client.version == network.version and client in network for network in flow.source_addresses)
    ]


def _connect(group: Group, known: Known) -> Advice:
    """SELinux's other half, which no flow decides."""
    port = group.key.port
    types = sorted(name for name in group.types if not name.endswith("_packet_t"))
    names = booleans_for(group.key.who, port, known.distribution) if port is not None else ()
    text = "The policy does not let '{0}' connect to port {1} ({2}, name_connect), whatever a flow says.".format(
        group.key.who, "?" if port is None else port, ", ".join(types)
    )
    if names:
        text += " Turn on the boolean: {0}.".format(" or ".join("setsebool -P {0} on".format(name) for name in names))
    else:
        text += (
            " If it should connect, find a boolean with 'sesearch -A -s {0} -c {1} -p name_connect', or give the port "
            "a type that it may connect to with 'semanage port'."
        ).format(group.key.who, sorted(group.classes & set(SOCKET_CLASSES))[0])
    return Advice(BOOLEAN, text, booleans=names)


def _no_flow(group: Group, known: Known) -> List[Advice]:
    """Packets that no flow is about."""
    who = group.key.who
    confined = who in dict(known.flows.confine)
    found = []
    if DEFAULT_PACKET_TYPE in group.types:
        if confined:
            found.append(_flow_for(group, known))
        else:
            text = (
                "'{0}' is not confined on record, so these records are from the time when it was, or the loaded policy "
                "is not that of the record: ask flows_info."
            )
            found.append(Advice(LOOK, text.format(who)))
    if UNLABELED_TYPE in group.types:
        if confined:
            text = (
                "'{0}' is confined, and these packets have no label: they belong to a network namespace without rules, "
                "or the rules were missing. Give the namespace rules of its own, and ask flows_info for drift."
            )
        elif known.flows.labels_packets:
            text = (
                "Every domain may use packets without a label while the policy module senet_firewall is loaded. So "
                "these records are from before that, or the module is missing: ask flows_info."
            )
        else:
            text = (
                "Another program labels packets on this host, and the policy does not let '{0}' use packets without a "
                "label: ask enforcement_info for foreign_labels."
            )
        found.append(Advice(LOOK, text.format(who)))
    foreign = sorted(name for name in group.types if name.endswith("_packet_t") and not name.startswith("senet_"))
    if foreign:
        text = (
            "No flow has the type {0}, so another program labels packets: ask enforcement_info for foreign_labels."
        )
        found.append(Advice(LOOK, text.format(", ".join(foreign))))
    if not found and not group.connects:
        found.append(Advice(LOOK, "The policy does not let '{0}' use packets of the type {1}.".format(
            who, ", ".join(sorted(group.types)))))  # fmt: skip
    return found


def _flow_for(group: Group, known: Known) -> Advice:
    """The flow that a confined domain lacks."""
    who, client, port = group.key.who, group.key.side == CLIENT, group.key.port
    if port is None:
        text = "'{0}' is confined, which {1} it from {2} packets of no flow (without ports, or on many), as intended."
        return Advice(AS_ASKED, text.format(who, keeps(group), "sending" if group.key.outward else "receiving"))
    protocol = protocol_of(group, known)
    others = _other_domains(group, known, protocol)
    domains = ([who], others) if client else (others, [who])
    flow = {
        "name": flow_name(
            [domains[0][0], domains[1][0]], port, protocol, {flow.name for flow in known.flows.flows}
        ),
        "source": domains[0],
        "destination": domains[1],
        "protocol": protocol,
        "ports": [str(port)],
    }  # type: Dict[str, Any]
    # Those of this host too: without any, the flow would permit all other hosts as well
    addresses = sorted(group.servers if client else group.clients)
    if addresses:
        flow["destination_addresses" if client else "source_addresses"] = addresses
    try:
        known.flows.with_flows([parse_flow(flow)])
    except SenetError:
        text = (
            "'{0}' is confined, and these packets belonged to no flow, although one names {1}: they are from before "
            "that flow, or were on another interface, or went to another address. Ask packet_access_info what the "
            "kernel answers now."
        )
        return Advice(LOOK, text.format(who, place(group, None, protocol)))
    pair = pair_of(who, None, port, protocol, known.distribution) if client else None
    text = "'{0}' is confined, and no flow names {1}: {2}.".format(
        who, place(group, None, protocol), "it would be refused" if group.key.verdict == OBSERVED else "it was refused"
    )
    text += " If it should be permitted, set this flow{0}; nobody else may use {1} there then.".format(
        ", or the pair {0},".format(pair) if pair else "", place(group, None, protocol)
    )
    if not group.protocols:
        text += " The kernel's record does not say the protocol: check that it is {0}.".format(protocol)
    return Advice(FLOW, text, flow)


def protocol_of(group: Group, known: Known) -> str:
    """The protocol of a packet, which its record does not say: that which somebody listens on, or the catalogue's."""
    port = group.key.port or 0
    if group.protocols:
        return sorted(group.protocols)[0]
    if (("udp", port) in known.listening) != (("tcp", port) in known.listening):
        return "udp" if ("udp", port) in known.listening else "tcp"
    only_udp = pair_of(group.key.who, None, port, "udp", known.distribution) and not pair_of(
        group.key.who, None, port, "tcp", known.distribution
    )
    return "udp" if only_udp or port == 53 else "tcp"


def _other_domains(group: Group, known: Known, protocol: str) -> List[str]:
    """The domains at the other end, every domain where they cannot be told."""
    listeners = known.listening.get((protocol, group.key.port or 0), frozenset())
    local = bool(group.servers) and group.servers <= _near(known) | {""}
    if group.key.side == CLIENT and local and listeners:
        return sorted(listeners)
    return [EVERY_DOMAIN]


def _near(known: Known) -> Set[str]:
    return {"127.0.0.1", "::1", *known.addresses}


def _owner(group: Group, flow: Optional[Flow], known: Known) -> Advice:
    """What a rule of the layer owner logged."""
    if flow is None:
        text = "No flow on record has this port and a name that begins with '{0}': it was removed or renamed since."
        return Advice(LOOK, text.format(group.key.flow))
    if group.key.side != CLIENT:
        return _address(group, flow) if _strangers(group, flow) else _outdated(flow)
    uid = int(group.key.who) if group.key.who else None
    if uid is None:
        text = "The flow '{0}' would keep the kernel itself, or a closed socket, from {1}: there is nothing to do."
        return Advice(AS_ASKED, text.format(flow.name, place(group, flow)))
    user = known.users.get(uid, str(uid))
    if flow.users and not {user, str(uid)}.intersection(flow.users):
        text = (
            "The flow '{0}' would keep the user '{1}' from {2}, as intended, since it does not name that user. If the "
            "user should be permitted, add it to users."
        )
        users = sorted({user, *flow.users})
        return Advice(AS_ASKED, text.format(flow.name, user, place(group, flow)), dict(flow.as_dict(), users=users))
    if _strangers(group, flow):
        return _address(group, flow)
    if not flow.units:
        return _outdated(flow)
    text = (
        "The flow '{0}' would keep a program of the user '{1}' from {2}, since it ran outside of the units {3}. If its "
        "unit should be permitted, add that to units."
    )
    return Advice(AS_ASKED, text.format(flow.name, user, place(group, flow), ", ".join(flow.units)))


def _outdated(flow: Flow) -> Advice:
    return Advice(LOOK, "The flow '{0}' was changed since, and the rule that logged this is gone.".format(flow.name))
