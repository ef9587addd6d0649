# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A set of flows as rules for iptables and ip6tables that label packets. No I/O.

The rules are the same for both families, but for those that name addresses, and stand in chains of our own in the
table ``security``: one a hook, and under it, where the set is large, a search tree of chains a protocol and port to
look for.
"""

import re
from typing import Dict, Iterable, Iterator, List, NamedTuple, Sequence, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._compile import xtables
from ansible_collections.senet.firewall.plugins.module_utils._compile.xtables import (
    HOOKS,
    PROTOCOL_NUMBERS,
    Place,
    Table,
    name_order,
)
from ansible_collections.senet.firewall.plugins.module_utils._model import (
    DEFAULT_PACKET_TYPE,
    ENFORCE,
    Flow,
    FlowSet,
    Network,
    PortRange,
    address_text,
    packet_context,
)

PLACE = Place("security", "SENET_", re.compile(r"SENET_(?:INPUT|OUTPUT)(?:_[a-z]+_[a-z]+_[0-9]+)?"))

# Up to so many ranges of ports a chain is one list that a person reads; beyond it every rule counts, packet by packet.
_FLAT_CLAIMS = 8
_LEAF_CLAIMS = 4
_FAN_OUT = 4

_OURS = re.compile(r"security: -A {0} ".format(PLACE.own.pattern))
_RELABELS = re.compile(r" -j (?:CONN)?SECMARK\b")
_CHECKS = re.compile(r" -j SECMARK\b")
_SELCTX_TYPE = re.compile(r" --selctx [^: ]+:[^: ]+:([^: ]+)")


def compile_rules(flows: FlowSet, mls: bool, family: str = "ipv4") -> Tuple[str, ...]:
    """The rules of all our chains, in order, spelled as iptables-save prints them.

    SECMARK does not end the traversal, so the last match wins: a default label; then packets without a conntrack
    entry, by port, what they are sent *to* deciding last, or a server could reach another service from its own port;
    then connections whose tuple is reversed because conntrack met the server's packet first; then the real tuple,
    whose reply source is the port that answers, whatever NAT or the client's choice of source port did.

    A flow with addresses or interfaces has its rules at the end of each phase, one a combination of them.

    A large set keeps these phases and their order. Each finds its port in a tree of chains a protocol: an inner chain
    goes on to the part that may hold the port, and a chain that is gone to returns where the tree was entered.
    """
    return tuple(rule for hook in HOOKS for rule in _hook_rules(hook, flows, mls, family))


def parse_save(text: str) -> Table:
    """What ``iptables-save`` (all tables) says about our chains."""
    return xtables.parse_save(PLACE, text)


def foreign_labels(text: str) -> List[str]:
    """The rules in what ``iptables-save`` prints that label packets and are not ours, each as ``table: rule``."""
    return [rule for rule in label_rules(text) if not _OURS.match(rule)]


def label_rules(text: str) -> List[str]:
    """Every rule in what ``iptables-save`` prints that labels packets, each as ``table: rule``."""
    rules = []
    table = ""
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif line.startswith("-A ") and _RELABELS.search(line):
            rules.append("{0}: {1}".format(table, line))
    return rules


def checking_rules(text: str, ours: bool) -> List[str]:
    """Those of :func:`label_rules`, or without ``ours`` of :func:`foreign_labels`, that turn the kernel's packet checks
    on: CONNSECMARK does not."""
    return [rule for rule in (label_rules(text) if ours else foreign_labels(text)) if _CHECKS.search(rule)]


def without_types(rules: Iterable[str], types: Iterable[str]) -> Tuple[str, ...]:
    """The rules less those that put one of these packet types on a packet."""
    gone = set(types)
    return tuple(rule for rule in rules if not gone.intersection(_SELCTX_TYPE.findall(rule)))


class _Claim(NamedTuple):
    """Ports of a flow, and the packet types of its sides."""

    protocol: str
    ports: PortRange
    types: Dict[str, str]


class _Phase(NamedTuple):
    """A question to a packet. ``entry`` is what its packets have in common; ``answers`` are what remains to be
    matched, each with the side whose type the packet gets."""

    name: str
    option: str
    entry: str
    answers: Tuple[Tuple[str, str], ...]

    def match(self, protocol: str, low: int, high: int) -> str:
        ports = str(low) if low == high else "{0}:{1}".format(low, high)
        extension = "conntrack --ctproto {0}".format(PROTOCOL_NUMBERS[protocol]) if not self.entry else protocol
        return "-p {0} -m {1} {2} {3} ".format(protocol, extension, self.option, ports)

    def ends(self, client: str, server: str) -> str:
        """What matches the addresses of the connection's ends; nothing for an empty one."""
        ends = dict(zip(_ENDS[self.option], (client, server)))
        # iptables-save gives a single address a prefix in these options, and in no others.
        prefix = "/128" if ":" in client + server else "/32"
        texts = {
            option: address + (prefix if option in ("-s", "-d") and "/" not in address else "")
            for option, address in ends.items()
            if address
        }
        return "".join("{0} {1} ".format(option, texts[option]) for option in _END_ORDER if option in texts)


# By what each phase finds the service's port: the options for the client's address, and the server's.
_ENDS = {
    "--sport": ("-d", "-s"),
    "--dport": ("-s", "-d"),
    "--ctorigsrcport": ("--ctreplsrc", "--ctorigsrc"),
    "--ctreplsrcport": ("--ctorigsrc", "--ctreplsrc"),
}
_END_ORDER = ("-s", "-d", "--ctorigsrc", "--ctreplsrc")


def _phases(hook: str) -> Tuple[_Phase, ...]:
    # What leaves is sent by the connection's own side, what arrives comes from the other side.
    originator, replier = ("client", "server") if hook == "OUTPUT" else ("server", "client")
    untracked = "-m conntrack --ctstate INVALID,UNTRACKED "
    original, reply = "--ctdir ORIGINAL ", "--ctdir REPLY "
    return (
        _Phase("sport", "--sport", untracked, (("", replier),)),
        _Phase("dport", "--dport", untracked, (("", originator),)),
        _Phase("osrc", "--ctorigsrcport", "", ((original, replier), (reply, originator))),
        _Phase("rsrc", "--ctreplsrcport", "", ((original, originator), (reply, replier))),
    )


def _hook_rules(hook: str, flows: FlowSet, mls: bool, family: str) -> Iterator[str]:
    claims = [
        _Claim(flow.protocol, ports, {"client": flow.client_type, "server": flow.server_type})
        for flow in flows.flows
        if flow.everywhere
        for ports in flow.ports
    ]
    yield _label(PLACE.chain(hook), "", DEFAULT_PACKET_TYPE, mls)
    if len(claims) <= _FLAT_CLAIMS:
        for phase in _phases(hook):
            for claim in claims:
                yield from _claim_rules(PLACE.chain(hook), phase, claim, phase.entry, mls)
            yield from _placed_rules(hook, phase, flows, mls, family)
        return
    below = {}  # type: Dict[str, List[str]]
    for phase in _phases(hook):
        for protocol in sorted({claim.protocol for claim in claims}):
            own = sorted((claim for claim in claims if claim.protocol == protocol), key=lambda claim: claim.ports)
            root = "{0}_{1}_{2}".format(PLACE.chain(hook), protocol, phase.name)
            entry = phase.match(protocol, own[0].ports.low, own[-1].ports.high) + phase.entry
            yield "-A {0} {1}-j {2}_0".format(PLACE.chain(hook), entry, root)
            tree = {}  # type: Dict[str, List[str]]
            _grow(tree, root, phase, own, mls)
            below.update(tree)
        yield from _placed_rules(hook, phase, flows, mls, family)
    for name in sorted(below, key=name_order):
        yield from below[name]


def _grow(tree: Dict[str, List[str]], root: str, phase: _Phase, claims: Sequence[_Claim], mls: bool) -> str:
    """Add to the chains of a tree one that finds these claims, and all below it; its name."""
    name = "{0}_{1}".format(root, len(tree))
    rules = []  # type: List[str]
    tree[name] = rules
    if len(claims) <= _LEAF_CLAIMS:
        rules.extend(rule for claim in claims for rule in _claim_rules(name, phase, claim, "", mls))
        return name
    for part in _parts(claims):
        match = phase.match(part[0].protocol, part[0].ports.low, part[-1].ports.high)
        rules.append("-A {0} {1}-g {2}".format(name, match, _grow(tree, root, phase, part, mls)))
    return name


def _parts(claims: Sequence[_Claim]) -> List[Sequence[_Claim]]:
    """The claims in as few parts of about one size as keep the tree as low as it can be."""
    room = _LEAF_CLAIMS
    while room * _FAN_OUT < len(claims):
        room *= _FAN_OUT
    count = -(-len(claims) // room)
    edges = [len(claims) * part // count for part in range(count + 1)]
    return [claims[low:high] for low, high in zip(edges, edges[1:])]


def _claim_rules(name: str, phase: _Phase, claim: _Claim, entry: str, mls: bool) -> Iterator[str]:
    match = phase.match(claim.protocol, claim.ports.low, claim.ports.high) + entry
    for answer, side in phase.answers:
        yield _label(name, match + answer, claim.types[side], mls)


def _placed_rules(hook: str, phase: _Phase, flows: FlowSet, mls: bool, family: str) -> Iterator[str]:
    """The rules of the flows that ports alone do not tell: first whom they refuse, so that each flow's own clients,
    whose label comes after, are not among them."""
    # What one flow enforces is not for another that only observes to permit.
    placed = sorted((flow for flow in flows.flows if not flow.everywhere), key=lambda flow: flow.mode == ENFORCE)
    for flow in placed:
        if flow.source_addresses:
            for match in _placed_matches(hook, phase, flow, ("",), family):
                yield _label(PLACE.chain(hook), match, flow.refused_type, mls)
    for flow in placed:
        clients = _of_family(flow.source_addresses, family)
        for match in _placed_matches(hook, phase, flow, clients, family):
            for answer, side in phase.answers:
                packet_type = flow.client_type if side == "client" else flow.server_type
                yield _label(PLACE.chain(hook), match + answer, packet_type, mls)


def _placed_matches(hook: str, phase: _Phase, flow: Flow, clients: Sequence[str], family: str) -> Iterator[str]:
    """Each combination of an interface, a server's address, a client's address and ports."""
    way = "-o" if hook == "OUTPUT" else "-i"
    for interface in flow.interfaces or ("",):
        at = "{0} {1} ".format(way, interface) if interface else ""
        for server in _of_family(flow.destination_addresses, family):
            for client in clients:
                ends = phase.ends(client, server)
                for ports in flow.ports:
                    match = phase.match(flow.protocol, ports.low, ports.high)
                    # Tuple addresses are options of the match that names the tuple's port.
                    yield at + (match + ends if not phase.entry else ends + match) + phase.entry


def _of_family(networks: Sequence[Network], family: str) -> Tuple[str, ...]:
    """The networks of a family as iptables-save spells them; any address is an empty word."""
    if not networks:
        return ("",)
    own = [network for network in networks if network.version == (4 if family == "ipv4" else 6)]
    return tuple(address_text(network) if network.prefixlen else "" for network in own)


def _label(name: str, match: str, packet_type: str, mls: bool) -> str:
    return "-A {0} {1}-j SECMARK --selctx {2}".format(name, match, packet_context(packet_type, mls))
