# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A set of flows as rules of the layer owner: who opens a connection, by uid and control group. No I/O.

They need no SELinux. Only what leaves has an owner that netfilter knows, so they stand where packets leave; where they
arrive, only the clients' addresses can be told. Connections that are open already pass, known by conntrack, but for
what a client sends by UDP: nobody closes such a connection, and whoever binds its port next would have it. A control
group is known to a rule by its number, which a unit gets anew each time it starts; the comment of a rule has that
number, so that a stale rule shows (net/netfilter/xt_cgroup.c, nft_socket.c).
"""

import re
from itertools import product
from typing import Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._compile.nft_text import (
    Blocks,
    address_matches,
    table_lines,
)
from ansible_collections.senet.firewall.plugins.module_utils._compile.xtables import HOOKS, Place
from ansible_collections.senet.firewall.plugins.module_utils._values.fields import (
    Network,
    PortRange,
    address_text,
    of_family,
)
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import OBSERVE, Flow, FlowSet

TABLE = "inet senet_owner"
PLACE = Place("filter", "SENET_OWNER_", re.compile("SENET_OWNER_(?:INPUT|OUTPUT)"))

# Of iptables' LOG; nft has room for more.
_PREFIX_LENGTH = 29


class Cgroup(NamedTuple):
    """A control group: its path below the root of the hierarchy, without a slash in front, and its number."""

    path: str
    number: int


class Accounts(NamedTuple):
    """Which of the flows' users and units are on a host: uids by login name, control groups by unit that runs."""

    users: Mapping[str, int]
    units: Mapping[str, Cgroup]


class _Client(NamedTuple):
    """Who may open a flow's connections; any uid, or any control group, where it is None."""

    uid: Optional[int]
    cgroup: Optional[Cgroup]


def holds(flow: Flow) -> bool:
    """Whether this layer refuses anybody the flow: it is not for every domain, or has the clients' addresses."""
    return bool(flow.users or flow.units or flow.source_addresses)


def uids(flow: Flow, accounts: Accounts) -> List[int]:
    """The uids of a flow's users, as far as they are on the host."""
    known = {int(user) if user.isdigit() else accounts.users.get(user) for user in flow.users}
    return sorted(uid for uid in known if uid is not None)


def compile_iptables(flows: FlowSet, accounts: Accounts, family: str, labelled: bool) -> Tuple[str, ...]:
    """The rules of our chains in the table filter, in order, spelled as iptables-save prints them.

    Where packets are ``labelled`` too, a TCP reset would have the flow's label, and never reach a process of another
    domain, which then waits for its timeout; an ICMP error ends its attempt as well, whatever the socket's label.
    """
    return tuple(rule for hook in HOOKS for rule in _hook_rules(hook, flows, accounts, family, labelled))


def compile_nftables(flows: FlowSet, accounts: Accounts, labelled: bool) -> Tuple[str, ...]:
    """The whole table as the lines of one nft file."""
    blocks = {
        ("chain", hook.lower()): list(_chain_lines(hook, flows, accounts, labelled)) for hook in HOOKS
    }  # type: Blocks
    return table_lines(TABLE, blocks)


def _clients(hook: str, flow: Flow, accounts: Accounts) -> List[_Client]:
    if hook == "INPUT":
        return [_Client(None, None)]
    numbers = list(uids(flow, accounts)) if flow.users else [None]  # type: Sequence[Optional[int]]
    groups = sorted(accounts.units[unit] for unit in flow.units if unit in accounts.units)
    return [_Client(uid, cgroup) for uid, cgroup in product(numbers, groups if flow.units else [None])]


def _held(hook: str, flows: FlowSet) -> List[Flow]:
    return [flow for flow in flows.flows if (holds(flow) if hook == "OUTPUT" else flow.source_addresses)]


class _Rest(NamedTuple):
    """Whom a flow permits nothing: clients with these addresses, with any if empty. ``ends`` says that no other flow
    decides on these once they are logged."""

    flow: Flow
    clients: Tuple[Network, ...]
    ends: bool = False


def _rests(hook: str, flows: FlowSet) -> List[_Rest]:
    """In the order of their rules, as the layer selinux decides in a place of several flows: each flow judges its own
    clients' addresses, and of all others what one flow enforces is not for another that only observes to permit."""
    held = _held(hook, flows)
    # Only their clients' addresses part flows of one place
    parted = [flow for flow in held if flow.source_addresses]
    beside = [
        flow
        for flow in parted
        if flow.mode == OBSERVE and any(other.mode != OBSERVE and flow.shares_place(other) for other in parted)
    ]
    # Where packets arrive its own clients have passed already
    own = [_Rest(flow, flow.source_addresses, True) for flow in beside if hook == "OUTPUT"]
    return own + [_Rest(flow, ()) for flow in [flow for flow in held if flow not in beside] + beside]


def _comment(flow: Flow, client: _Client) -> str:
    return flow.name if client.cgroup is None else "{0}-cgroup-{1}".format(flow.name, client.cgroup.number)


def _prefix(flow: Flow) -> str:
    return "senet would refuse {0}".format(flow.name)[: _PREFIX_LENGTH - 1] + " "


def _hook_rules(hook: str, flows: FlowSet, accounts: Accounts, family: str, labelled: bool) -> Iterator[str]:
    head = "-A {0} ".format(PLACE.chain(hook))
    if hook == "INPUT":
        yield head + "-m conntrack --ctstate RELATED,ESTABLISHED -j RETURN"
    else:
        yield head + "! -p udp -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN"
        yield head + "-m conntrack --ctdir REPLY -j RETURN"
    # What one flow permits comes before what another one of the same ports, but other addresses, refuses.
    for flow in _held(hook, flows):
        for client in _clients(hook, flow, accounts):
            who = "" if client.uid is None else "-m owner --uid-owner {0} ".format(client.uid)
            if client.cgroup is not None:
                # Quoted as iptables does it: a-b@1.service is in system-a\x2db.slice
                who += '-m cgroup --path "{0}" '.format(client.cgroup.path.replace("\\", "\\\\"))
            for match in _matches(hook, flow, flow.source_addresses, family):
                yield "{0}{1}{2}-m comment --comment {3} -j RETURN".format(head, match, who, _comment(flow, client))
    for flow, clients, ends in _rests(hook, flows):
        unreachable = "icmp-port-unreachable" if family == "ipv4" else "icmp6-port-unreachable"
        answer = "tcp-reset" if flow.protocol == "tcp" and not labelled else unreachable
        limit, target = "", "REJECT --reject-with " + answer
        if flow.mode == OBSERVE:
            limit = "-m limit --limit 10/sec --limit-burst 50 "
            target = 'LOG --log-prefix "{0}" --log-uid'.format(_prefix(flow))
        for match in _matches(hook, flow, clients, family):
            yield "{0}{1}{2}-m comment --comment {3} -j {4}".format(head, match, limit, flow.name, target)
            if ends:
                yield "{0}{1}-m comment --comment {2} -j RETURN".format(head, match, flow.name)


def _matches(hook: str, flow: Flow, clients: Sequence[Network], family: str) -> Iterator[str]:
    """Each combination of a client's and a server's address, an interface and ports."""
    ways = ["{0} {1} ".format("-o" if hook == "OUTPUT" else "-i", name) for name in flow.interfaces] or [""]
    ends = product(_networks("-s", clients, family), _networks("-d", flow.destination_addresses, family), ways)
    for (client, server, way), ports in product(ends, flow.ports):
        yield "{0}{1}{2}-p {3} -m {3} --dport {4} ".format(client, server, way, flow.protocol, _range(ports, ":"))


def _networks(option: str, networks: Sequence[Network], family: str) -> List[str]:
    """What matches each network of a family, as iptables-save prints it; an empty word where any address does."""
    if not networks:
        return [""]
    return [
        "{0} {1}/{2} ".format(option, address_text(network).split("/")[0], network.prefixlen)
        if network.prefixlen
        else ""
        for network in of_family(networks, family)
    ]


def _range(ports: PortRange, dash: str) -> str:
    return str(ports.low) if ports.low == ports.high else "{0}{1}{2}".format(ports.low, dash, ports.high)


def _chain_lines(hook: str, flows: FlowSet, accounts: Accounts, labelled: bool) -> Iterator[str]:
    yield "type filter hook {0} priority filter;".format(hook.lower())
    yield "policy accept;"
    if hook == "INPUT":
        yield "ct state established,related accept"
    else:
        yield "meta l4proto != udp ct state established,related accept"
        yield "ct direction reply accept"
    for flow in _held(hook, flows):
        for client in _clients(hook, flow, accounts):
            who = "" if client.uid is None else "meta skuid {0} ".format(client.uid)
            if client.cgroup is not None:
                level = client.cgroup.path.count("/") + 1
                who += 'socket cgroupv2 level {0} "{1}" '.format(level, client.cgroup.path)
            for match in _nft_matches(hook, flow, flow.source_addresses):
                yield '{0}{1}accept comment "{2}"'.format(match, who, _comment(flow, client))
    for flow, clients, ends in _rests(hook, flows):
        for match in _nft_matches(hook, flow, clients):
            if flow.mode == OBSERVE:
                answer = 'limit rate 10/second burst 50 packets log prefix "{0}" flags skuid'.format(_prefix(flow))
            else:
                answer = "reject with tcp reset" if flow.protocol == "tcp" and not labelled else "reject"
            yield '{0}{1} comment "{2}"'.format(match, answer, flow.name)
            if ends:
                yield '{0}accept comment "{1}"'.format(match, flow.name)


def _nft_matches(hook: str, flow: Flow, clients: Sequence[Network]) -> Iterator[str]:
    way = "oifname" if hook == "OUTPUT" else "iifname"
    for name in flow.interfaces or ("",):
        at = '{0} "{1}" '.format(way, name) if name else ""
        for ends in address_matches("{0} daddr", flow.destination_addresses, "{0} saddr", clients):
            for ports in flow.ports:
                yield "{0}{1}{2} dport {3} ".format(at, ends, flow.protocol, _range(ports, "-"))
