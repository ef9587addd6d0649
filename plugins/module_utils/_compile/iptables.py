# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A set of flows as rules for iptables and ip6tables that label packets. No I/O.

The rules are the same for both families, but for those that name addresses, and stand in chains of our own in the
table ``security``: one a hook, under it one a direction of connections, and, where the set is large, search trees that
both hooks share.
"""

import re
from typing import Callable, Dict, Iterable, Iterator, List, NamedTuple, Pattern, Sequence, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._compile import sampling
from ansible_collections.senet.firewall.plugins.module_utils._compile.xtables import (
    HOOKS,
    Place,
    name_order,
    saved_tables,
)
from ansible_collections.senet.firewall.plugins.module_utils._values.fields import (
    PROTOCOL_NUMBERS,
    Network,
    PortRange,
    address_text,
    of_family,
)
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import (
    DEFAULT_PACKET_TYPE,
    ENFORCE,
    OBSERVE,
    Flow,
    FlowSet,
    type_context,
)

# The chains of a hook, and those of a search tree, which stood under each hook in former releases
PLACE = Place(
    "security",
    "SENET_",
    re.compile(
        r"SENET_(?:INPUT|OUTPUT)(?:_(?:original|reply)(?:_mid|_(?:mid)?(?:old|few))?|_[a-z]+_[a-z]+_[0-9]+)?"
        r"|SENET_(?:tcp|udp|dccp|sctp)_[a-z]+_[a-z]+_[0-9]+"
    ),
)

# Up to so many ranges of ports a chain is one list that a person reads; beyond it every rule counts, packet by packet.
_FLAT_CLAIMS = 8
_LEAF_CLAIMS = 4
_FAN_OUT = 4

# The bit of a connection's labels that says: it began with its originator's own SYN, and we saw that.
BEGAN = "107"
_SYN = "--tcp-flags SYN,ACK SYN "

_RULE = re.compile(r"^-A .*", re.MULTILINE)
_NOT_OURS = re.compile(r"^-A (?!(?:{0}) ).*".format(PLACE.own.pattern), re.MULTILINE)
_REMEMBERS = " -m connlabel "
_RELABELS = re.compile(r" -j (?:CONN)?SECMARK\b")
_CHECKS = re.compile(r" -j SECMARK\b")
_SELCTX_TYPE = re.compile(r" --selctx [^: ]+:[^: ]+:([^: ]+)")


def compile_rules(flows: FlowSet, family: str = "ipv4") -> Tuple[str, ...]:
    """The rules of all our chains, in order, spelled as iptables-save prints them.

    SECMARK does not end the traversal, so the last match wins: a default label; then, for what conntrack does not
    follow, the ports, what a packet is sent *to* deciding last, or a server could reach another service from its own
    port. A packet that conntrack follows goes on in the chain of its direction: first connections whose tuple is
    reversed because conntrack met the server's packet first; then the real tuple, whose reply source is the port that
    answers, whatever NAT or the client's choice of source port did.

    A source port speaks for a flow only while nothing is known against it: a connection that began with its
    originator's SYN is none of a server's, which the connection's label remembers.

    A flow with addresses or interfaces has its rules at the end of each phase, one a combination of them.

    Of connections that are only observed, and not new, what is beyond a rate gets an unlogged type of its flow at the
    end of the phase that found it. The rate counts for each hook, direction and phase by itself: on loopback a packet
    leaves before it arrives, and one rate for both would be used up where it leaves.

    A large set keeps these phases and their order. Each finds its port in a tree of chains a protocol: an inner chain
    goes on to the part that may hold the port, and a chain that is gone to returns where the tree was entered.
    """
    chains = {}  # type: Chains
    for hook in HOOKS:
        _hook_rules(chains, hook, flows, family)
    return tuple(rule for name in sorted(chains, key=name_order) for rule in chains[name])


def forgetful(rules: Iterable[str]) -> Tuple[str, ...]:
    """The rules for a kernel that keeps no labels on connections: a source port always speaks for a flow, but on the
    SYN itself."""
    return tuple(rule for rule in rules if _REMEMBERS not in rule)


def remember(rules: Iterable[str]) -> bool:
    """Whether some of these rules use labels of connections."""
    return any(_REMEMBERS in rule for rule in rules)


def foreign_labels(text: str) -> List[str]:
    """The rules in what ``iptables-save`` prints that label packets and are not ours, each as ``table: rule``."""
    return _label_rules(text, _NOT_OURS)


def label_rules(text: str) -> List[str]:
    """Every rule in what ``iptables-save`` prints that labels packets, each as ``table: rule``."""
    return _label_rules(text, _RULE)


def _label_rules(text: str, of_ours: Pattern[str]) -> List[str]:
    """Those of these rules in the table where ours are, and of all rules elsewhere."""
    return [
        "{0}: {1}".format(table, rule)
        for table, part in saved_tables(text)
        if "SECMARK" in part
        for rule in (of_ours if table == PLACE.table else _RULE).findall(part)
        if _RELABELS.search(rule)
    ]


def checking_rules(text: str, ours: bool) -> List[str]:
    """Those of :func:`label_rules`, or without ``ours`` of :func:`foreign_labels`, that turn the kernel's packet checks
    on: CONNSECMARK does not."""
    return [rule for rule in (label_rules(text) if ours else foreign_labels(text)) if _CHECKS.search(rule)]


def without_types(rules: Iterable[str], types: Iterable[str]) -> Tuple[str, ...]:
    """The rules less those that put one of these packet types on a packet."""
    gone = set(types)
    return tuple(rule for rule in rules if not gone.intersection(_SELCTX_TYPE.findall(rule)))


Chains = Dict[str, List[str]]


class _Claim(NamedTuple):
    """Ports of a flow, and the packet types of its sides."""

    protocol: str
    ports: PortRange
    types: Dict[str, str]


class _Phase(NamedTuple):
    """A question to packets: by which port they belong to a flow, and the side whose type they get then."""

    name: str
    option: str
    side: str

    def match(self, protocol: str, low: int, high: int) -> str:
        ports = str(low) if low == high else "{0}:{1}".format(low, high)
        extension = "conntrack --ctproto {0}".format(PROTOCOL_NUMBERS[protocol]) if self.tracked else protocol
        return "-p {0} -m {1} {2} {3} {4}".format(protocol, extension, self.option, ports, self.guard(protocol))

    @property
    def tracked(self) -> bool:
        """Whether it asks conntrack."""
        return self.option.startswith("--ct")

    def guard(self, protocol: str) -> str:
        """What no server's packet is: the SYN of a client that chose this source port."""
        return "! " + _SYN if protocol == "tcp" and self.option == "--sport" else ""

    def types(self, flows: FlowSet, flow: Flow) -> Dict[str, str]:
        """The packet types of the flow's sides. Of TCP without conntrack the SYN is left out, and that is enough."""
        sure = self.option not in ("--sport", "--ctorigsrcport") or (flow.protocol == "tcp" and not self.tracked)
        client, server = (flow.client_type, flow.server_type) if sure else flows.midstream_types(flow)
        return {"client": client, "server": server}

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


# The rule for a claim: from its chain, what matches it, and itself
Found = Callable[[str, str, _Claim], str]

# By what each phase finds the service's port: the options for the client's address, and the server's.
_ENDS = {
    "--sport": ("-d", "-s"),
    "--dport": ("-s", "-d"),
    "--ctorigsrcport": ("--ctreplsrc", "--ctorigsrc"),
    "--ctreplsrcport": ("--ctorigsrc", "--ctreplsrc"),
}
_END_ORDER = ("-s", "-d", "--ctorigsrc", "--ctreplsrc")


def _hook_rules(chains: Chains, hook: str, flows: FlowSet, family: str) -> None:
    name = PLACE.chain(hook)
    rules = chains[name] = list(_transformed(name)) if hook == "OUTPUT" else []
    rules.append(_label(name, "", DEFAULT_PACKET_TYPE))
    if not flows.flows:
        return
    # What leaves is sent by the connection's own side, what arrives comes from the other side.
    originator, replier = ("client", "server") if hook == "OUTPUT" else ("server", "client")
    for direction, own, other in (("ORIGINAL", originator, replier), ("REPLY", replier, originator)):
        tracked = "{0}_{1}".format(name, direction.lower())
        middle = tracked + "_mid"
        rules.append("-A {0} -m conntrack --ctdir {1} -g {2}".format(name, direction, tracked))
        chains[tracked] = ["-A {0} -j {1}".format(tracked, middle)]
        chains[middle] = list(_beginnings(middle, direction, flows))
        middle_phase, phase = _Phase("osrc", "--ctorigsrcport", other), _Phase("rsrc", "--ctreplsrcport", own)
        _phase_rules(chains, middle, hook, middle_phase, flows, family)
        if sampling.samples(flows, real=False):
            _sampling_rules(chains, middle, hook, middle_phase, flows, family)
        _phase_rules(chains, tracked, hook, phase, flows, family)
        if sampling.samples(flows, real=True):
            _sampling_rules(chains, tracked, hook, phase, flows, family)
    # Nothing that conntrack follows comes here
    _phase_rules(chains, name, hook, _Phase("sport", "--sport", replier), flows, family)
    _phase_rules(chains, name, hook, _Phase("dport", "--dport", originator), flows, family)


def _transformed(name: str) -> Iterator[str]:
    """What IPsec sends passes a second time, transformed, and is to keep the label that decides who may send it.

    AH of IPv6 is a header before the protocol: ip6tables sees what is behind it, and the first of these never matches.
    """
    for protocol in ("ah", "esp"):
        yield "-A {0} -p {1} -j RETURN".format(name, protocol)


def _beginnings(name: str, direction: str, flows: FlowSet) -> Iterator[str]:
    """What tells TCP connections that are not picked up in mid-stream: the originator's SYN, and then our memory of it.
    A SYN the other way is none of theirs: whoever forges the first one must not reach a server by the second."""
    if not any(flow.protocol == "tcp" for flow in flows.flows):
        return
    known = "-m connlabel --label \"{0}\" ".format(BEGAN)
    if direction == "ORIGINAL":
        seen = "-p tcp -m tcp {0}-m conntrack --ctstate NEW {1}--set".format(_SYN, known)
        yield "-A {0} {1} -j RETURN".format(name, seen)
        yield "-A {0} -p tcp -m tcp {1}-j RETURN".format(name, _SYN)
        yield "-A {0} -p tcp {1}-j RETURN".format(name, known)
    else:
        yield "-A {0} -p tcp -m tcp ! {1}{2}-j RETURN".format(name, _SYN, known)


def _phase_rules(
    chains: Chains, name: str, hook: str, phase: _Phase, flows: FlowSet, family: str
) -> None:
    """Add a phase to the end of a chain, and the trees it needs."""
    claims = [
        _Claim(flow.protocol, ports, phase.types(flows, flow))
        for flow in flows.flows
        if flow.everywhere
        for ports in flow.ports
    ]
    _search(chains, name, phase, claims, "{0}_{1}".format(phase.name, phase.side), _labels(phase))
    chains[name].extend(_placed_rules(name, hook, phase, flows, family))


def _sampling_rules(
    chains: Chains, name: str, hook: str, phase: _Phase, flows: FlowSet, family: str
) -> None:
    """Add the unlogged types to the end of a chain of connections: what is on an observed flow's port uses up the rate,
    and beyond it is labelled anew, by the same rules in the same order."""
    kind, letter = "" if name.endswith("_mid") else "_", phase.name[0]
    old, few = name + kind + "old", name + kind + "few"
    chains[name].append("-A {0} -m conntrack --ctstatus ASSURED -j {1}".format(name, old))
    chains[old] = []
    ports = [
        _Claim(protocol, own, {}) for protocol, found in sampling.sampled_ports(flows).items() for own in found
    ]
    # No other chain has the same goal
    here = "{0}old_{1}".format(letter, "".join(part[:3].lower() for part in name.split("_")[1:3]))
    _search(chains, old, phase, ports, here, lambda chain, match, claim: "-A {0} {1}-g {2}".format(chain, match, few))
    limit = "--limit {0}/sec --limit-burst {1}".format(sampling.RATE, sampling.BURST)
    chains[few] = ["-A {0} -m limit {1} -j RETURN".format(few, limit)]
    claims = [
        _Claim(flow.protocol, own, dict(zip(("client", "server"), flow.unlogged_types)))
        for flow in flows.flows
        if flow.mode == OBSERVE and flow.everywhere
        for own in flow.ports
    ]
    _search(chains, few, phase, claims, "{0}few_{1}".format(letter, phase.side), _labels(phase))
    chains[few].extend(_placed_rules(few, hook, phase, sampling.placed(flows), family, unlogged=True))


def _labels(phase: _Phase) -> Found:
    return lambda name, match, claim: _label(name, match, claim.types[phase.side])


def _search(
    chains: Chains, name: str, phase: _Phase, claims: Sequence[_Claim], tree_name: str, found: Found
) -> None:
    """Add to a chain what finds a packet's claim, and the trees that takes. A tree may serve several chains."""
    if len(claims) <= _FLAT_CLAIMS:
        chains[name].extend(_claim_rule(name, phase, claim, found) for claim in claims)
        return
    for protocol in sorted({claim.protocol for claim in claims}):
        own = sorted((claim for claim in claims if claim.protocol == protocol), key=lambda claim: claim.ports)
        root = "SENET_{0}_{1}".format(protocol, tree_name)
        entry = phase.match(protocol, own[0].ports.low, own[-1].ports.high)
        chains[name].append("-A {0} {1}-j {2}_0".format(name, entry, root))
        if root + "_0" not in chains:
            tree = {}  # type: Chains
            _grow(tree, root, phase, own, found)
            chains.update(tree)


def _grow(tree: Chains, root: str, phase: _Phase, claims: Sequence[_Claim], found: Found) -> str:
    """Add to the chains of a tree one that finds these claims, and all below it; its name."""
    name = "{0}_{1}".format(root, len(tree))
    rules = []  # type: List[str]
    tree[name] = rules
    if len(claims) <= _LEAF_CLAIMS:
        rules.extend(_claim_rule(name, phase, claim, found) for claim in claims)
        return name
    for part in _parts(claims):
        match = phase.match(part[0].protocol, part[0].ports.low, part[-1].ports.high)
        rules.append("-A {0} {1}-g {2}".format(name, match, _grow(tree, root, phase, part, found)))
    return name


def _parts(claims: Sequence[_Claim]) -> List[Sequence[_Claim]]:
    """The claims in as few parts of about one size as keep the tree as low as it can be."""
    room = _LEAF_CLAIMS
    while room * _FAN_OUT < len(claims):
        room *= _FAN_OUT
    count = -(-len(claims) // room)
    edges = [len(claims) * part // count for part in range(count + 1)]
    return [claims[low:high] for low, high in zip(edges, edges[1:])]


def _claim_rule(name: str, phase: _Phase, claim: _Claim, found: Found) -> str:
    return found(name, phase.match(claim.protocol, claim.ports.low, claim.ports.high), claim)


def _placed_rules(
    name: str, hook: str, phase: _Phase, flows: FlowSet, family: str, unlogged: bool = False
) -> Iterator[str]:
    """The rules of the flows that ports alone do not tell: first whom they refuse, so that each flow's own clients,
    whose label comes after, are not among them."""
    # What one flow enforces is not for another that only observes to permit.
    placed = sorted((flow for flow in flows.flows if not flow.everywhere), key=lambda flow: flow.mode == ENFORCE)
    for flow in placed:
        if flow.source_addresses:
            for match in _placed_matches(hook, phase, flow, ("",), family):
                yield _label(name, match, sampling.packet_types(flow, unlogged)[2])
    for flow in placed:
        clients = _addresses(flow.source_addresses, family)
        types = phase.types(flows, flow)
        if unlogged and flow.mode == OBSERVE:
            types = dict(zip(("client", "server"), flow.unlogged_types))
        for match in _placed_matches(hook, phase, flow, clients, family):
            yield _label(name, match, types[phase.side])


def _placed_matches(hook: str, phase: _Phase, flow: Flow, clients: Sequence[str], family: str) -> Iterator[str]:
    """Each combination of an interface, a server's address, a client's address and ports."""
    way = "-o" if hook == "OUTPUT" else "-i"
    for interface in flow.interfaces or ("",):
        at = "{0} {1} ".format(way, interface) if interface else ""
        for server in _addresses(flow.destination_addresses, family):
            for client in clients:
                ends = phase.ends(client, server)
                for ports in flow.ports:
                    match = phase.match(flow.protocol, ports.low, ports.high)
                    # Tuple addresses are options of the match that names the tuple's port.
                    yield at + (match + ends if phase.tracked else ends + match)


def _addresses(networks: Sequence[Network], family: str) -> Tuple[str, ...]:
    """The networks of a family as iptables-save spells them; any address is an empty word."""
    if not networks:
        return ("",)
    return tuple(address_text(network) if network.prefixlen else "" for network in of_family(networks, family))


def _label(name: str, match: str, packet_type: str) -> str:
    return "-A {0} {1}-j SECMARK --selctx {2}".format(name, match, type_context(packet_type))
