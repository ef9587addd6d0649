# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The addresses of this network namespace's interfaces. It decides nothing."""

import array
import fcntl
import socket
import struct
from typing import Dict, List, Tuple

# linux/sockios.h; struct ifreq of linux/if.h is 40 bytes on 64-bit hosts, 32 on others: netdevice(7)
_SIOCGIFCONF = 0x8912
_REQUEST = 40 if struct.calcsize("P") == 8 else 32
_NAME = 16
_IF_INET6 = "/proc/net/if_inet6"


def interface_addresses() -> Dict[str, List[str]]:
    """The addresses by interface, of both families."""
    found = {}  # type: Dict[str, List[str]]
    for name, address in _ipv4() + _ipv6():
        found.setdefault(name, []).append(address)
    return found


def _ipv4() -> List[Tuple[str, str]]:
    size = 64 * _REQUEST
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        while True:
            room = array.array("B", bytes(size))
            request = struct.pack("iP", size, room.buffer_info()[0])
            filled = struct.unpack("iP", fcntl.ioctl(asked.fileno(), _SIOCGIFCONF, request))[0]
            # A list that fills all of the room may be cut short.
            if filled + _REQUEST <= size:
                break
            size *= 2
    data = room.tobytes()
    pairs = []
    for start in range(0, filled, _REQUEST):
        # An alias has a colon in its label.
        label = data[start:start + _NAME].split(b"\0", 1)[0].decode("ascii", "replace")
        pairs.append((label.split(":")[0], socket.inet_ntop(socket.AF_INET, data[start + 20:start + 24])))
    return pairs


def _ipv6() -> List[Tuple[str, str]]:
    try:
        with open(_IF_INET6, encoding="ascii") as table:
            lines = [line.split() for line in table]
    except FileNotFoundError:  # without IPv6
        return []
    return [(line[5], socket.inet_ntop(socket.AF_INET6, bytes.fromhex(line[0]))) for line in lines]
