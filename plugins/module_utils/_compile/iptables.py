# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A set of flows as rules for iptables and ip6tables, and what iptables-save says of them. No I/O.

The rules are the same for both families and stand in two chains of our own in the table ``security``.
"""

import re
import shlex
from typing import Dict, Iterable, List, NamedTuple, Optional, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._model import (
    DEFAULT_PACKET_TYPE,
    FlowSet,
    PortRange,
    packet_context,
)

HOOKS = ("INPUT", "OUTPUT")
# An empty chain that says: the table was not there before us, and goes when we go.
TABLE_MARK = "SENET_TABLE"

_PROTOCOL_NUMBERS = {"tcp": 6, "udp": 17, "dccp": 33, "sctp": 132}
_RELABELS = re.compile(r" -j (?:CONN)?SECMARK\b")
_SELCTX_TYPE = re.compile(r" --selctx [^: ]+:[^: ]+:([^: ]+)")


class Table(NamedTuple):
    """The table ``security`` of one family as far as it is ours.

    ``rules`` are the rules of our chains in iptables-save's words, None where a chain of ours is missing;
    ``jumps`` maps each hook to the places (from 0) of its jumps to our chain; ``present`` says the table is there
    at all, ``marked`` that we created it, ``bare`` that nothing but our own stands in it; ``foreign`` are other
    people's rules that label packets, in any table, each as ``table: rule``.
    """

    present: bool
    marked: bool
    bare: bool
    rules: Optional[Tuple[str, ...]]
    jumps: Dict[str, Tuple[int, ...]]
    foreign: Tuple[str, ...]

    @property
    def ours(self) -> bool:
        """Whether anything of ours is there."""
        return self.marked or self.rules is not None or any(self.jumps.values())

    def installed(self, rules: Tuple[str, ...]) -> bool:
        """Whether exactly these rules are in force, each hook's first rule being the jump to them."""
        in_place = all(self.jumps.get(hook) == (0,) for hook in HOOKS)
        return in_place and self.rules is not None and _canonical(self.rules) == _canonical(rules)


def chain(hook: str) -> str:
    """Our chain for a hook."""
    return "SENET_" + hook


def compile_rules(flows: FlowSet, mls: bool) -> Tuple[str, ...]:
    """The rules of both chains, in order, spelled as iptables-save prints them.

    SECMARK does not end the traversal, so the last match wins: a default label; then packets without a conntrack
    entry, by port, what they are sent *to* deciding last, or a server could reach another service from its own port;
    then connections whose tuple is reversed because conntrack met the server's packet first; then the real tuple,
    whose reply source is the port that answers, whatever NAT or the client's choice of source port did.
    """
    return tuple(rule for hook in HOOKS for rule in _chain_rules(hook, flows, mls))


def parse_save(text: str) -> Table:
    """What ``iptables-save`` (all tables) says about our chains."""
    present, marked, bare = False, False, True
    chains = {}  # type: Dict[str, List[str]]
    jumps = {hook: [] for hook in HOOKS}  # type: Dict[str, List[int]]
    places = {hook: 0 for hook in HOOKS}
    table = ""
    ours = {chain(hook) for hook in HOOKS}
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:]
            present = present or table == "security"
            continue
        declared = table == "security" and line.startswith(":")
        if declared:
            name, policy = line[1:].split(" ")[:2]
            if name in ours:
                chains[name] = []
            elif name == TABLE_MARK:
                marked = True
            elif policy != "ACCEPT":
                bare = False
        if not line.startswith("-A "):
            continue
        name = line.split(" ", 2)[1]
        if table == "security" and name in ours:
            chains[name].append(line)
            continue
        if table != "security":
            continue
        if name in jumps and line == "-A {0} -j {1}".format(name, chain(name)):
            jumps[name].append(places[name])
        else:
            bare = False
        if name in places:
            places[name] += 1
    rules = None  # type: Optional[Tuple[str, ...]]
    if ours <= set(chains):
        rules = tuple(rule for hook in HOOKS for rule in chains[chain(hook)])
    elif chains:
        rules = ()
    own = tuple("security: -A {0} ".format(name) for name in ours)
    foreign = tuple(rule for rule in label_rules(text) if not rule.startswith(own))
    return Table(present, marked, bare, rules, {hook: tuple(at) for hook, at in jumps.items()}, foreign)


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


def without_types(rules: Iterable[str], types: Iterable[str]) -> Tuple[str, ...]:
    """The rules less those that put one of these packet types on a packet."""
    gone = set(types)
    return tuple(rule for rule in rules if not gone.intersection(_SELCTX_TYPE.findall(rule)))


def restore_text(observed: Table, rules: Optional[Tuple[str, ...]]) -> str:
    """The input of ``iptables-restore --noflush`` that swaps our chains' rules in one commit; None takes all away.

    A chain that is declared is emptied or created, so what stood there before needs no mention.
    """
    lines = ["*security"]
    lines.extend(":{0} - [0:0]".format(chain(hook)) for hook in HOOKS)
    if observed.marked or not observed.present:
        lines.append(":{0} - [0:0]".format(TABLE_MARK))
    for hook in HOOKS:
        jump = "{0} -j {1}".format(hook, chain(hook))
        at = observed.jumps.get(hook, ())
        if rules is not None and at == (0,):
            continue
        lines.extend("-D " + jump for _ in at)
        if rules is not None:
            lines.append("-I {0} 1 -j {1}".format(hook, chain(hook)))
    if rules is None:
        lines.extend("-X {0}".format(chain(hook)) for hook in HOOKS)
        if observed.marked or not observed.present:
            lines.append("-X {0}".format(TABLE_MARK))
    else:
        lines.extend(rules)
    lines.append("COMMIT")
    return "\n".join(lines) + "\n"


def _chain_rules(hook: str, flows: FlowSet, mls: bool) -> Iterable[str]:
    # What leaves is sent by the connection's own side, what arrives comes from the other side.
    originator, replier = ("client", "server") if hook == "OUTPUT" else ("server", "client")

    def rule(match: str, packet_type: str) -> str:
        context = packet_context(packet_type, mls)
        return "-A {0} {1}-j SECMARK --selctx {2}".format(chain(hook), match, context)

    claims = [
        (flow.protocol, ports, {"client": flow.client_type, "server": flow.server_type})
        for flow in flows.flows
        for ports in flow.ports
    ]
    yield rule("", DEFAULT_PACKET_TYPE)
    for port_match, side in (("--sport", replier), ("--dport", originator)):
        for protocol, ports, types in claims:
            match = "-p {0} -m {0} {1} {2} -m conntrack --ctstate INVALID,UNTRACKED "
            yield rule(match.format(protocol, port_match, _colon(ports)), types[side])
    for tuple_match, sides in (
        ("--ctorigsrcport", (replier, originator)),
        ("--ctreplsrcport", (originator, replier)),
    ):
        for protocol, ports, types in claims:
            for direction, side in zip(("ORIGINAL", "REPLY"), sides):
                match = "-p {0} -m conntrack --ctproto {1} {2} {3} --ctdir {4} ".format(
                    protocol, _PROTOCOL_NUMBERS[protocol], tuple_match, _colon(ports), direction
                )
                yield rule(match, types[side])


def _colon(ports: PortRange) -> str:
    return str(ports).replace("-", ":")


def _canonical(rules: Iterable[str]) -> List[List[str]]:
    """Rules compared by their words: releases of iptables differ in the order of a match's options and in names."""
    numbers = {name: str(number) for name, number in _PROTOCOL_NUMBERS.items()}
    return [sorted(numbers.get(word, word) for word in shlex.split(rule)) for rule in rules]
