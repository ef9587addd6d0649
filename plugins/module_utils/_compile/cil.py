# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A set of flows as the text of one CIL policy module, and back. No I/O.

The flows stand in the module's own first comment, so the policy store remembers what was asked for. Their addresses
there may be old: a change of addresses alone leaves the module as it is, and those of now are on record.
"""

import json
import re
from contextlib import suppress
from functools import lru_cache
from typing import Callable, Dict, FrozenSet, Iterable, List, Optional, Sequence, Set, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._compile.cil_peers import compile_peers
from ansible_collections.senet.firewall.plugins.module_utils._compile.cil_text import (
    ALLOW,
    WORD,
    attribute,
    optional,
    statements,
)
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.fields import EVERY_DOMAIN
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import (
    DEFAULT_PACKET_TYPE,
    ENFORCE,
    OBSERVE,
    Flow,
    FlowSet,
    same_but_for_addresses,
)
from ansible_collections.senet.firewall.plugins.module_utils._values.parsing import parse_flow_set
from ansible_collections.senet.firewall.plugins.module_utils._values.peers import KERNEL, peering

MODULE_NAME = "senet_firewall"

_FLOWS_LINE = "; flows: "
_TYPE_LINE = re.compile(r"^\(type ([^ )]+)\)$", re.MULTILINE)
_ATTRIBUTE_LINE = re.compile(r"^\(typeattribute ([^ )]+)\)$", re.MULTILINE)
_RETIRED_MARK = "\n; Of an earlier set: no rule has these types once the change is made, and the next one drops them.\n"

# Releases differ in the names of blocks
_BLOCK = re.compile(r"^\(optional \S+")
_PEER_CLASSES = ("peer", "netif", "node", "association")

# Who may put a label on packets: rules are loaded by Ansible over SSH (no transition to iptables_t), by an init
# script, or by a service without a domain. Not every policy has all three, hence the optional blocks.
_LOADERS = ("iptables_t", "unconfined_service_t", "unconfined_t")

_HEAD = """\
; Written by the Ansible collection senet.firewall. Edits are lost with the next run.
{flows_line}
"""

_PACKETS = """\

(typeattribute senet_packet_type)

; One SECMARK rule turns on packet checks for the whole host: what no flow names stays open to every domain, also
; the unlabelled packets of other network namespaces and those the host forwards.
(type {default})
(roletype object_r {default})
(typeattributeset senet_packet_type ({default}))
{confined}(allow {others} {default} (packet (send recv)))
(allow {others} unlabeled_t (packet (send recv)))
(allow unlabeled_t unlabeled_t (packet (forward_in forward_out)))
(allow unlabeled_t senet_packet_type (packet (forward_in forward_out)))

; RST, TIME_WAIT and ICMP replies are sent by the kernel itself.
(allow kernel_t senet_packet_type (packet (send)))
"""

# The attribute must have a name to be granted anything.
_CONFINED = """\
{members}(typeattribute senet_not_confined)
(typeattributeset senet_not_confined (and (domain) (not (senet_confined))))
"""

# Interfaces are checked while peer labels are in use. Everybody may use this one, as the policy lets them use others.
_INTERFACE = """\

(type {type})
(roletype object_r {type})
(typeattributeset netif_type ({type}))
(allow domain {type} (netif (ingress egress)))
(allow unlabeled_t {type} (netif (ingress egress)))
"""

_FLOW = """\

; {name}: {source} -> {destination}, {protocol} {ports}, {mode}
(type {client})
(roletype object_r {client})
(typeattributeset senet_packet_type ({client}))
(type {server})
(roletype object_r {server})
(typeattributeset senet_packet_type ({server}))
"""

_REFUSED = """\
(type {refused})
(roletype object_r {refused})
(typeattributeset senet_packet_type ({refused}))
"""

# A client's and a server's type beside the flow's own: on what only a source port says to be of the flow, since a
# confined domain could have chosen that port itself, and on what is not logged of a busy connection.
_TWO_MORE = """\
(type {0})
(roletype object_r {0})
(typeattributeset senet_packet_type ({0}))
(type {1})
(roletype object_r {1})
(typeattributeset senet_packet_type ({1}))
"""

# Everybody may, and whoever would be refused in the mode enforce is logged as granted. Not kernel_t, which may send
# in that mode too and would fill the log with its acknowledgements.
_OBSERVED = """\
{members}(typeattribute senet_{name}_not_source)
(typeattributeset senet_{name}_not_source (and (domain) (not (kernel_t senet_{name}-source))))
(typeattribute senet_{name}_not_destination)
(typeattributeset senet_{name}_not_destination (and (domain) (not (kernel_t senet_{name}-destination))))
(typeattribute senet_{name}_outsider)
(typeattributeset senet_{name}_outsider (and (domain) (not (kernel_t senet_{name}-source senet_{name}-destination))))
"""

_OPEN = """\
(allow {others} {client} (packet (send recv)))
(allow {others} {server} (packet (send recv)))
"""

_LOGGED = """\
(auditallow senet_{name}_not_source {client} (packet (send)))
(auditallow senet_{name}_not_destination {server} (packet (send)))
(auditallow senet_{name}_outsider {client} (packet (recv)))
(auditallow senet_{name}_outsider {server} (packet (recv)))
"""

# What it receives is another matter: it does so for MPTCP sockets before Linux 6.5, and for file systems.
_LOGGED_KERNEL = """\
(auditallow kernel_t {client} (packet (recv)))
(auditallow kernel_t {server} (packet (recv)))
"""

_REFUSED_OBSERVED = """\
(allow {others} {refused} (packet (send recv)))
(typeattribute senet_{name}_refused)
(typeattributeset senet_{name}_refused (and (domain) (not (kernel_t))))
(auditallow senet_{name}_refused {refused} (packet (send recv)))
(type {unlogged})
(roletype object_r {unlogged})
(typeattributeset senet_packet_type ({unlogged}))
(allow {others} {unlogged} (packet (send recv)))
"""


def compile_policy(flows: FlowSet, remembered: Optional[FlowSet] = None) -> str:
    """The CIL text (ASCII, the same bytes for the same flows), which remembers these flows or those given for that.

    :raises SenetError: peer labels cannot tell what flows with verify_source ask for.
    """
    compact = json.dumps((remembered or flows).as_dict(), sort_keys=True, separators=(",", ":"))
    parts = [_HEAD.format(flows_line=_FLOWS_LINE + compact)]
    if flows.labels_packets:
        parts.append(_packets(flows))
        relabel = "(allow {0} senet_packet_type (packet (relabelto)))".format
        parts.extend(optional("senet_loader_" + domain, [relabel(domain)]) for domain in _LOADERS)
    for flow in flows.flows:
        parts.append(_fill(_FLOW, flow))
        if flow.mode == OBSERVE:
            parts.append(_fill(_OBSERVED, flow))
        others = _others(flows)
        types = (flow.client_type, flow.server_type)
        parts.extend(_grants(flow, types, "", others))
        parts.extend(_logged(flow, types))
        if flows.parts_midstream(flow):
            types = flow.midstream_types
            parts.append(_TWO_MORE.format(*types))
            parts.extend(_grants(flow, types, "-midstream", others, others, _confined(flows, ENFORCE)))
            parts.extend(_logged(flow, types))
            parts.extend(_audited("senet_" + flow.name, _confined(flows, OBSERVE), types))
        if flow.mode == OBSERVE:
            client, server = flow.unlogged_types[:2]
            parts.append(_TWO_MORE.format(client, server))
            parts.extend(_grants(flow, (client, server), "-unlogged", others))
        if flow.source_addresses:
            parts.append(_fill(_REFUSED, flow))
            if flow.mode == OBSERVE:
                parts.append(
                    _REFUSED_OBSERVED.format(
                        name=flow.name, refused=flow.refused_type, unlogged=flow.unlogged_types[2], others=others
                    )
                )
    parts.append(compile_peers(peering(flows), flows.labels_packets))
    parts.extend(_INTERFACE.format(type=name) for name in flows.interface_types)
    return "".join(parts)


# A run asks again and again of the few texts that there are
@lru_cache(maxsize=4)
def parse_policy(text: str) -> FlowSet:
    """The flows that an installed module was compiled from.

    :raises SenetError: the module's first lines are not what :func:`compile_policy` writes.
    """
    for line in text.splitlines()[:2]:
        if line.startswith(_FLOWS_LINE):
            try:
                return parse_flow_set(json.loads(line[len(_FLOWS_LINE):]))
            except (ValueError, TypeError, KeyError, AttributeError, SenetError):
                break
    raise SenetError(
        "The policy module '{0}' in the policy store does not say which flows it was made from, so single flows "
        "cannot be added to it or taken from it; give the whole set of flows with purge=true, or remove it all "
        "with state=absent and no flows.".format(MODULE_NAME)
    )


def declared_types(text: Optional[str]) -> FrozenSet[str]:
    """The types of packets, peers and interfaces that a module of ours declares, retired ones among them; none without
    a module."""
    return frozenset(_TYPE_LINE.findall(text or ""))


def live(text: Optional[str]) -> Optional[str]:
    """A module of ours less its retired types."""
    return None if text is None else text.partition(_RETIRED_MARK)[0]


def alike(first: Optional[str], second: Optional[str]) -> bool:
    """Whether there is no need to install one module in place of the other: all that differs is retired types, names of
    blocks, or addresses, which only the rules hold packets against."""
    if first is None or second is None or live(first) == live(second):
        return live(first) == live(second)
    with suppress(SenetError):
        if same_but_for_addresses(parse_policy(first), parse_policy(second)):
            return _statements(first) == _statements(second)
    return False


def with_retired(text: str, old: Optional[str], types: Iterable[str]) -> str:
    """The module's text with these types of an old module kept, each with the grants that it had.

    Packets carry them until the rules have changed, and must be neither open nor cut meanwhile.
    """
    gone = set(types)
    if not gone:
        return text
    attributes = set(_ATTRIBUTE_LINE.findall(text))
    lines = []
    for statement in statements(old or ""):
        words = WORD.findall(statement)
        member = words[0] == "typeattributeset" and words[1] in attributes and len(words) == 3
        if (member or words[0] in ("type", "roletype")) and words[-1] in gone:
            lines.append(statement)
        for allow in ALLOW.findall(statement):
            subject, thing = WORD.findall(allow)[1:3]
            if gone.intersection((subject, thing)):
                # An attribute of ours that the new module does not have left somebody out, whom nothing is kept from.
                lost = subject.startswith("senet_") and subject not in attributes.union(gone)
                kept = allow.replace(" {0} ".format(subject), " domain ", 1) if lost else allow
                name = "{0}-{1}".format(subject if subject in gone else thing, len(lines))
                lines.append("(optional senet_retired-{0} {1})".format(name, kept))
    mark = "" if _RETIRED_MARK in text else _RETIRED_MARK
    return text + mark + "".join(line + "\n" for line in lines)


def grants(text: Optional[str], types: Iterable[str]) -> FrozenSet[str]:
    """What a module of ours grants on these types, and whom its own attributes in there stand for, as statements."""
    wanted = set(types)
    return _granted(text, lambda allow: bool(wanted.intersection(WORD.findall(allow)[1:3])))


def peer_grants(text: Optional[str]) -> FrozenSet[str]:
    """The same of all that is asked while peers have labels, whatever the types."""
    return _granted(text, lambda allow: WORD.findall(allow)[3] in _PEER_CLASSES)


def _granted(text: Optional[str], counts: Callable[[str], bool]) -> FrozenSet[str]:
    sets = {}  # type: Dict[str, Set[str]]
    found = set()  # type: Set[str]
    for statement in statements(text or ""):
        words = WORD.findall(statement)
        if "typeattributeset" in words:
            sets.setdefault(words[words.index("typeattributeset") + 1], set()).add(_BLOCK.sub("", statement))
        found.update(allow for allow in ALLOW.findall(statement) if counts(allow))
    named = {word for allow in found for word in WORD.findall(allow)}
    groups = named.union(WORD.findall(" ".join(each for name in named for each in sets.get(name, ()))))
    # Membership in the attribute of our own types does not count as a grant.
    groups.difference_update(("senet_packet_type", "senet_peer_type"))
    return frozenset(found).union(*(sets.get(name, ()) for name in groups))


def _statements(text: str) -> str:
    """A module without its retired types, the names of its blocks, and the line that has the flows."""
    lines = (live(text) or "").splitlines(True)
    return "".join(_BLOCK.sub("(optional", line) for line in lines if not line.startswith(_FLOWS_LINE))


def _packets(flows: FlowSet) -> str:
    confined = _confined(flows, ENFORCE)
    lines = _CONFINED.format(members=attribute("senet_confined", confined, "senet-confined")) if confined else ""
    packets = _PACKETS.format(default=DEFAULT_PACKET_TYPE, confined=lines, others=_others(flows))
    types = (DEFAULT_PACKET_TYPE, "unlabeled_t")
    return packets + "".join(_audited("senet-observed", _confined(flows, OBSERVE), types))


def _confined(flows: FlowSet, mode: str) -> List[str]:
    return [domain for domain, own in flows.confine if own == mode]


def _others(flows: FlowSet) -> str:
    """Every domain that is not confined."""
    return "senet_not_confined" if _confined(flows, ENFORCE) else EVERY_DOMAIN


def _audited(name: str, domains: Iterable[str], types: Sequence[str]) -> List[str]:
    audited = "(auditallow {0} {1} (packet (send recv)))".format
    return [
        optional("{0}-{1}-audited".format(name, domain), [audited(domain, packet_type) for packet_type in types])
        for domain in domains
    ]


def _fill(template: str, flow: Flow) -> str:
    return template.format(
        name=flow.name,
        source=" ".join(flow.source),
        destination=" ".join(flow.destination),
        members="".join(
            attribute("senet_{0}-{1}".format(flow.name, side), domains)
            for side, domains in (("source", flow.source), ("destination", flow.destination))
        ),
        protocol=flow.protocol,
        ports=" ".join(str(ports) for ports in flow.ports),
        mode=flow.mode,
        client=flow.client_type,
        server=flow.server_type,
        refused=flow.refused_type,
    )


def _grants(
    flow: Flow,
    types: Tuple[str, str],
    kind: str,
    others: str,
    everybody: str = EVERY_DOMAIN,
    left_out: Sequence[str] = (),
) -> List[str]:
    """Each side sends its own type only. Both receive both: across network namespaces a packet keeps its sender's.

    A flow that only observes opens nothing to a confined domain: it grants to the others.
    """
    client, server = types
    allow = "(allow {0} {1} (packet ({2})))".format
    blocks = []
    for domain in sorted(set(flow.source + flow.destination).difference(left_out)):
        subject = everybody if domain == EVERY_DOMAIN else domain
        lines = [
            allow(subject, client, "send recv" if domain in flow.source else "recv"),
            allow(subject, server, "send recv" if domain in flow.destination else "recv"),
        ]
        blocks.append(optional("senet_{0}-{1}{2}".format(flow.name, domain, kind), lines))
    if flow.mode == OBSERVE:
        blocks.append(_OPEN.format(client=client, server=server, others=others))
    return blocks


def _logged(flow: Flow, types: Tuple[str, str]) -> List[str]:
    """Of a flow that only observes, the record of whoever would be refused."""
    if flow.mode != OBSERVE:
        return []
    client, server = types
    lines = [_LOGGED.format(name=flow.name, client=client, server=server)]
    if not {KERNEL, EVERY_DOMAIN}.intersection(flow.source + flow.destination):
        lines.append(_LOGGED_KERNEL.format(client=client, server=server))
    return lines
