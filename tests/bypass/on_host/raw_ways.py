# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""By packets made by hand."""

import fcntl
import os
import socket
import struct
import subprocess
import time

from .job import SECONDS, Job, exchange, make, permitted
from .packets import SYN, checksum, datagram, ipv4_packet, tcp_segment


def raw_tcp(job: Job) -> str:
    """A SYN by a raw socket, from a source address of its own; the server's SYN and ACK comes back to it."""
    source_port = 46100 + os.getpid() % 400
    with make(job.family, socket.SOCK_RAW, socket.IPPROTO_TCP) as made:
        made.connect((job.address, 0))
        made.send(tcp_segment(made.getsockname()[0], job.address, source_port, job.port, SYN))
        return _handshake(made, job, source_port)


def _handshake(made: socket.socket, job: Job, source_port: int) -> str:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        got = made.recv(65536)
        segment = got[20:] if job.family == "ipv4" else got
        ports = struct.unpack("!HH", segment[:4])
        if ports == (job.port, source_port):
            return "answered" if segment[13] & 0x12 == 0x12 else "refused"
    return "timeout"


def raw_udp(job: Job) -> str:
    with make(job.family, socket.SOCK_RAW, socket.IPPROTO_UDP) as made:
        made.connect((job.address, 0))
        made.send(datagram(made.getsockname()[0], job.address, 46090, job.port, job.nonce))
    return "sent"


def raw_fragments(job: Job) -> str:
    """A datagram in fragments of eight bytes: no one but the first has its ports."""
    with make("ipv4", socket.SOCK_RAW, socket.IPPROTO_RAW) as made:
        made.connect((job.address, 0))
        source = made.getsockname()[0]
        whole = datagram(source, job.address, 46091, job.port, job.nonce)
        for start in range(0, len(whole), 8):
            part = whole[start : start + 8]
            more = 0x2000 if start + 8 < len(whole) else 0
            made.sendto(ipv4_packet(source, job.address, 17, part, 4242, more | start // 8), (job.address, 0))
    return "sent"


def forged_open(job: Job) -> str:
    """As if the server had begun: a forged SYN from its port, then a connection from the port that this was for."""
    source_port = 46600 + os.getpid() % 400
    with make(job.family, socket.SOCK_STREAM) as made, make("ipv4", socket.SOCK_RAW, socket.IPPROTO_RAW) as forger:
        made.bind(("127.0.0.1", source_port))
        segment = tcp_segment(job.address, "127.0.0.1", job.port, source_port, SYN)
        forger.sendto(ipv4_packet(job.address, "127.0.0.1", 6, segment), ("127.0.0.1", 0))
        made.connect(job.sockaddr)
        return exchange(made, job.nonce)


def packet_udp(job: Job) -> str:
    """A datagram put onto the loopback interface by a packet socket, as if from a neighbour."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as made:
        made.bind(("lo", 0))
        kind = 0x86DD if job.family == "ipv6" else 0x0800
        made.send(b"\0" * 12 + struct.pack("!H", kind) + _from_neighbour(job))
    return "sent"


def tun_udp(job: Job) -> str:
    """The same by a network interface of one's own."""

    tun = os.open("/dev/net/tun", os.O_RDWR)
    try:
        name = f"own{os.getpid() % 10000}"
        fcntl.ioctl(tun, 0x400454CA, struct.pack("16sH22x", name.encode(), 0x1001))
        subprocess.run(["ip", "link", "set", name, "up"], check=True)
        os.write(tun, _from_neighbour(job))
    finally:
        os.close(tun)
    return "sent"


def _from_neighbour(job: Job) -> bytes:
    source = "fd99:77::77" if job.family == "ipv6" else "10.99.77.77"
    whole = datagram(source, job.address, 46092, job.port, job.nonce)
    if job.family == "ipv4":
        return ipv4_packet(source, job.address, 17, whole)
    addresses = socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, job.address)
    return struct.pack("!IHBB", 6 << 28, len(whole), 17, 64) + addresses + whole


def icmp_echo(job: Job) -> str:
    v6 = job.family == "ipv6"
    with make(job.family, socket.SOCK_RAW, socket.IPPROTO_ICMPV6 if v6 else socket.IPPROTO_ICMP, job.domain) as made:
        message = struct.pack("!BBHHH", 128 if v6 else 8, 0, 0, 77, 1) + job.nonce
        if not v6:
            message = message[:2] + struct.pack("!H", checksum(message)) + message[4:]
        made.connect((job.address, 0))
        made.send(message)
        reply = 129 if v6 else 0
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            got = made.recv(2000)
            if job.nonce in got and got[0 if v6 else 20] == reply:
                return "answered"
        return "timeout"


def icmp_error(job: Job) -> str:
    """A forged `port unreachable` that quotes what a socket of another domain has sent over its flow."""
    with make("ipv4", socket.SOCK_DGRAM, domain=job.domain) as victim:
        with permitted():
            victim.connect(job.sockaddr)
            exchange(victim, b"before")
        source, source_port = victim.getsockname()
        quoted = ipv4_packet(source, job.address, 17, datagram(source, job.address, source_port, job.port, job.nonce))
        message = struct.pack("!BBHI", 3, 3, 0, 0) + quoted[:28]
        message = message[:2] + struct.pack("!H", checksum(message)) + message[4:]
        with make("ipv4", socket.SOCK_RAW, socket.IPPROTO_ICMP) as forger:
            forger.sendto(message, (source, 0))
        try:
            victim.recv(100)
        except ConnectionRefusedError:
            return "arrived"
    return "nothing"
