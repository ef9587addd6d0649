# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A flow of SCTP, by each backend: the source gets through, and nobody else. UDP is in test_places.py."""

from collections.abc import Callable, Iterator

import pytest

from tests.lab.controller import Controller
from tests.lab.lab import Lab
from tests.lab.probes import ADDRESSES
from tests.lab.vm import Host
from tests.vm.conftest import INSTALL_POLICY, each_backend

pytestmark = pytest.mark.thorough

FLOWS = "senet.firewall.flows"
PORT = 60921
# systemd starts what is bin_t in initrc_t, which the policy lets use SCTP, as it lets unconfined_t.
SERVICE = "initrc_t"
UNIT = "systemd-run --quiet --collect --property=Type=exec"
# A server that sends back what comes, or a client that asks once and prints how it went.
PROGRAM = """
import socket, sys
role, address, port = sys.argv[1:]
family = socket.AF_INET6 if ":" in address else socket.AF_INET
made = socket.socket(family, socket.SOCK_STREAM, 132)
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
    """A host with servers of both families, and the flow to them by one backend after the other."""
    flow = {"name": "sctp", "source": [SERVICE], "destination": [SERVICE], "protocol": "sctp", "ports": [PORT]}
    with lab.start("web", state="slim") as host, Controller(host) as controller:
        # User Mode Linux has it built in
        host.run("modprobe sctp || grep -q ^SCTP /proc/net/protocols")
        host.run("cat >/usr/local/bin/protocol.py", input=PROGRAM)
        for address in ADDRESSES.values():
            host.run(f"{UNIT} /usr/bin/python3 /usr/local/bin/protocol.py server {address} {PORT}")
        in_force = ""

        def by(backend: str) -> Host:
            nonlocal in_force
            if backend != in_force:
                result = controller.module(host, FLOWS, flows=[flow], backend=backend)
                assert result.get("backend") == backend, result
                assert (INSTALL_POLICY in result["steps"]) == (not in_force)
                assert not controller.module(host, FLOWS, flows=[flow])["changed"]
                in_force = backend
            return host

        yield by


def ask(host: Host, family: str, prefix: str = "") -> str:
    client = f"/usr/bin/python3 /usr/local/bin/protocol.py client {ADDRESSES[family]} {PORT}"
    return host.run(f"{prefix} {client}").stdout.strip()


@pytest.mark.parametrize("family", sorted(ADDRESSES))
@each_backend
def test_the_source_gets_through_and_root_does_not(served: Callable[[str], Host], backend: str, family: str) -> None:
    host = served(backend)
    assert ask(host, family, f"{UNIT} --pipe --wait") == "answered"
    assert ask(host, family) in ("timeout", "Connection refused")
