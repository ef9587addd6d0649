# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers that send back what comes, and write it into ARRIVED."""

import os
import signal
import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from .job import MPTCP, SCTP, make

ARRIVED = Path("/run/bypass/arrived")
TCP_FASTOPEN = 23
UDP_ENCAP, UDP_ENCAP_ESPINUDP = 100, 2


def serve(places: list[dict[str, Any]]) -> None:
    """A server at each place: protocol, address, port, and the domain whose label its socket carries."""
    for place in places:
        family = "ipv6" if ":" in place["address"] else "ipv4"
        udp_server = place["protocol"] == "udp"
        protocol = {"mptcp": MPTCP, "sctp": SCTP}.get(place["protocol"], 0)
        made = make(family, socket.SOCK_DGRAM if udp_server else socket.SOCK_STREAM, protocol, place["domain"])
        if family == "ipv6":
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.settimeout(None)
        made.bind((place["address"], place["port"]))
        if place["port"] == 4500:
            made.setsockopt(socket.IPPROTO_UDP, UDP_ENCAP, UDP_ENCAP_ESPINUDP)
        if place["protocol"] == "tcp":
            made.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN, 16)
        if not udp_server:
            made.listen(64)
        threading.Thread(target=_datagrams if udp_server else _connections, args=(made,), daemon=True).start()
    print("ready", flush=True)
    signal.pause()


def _arrived(data: bytes) -> None:
    with ARRIVED.open("ab") as log:
        log.write(data[:100] + b"\n")


def _datagrams(made: socket.socket) -> None:
    while True:
        with suppress(OSError):
            data, peer = made.recvfrom(65536)
            _arrived(data)
            made.sendto(data, peer)


def _connections(made: socket.socket) -> None:
    while True:
        with suppress(OSError):
            threading.Thread(target=_connection, args=(made.accept()[0],), daemon=True).start()


def _connection(made: socket.socket) -> None:
    made.settimeout(30)
    with made, suppress(OSError):
        while data := made.recv(65536):
            _arrived(data)
            made.sendall(data)


def give(path: str, address: str, port: int) -> None:
    """Connect, and hand the connected socket to whoever comes."""
    family = "ipv6" if ":" in address else "ipv4"
    with suppress(FileNotFoundError):
        os.unlink(path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        os.chmod(path, 0o666)
        listener.listen()
        while True:
            taker = listener.accept()[0]
            with taker, suppress(OSError), make(family) as made:
                made.connect((address, port))
                socket.send_fds(taker, [b"x"], [made.fileno()])
