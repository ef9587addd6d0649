# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sockets as values: what the tables /proc/net/{tcp,tcp6,udp,udp6} say. No I/O."""

import sys
from functools import lru_cache
from socket import AF_INET, AF_INET6, inet_ntop
from typing import Dict, NamedTuple, Optional, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError

# include/net/tcp_states.h
_STATES = {
    "01": "established",
    "02": "syn_sent",
    "03": "syn_recv",
    "04": "fin_wait1",
    "05": "fin_wait2",
    "06": "time_wait",
    "07": "close",
    "08": "close_wait",
    "09": "last_ack",
    "0A": "listen",
    "0B": "closing",
    "0C": "new_syn_recv",
}

_LISTENING_STATES = ("listen", "unconnected")

_MAPPED_PREFIX = b"\0" * 10 + b"\xff\xff"


class Socket(NamedTuple):
    """One end of a conversation, or a place where one may begin: then the remote fields are None.

    `family` is that of the packets: a socket of family AF_INET6 with an IPv4-mapped address counts as ipv4, and its
    addresses are given as IPv4. A socket that listens on `::` may take IPv4 too; the kernel's tables do not tell.
    `state` is `listen` (TCP) or `unconnected` (UDP) while listening, else the TCP state; connected UDP is
    `established`.

    `context` is the socket's own label, which the kernel checks packets against; empty where it is not known.
    """

    protocol: str
    family: str
    local_address: str
    local_port: int
    remote_address: Optional[str]
    remote_port: Optional[int]
    state: str
    context: str = ""

    @property
    def domain(self) -> Optional[str]:
        """The type of its own label. A process that got the socket from another one may be in another domain."""
        parts = self.context.split(":")
        return parts[2] if len(parts) > 2 else None

    @property
    def is_listening(self) -> bool:
        """Whether it waits for whoever sends first."""
        return self.state in _LISTENING_STATES


@lru_cache(maxsize=4096)
def parse_address(digits: str, byteorder: str = sys.byteorder) -> Tuple[str, str]:
    """(family, address) from the 8 or 32 hexadecimal digits of a table's address.

    The kernel prints each 32-bit word of the address as a number of the host (net/ipv4/tcp_ipv4.c: "%08X"), so on a
    little-endian host the bytes of each word are reversed. Raises ValueError on any other text.
    """
    packed = bytes.fromhex(digits)
    if byteorder == "little":
        packed = b"".join(packed[index:index + 4][::-1] for index in range(0, len(packed), 4))
    if len(packed) == 16 and packed.startswith(_MAPPED_PREFIX):
        packed = packed[12:]
    return ("ipv4", inet_ntop(AF_INET, packed)) if len(packed) == 4 else ("ipv6", inet_ntop(AF_INET6, packed))


def parse_table(table: bytes, protocol: str, byteorder: str = sys.byteorder) -> Dict[int, Socket]:
    """The sockets of one table by their inode number; `protocol` is tcp or udp.

    Entries without an inode (TIME_WAIT, connections not accepted yet) belong to no process and are left out.
    Raises SenetError when a line has another shape than the kernel's.
    """
    sockets = {}
    for line in table.decode("ascii").split("\n")[1:]:
        if not line.strip():
            continue
        try:
            inode, sock = _parse_line(line, protocol, byteorder)
        except (ValueError, IndexError):
            raise SenetError(
                "{!r} is not a line of the kernel's {} table: report it with the kernel's version.".format(
                    line, protocol
                )
            ) from None
        if inode:
            sockets[inode] = sock
    return sockets


def _parse_line(line: str, protocol: str, byteorder: str) -> Tuple[int, Socket]:
    fields = line.split()
    local_digits, _colon, local_port = fields[1].partition(":")
    remote_digits, _colon, remote_port = fields[2].partition(":")
    state = _STATES.get(fields[3], fields[3])
    if protocol == "udp" and state == "close":
        state = "unconnected"
    local_family, local_address = parse_address(local_digits, byteorder)
    if state in _LISTENING_STATES:
        sock = Socket(protocol, local_family, local_address, int(local_port, 16), None, None, state)
    else:
        remote_family, remote_address = parse_address(remote_digits, byteorder)
        sock = Socket(
            protocol, remote_family, local_address, int(local_port, 16), remote_address, int(remote_port, 16), state
        )
    return int(fields[9]), sock
