# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs on a host of the lab: TCP between two hosts by sockets with a domain's label.

    ipsec_load.py serve ADDRESS PORT CONTEXT
    ipsec_load.py connects|echoes|bulk ADDRESS PORT CONTEXT COUNT

Each but the first prints one line of JSON. The first byte of a connection says what the server does with it.
"""

import contextlib
import json
import socket
import struct
import sys
import time
from pathlib import Path
from typing import Any

IP_MTU, IPV6_MTU = 14, 24
CHUNK = bytes(1 << 16)
COUNTERS = Path("/sys/class/net/eth1/statistics")


def made(address: str, context: str) -> socket.socket:
    Path("/proc/thread-self/attr/sockcreate").write_text(context)
    one = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return one


def serve(address: str, port: int, context: str) -> None:
    listener = made(address, context)
    listener.bind((address, port))
    listener.listen(64)
    Path("/run/ipsec_load.ready").touch()
    while True:
        connection = listener.accept()[0]
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection, contextlib.suppress(OSError):
            answer(connection)


def answer(connection: socket.socket) -> None:
    if connection.recv(1) == b"e":
        connection.sendall(b"e")
        while got := connection.recv(1):
            connection.sendall(got)
        return
    total = 0
    while got := connection.recv(len(CHUNK)):
        total += len(got)
    connection.sendall(struct.pack("!Q", total))


def joined(address: str, port: int, context: str, word: bytes) -> socket.socket:
    one = made(address, context)
    one.settimeout(60)
    one.connect((address, port))
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    one.sendall(word)
    return one


def connects(address: str, port: int, context: str, count: int) -> dict[str, Any]:
    start = time.perf_counter()
    for dummy in range(count):
        with joined(address, port, context, b"e") as one:
            one.recv(1)
            # No TIME_WAIT, of which there would be as many as connections
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return {"per_second": count / (time.perf_counter() - start)}


def echoes(address: str, port: int, context: str, count: int) -> dict[str, Any]:
    times = []
    with joined(address, port, context, b"e") as one:
        one.recv(1)
        before = counters()
        for dummy in range(count):
            start = time.perf_counter()
            one.sendall(b"x")
            one.recv(1)
            times.append(time.perf_counter() - start)
        sent = [now - then for now, then in zip(counters(), before, strict=True)]
    return {"microseconds": sorted(times)[count // 2] * 1e6, "bytes_per_packet": sent[0] / sent[1]}


def bulk(address: str, port: int, context: str, count: int) -> dict[str, Any]:
    """`count` MiB from the client, of which the server must have all."""
    with joined(address, port, context, b"b") as one:
        before, start = counters(), time.perf_counter()
        for dummy in range(count << 20 >> 16):
            one.sendall(CHUNK)
        one.shutdown(socket.SHUT_WR)
        total = struct.unpack("!Q", one.recv(8, socket.MSG_WAITALL))[0]
        seconds = time.perf_counter() - start
        sent = [now - then for now, then in zip(counters(), before, strict=True)]
        level, option = (socket.IPPROTO_IPV6, IPV6_MTU) if ":" in address else (socket.IPPROTO_IP, IP_MTU)
        return {
            "complete": total == count << 20,
            "megabytes_per_second": count / seconds,
            "segment": one.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG),
            "path_mtu": one.getsockopt(level, option),
            "overhead": sent[0] / (count << 20) - 1,
        }


def counters() -> tuple[int, int]:
    """The bytes and packets that the private link's interface has sent."""
    sent, packets = (int((COUNTERS / f"tx_{name}").read_text()) for name in ("bytes", "packets"))
    return sent, packets


if __name__ == "__main__":
    action, place, number, label, *rest = sys.argv[1:]
    if action == "serve":
        serve(place, int(number), label)
    work = {"connects": connects, "echoes": echoes, "bulk": bulk}[action]
    print(json.dumps(work(place, int(number), label, int(rest[0]))))
