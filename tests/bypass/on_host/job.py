# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An attempt as it is given to the host, and what all of them use."""

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

SECONDS = 1.0
SCTP, MPTCP = 132, 262
ENDS = {
    errno.ECONNREFUSED: "refused",
    errno.ETIMEDOUT: "timeout",
    errno.EAGAIN: "timeout",
    errno.EACCES: "denied",
    errno.EPERM: "denied",
}


class Job(NamedTuple):
    """One attempt: its number, the function that makes it, and where it leads."""

    id: str
    how: str
    family: str
    address: str
    port: int
    source_port: int = 0
    # A domain whose label the socket is to carry, or whose socket or program is to be used
    domain: str = ""
    # A program, or a Unix socket
    path: str = ""

    @property
    def nonce(self) -> bytes:
        return f"<{self.id}>".encode()

    @property
    def sockaddr(self) -> tuple[str, int]:
        return self.address, self.port


def context(domain: str) -> str:
    return f"system_u:system_r:{domain}:s0"


def labelled(domain: str) -> None:
    """The next sockets of this thread carry a domain's label; none: the process's own."""
    Path("/proc/thread-self/attr/sockcreate").write_bytes(context(domain).encode() if domain else b"\n")


def make(family: str, kind: int = socket.SOCK_STREAM, protocol: int = 0, domain: str = "") -> socket.socket:
    if domain:
        labelled(domain)
    made = socket.socket(socket.AF_INET6 if family == "ipv6" else socket.AF_INET, kind, protocol)
    if domain:
        labelled("")
    made.settimeout(SECONDS)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return made


def bind(made: socket.socket, port: int, address: str = "") -> None:
    if port:
        made.bind((address or ("::" if made.family == socket.AF_INET6 else "0.0.0.0"), port))


def exchange(made: socket.socket, nonce: bytes) -> str:
    made.sendall(nonce)
    return answer(made, nonce)


def answer(made: socket.socket, nonce: bytes) -> str:
    got = made.recv(65536)
    return "answered" if nonce in got else "closed" if not got else "another answer"


@contextmanager
def permitted() -> Iterator[None]:
    """What a flow allows, and an attempt begins with: where it fails, the attempt says nothing."""
    try:
        yield
    except OSError as error:
        raise RuntimeError(f"what the flow allows failed: {error}") from error
