# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs on the host: the servers, and each attempt to reach one of them.

    bypass-guest serve PLACES       servers that send back what comes, and write it into ARRIVED
    bypass-guest give PATH PLACE    a connected socket for whoever asks at a Unix socket
    bypass-guest wireguard NAME PORT KEY PEERS_PORT PEERS_KEY
    bypass-guest ask JOBS           one line of JSON for each job: its id and what happened

An attempt ends as `answered` (what was sent came back), refused, timeout, denied, or another error's name. What was
sent and never answered may have arrived all the same: ARRIVED tells.
"""

import errno
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from base64 import b64decode
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

ARRIVED = Path("/run/bypass/arrived")
SECONDS = 1.0
JOB_SECONDS = 12
SCTP, MPTCP = 132, 262
TCP_FASTOPEN, MSG_FASTOPEN, TCP_FASTOPEN_CONNECT = 23, 0x20000000, 30
UDP_ENCAP, UDP_ENCAP_ESPINUDP = 100, 2
IPV6_HOPOPTS, IPV6_DSTOPTS = 54, 59
SYN = 0x02
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


# How an attempt is made


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


_MTU_DISCOVER = {"ipv4": 10, "ipv6": 23}


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
        made.send(b"\0" * 12 + struct.pack("!H", kind) + from_neighbour(job))
    return "sent"


def tun_udp(job: Job) -> str:
    """The same by a network interface of one's own."""
    import fcntl

    tun = os.open("/dev/net/tun", os.O_RDWR)
    try:
        name = f"own{os.getpid() % 10000}"
        fcntl.ioctl(tun, 0x400454CA, struct.pack("16sH22x", name.encode(), 0x1001))
        subprocess.run(["ip", "link", "set", name, "up"], check=True)
        os.write(tun, from_neighbour(job))
        time.sleep(0.05)
    finally:
        os.close(tun)
    return "sent"


def from_neighbour(job: Job) -> bytes:
    source = "fd99:77::77" if job.family == "ipv6" else "10.99.77.77"
    whole = datagram(source, job.address, 46092, job.port, job.nonce)
    if job.family == "ipv4":
        return ipv4_packet(source, job.address, 17, whole)
    addresses = socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, job.address)
    return struct.pack("!IHBB", 6 << 28, len(whole), 17, 64) + addresses + whole


def time_wait(job: Job) -> str:
    """The pair of ports of a connection that the flow allowed and its client closed."""
    first = make(job.family, domain=job.domain)
    bind(first, job.source_port)
    first.connect(job.sockaddr)
    exchange(first, b"before")
    first.close()
    time.sleep(0.1)
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
        bind(client, job.port, job.address)
        client.connect((job.address, job.source_port))
        served = listener.accept()[0]
        served.close()
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


def passed_socket(job: Job) -> str:
    """A connected socket that another domain hands over."""
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(SECONDS)
        asking.connect(job.path)
        files = socket.recv_fds(asking, 1, 1)[1]
        if not files:
            return "no socket came"
        with socket.socket(fileno=files[0]) as made:
            made.settimeout(SECONDS)
            return exchange(made, job.nonce)


def other_program(job: Job) -> str:
    """A program that the policy runs in another domain."""
    inner = job._replace(how="tcp", domain="")
    if job.domain:
        Path("/proc/self/attr/exec").write_text(job.domain)
    done = subprocess.run([*job.path.split(), "ask", json.dumps([inner])], capture_output=True, text=True, check=False)
    if not done.stdout:
        return "denied" if "ermission denied" in done.stderr or "nvalid" in done.stderr else done.stderr[-200:]
    return str(json.loads(done.stdout)["happened"])


def flushed_table(job: Job) -> str:
    """Connections while conntrack's table is emptied again and again."""
    stop = threading.Event()

    def flush() -> None:
        while not stop.is_set():
            subprocess.run(["conntrack", "-F"], capture_output=True, check=False)

    flusher = threading.Thread(target=flush)
    flusher.start()
    ended = "timeout"
    try:
        for dummy in range(20):
            ended = attempt(job._replace(how="tcp"))
            if ended == "answered":
                break
    finally:
        stop.set()
        flusher.join()
    return ended


def full_table(job: Job) -> str:
    """A connection that finds no room in conntrack's table."""
    limit = Path("/proc/sys/net/netfilter/nf_conntrack_max")
    before = limit.read_text()
    try:
        limit.write_text("1")
        return tcp(job)
    finally:
        limit.write_text(before)


def new_namespace(job: Job) -> str:
    """A network namespace of one's own, linked to the host's. It has no rules; a veth pair leads to the host."""
    enter = ["ip", "netns", "exec", "near"]
    inner = job._replace(how=job.path, path="")
    done = subprocess.run(
        [*enter, sys.executable, __file__, "ask", json.dumps([inner])], capture_output=True, text=True, check=False
    )
    if not done.stdout:
        return "denied" if "ermi" in done.stderr else done.stderr[-200:]
    return str(json.loads(done.stdout)["happened"])


# Packets by hand


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


# Asking


HOW: dict[str, Callable[[Job], str]] = {
    function.__name__: function
    for function in (
        tcp, tcp_mapped, mptcp, sctp, fast_open, tcp_headers, udp, udp_unconnected, udp_mapped, udp_fragments,
        udp_headers, raw_tcp, raw_udp, raw_fragments, forged_open, packet_udp, tun_udp, time_wait, time_wait_back,
        simultaneous_open, icmp_echo, icmp_error, passed_socket, other_program, flushed_table, full_table,
        new_namespace,
    )
}  # fmt: skip


def attempt(job: Job) -> str:
    try:
        return HOW[job.how](job)
    except TimeoutError:
        return "timeout"
    except OSError as error:
        return ENDS.get(error.errno or 0, errno.errorcode.get(error.errno or 0, str(error)))


def in_a_child(job: Job) -> str:
    """An attempt in a process of its own, which may not last."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        try:
            os.write(writer, attempt(job).encode())
        except BaseException as error:
            os.write(writer, f"broken: {error!r}".encode())
        os._exit(0)
    os.close(writer)
    ready = select.select([reader], [], [], JOB_SECONDS)[0]
    happened = os.read(reader, 4096).decode() if ready else "no end"
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(reader)
    return happened or "no answer"


def ask(jobs: list[Job]) -> None:
    domain = Path("/proc/self/attr/current").read_text().strip("\0\n").split(":")[2]
    for job in jobs:
        print(json.dumps({"id": job.id, "happened": in_a_child(job), "domain": domain}), flush=True)


# Servers


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


def main(verb: str, *words: str) -> None:
    if verb == "serve":
        serve(json.loads(words[0]))
    elif verb == "give":
        give(words[0], words[1], int(words[2]))
    elif verb == "wireguard":
        wireguard(words[0], int(words[1]), words[2], int(words[3]), words[4])
    else:
        ask([Job(*fields) for fields in json.loads(words[0])])


if __name__ == "__main__":
    main(*sys.argv[1:])
