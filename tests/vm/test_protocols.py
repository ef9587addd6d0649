# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flows of SCTP and DCCP, by each backend: the source gets through, and nobody else."""

from collections.abc import Callable, Iterator

import pytest

from tests.lab.controller import Controller
from tests.lab.lab import Lab
from tests.lab.probes import ADDRESSES
from tests.lab.vm import Host
from tests.vm.conftest import BACKENDS, INSTALL_POLICY

FLOWS = "senet.firewall.flows"
PORTS = {"sctp": 60921, "dccp": 60922}
# systemd starts what is bin_t in initrc_t, which the policy lets use both protocols, as it lets unconfined_t.
SERVICE = "initrc_t"
UNIT = "systemd-run --quiet --collect --property=Type=exec"
# A server that sends back what comes, or a client that asks once and prints how it went.
PROGRAM = """
import socket, sys
role, protocol, address, port = sys.argv[1:]
family = socket.AF_INET6 if ":" in address else socket.AF_INET
kind, number = {"sctp": (socket.SOCK_STREAM, 132), "dccp": (6, 33)}[protocol]
made = socket.socket(family, kind, number)
if protocol == "dccp":
    made.setsockopt(269, 2, (42).to_bytes(4, "big"))
made.settimeout(4)
if role == "server":
    made.bind((address, int(port)))
    made.listen()
    made.settimeout(None)
    while True:
        peer = made.accept()[0]
        peer.settimeout(4)
        try:
            peer.sendall(peer.recv(16))
        except OSError:
            pass
else:
    try:
        made.connect((address, int(port)))
        made.send(b"question")
        print("answered" if made.recv(16) == b"question" else "closed")
    except OSError as error:
        print("timeout" if isinstance(error, TimeoutError) else error.strerror)
"""


@pytest.fixture(scope="module")
def served(lab: Lab) -> Iterator[Callable[[str], Host]]:
    """A host with servers of both protocols and families, and flows to them by one backend after the other."""
    base = {"source": [SERVICE], "destination": [SERVICE]}
    flows = [{**base, "name": name, "protocol": name, "ports": [port]} for name, port in PORTS.items()]
    with lab.start("web", state="slim") as host, Controller(host) as controller:
        host.run("modprobe sctp && modprobe dccp_ipv6 && cat >/usr/local/bin/protocol.py", input=PROGRAM)
        for protocol, port in PORTS.items():
            for address in ADDRESSES.values():
                host.run(f"{UNIT} /usr/bin/python3 /usr/local/bin/protocol.py server {protocol} {address} {port}")
        in_force = ""

        def by(backend: str) -> Host:
            nonlocal in_force
            if backend != in_force:
                result = controller.module(host, FLOWS, flows=flows, backend=backend)
                assert result.get("backend") == backend, result
                assert (INSTALL_POLICY in result["steps"]) == (not in_force)
                assert not controller.module(host, FLOWS, flows=flows)["changed"]
                in_force = backend
            return host

        yield by


def ask(host: Host, protocol: str, family: str, prefix: str = "") -> str:
    client = f"/usr/bin/python3 /usr/local/bin/protocol.py client {protocol} {ADDRESSES[family]} {PORTS[protocol]}"
    return host.run(f"{prefix} {client}").stdout.strip()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("protocol", sorted(PORTS))
@pytest.mark.parametrize("family", sorted(ADDRESSES))
def test_the_source_gets_through_and_root_does_not(
    served: Callable[[str], Host], backend: str, protocol: str, family: str
) -> None:
    host = served(backend)
    assert ask(host, protocol, family, f"{UNIT} --pipe --wait") == "answered"
    assert ask(host, protocol, family) in ("timeout", "Connection refused")
