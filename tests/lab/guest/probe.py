# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make, take and hold connections as a chosen SELinux domain; each answer is one line of JSON.

    senet-probe connect 127.0.0.1 5432 --as-context system_u:system_r:httpd_t:s0
    senet-probe listen ::1 5432 --echo
    senet-probe hold 127.0.0.1 5432 --control /run/client.sock &      (--listen for the other end)
    senet-probe tell /run/client.sock send hello
    senet-probe tell /run/client.sock recv 2

Results of connect: connected, refused, timeout, unreachable, denied (EACCES, EPERM), reset; `sent` for UDP when no
reply was asked for.
"""

import argparse
import errno
import json
import os
import socket
import struct
import sys
import time
from pathlib import Path
from typing import Any

SO_PEERSEC = 31
RESULTS = {
    errno.ECONNREFUSED: "refused",
    errno.ETIMEDOUT: "timeout",
    errno.EAGAIN: "timeout",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETUNREACH: "unreachable",
    errno.EADDRNOTAVAIL: "unreachable",
    errno.EACCES: "denied",
    errno.EPERM: "denied",
    errno.ECONNRESET: "reset",
    errno.EPIPE: "reset",
}


def own_context() -> str | None:
    """The context of this process, None without SELinux."""
    try:
        return Path("/proc/self/attr/current").read_text().rstrip("\0\n")
    except OSError:
        return None


def say(**answer: Any) -> None:
    print(json.dumps(answer), flush=True)


def failure(error: OSError) -> dict[str, Any]:
    """What an error of a socket call means, as `result` and `errno` (a name such as ECONNREFUSED)."""
    code = errno.ETIMEDOUT if isinstance(error, socket.timeout) else error.errno or 0
    return {"result": RESULTS.get(code, "error"), "errno": errno.errorcode.get(code, str(code))}


def make_socket(args: argparse.Namespace) -> socket.socket:
    """A socket that carries --as-context: packet checks use the socket's label, not the process's (attr/sockcreate)."""
    if args.as_context:
        try:
            Path("/proc/thread-self/attr/sockcreate").write_bytes(args.as_context.encode())
        except OSError as error:
            sys.exit(f"senet-probe: sockets cannot be made as {args.as_context}: {error}")
    family = socket.AF_INET6 if ":" in args.address else socket.AF_INET
    kind = socket.SOCK_DGRAM if args.protocol == "udp" else socket.SOCK_STREAM
    made = socket.socket(family, kind)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return made


def connected_socket(args: argparse.Namespace) -> socket.socket:
    made = make_socket(args)
    made.settimeout(args.timeout)
    if args.source_port:
        made.bind(("::" if ":" in args.address else "0.0.0.0", args.source_port))
    made.connect((args.address, args.port))
    return made


def receive(connection: socket.socket, timeout: float) -> dict[str, Any]:
    """One recv(): received (with data), closed, timeout, reset, ..."""
    connection.settimeout(timeout)
    try:
        data = connection.recv(65536)
    except OSError as error:
        return failure(error)
    if not data and connection.type == socket.SOCK_STREAM:
        return {"result": "closed", "errno": None}
    return {"result": "received", "errno": None, "data": data.decode(errors="replace")}


def peer_context(connection: socket.socket) -> str | None:
    """SO_PEERSEC: the label the packets brought along; None without peer labelling."""
    try:
        return connection.getsockopt(socket.SOL_SOCKET, SO_PEERSEC, 256).rstrip(b"\0").decode()
    except OSError:
        return None


def connect(args: argparse.Namespace) -> int:
    start = time.monotonic()
    answer: dict[str, Any] = {"result": "connected", "errno": None}
    try:
        connection = connected_socket(args)
        text = args.send if args.send is not None else ("probe" if args.protocol == "udp" else None)
        if text is not None:
            connection.sendall(text.encode())
        if args.protocol == "udp" and not args.expect_reply:
            answer["result"] = "sent"
        if args.expect_reply:
            reply = receive(connection, args.timeout)
            if reply["result"] == "received":
                answer["reply"] = reply["data"]
            else:
                answer.update(reply)
    except OSError as error:
        answer.update(failure(error))
    say(**answer, seconds=round(time.monotonic() - start, 3), context=own_context())
    return 0 if answer["result"] in ("connected", "sent") else 1


def listening_socket(args: argparse.Namespace) -> socket.socket:
    made = make_socket(args)
    made.bind((args.address, args.port))
    if args.protocol == "tcp":
        made.listen(16)
    return made


def listen(args: argparse.Namespace) -> int:
    try:
        listener = listening_socket(args)
    except OSError as error:
        say(**failure(error), context=own_context())
        return 1
    say(result="listening", context=own_context())
    if args.ready_file:
        Path(args.ready_file).write_text(f"{os.getpid()}\n")
    while True:
        if args.protocol == "udp":
            data, peer = listener.recvfrom(65536)
            say(result="received", peer=peer[0], peer_port=peer[1], data=data.decode(errors="replace"))
            if args.echo:
                listener.sendto(data, peer)
        else:
            connection, peer = listener.accept()
            say(result="accepted", peer=peer[0], peer_port=peer[1], peer_context=peer_context(connection))
            serve(connection, args.echo)
        if args.once:
            return 0


def serve(connection: socket.socket, echo: bool) -> None:
    """Read until the other side is done; send back what came when `echo`."""
    with connection:
        while True:
            got = receive(connection, 30)
            if got["result"] != "received":
                return
            if echo:
                try:
                    connection.sendall(got["data"].encode())
                except OSError:
                    return


def hold(args: argparse.Namespace) -> int:
    """Keep one connection and do with it what lines on the control socket say: send TEXT, recv SECONDS, close."""
    args.protocol = "tcp"
    listener: socket.socket | None = None
    connection: socket.socket | None = None
    try:
        if args.listen:
            listener = listening_socket(args)
            listener.settimeout(args.timeout)
        else:
            connection = connected_socket(args)
    except OSError as error:
        say(**failure(error), context=own_context())
        return 1
    say(result="listening" if listener else "connected", context=own_context())
    with socket.socket(socket.AF_UNIX) as control:
        control.bind(args.control)
        control.listen(4)
        while True:
            caller, dummy = control.accept()
            with caller, caller.makefile("rw") as stream:
                verb, dummy, rest = stream.readline().rstrip("\n").partition(" ")
                try:
                    if connection is None and listener is not None:
                        connection, dummy = listener.accept()
                    assert connection is not None
                    answer = act(connection, verb, rest)
                except OSError as error:
                    answer = failure(error)
                stream.write(json.dumps(answer) + "\n")
            if verb == "close":
                Path(args.control).unlink()
                return 0


def act(connection: socket.socket, verb: str, rest: str) -> dict[str, Any]:
    if verb == "send":
        connection.sendall(rest.encode())
        return {"result": "sent", "errno": None}
    if verb == "recv":
        return receive(connection, float(rest or 3))
    if verb == "close":
        # RST at once, so the pair of ports is free for the next test.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
        return {"result": "closed", "errno": None}
    return {"result": "error", "errno": f"unknown command {verb!r}: use send, recv or close"}


def tell(args: argparse.Namespace) -> int:
    """Send one command to a `hold`; waits for its control socket to appear."""
    deadline = time.monotonic() + args.timeout
    while True:
        control = socket.socket(socket.AF_UNIX)
        try:
            control.connect(args.control)
            break
        except OSError as error:
            control.close()
            if time.monotonic() > deadline:
                sys.exit(f"senet-probe: nobody holds a connection at {args.control}: {error}")
            time.sleep(0.05)
    with control, control.makefile("rw") as stream:
        stream.write(" ".join(args.words) + "\n")
        stream.flush()
        print(stream.readline().rstrip("\n"), flush=True)
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="senet-probe", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, run in (("connect", connect), ("listen", listen), ("hold", hold)):
        sub = commands.add_parser(name)
        sub.set_defaults(run=run)
        sub.add_argument("address")
        sub.add_argument("port", type=int)
        sub.add_argument("--as-context")
        sub.add_argument("--source-port", type=int)
        sub.add_argument("--timeout", type=float, default=3)
        if name != "hold":
            sub.add_argument("--protocol", choices=("tcp", "udp"), default="tcp")
        if name == "connect":
            sub.add_argument("--send")
            sub.add_argument("--expect-reply", action="store_true")
        elif name == "listen":
            sub.add_argument("--echo", action="store_true")
            sub.add_argument("--once", action="store_true")
            sub.add_argument("--ready-file")
        else:
            sub.add_argument("--control", required=True)
            sub.add_argument("--listen", action="store_true")
    sub = commands.add_parser("tell")
    sub.set_defaults(run=tell)
    sub.add_argument("control")
    sub.add_argument("words", nargs="+")
    sub.add_argument("--timeout", type=float, default=10)
    args = parser.parse_args()
    code: int = args.run(args)
    return code


if __name__ == "__main__":
    sys.exit(main())
