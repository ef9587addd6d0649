# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel's records of what was refused or observed: AVC records, and log lines of the layer owner. No I/O.

A line comes from auditd's log, the journal or the kernel's log. Nothing in it is trusted further than its syntax: a
line that is not such a record gives none, whatever bytes it has.
"""

import re
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import FrozenSet, Mapping, NamedTuple, Optional, Tuple

# What the kernel asks of a packet, and of a socket that connects
PACKET_CLASSES = frozenset(("packet", "peer", "netif", "node", "association"))
SOCKET_CLASSES = {"tcp_socket": "tcp", "udp_socket": "udp", "sctp_socket": "sctp", "dccp_socket": "dccp"}
CONNECT = "name_connect"
# Permissions of what leaves. All others are of what arrives.
OUTWARD = frozenset(("send", "egress", "sendto", CONNECT))
OWNER_PREFIX = "senet would refuse "

REFUSED = "refused"
OBSERVED = "observed"
PERMISSIVE = "permissive"

# How a line is to be read
AUDITD = "auditd"
JOURNALD = "journald"
KERNEL = "kernel"

# auditd, with its name_format in front; the kernel's own log; journald's copy, which has no time in its text
_AUDITD = re.compile(r"(?:node=\S+ )?type=([A-Z_]+) msg=audit\(([0-9]{1,10})\.([0-9]{3}):([0-9]{1,20})\): ?")
_KERNEL = re.compile(r"audit: type=([0-9]{4}) audit\(([0-9]{1,10})\.([0-9]{3}):([0-9]{1,20})\): ?")
_JOURNALD = re.compile(r"AVC (?=avc:)")
_AVC = re.compile(r"avc:\s+(denied|granted)\s+\{ ([a-z_0-9 ]{1,200})\} for ")
_FIELD = re.compile(r'([A-Za-z_]+)=("[^"]*"|[^\s"]*)')
_HEXADECIMAL = re.compile(r"(?:[0-9A-F]{2})+")
_CONTEXT = re.compile(r"[^\s:]+:[^\s:]+:([A-Za-z0-9_.-]{1,256})(?::\S*)?")
# The type is within it, however long the level is
_CONTEXT_LENGTH = 1024
_ADDRESS = re.compile(r"[0-9A-Fa-f.:]{2,45}")
_WORD = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_OWNER = re.compile(re.escape(OWNER_PREFIX) + r"([a-z0-9_]{1,31}) (?=IN=)")
_NUMBER = re.compile(r"[0-9]{1,10}")
# The types of records that the kernel's log has by number (linux/audit.h)
_KINDS = {"1400": "AVC", "1300": "SYSCALL", "1306": "SOCKADDR"}
# What netfilter's log has no name for (linux/in.h)
_PROTOCOLS = {"132": "sctp", "33": "dccp"}
# Between the kernel's words and what auditd added to them (log_format = ENRICHED)
_ENRICHED = "\x1d"
_LOST = ("audit_lost=", "callbacks suppressed", "rate limit exceeded")


class Line(NamedTuple):
    """A line of a log. ``origin`` says how it is to be read; ``time`` and ``serial`` are given where the text does not
    have them."""

    origin: str
    text: str
    time: float = 0.0
    serial: int = 0


class Stamp(NamedTuple):
    """When a record was made, and the number of its event, which all records of one system call share."""

    time: float
    serial: int


class Record(NamedTuple):
    """One check that the kernel made, or one packet that a rule of the layer owner logged.

    ``subject`` and ``object`` are types. They, and the addresses, are the kernel's own word, ``source`` and
    ``destination`` as it wrote them: see :func:`address`. ``pid`` and ``command`` are those of whatever ran when it
    made the check. A record of the layer owner has neither types nor these, but
    ``flow`` (the name, perhaps cut) and ``uid``. What a record does not say is empty or None.
    """

    time: float
    verdict: str
    tclass: str
    permissions: FrozenSet[str]
    subject: str = ""
    object: str = ""
    pid: Optional[int] = None
    command: str = ""
    source: str = ""
    source_port: Optional[int] = None
    destination: str = ""
    destination_port: Optional[int] = None
    interface: str = ""
    protocol: str = ""
    flow: str = ""
    uid: Optional[int] = None

    @property
    def outward(self) -> bool:
        """Whether it is about what leaves."""
        return bool(self.permissions & OUTWARD)

    @property
    def by_owner(self) -> bool:
        """Whether a rule of the layer owner logged it."""
        return self.tclass == ""

    @property
    def names_process(self) -> bool:
        """Whether ``pid`` and ``command`` are the process's: a connect is checked in its own system call, a packet
        perhaps while another process runs."""
        return CONNECT in self.permissions


class Detail(NamedTuple):
    """What another record of a connect's event adds: who called, or where to."""

    uid: Optional[int] = None
    address: str = ""


def parse_stamp(line: str) -> Optional[Tuple[str, Stamp, str]]:
    """The type, the stamp and the text of a record by auditd or in the kernel's log; None for another line."""
    found = _AUDITD.match(line)
    if found is None:
        found = _KERNEL.match(line)
    if found is None:
        return None
    kind = _KINDS.get(found.group(1), found.group(1))
    time = float("{0}.{1}".format(found.group(2), found.group(3)))
    return kind, Stamp(time, int(found.group(4))), line[found.end():].partition(_ENRICHED)[0]


def journald_text(message: str) -> Optional[str]:
    """The record in a message that journald got from the kernel's audit; None if it is not an AVC record."""
    return message[4:].partition(_ENRICHED)[0] if _JOURNALD.match(message) else None


def parse_avc(text: str, time: float) -> Optional[Record]:
    """The record in the text of an AVC record; None if it is cut short or of a class that is not about packets.

    :raises ValueError: it is of such a class, as far as can be told, and cut short or garbled.
    """
    head = _AVC.match(text)
    if head is None:
        return None
    permissions = frozenset(head.group(2).split())
    # Most records of a log are of other classes, and reading all fields takes long
    dummy, named, rest = text.rpartition(" tclass=")
    tclass = rest.partition(" ")[0]
    if named and tclass and not wanted(tclass, permissions):
        return None
    fields = dict(_FIELD.findall(text, head.end()))
    if not named or not tclass or fields.get("tclass") != tclass:
        raise ValueError("no class")
    subject, thing = (_type(fields.get(name, "")[:_CONTEXT_LENGTH]) for name in ("scontext", "tcontext"))
    if not subject or not thing:
        raise ValueError("no contexts")
    verdict = OBSERVED if head.group(1) == "granted" else REFUSED
    if verdict == REFUSED and fields.get("permissive") == "1":
        verdict = PERMISSIVE
    return Record(
        time=time,
        verdict=verdict,
        tclass=tclass,
        permissions=permissions,
        subject=subject,
        object=thing,
        pid=_number(fields.get("pid"), 2**32),
        command=decoded(fields.get("comm", "")),
        source=fields.get("saddr", ""),
        source_port=_number(fields.get("src"), 65535),
        destination=fields.get("daddr", ""),
        destination_port=_number(fields.get("dest"), 65535),
        interface=_word(fields.get("netif")),
        protocol=SOCKET_CLASSES.get(tclass, ""),
    )


def parse_owner(line: str, time: float) -> Optional[Record]:
    """The record in a line of the kernel's log that a rule of the layer owner wrote; None for another line."""
    head = _OWNER.match(line)
    if head is None:
        return None
    fields = dict(_FIELD.findall(line, head.end()))
    inward = bool(fields.get("IN"))
    return Record(
        time=time,
        verdict=OBSERVED,
        tclass="",
        permissions=frozenset(["recv" if inward else "send"]),
        source=fields.get("SRC", ""),
        source_port=_number(fields.get("SPT"), 65535),
        destination=fields.get("DST", ""),
        destination_port=_number(fields.get("DPT"), 65535),
        interface=_word(fields.get("IN") or fields.get("OUT")),
        protocol=_PROTOCOLS.get(fields.get("PROTO", ""), _word(fields.get("PROTO")).lower()),
        flow=head.group(1),
        uid=_number(fields.get("UID"), 2**32),
    )


def parse_detail(kind: str, text: str) -> Optional[Detail]:
    """What a record of another type says of its event: SYSCALL who called, SOCKADDR the address."""
    fields = dict(_FIELD.findall(text))
    if kind == "SYSCALL":
        return Detail(uid=_number(fields.get("uid"), 2**32))
    if kind == "SOCKADDR":
        return Detail(address=_socket_address(fields))
    return None


def is_lost(line: str) -> bool:
    """Whether the kernel says in this line of its log that it dropped records."""
    return line.startswith(("audit: ", "kauditd_printk_skb: ")) and any(word in line for word in _LOST)


def wanted(tclass: str, permissions: FrozenSet[str]) -> bool:
    """Whether a check is about packets or a connect."""
    return tclass in PACKET_CLASSES or (tclass in SOCKET_CLASSES and CONNECT in permissions)


def decoded(value: str) -> str:
    """A string as the kernel's audit prints it: in quotes, or in hexadecimal digits if it has any other than plain
    characters (audit_log_untrustedstring). What cannot be printed is escaped."""
    if value.startswith('"'):
        return value.strip('"')
    if not _HEXADECIMAL.fullmatch(value):
        return value
    text = bytes.fromhex(value).split(b"\0")[0].decode("utf-8", "backslashreplace")
    return "".join(char if char.isprintable() else "\\x{0:02x}".format(ord(char)) for char in text)


def _socket_address(fields: Mapping[str, str]) -> str:
    """The IP address of a sockaddr in hexadecimal digits (struct sockaddr_in, sockaddr_in6); empty for another."""
    digits = fields.get("saddr", "")
    if not _HEXADECIMAL.fullmatch(digits):
        return ""
    raw = bytes.fromhex(digits)
    # AF_INET and AF_INET6, in the order of bytes of the host
    family = max(raw[:2]) if len(raw) >= 8 and min(raw[:2]) == 0 else 0
    if family == 2:
        return ".".join(str(byte) for byte in raw[4:8])
    if family == 10 and len(raw) >= 24:
        return address(":".join("{0:x}".format(raw[at] << 8 | raw[at + 1]) for at in range(8, 24, 2)))
    return ""


@lru_cache(maxsize=4096)
def address(text: str) -> str:
    """An address of a record as text that can be compared; empty for what is none."""
    if not _ADDRESS.fullmatch(text):
        return ""
    try:
        found = ip_address(text)
    except ValueError:
        return ""
    # What sockets show as ::ffff:192.0.2.1 travels as IPv4
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return str(mapped or found)


# The contexts and types of a log are few as a rule
@lru_cache(maxsize=1024)
def _type(context: str) -> str:
    """The type of a context; empty for what is none."""
    found = _CONTEXT.fullmatch(context)
    return found.group(1) if found else ""


def _number(text: Optional[str], largest: int) -> Optional[int]:
    if not text or not _NUMBER.fullmatch(text):
        return None
    number = int(text)
    return number if number <= largest else None


def _word(text: Optional[str]) -> str:
    return text if text and _WORD.fullmatch(text) else ""
