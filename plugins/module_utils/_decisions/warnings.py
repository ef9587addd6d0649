# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The warnings of a change, each one sentence or two."""

from typing import Dict, Iterable, List, Optional, Sequence, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._compile.owner import Accounts, holds, uids
from ansible_collections.senet.firewall.plugins.module_utils._compile.rule_sets import RULE_SETS
from ansible_collections.senet.firewall.plugins.module_utils._decisions.access import (
    Access,
    Elsewhere,
    contexts_by_domain,
)
from ansible_collections.senet.firewall.plugins.module_utils._decisions.peers import ReceiverAccess
from ansible_collections.senet.firewall.plugins.module_utils._decisions.preflight import SSH_DOMAIN, Cut
from ansible_collections.senet.firewall.plugins.module_utils._decisions.wanted_flows import removed
from ansible_collections.senet.firewall.plugins.module_utils._values.fields import EVERY_DOMAIN, address_text
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import ENFORCE, Flow, FlowSet
from ansible_collections.senet.firewall.plugins.module_utils._values.layers import OWNER, SELINUX
from ansible_collections.senet.firewall.plugins.module_utils._values.peers import LOOPBACK_PEER_TYPE, Peering
from ansible_collections.senet.firewall.plugins.module_utils._values.processes import Process
from ansible_collections.senet.firewall.plugins.module_utils._values.requests import Replace, Request


def owner_warnings(layers: Sequence[str], enabled: bool, flows: FlowSet, accounts: Accounts) -> List[str]:
    """What the layer owner does not do on this host, each a sentence."""
    if OWNER not in layers or flows.empty:
        return []
    found = []
    if SELINUX not in layers:
        found.append(
            "{0}, so NO domain is checked on this host: the layer owner enforces the flows by users and units, and "
            "does not check which program answers as the server.".format(
                "The layer selinux is not in use" if enabled else "SELinux is disabled"
            )
        )
    loose = [flow for flow in flows.flows if flow.users and not flow.units and SELINUX not in layers]
    for flow in loose:
        found.append(
            "Every program of {0} may use the flow '{1}', since no unit is checked for it.".format(
                " and ".join(flow.users), flow.name
            )
        )
    for flow in flows.flows:
        if EVERY_DOMAIN in flow.source and not holds(flow):
            found.append(
                "Everybody on this host may use the flow '{0}': its source is every domain, so the layer owner checks "
                "nothing; give the flow users, units or source_addresses to limit it.".format(flow.name)
            )
        elif holds(flow) and flow.users and not uids(flow, accounts):
            found.append(
                "Nobody on this host may use the flow '{0}' as a client, since the host has none of its users: "
                "{1}.".format(flow.name, ", ".join(flow.users))
            )
    return found


def lost_layers(recorded: Sequence[str], layers: Sequence[str], flows: FlowSet) -> List[str]:
    """What a layer enforces no longer, each a sentence."""
    names = ", ".join(flow.name for flow in flows.flows)
    return [
        "The layer {0} no longer enforces the flows of this host: {1}.".format(layer, names)
        for layer in recorded
        if layer not in layers and names
    ]


def unused_owners(flows: Iterable[Flow]) -> List[str]:
    """What flows ask for and the layer selinux alone does not do, each a sentence."""
    return [
        "The users and units of the flow '{0}' are not checked, since the layer selinux checks domains; use "
        "layers=[selinux, owner] to check both, or layers=[selinux] if domains are enough.".format(
            flow.name
        )
        for flow in flows
        if flow.users or flow.units
    ]


def peer_warnings(asked: Peering) -> List[str]:
    """What a user of verified flows would not expect, each a sentence."""
    held = [receiver.domain for receiver in asked.receivers if receiver.mode == ENFORCE]
    if LOOPBACK_PEER_TYPE not in asked.types or not asked.mapped or not held:
        return []
    return [
        "On this host {0} receives from peers of the same host over 127.0.0.0/8 only, since IPv6 carries no domain: "
        "peers that come over ::1 or the host's other addresses are refused, and connections over loopback that were "
        "open before must be opened again.".format(", ".join(held))
    ]


def observed_peer_warnings(flows: FlowSet, asked: Peering) -> List[str]:
    """The observed flows whose destinations refuse somebody all the same, a sentence a flow."""
    held = {receiver.domain for receiver in asked.receivers if receiver.mode == ENFORCE}
    return [
        "The flow '{0}' is only observed, but {1} refuses peers that none of its flows name, on all ports, since "
        "another flow with verify_source is enforced for it.".format(
            flow.name, ", ".join(sorted(held.intersection(flow.destination)))
        )
        for flow in flows.flows
        if flow.mode != ENFORCE and held.intersection(flow.destination)
    ]


def own_domain_warnings(receivers: Iterable[ReceiverAccess]) -> List[str]:
    """Whom the distribution's policy lets a receiver of labelled IPsec receive from as well, a sentence a receiver."""
    return [
        "The loaded policy lets '{0}' receive from peers in '{0}'. So this host does not refuse a client in '{0}' on "
        "another host with labelled IPsec; only the packet labels of that host refuse it.".format(
            access.receiver.domain
        )
        for access in receivers
        if access.from_itself
    ]


# Some programs choose any source port: of so many, one is met before long.
_WIDE = 1000
_FAMILY_NAMES = {4: "IPv4", 6: "IPv6"}
_LOOPBACKS = {4: "127.0.0.0/8", 6: "::1"}


def login_warnings(flows: FlowSet, processes: Iterable[Process]) -> List[str]:
    """From where nobody can log in any longer, a sentence a peer label."""
    if not any(process.context and process.context.type == SSH_DOMAIN for process in processes):
        return []
    return [
        "The domain '{0}' is not a receiver of the peer label '{1}', so nobody can log in by SSH from {2}.".format(
            SSH_DOMAIN, label.type, ", ".join(address_text(network) for network in label.addresses)
        )
        for label in flows.peers
        if label.receivers and SSH_DOMAIN not in label.receivers
    ]


def interface_name_warnings(flows: FlowSet, present: Iterable[str]) -> List[str]:
    """The interfaces of flows that the host has not, a sentence a flow. They may come later."""
    here = set(present)
    absent = {flow.name: [name for name in flow.interfaces if name not in here] for flow in flows.flows}
    return [
        "The flow '{0}' is limited to {1}, which this host does not have now; compare the name with the output of 'ip "
        "-br link', since alternative names do not count.".format(
            flow, ", ".join("the interface '{0}'".format(name) for name in names)
        )
        for flow, names in absent.items()
        if names
    ]


def address_family_warnings(flows: FlowSet, versions: Iterable[int]) -> List[str]:
    """The flows whose servers' addresses are all of one family on a host that has another, a sentence a flow.

    Clients need no such warning: those of the other family are refused.
    """
    here = set(versions)
    found = []
    for flow in flows.flows:
        named = {network.version for network in flow.destination_addresses}
        for version in sorted(here - named) if named else ():
            found.append(
                "The destination_addresses of the flow '{0}' are of {1} only, and this host has {2} too: over {2} its "
                "ports stay open to everybody; add addresses of {2}, also {3} if the server is this host.".format(
                    flow.name, _FAMILY_NAMES[10 - version], _FAMILY_NAMES[version], _LOOPBACKS[version]
                )
            )
    return found


def confinement_warnings(cuts: Iterable[Cut]) -> List[str]:
    """What confined domains talk to now and lose, a sentence a domain."""
    lost = {}  # type: Dict[str, List[str]]
    for cut in cuts:
        if not cut.flow and not cut.label and not cut.interface:
            lost.setdefault(cut.domain, []).append("{0} ({1}, pid {2})".format(cut.socket, cut.command, cut.pid))
    return [
        "The confined domain '{0}' has sockets that no flow allows: {1}; add flows for those that it needs.".format(
            domain, "; ".join(sockets[:5]) + ("; and {0} more".format(len(sockets) - 5) if sockets[5:] else "")
        )
        for domain, sockets in sorted(lost.items())
    ]


def mptcp_warnings(flows: FlowSet, changes: bool) -> List[str]:
    """What MPTCP does where its sockets are those of kernel_t, which may use the default label alone."""
    confined = ["'{0}'".format(domain) for domain, mode in flows.confine if mode == ENFORCE]
    off = "turn it off with 'sysctl -w net.mptcp.enabled=0' and in /etc/sysctl.d, or boot Linux 6.5 or newer"
    warnings = []
    if confined:
        warnings.append(
            "MPTCP is on, and this kernel checks its packets as those of kernel_t: the confined domain {0} reaches "
            "what no flow allows when it uses MPTCP; {1}.".format(", ".join(confined), off)
        )
    if flows.flows and changes:
        warnings.append(
            "MPTCP is on, and this kernel checks its packets as those of kernel_t: programs of a flow's own domains "
            "that use MPTCP are cut off where the flow is enforced, and logged as kernel_t where it is observed; have "
            "them use TCP, or {0}.".format(off)
        )
    return warnings


def left_over_warnings(sets: Iterable[str]) -> List[str]:
    """What an administrator should know of rules of ours in these sets, which were not on record and go now."""
    return [
        "The {0} rules of this collection by the backend {1} were in force on this host and not on record; they are "
        "removed. Find out what loads them, such as a file of saved rules.".format(name, RULE_SETS[name].backend)
        for name in sets
    ]


def source_port_warnings(flows: FlowSet, given: Sequence[Tuple[int, int]], forgetful: bool) -> List[str]:
    """The flows whose ports clients of other services get as source ports, a sentence a flow: ``given`` are the ranges
    that this host's get them from. Only of TCP, and not where the kernel is ``forgetful``, it is known who began."""
    return [
        "The flow '{0}' has {1} ports that clients get as source ports. A client that uses another service from one "
        "of them is refused, since {2}; choose other ports, or, on both hosts, remove these from "
        "net.ipv4.ip_local_port_range or add them to net.ipv4.ip_local_reserved_ports.".format(
            flow.name,
            flow.protocol,
            "this kernel keeps no labels on connections"
            if flow.protocol == "tcp"
            else "such packets do not show which side is the client",
        )
        for flow in flows.flows
        if (forgetful or flow.protocol != "tcp")
        and any(
            ports.high - ports.low >= _WIDE or any(ports.low <= high and low <= ports.high for low, high in given)
            for ports in flow.ports
        )
    ]


def purge_warnings(request: Request, before: FlowSet, after: FlowSet) -> List[str]:
    """The flows that a whole set removes because it does not list them, in a sentence."""
    gone = removed(before, after)
    if not isinstance(request, Replace) or not gone:
        return []
    if request.reverts:
        how, why = "By going back", "the earlier set does not have them"
    elif request.flows.empty:
        how, why = "With state=absent", "no flows are named"
    else:
        how, why = "With purge=true", "they are not listed"
    return [
        "{0} these flows are removed, since {1}: {2}. Their ports are open to everybody unless another flow covers "
        "them.".format(how, why, ", ".join(gone))
    ]


def access_warnings(
    mode: str,
    flows: FlowSet,
    access: Iterable[Access],
    elsewhere: Iterable[Elsewhere],
    processes: Iterable[Process],
    permissive: Sequence[str],
) -> List[str]:
    """What keeps flows that are in place from being enforced or used, each a sentence."""
    warnings = []
    if flows.labels_packets and mode == "permissive":
        warnings.append(
            "SELinux is permissive on this host: the flows are in place, but nothing is enforced until 'setenforce 1'."
        )
    if permissive:
        confined = sorted(set(permissive).intersection(dict(flows.confine)))
        warnings.append(
            "The policy declares the domains {0} permissive: no flow refuses them anything, {1}until you run "
            "'semanage permissive -d' for each.".format(
                ", ".join(permissive),
                "and confine has no effect on {0}, ".format(", ".join(confined)) if confined else "",
            )
        )
    for row in access:
        if row.refused_ports:
            warnings.append(
                "The policy does not let '{0}' connect to port {1} of the flow '{2}', whatever the packets' labels "
                "(name_connect); find the boolean that allows it with 'sesearch -A -s {0} -c tcp_socket -p "
                "name_connect'.".format(row.domain, ", ".join(map(str, row.refused_ports)), row.flow)
            )
    loose = [row.domain for row in elsewhere if row.mode == ENFORCE and row.unlabelled]
    if loose:
        warnings.append(
            "The loaded policy lets every domain use unlabelled packets, and no policy module can revoke that: {0} is "
            "confined in this network namespace only, not in those of containers.".format(", ".join(loose))
        )
    running = set(contexts_by_domain(processes))
    for flow in flows.flows:
        if flow.domains and not running.intersection(flow.domains):
            warnings.append(
                "No process runs in a domain of the flow '{0}' ({1}) on this host; start its services, or check their "
                "domains with process_context_info.".format(flow.name, ", ".join(flow.domains))
            )
    return warnings


def repair_warnings(repaired: Optional[str]) -> List[str]:
    """That a host has repaired something by itself, and when."""
    if not repaired:
        return []
    return [
        "Another program removed labels or policy, and this host put them back, last at {0}; find out which program "
        "removes them.".format(repaired)
    ]


def no_systemd_warnings(command: Sequence[str]) -> List[str]:
    """That nothing loads the flows at boot; the command does."""
    return [
        "This host does not run systemd, so nothing loads the flows at boot or puts back labels that another program "
        "removes; have '{0} load' run at boot.".format(" ".join(command))
    ]
