# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real connections by real processes of a lab host, as the demo and the tests make them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from .errors import LabError
from .vm import Host

ADDRESSES = {"ipv4": "127.0.0.1", "ipv6": "::1"}
# mod_proxy: a server that speaks no HTTP was reached (502; 200 if it spoke first), or the connection was refused (503)
_PROXY_RESULTS = {"200": "connected", "502": "connected", "503": "refused"}


# Programs that init_t starts in a domain of their own: a copy of Python with the label of such a program.
_INTERPRETER = "/usr/local/bin/python-{domain}"


def context(domain: str) -> str:
    """The context of a service's process in a domain."""
    return f"system_u:system_r:{domain}:s0"


class Probe(NamedTuple):
    """How a connection went: connected, refused, timeout, unreachable or denied; the prober's own context."""

    result: str
    seconds: float
    context: str


def connect(host: Host, address: str, port: int, *options: str, user: str = "root", prefix: str = "") -> Probe:
    """A TCP connection by a process of a user, in the domain of a root shell over SSH (unconfined_t)."""
    command = " ".join(["senet-probe", "connect", address, str(port), *options])
    if user != "root":
        command = f"runuser -u {user} -- {command}"
    answer = json.loads(host.run(f"{prefix} {command}", check=False).stdout)
    return Probe(answer["result"], answer["seconds"], answer["context"])


def through_apache(host: Host, path: str) -> Probe:
    """A connection by Apache's proxy, to where its path leads."""
    command = f"curl --silent --output /dev/null --write-out '%{{http_code}} %{{time_total}}' http://127.0.0.1/{path}"
    # Its return code says how the answer ended, which is of no interest
    status, seconds = host.run(command, check=False).stdout.split()
    if status not in _PROXY_RESULTS:
        raise LabError(f"{host.name}: Apache answers {status} to /{path}, which says nothing of a connection.")
    context = host.run("ps -o label= -C apache2 | sort -u").stdout.strip()
    return Probe(_PROXY_RESULTS[status], float(seconds), context)


def as_domain(host: Host, domain: str, address: str, port: int, *options: str, prefix: str = "") -> Probe:
    """A connection by a socket that carries a domain's label, which packet checks go by."""
    return connect(host, address, port, "--as-context", context(domain), *options, prefix=prefix)


@contextmanager
def listener(host: Host, address: str, port: int, *options: str, prefix: str = "") -> Iterator[None]:
    """Listens and sends back what comes, in the domain of a root shell unless options say otherwise."""
    ready = f"/run/listener-{address}-{port}"
    words = ["senet-probe", "listen", address, str(port), "--echo", "--ready-file", ready, *options]
    start = f"setsid {prefix} {shlex.join(words)} >{ready}.log 2>&1 </dev/null &"
    wait = f"for n in $(seq 100); do [ -s {ready} ] && exit 0; sleep 0.1; done; cat {ready}.log; exit 1"
    host.run(f"rm -f {ready}; {start} {wait}")
    try:
        yield
    finally:
        host.run(f"kill $(cat {ready})")


class Held:
    """One end of a connection that stays open, held by a process on the host; `control` is its Unix socket."""

    def __init__(self, host: Host, control: str) -> None:
        self.host = host
        self.control = control

    @classmethod
    def client(cls, host: Host, address: str, port: int, domain: str | None = None, *options: str) -> Held:
        """Connects, in the domain of a root shell or by a socket with a domain's label."""
        control = f"/run/held-client-{address}-{port}"
        label = f"--as-context {context(domain)}" if domain else ""
        command = f"senet-probe hold {address} {port} --control {control} {label} {shlex.join(options)}"
        host.run(f"setsid {command} >{control}.log 2>&1 </dev/null &")
        return cls(host, control)

    @classmethod
    def labelled_server(cls, host: Host, address: str, port: int, domain: str) -> Held:
        """Listens by a socket with a domain's label."""
        held = cls.client(host, address, port, domain, "--listen", "--timeout", "600")
        host.run(f"until test -S {held.control}; do sleep 0.1; done")
        return held

    @classmethod
    def server(cls, host: Host, address: str, port: int, domain: str, executable_type: str, directory: str) -> Held:
        """Listens as a service whose process runs in a domain, its Unix socket where the domain may write."""
        interpreter = _INTERPRETER.format(domain=domain)
        control = f"{directory}/held-{address}-{port}"
        make = f"cp /usr/bin/python3 {interpreter} && chcon -t {executable_type} {interpreter}"
        host.run(
            f"test -e {interpreter} || {{ {make}; }}; systemd-run --quiet --collect {interpreter} "
            f"/usr/local/bin/senet-probe hold {address} {port} --listen --timeout 600 --control {control} && "
            f" until test -S {control}; do sleep 0.1; done"
        )
        return cls(host, control)

    def tell(self, *words: str) -> dict[str, Any]:
        """`send TEXT`, `recv SECONDS` or `close`; returns result and, when something came, data."""
        done = self.host.run(f"senet-probe tell {self.control} {shlex.join(words)}")
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def send(self, text: str) -> str:
        return str(self.tell("send", text)["result"])

    def receive(self, seconds: float) -> str | None:
        """What came, or None."""
        return self.tell("recv", str(seconds)).get("data")
