# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A set of flows as the table ``inet senet`` of nftables, and what nft says of it. No I/O.

One table serves both families. A packet meets the same few rules however many flows there are: the flows stand in
maps from ports to labels, two a protocol, and two more where only a source port speaks for a flow.
"""

import re
from typing import Container, Dict, Iterable, Iterator, List, Sequence, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._compile import iptables, sampling
from ansible_collections.senet.firewall.plugins.module_utils._compile.nft_text import (
    Blocks,
    address_matches,
    chain_parts,
    one_of,
    parse_table,
    table_lines,
    table_parts,
)
from ansible_collections.senet.firewall.plugins.module_utils._values.fields import Network, PortRange
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import (
    DEFAULT_PACKET_TYPE,
    ENFORCE,
    OBSERVE,
    Flow,
    FlowSet,
    type_context,
)

TABLE = "inet senet"
# Without counters and element states; names and not numbers, because -n turns connection states into hexadecimal.
LIST_FLAGS = ("-s", "list", "ruleset")

_HOOKS = ("input", "output")
# The bit of a connection's labels that says: it began with its originator's own SYN, and we saw that.
_BEGAN = "ct label {0} ".format(iptables.BEGAN)
_REMEMBERS = re.compile(r"\bct label ")
_SYN, _NO_SYN = "tcp flags & (syn | ack) == syn ", "tcp flags & (syn | ack) != syn "
# Where each phase finds the service's port: that port, the server's address, and the client's.
_ENDS = {
    "sport": ("{0} sport", "{0} saddr", "{0} daddr"),
    "dport": ("{0} dport", "{0} daddr", "{0} saddr"),
    "original": ("ct original proto-src", "ct original {0} saddr", "ct reply {0} saddr"),
    "reply": ("ct reply proto-src", "ct reply {0} saddr", "ct original {0} saddr"),
}
# Rules of iptables-nft are an opaque target to nft, which releases spell in three ways.
_RELABELS = re.compile(r'\b(?:meta|ct) secmark set\b|(?:\bxt target "?|# ?(?:xt_)?)(?:CONN)?SECMARK\b')
_TABLE_LINE = re.compile(r"table (\S+ \S+) \{")
_SECMARK_LINE = re.compile(r"\s+secmark (\S+) \{")
_XT_SECMARK = re.compile(r'(?:\bxt target "?|# ?(?:xt_)?)SECMARK\b')
_WORD = re.compile(r'[^\s",{}]+')


def compile_rules(flows: FlowSet) -> Tuple[str, ...]:
    """The whole table as the lines of one nft file: what nft 1.0.6 lists, with an element of a map a line.

    A label is a secmark object named like its packet type, which no word of nft's can be mistaken for. A port that is
    not in a map ends its rule and no more.

    What conntrack follows goes on in the chain of its direction, where the first label ends the way: by the real
    tuple, whose reply source is the port that answers; then, unless the connection began with its originator's own
    SYN, which the connection's label remembers, by the reversed tuple of one that conntrack met in mid-stream; then
    the default. What conntrack does not follow stays in the hook's chain, where the last label counts: the default,
    then the ports, what a packet is sent *to* deciding last. Flows with addresses or interfaces have rules of their
    own at the end of each of these.

    Of connections that are only observed, and not new, what is beyond a rate gets an unlogged type of its flow, in a
    chain for each hook, direction and place of the port: on loopback a packet leaves before it arrives, and one rate
    for both would be used up where it leaves.
    """
    contexts = {packet_type: type_context(packet_type) for packet_type in flows.packet_types}
    blocks = {("secmark", name): ['"{0}"'.format(context)] for name, context in contexts.items()}  # type: Blocks
    for protocol in sorted({flow.protocol for flow in flows.flows if flow.everywhere}):
        for sure in (True, False) if _parted(flows, protocol) else (True,):
            for side in ("client", "server"):
                name = _map_name(flows, protocol, side, sure)
                blocks["map", name] = list(_map_lines(flows, protocol, side, sure))
    for protocol, ports in sampling.sampled_ports(flows).items():
        blocks["set", protocol + "_observed"] = list(_set_lines(ports))
        for number, side in enumerate(("client", "server")):
            own = [flow for flow in _observed_everywhere(flows) if flow.protocol == protocol]
            elements = sorted((ports, flow.unlogged_types[number]) for flow in own for ports in flow.ports)
            if elements:
                blocks["map", _unlogged_map(protocol, side)] = list(_element_lines(elements))
    for hook in _HOOKS:
        _add_chains(blocks, hook, flows)
    return table_lines(TABLE, blocks)


def forgetful(rules: Iterable[str]) -> Tuple[str, ...]:
    """The table for a kernel that keeps no labels on connections: a source port always speaks for a flow, but on the
    SYN itself."""
    return tuple(line for line in rules if not _REMEMBERS.search(line))


def remember(rules: Iterable[str]) -> bool:
    """Whether some lines of this table use labels of connections."""
    return any(_REMEMBERS.search(line) for line in rules)


def label_rules(text: str, but: Container[str]) -> List[str]:
    """The rules in what ``nft`` with :data:`LIST_FLAGS` prints that label packets or connections, each as ``family
    table chain: rule``, but for those of some tables, as ``family table``, and chains, as ``family table chain``."""
    rules = (each for each in listed_rules(text, but) if "secmark" in each[1].lower())
    return ["{0}: {1}".format(place, rule) for place, rule in rules if _RELABELS.search(rule)]


def listed_rules(text: str, but: Container[str] = ()) -> Iterator[Tuple[str, str]]:
    """Each rule, and each head of a chain, in what ``nft`` prints, with its family, table and chain in front, but for
    those of some tables and chains."""
    for table, part in table_parts(text):
        for place, chain in chain_parts(table, part) if table not in but else ():
            # The chains of iptables-nft have thousands of lines, and are known by then
            lines = chain.partition("\n\t}")[0].split("\n")[1:] if place not in but else []
            yield from ((place, line.strip()) for line in lines)


def checking_labels(text: str, ours: bool, but: Iterable[str] = ()) -> List[str]:
    """What turns the kernel's packet checks on, in what ``nft`` with :data:`LIST_FLAGS` prints: labels, used or not, as
    ``family table: secmark name``, and rules of iptables-nft. Without ``ours`` our table is left out; so are the
    rules of some other tables and chains."""
    found = []
    table = ""
    for line in text.splitlines():
        match = _TABLE_LINE.match(line)
        if match:
            table = match.group(1)
        match = _SECMARK_LINE.match(line)
        if match and (ours or table != TABLE):
            found.append("{0}: secmark {1}".format(table, match.group(1)))
    return found + [rule for rule in label_rules(text, {TABLE}.union(but)) if _XT_SECMARK.search(rule)]


def without_types(rules: Iterable[str], types: Iterable[str]) -> Tuple[str, ...]:
    """The table less everything that puts one of these packet types on packets."""
    gone = set(types)
    blocks = parse_table("\n".join(rules))
    lost = {
        name
        for (kind, name), lines in blocks.items()
        if kind == "secmark" and gone.intersection(part for line in lines for part in line.strip('"').split(":"))
    }
    return table_lines(
        TABLE,
        {
            (kind, name): [line for line in lines if not lost.intersection(_WORD.findall(line))]
            for (kind, name), lines in blocks.items()
            if not (kind == "secmark" and name in lost)
        },
    )


def _types(flows: FlowSet, flow: Flow, sure: bool) -> Dict[str, str]:
    client, server = (flow.client_type, flow.server_type) if sure else flows.midstream_types(flow)
    return {"client": client, "server": server}


def _parted(flows: FlowSet, protocol: str) -> bool:
    """Whether a source port alone gives other types than the service's port does."""
    return any(
        flows.parts_midstream(flow) for flow in flows.flows if flow.protocol == protocol and flow.everywhere
    )


def _map_name(flows: FlowSet, protocol: str, side: str, sure: bool) -> str:
    return "{0}_{1}{2}".format(protocol, side, "" if sure or not _parted(flows, protocol) else "_midstream")


def _map_lines(flows: FlowSet, protocol: str, side: str, sure: bool) -> Iterator[str]:
    return _element_lines(
        sorted(
            (ports, _types(flows, flow, sure)[side])
            for flow in flows.flows
            if flow.protocol == protocol and flow.everywhere
            for ports in flow.ports
        )
    )


def _element_lines(elements: Sequence[Tuple[PortRange, str]]) -> Iterator[str]:
    yield "type inet_service : secmark"
    if any(ports.low != ports.high for ports, dummy in elements):
        yield "flags interval"
    for ports, packet_type in elements:
        yield '{0} : "{1}",'.format(ports, packet_type)


def _set_lines(ports: Sequence[PortRange]) -> Iterator[str]:
    yield "type inet_service"
    if any(own.low != own.high for own in ports):
        yield "flags interval"
    for own in ports:
        yield "{0},".format(own)


def _add_chains(blocks: Blocks, hook: str, flows: FlowSet) -> None:
    # What leaves is sent by the connection's own side, what arrives comes from the other side.
    originator, replier = ("client", "server") if hook == "output" else ("server", "client")
    rest = hook + "_rest"
    label = 'meta secmark set "{0}"'.format(DEFAULT_PACKET_TYPE)
    if hook == "output":
        # What IPsec or a tunnel sends passes a second time, and keeps the label that decided who may send it.
        blocks["chain", "output_unlabelled"] = [label]
        label = "meta secmark vmap { 0 : jump output_unlabelled }"
    blocks["chain", rest] = [label]
    lines = ["type filter hook {0} priority security;".format(hook), "policy accept;"]
    if flows.flows:
        # Two comparisons take less time than one look into a verdict map
        lines.extend("ct direction {1} goto {0}_{1}".format(hook, direction) for direction in ("original", "reply"))
    lines.append("jump " + rest)
    lines.extend(_phase_lines(hook, flows, "sport", replier, ""))
    lines.extend(_phase_lines(hook, flows, "dport", originator, ""))
    blocks["chain", hook] = lines
    if not flows.flows:
        return
    for direction, own, other in (("original", originator, replier), ("reply", replier, originator)):
        tracked = "{0}_{1}".format(hook, direction)
        blocks["chain", tracked] = (
            list(_sampling_lines(blocks, tracked + "_busy", hook, flows, "reply", own))
            + list(_phase_lines(hook, flows, "reply", own, " accept"))
            + list(_beginnings(direction, rest, flows))
            + list(_sampling_lines(blocks, tracked + "_midstream_busy", hook, flows, "original", other))
            + list(_phase_lines(hook, flows, "original", other, " accept"))
            + ["goto " + rest]
        )


def _beginnings(direction: str, rest: str, flows: FlowSet) -> Iterator[str]:
    """What tells TCP connections that are not picked up in mid-stream: the originator's SYN, and then our memory of it.
    A SYN the other way is none of theirs: whoever forges the first one must not reach a server by the second."""
    if not any(flow.protocol == "tcp" for flow in flows.flows):
        return
    if direction == "original":
        yield "{0}ct state new ct label set {1}".format(_SYN, iptables.BEGAN)
        yield "{0}goto {1}".format(_SYN, rest)
        yield "meta l4proto tcp {0}goto {1}".format(_BEGAN, rest)
    else:
        yield "{0}{1}goto {2}".format(_NO_SYN, _BEGAN, rest)


def _phase_lines(hook: str, flows: FlowSet, place: str, side: str, end: str) -> Iterator[str]:
    """The rules that find a flow by the port at this place and give the type of this side."""
    for protocol in sorted({flow.protocol for flow in flows.flows if flow.everywhere}):
        yield "{0}meta secmark set {1} map @{2}{3}".format(
            _guard(place, protocol) if place in ("sport", "dport") else "meta l4proto {0} ".format(protocol),
            _ENDS[place][0].format(protocol),
            _map_name(flows, protocol, side, _sure(place, protocol)),
            end,
        )
    lines = list(_placed_lines(hook, flows, place, side))
    # Where the first label ends the way the order is the other way round
    yield from (line + end for line in (reversed(lines) if end else lines))


def _sampling_lines(
    blocks: Blocks, busy: str, hook: str, flows: FlowSet, place: str, side: str
) -> Iterator[str]:
    """The rules that lead to a chain for busy connections, and that chain: what is on an observed flow's port uses up
    the rate, and beyond it is labelled by the same rules as elsewhere, with the unlogged types."""
    if not sampling.samples(flows, place == "reply"):
        return
    port = _ENDS[place][0]
    rate = "limit rate {0}/second burst {1} packets return".format(sampling.RATE, sampling.BURST)
    maps = [
        "meta l4proto {0} meta secmark set {1} map @{2} accept".format(protocol, port, _unlogged_map(protocol, side))
        for protocol in sorted({flow.protocol for flow in _observed_everywhere(flows)})
    ]
    placed = [
        line + " accept" for line in _placed_lines(hook, sampling.placed(flows), place, side, unlogged=True)
    ]
    blocks["chain", busy] = [rate] + maps + placed[::-1]
    for protocol in sampling.sampled_ports(flows):
        yield "meta l4proto {0} ct status assured {1} @{0}_observed jump {2}".format(protocol, port, busy)


def _observed_everywhere(flows: FlowSet) -> List[Flow]:
    return [flow for flow in flows.flows if flow.mode == OBSERVE and flow.everywhere]


def _unlogged_map(protocol: str, side: str) -> str:
    return "{0}_{1}_unlogged".format(protocol, side)


def _guard(place: str, protocol: str) -> str:
    """What no server's packet is: the SYN of a client that chose this source port."""
    return _NO_SYN if place == "sport" and protocol == "tcp" else ""


def _sure(place: str, protocol: str) -> bool:
    """Whether a port at this place says the flow. Of TCP without conntrack the SYN is left out, and that is enough."""
    return place in ("dport", "reply") or (place == "sport" and protocol == "tcp")


def _placed_lines(hook: str, flows: FlowSet, place: str, side: str, unlogged: bool = False) -> Iterator[str]:
    """The rules of the flows that ports alone do not tell: first whom they refuse, so that each flow's own clients,
    whose label comes after, are not among them."""
    # What one flow enforces is not for another that only observes to permit.
    placed = sorted((flow for flow in flows.flows if not flow.everywhere), key=lambda flow: flow.mode == ENFORCE)
    for flow in placed:
        if flow.source_addresses:
            for match in _placed_matches(hook, flow, place, ()):
                yield '{0}meta secmark set "{1}"'.format(match, sampling.packet_types(flow, unlogged)[2])
    for flow in placed:
        types = _types(flows, flow, _sure(place, flow.protocol))
        if unlogged and flow.mode == OBSERVE:
            types = dict(zip(("client", "server"), flow.unlogged_types))
        packet_type = types[side]
        for match in _placed_matches(hook, flow, place, flow.source_addresses):
            yield '{0}meta secmark set "{1}"'.format(match, packet_type)


def _placed_matches(hook: str, flow: Flow, place: str, clients: Sequence[Network]) -> Iterator[str]:
    """Each combination of a family and ports."""
    interfaces = ['"{0}"'.format(name) for name in flow.interfaces]
    at = one_of("oifname" if hook == "output" else "iifname", interfaces)
    port, server, client = _ENDS[place]
    for ends in address_matches(server, flow.destination_addresses, client, clients):
        for ports in flow.ports:
            found = port.format(flow.protocol) + " {0} ".format(ports)
            # As nft lists it: "tcp sport" says the protocol by itself.
            protocol = "" if place in ("sport", "dport") else "meta l4proto {0} ".format(flow.protocol)
            yield at + protocol + ends + found + _guard(place, flow.protocol)
