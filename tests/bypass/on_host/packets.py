# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packets made by hand."""

import socket
import struct

SYN = 0x02


def checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def packed(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def pseudo_header(source: str, destination: str, protocol: int, length: int) -> bytes:
    kind = "!II" if ":" in source else "!HH"
    fields = (length, protocol) if ":" in source else (protocol, length)
    return packed(source) + packed(destination) + struct.pack(kind, *fields)


def tcp_segment(source: str, destination: str, source_port: int, port: int, flags: int) -> bytes:
    segment = struct.pack("!HHIIBBHHH", source_port, port, 1, 0, 5 << 4, flags, 1024, 0, 0)
    total = checksum(pseudo_header(source, destination, 6, len(segment)) + segment)
    return segment[:16] + struct.pack("!H", total) + segment[18:]


def datagram(source: str, destination: str, source_port: int, port: int, data: bytes) -> bytes:
    header = struct.pack("!HHHH", source_port, port, 8 + len(data), 0)
    total = checksum(pseudo_header(source, destination, 17, 8 + len(data)) + header + data)
    return header[:6] + struct.pack("!H", total) + data


def ipv4_packet(source: str, destination: str, protocol: int, data: bytes, number: int = 1, fragment: int = 0) -> bytes:
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(data), number, fragment, 64, protocol, 0)
    header += packed(source) + packed(destination)
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + data
