# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""By the sockets that programs use."""

import errno
import socket
import struct
import threading
from contextlib import suppress

from .job import ENDS, MPTCP, SCTP, SECONDS, Job, answer, bind, exchange, make, permitted

MSG_FASTOPEN = 0x20000000
IPV6_HOPOPTS, IPV6_DSTOPTS = 54, 59
_MTU_DISCOVER = {"ipv4": 10, "ipv6": 23}


def tcp(job: Job, protocol: int = 0) -> str:
    with make(job.family, protocol=protocol, domain=job.domain) as made:
        bind(made, job.source_port)
        made.connect(job.sockaddr)
        return exchange(made, job.nonce)


def mptcp(job: Job) -> str:
    return tcp(job, MPTCP)


def sctp(job: Job) -> str:
    return tcp(job, SCTP)


def tcp_mapped(job: Job) -> str:
    with make("ipv6") as made:
        bind(made, job.source_port)
        made.connect((f"::ffff:{job.address}", job.port))
        return exchange(made, job.nonce)


def fast_open(job: Job) -> str:
    """Twice: the first connection brings the cookie, the second one's SYN carries the data."""
    ended = []
    for dummy in range(2):
        with make(job.family) as made:
            made.settimeout(None)
            for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                made.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", int(SECONDS), 0))
            made.sendto(job.nonce, MSG_FASTOPEN, job.sockaddr)
            ended.append(answer(made, job.nonce))
    return ended[-1]


def udp(job: Job) -> str:
    with make(job.family, socket.SOCK_DGRAM) as made:
        bind(made, job.source_port)
        made.connect(job.sockaddr)
        return exchange(made, job.nonce)


def udp_unconnected(job: Job) -> str:
    with make(job.family, socket.SOCK_DGRAM) as made:
        made.sendto(job.nonce, job.sockaddr)
        return answer(made, job.nonce)


def udp_mapped(job: Job) -> str:
    with make("ipv6", socket.SOCK_DGRAM) as made:
        made.sendto(job.nonce, (f"::ffff:{job.address}", job.port))
        return answer(made, job.nonce)


def udp_fragments(job: Job) -> str:
    """More than the interface's MTU."""
    with make(job.family, socket.SOCK_DGRAM) as made:
        made.setsockopt(
            socket.IPPROTO_IPV6 if job.family == "ipv6" else socket.IPPROTO_IP, _MTU_DISCOVER[job.family], 0
        )
        made.connect(job.sockaddr)
        return exchange(made, job.nonce + b"." * 4000)


def udp_headers(job: Job) -> str:
    """Behind a hop-by-hop header and a header of destination options, both of padding."""
    with make("ipv6", socket.SOCK_DGRAM) as made:
        _padded(made)
        made.connect(job.sockaddr)
        return exchange(made, job.nonce)


def tcp_headers(job: Job) -> str:
    with make("ipv6") as made:
        _padded(made)
        made.connect(job.sockaddr)
        return exchange(made, job.nonce)


def _padded(made: socket.socket) -> None:
    for option in (IPV6_HOPOPTS, IPV6_DSTOPTS):
        made.setsockopt(socket.IPPROTO_IPV6, option, b"\0\0\x01\x04\0\0\0\0")


def time_wait(job: Job) -> str:
    """The pair of ports of a connection that the flow allowed and its client closed."""
    with permitted(), make(job.family, domain=job.domain) as first:
        bind(first, job.source_port)
        first.connect(job.sockaddr)
        exchange(first, b"before")
        first.shutdown(socket.SHUT_WR)
        first.recv(1)
    with make(job.family) as made:
        bind(made, job.source_port)
        made.connect(job.sockaddr)
        return exchange(made, job.nonce)


def time_wait_back(job: Job) -> str:
    """The confined domain's server closes a connection of its flow, then calls its client back from the same port."""
    with make(job.family, domain=job.domain) as listener, make(job.family) as client, make(job.family) as called:
        called.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bind(listener, job.source_port, job.address)
        listener.listen()
        with permitted():
            bind(client, job.port, job.address)
            client.connect((job.address, job.source_port))
            listener.accept()[0].close()
            client.recv(1)
        client.close()
        listener.close()
        bind(called, job.port, job.address)
        called.listen()
        threading.Thread(target=_echo_once, args=(called,), daemon=True).start()
        with make(job.family, domain=job.domain) as made:
            bind(made, job.source_port, job.address)
            made.connect(job.sockaddr)
            return exchange(made, job.nonce)


def _echo_once(listener: socket.socket) -> None:
    with suppress(OSError):
        made = listener.accept()[0]
        made.settimeout(SECONDS)
        made.sendall(made.recv(100))


def simultaneous_open(job: Job) -> str:
    """A socket of another domain calls first, and loses its SYN; ours meets it on the way."""
    own = job.path.split()[job.family == "ipv6"]
    with make(job.family) as made, make(job.family, domain=job.domain) as other:
        bind(made, job.source_port, own)
        bind(other, job.port, job.address)
        for one, to in ((other, (own, job.source_port)), (made, job.sockaddr)):
            one.setblocking(False)
            if (error := one.connect_ex(to)) not in (0, errno.EINPROGRESS):
                return ENDS.get(error, errno.errorcode[error])
            one.settimeout(SECONDS)
        made.sendall(job.nonce)
        return "answered" if job.nonce in other.recv(100) else "closed"
