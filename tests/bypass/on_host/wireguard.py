# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tool wg does, which the machines do not have."""

import os
import socket
import struct
from base64 import b64decode

from .packets import packed


def wireguard(name: str, port: int, key: str, peers_port: int, peers_key: str) -> None:
    """An interface's keys, and its peer on this machine: what the tool wg does."""
    allowed = b"".join(
        _attribute(0x8000, _attribute(1, struct.pack("=H", family)) + _attribute(2, bytes(size)) + _attribute(3, b"\0"))
        for family, size in ((socket.AF_INET, 4), (socket.AF_INET6, 16))
    )
    endpoint = struct.pack("=HH4s8x", socket.AF_INET, socket.htons(peers_port), packed("127.0.0.1"))
    peer = _attribute(1, b64decode(peers_key)) + _attribute(4, endpoint) + _attribute(0x8009, allowed)
    device = (
        _attribute(2, name.encode() + b"\0") + _attribute(3, b64decode(key)) + _attribute(6, struct.pack("=H", port))
    )
    # NETLINK_GENERIC; its controller (16) tells the number of a family by its name
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 16) as netlink:
        answer = _netlink(netlink, 16, 3, _attribute(2, b"wireguard\0"))
        start = answer.index(struct.pack("=HH", 6, 1))
        number = struct.unpack("=H", answer[start + 4 : start + 6])[0]
        _netlink(netlink, number, 1, device + _attribute(0x8008, _attribute(0x8000, peer)))


def _attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(data), kind) + data + b"\0" * (-len(data) % 4)


def _netlink(netlink: socket.socket, family: int, command: int, data: bytes) -> bytes:
    netlink.send(struct.pack("=IHHIIBBH", 20 + len(data), family, 5, 1, 0, command, 1, 0) + data)
    answer = netlink.recv(8192)
    kind, error = struct.unpack("=H", answer[4:6])[0], struct.unpack("=i", answer[16:20])[0]
    if kind == 2 and error:
        raise OSError(-error, os.strerror(-error))
    return answer
