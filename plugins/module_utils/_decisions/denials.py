# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel's records, grouped by who tried what, in bounded memory. No I/O."""

import re
from collections import OrderedDict
from typing import Any, Dict, FrozenSet, List, NamedTuple, Optional, Set, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._decisions.record_flows import (
    FlowFinder,
    is_question,
    of_type,
)
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import Flow, FlowSet
from ansible_collections.senet.firewall.plugins.module_utils._values.records import (
    AUDITD,
    CONNECT,
    JOURNALD,
    KERNEL,
    SOCKET_CLASSES,
    Detail,
    Line,
    Record,
    Stamp,
    address,
    is_lost,
    journald_text,
    parse_avc,
    parse_detail,
    parse_owner,
    parse_stamp,
)

# The bounds of what is kept, however many records there are
GROUPS = 500
PORTS = 64
EACH = 8
_CONNECTS = 256
_SEEN = 4096
# No address is as long; what is longer is not to be remembered
_ADDRESS_LENGTH = 64

CLIENT = "client"
SERVER = "server"
_MIDSTREAM = "_midstream"

_HOST_PEER = re.compile(r"senet_([a-z0-9_-]+)_host_peer_t")
# Records of a connect's event beside the first, as auditd and the kernel's log begin them
_DETAILS = ("type=SYSCALL ", "type=SOCKADDR ", "type=1300 ", "type=1306 ")
# Where clients get their source ports from (net.ipv4.ip_local_port_range)
_EPHEMERAL = range(32768, 61000)


class Wish(NamedTuple):
    """Which records are wanted; what is empty or None allows all."""

    since: Optional[float] = None
    until: Optional[float] = None
    domains: FrozenSet[str] = frozenset()
    flows: FrozenSet[str] = frozenset()


class Key(NamedTuple):
    """What the records of a group have in common.

    ``who`` is the domain, for the layer owner the uid in digits; ``flow`` is empty where none of ours is meant;
    ``side`` is the end that ``who`` is on; ``port`` is the service's, None where there is none or there are too many;
    ``what`` is empty for packets and connects, else the class and the type that was checked.
    """

    verdict: str
    who: str
    flow: str
    side: str
    outward: bool
    port: Optional[int]
    what: Tuple[str, str] = ("", "")
    owner: bool = False


class Group:
    """Records with one key: how many, from when to when, and some of what they differ in."""

    def __init__(self, key: Key, time: float) -> None:
        self.key = key
        self.count = 0
        self.first = time
        self.last = time
        self.permissions = set()  # type: Set[str]
        self.classes = set()  # type: Set[str]
        self.types = set()  # type: Set[str]
        self.protocols = set()  # type: Set[str]
        self.clients = set()  # type: Set[str]
        self.servers = set()  # type: Set[str]
        self.interfaces = set()  # type: Set[str]
        self.processes = set()  # type: Set[Tuple[int, str]]
        self.reliable = True
        self.uids = set()  # type: Set[int]

    def add(self, record: Record, server_is_destination: bool) -> None:
        """Count a record in."""
        self.count += 1
        self.first = min(self.first, record.time)
        self.last = max(self.last, record.time)
        for permission in record.permissions:
            _keep(self.permissions, permission)
        self.classes.add(record.tclass or "owner")
        ends = (record.source, record.destination)
        client, server = ends if server_is_destination else ends[::-1]
        # Reading an address takes longer than all else that is done here
        if len(self.clients) < EACH:
            _keep(self.clients, address(client[:_ADDRESS_LENGTH]))
        if len(self.servers) < EACH:
            _keep(self.servers, address(server[:_ADDRESS_LENGTH]))
        _keep(self.types, record.object)
        _keep(self.protocols, record.protocol)
        _keep(self.interfaces, record.interface)
        if record.uid is not None:
            _keep(self.uids, record.uid)
        if record.pid is not None:
            self.reliable = self.reliable and record.names_process
            _keep(self.processes, (record.pid, record.command[:64]))

    def detail(self, detail: Detail) -> None:
        """Take in what else is known of one of the records."""
        _keep(self.servers, detail.address)
        if detail.uid is not None:
            _keep(self.uids, detail.uid)

    @property
    def connects(self) -> bool:
        """Whether a connect itself was refused, whatever the packets' labels."""
        return CONNECT in self.permissions


class Collector:
    """Takes lines one by one. ``groups`` are at most GROUPS, however many lines there are.

    ``records`` counts those that are wanted, ``left_out`` those of them that no group has room for, ``unreadable``
    those that were cut short, ``questions`` those that the collection's own questions left, which are in no group;
    ``lost`` says that the kernel dropped some. auditd's log is to be fed first: what the
    journal has too counts once.
    """

    def __init__(self, flows: FlowSet, wish: Wish) -> None:
        self._flows = {flow.name: flow for flow in flows.flows}
        self._finder = FlowFinder(flows.flows)
        self._wish = wish
        self._groups = {}  # type: Dict[Key, Group]
        self._ports = {}  # type: Dict[Key, int]
        self._connects = OrderedDict()  # type: OrderedDict[Stamp, Group]
        self._seen = OrderedDict()  # type: OrderedDict[Tuple[int, int], None]
        self.records = 0
        self.left_out = 0
        self.unreadable = 0
        self.lost = False
        self.questions = 0
        self._last_by_auditd = 0.0

    @property
    def groups(self) -> List[Group]:
        """The groups, refused ones first, the largest of them first."""
        order = {"refused": 0, "permissive": 1}
        return sorted(
            self._groups.values(),
            key=lambda group: (order.get(group.key.verdict, 2), -group.count, -group.last, str(group.key)),
        )

    def feed(self, line: Line) -> None:
        """Take one line in; what is not a record of the kernel is passed over."""
        try:
            self._feed(line)
        except ValueError:
            self.unreadable += 1

    def _feed(self, line: Line) -> None:
        if line.origin == JOURNALD:
            text = journald_text(line.text)
            stamp = Stamp(line.time, line.serial)
            if text is not None and self._is_new(stamp, text):
                self._take(parse_avc(text, line.time), stamp)
        elif line.origin == KERNEL and not line.text.startswith("audit: type="):
            self.lost = self.lost or is_lost(line.text)
            self._take(parse_owner(line.text, line.time), None)
        elif "avc:" in line.text or (self._connects and any(kind in line.text for kind in _DETAILS)):
            self._feed_audit(line)

    def _feed_audit(self, line: Line) -> None:
        found = parse_stamp(line.text)
        if found is None:
            return
        kind, stamp, text = found
        if line.origin == AUDITD:
            self._last_by_auditd = max(self._last_by_auditd, stamp.time)
        if kind == "AVC":
            if line.origin == AUDITD or self._is_new(stamp, text):
                self._take(parse_avc(text, stamp.time), stamp)
        elif stamp in self._connects:
            detail = parse_detail(kind, text)
            if detail is not None:
                self._connects[stamp].detail(detail)

    def _is_new(self, stamp: Stamp, text: str) -> bool:
        """Whether a record is not a second copy: the journal has the kernel's log and the records themselves, and where
        auditd ran, its log has both."""
        if stamp.time <= self._last_by_auditd:
            return False
        key = (stamp.serial, hash(text.strip()))
        if key in self._seen:
            return False
        self._seen[key] = None
        if len(self._seen) > _SEEN:
            self._seen.popitem(last=False)
        return True

    def _take(self, record: Optional[Record], stamp: Optional[Stamp]) -> None:
        wish = self._wish
        if record is not None and is_question(record):
            self.questions += 1
            return
        if record is None or (wish.since is not None and record.time < wish.since):
            return
        if (wish.until is not None and record.time > wish.until) or (
            wish.domains and record.subject not in wish.domains
        ):
            return
        key, server_is_destination = self._key(record)
        if wish.flows and key.flow not in wish.flows:
            return
        self.records += 1
        group = self._group(key, record.time)
        if group is None:
            self.left_out += 1
            return
        group.add(record, server_is_destination)
        if stamp is not None and record.names_process:
            self._connects[stamp] = group
            if len(self._connects) > _CONNECTS:
                self._connects.popitem(last=False)

    def _group(self, key: Key, time: float) -> Optional[Group]:
        group = self._groups.get(key)
        if group is not None:
            return group
        # Whoever tries one port after the other fills one group and not all of them.
        without = key._replace(port=None)
        if key.port is not None and self._ports.get(without, 0) >= PORTS:
            key = without
        if key not in self._groups:
            if len(self._groups) >= GROUPS:
                return None
            self._ports[without] = self._ports.get(without, 0) + 1
            self._groups[key] = Group(key, time)
        return self._groups[key]

    def _key(self, record: Record) -> Tuple[Key, bool]:
        """The key of a record, and whether the server is the packet's destination."""
        if record.by_owner:
            return self._owner_key(record), True
        flow = self._finder.flow_of(record)
        side = CLIENT if record.tclass in SOCKET_CLASSES else of_type(record.object)[1]
        to_server = _to_server(record, side, self._flows.get(flow))
        port = record.destination_port if to_server else record.source_port
        # Who sends to the server is the client, and so is who receives from it. The type alone does not say: across
        # network namespaces a packet keeps its sender's.
        side = CLIENT if record.outward == to_server else SERVER
        plain = record.tclass == "packet" or record.tclass in SOCKET_CLASSES
        what = ("", "") if plain else (record.tclass, record.object)
        return Key(record.verdict, record.subject, flow, side, record.outward, port, what), to_server

    def _owner_key(self, record: Record) -> Key:
        """The rule's prefix has the first letters of the flow's name."""
        port = record.destination_port
        names = [
            name
            for name, flow in sorted(self._flows.items())
            if name.startswith(record.flow)
            and flow.protocol == record.protocol
            and port is not None
            and flow.has_port(port)
        ]
        who = "" if record.uid is None else str(record.uid)
        flow = names[0] if len(names) == 1 else record.flow
        side = CLIENT if record.outward else SERVER
        return Key(record.verdict, who, flow, side, record.outward, port, owner=True)


def flows_of_peer(peer_type: str) -> Tuple[str, ...]:
    """The flows whose clients have a type of peers."""
    found = _HOST_PEER.fullmatch(peer_type)
    return tuple(found.group(1).split("-")) if found else ()


def is_midstream(types: Set[str]) -> bool:
    """Whether packets had the type of those of which only a source port says that they are of the flow."""
    return any(_MIDSTREAM in name for name in types)


def _to_server(record: Record, side: str, flow: Optional[Flow]) -> bool:
    """Whether a packet went to the server and not from it, by the ports."""
    source, destination = record.source_port, record.destination_port
    if destination is None or source is None:
        return source is None
    if flow is not None:
        fits = (flow.has_port(source), flow.has_port(destination))
        if fits[0] != fits[1]:
            return fits[1]
    if side in (CLIENT, SERVER):
        # What a client sends and what a server receives goes to the server.
        return record.outward == (side == CLIENT)
    return destination not in _EPHEMERAL or source in _EPHEMERAL


def _keep(kept: Set[Any], value: Any) -> None:
    """Add a value to those that are kept, if it is one and there is room."""
    if value not in ("", None) and len(kept) < EACH:
        kept.add(value)
