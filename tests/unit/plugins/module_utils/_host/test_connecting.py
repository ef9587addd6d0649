# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
import errno
import socket
from pathlib import Path
from typing import Any, Optional

import pytest

from ansible_collections.senet.firewall.plugins.module_utils._host import connecting
from ansible_collections.senet.firewall.plugins.module_utils._host.selinuxfs import Decision
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError

OWN = "unconfined_u:unconfined_r:unconfined_t:s0"
HTTPD = "system_u:system_r:httpd_t:s0"


class Kernel:
    """It knows who may make whose sockets, and refuses connections to port 5432 made with the label of HTTPD."""

    def __init__(self, attributes: Path, allowed: frozenset[str]) -> None:
        self.attributes = attributes
        self.allowed = allowed
        (attributes / "current").write_text(OWN + "\0")
        (attributes / "sockcreate").write_text("")

    @property
    def label(self) -> str:
        return (self.attributes / "sockcreate").read_text()

    def access(self, source: str, target: str, tclass: str) -> Decision:
        assert (source, target, tclass) == (OWN, HTTPD, "tcp_socket")
        return Decision(self.allowed, False)

    def connect(self, address: tuple[str, int]) -> int:
        assert address[0] == "255.255.255.255"
        assert Path("/proc/thread-self/comm").read_text() == f"{connecting.COMMAND}\n"
        return errno.EACCES if self.label == HTTPD and address[1] == 5432 else errno.ENETUNREACH


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    made = Kernel(tmp_path, frozenset(("create", "connect")))

    class Probe(socket.socket):
        def connect_ex(self, address: Any) -> int:
            return made.connect(address)

    monkeypatch.setattr(connecting, "_ATTRIBUTES", str(tmp_path))
    monkeypatch.setattr(connecting.socket, "socket", Probe)
    return made


def ask(kernel: Any) -> Optional[list[int]]:
    return connecting.refused_ports(kernel, HTTPD, [5432, 5433])


def test_a_port_that_the_kernel_refuses_a_socket_of_the_domain_is_told(kernel: Kernel) -> None:
    command = Path("/proc/thread-self/comm").read_text()
    assert ask(kernel) == [5432]
    assert Path("/proc/thread-self/comm").read_text() == command
    # The kernel takes a lone newline for no label; here the file has both writes.
    assert kernel.label == HTTPD + "\n"


@pytest.mark.parametrize("allowed", [(), ("create",), ("connect",)])
def test_nothing_is_told_by_a_process_that_may_not_ask(kernel: Kernel, allowed: tuple[str, ...]) -> None:
    kernel.allowed = frozenset(allowed)
    assert ask(kernel) is None
    assert kernel.label == ""


def test_nothing_is_told_where_sockets_cannot_be_labelled(kernel: Kernel) -> None:
    (kernel.attributes / "current").unlink()
    assert ask(kernel) is None


def test_nothing_is_told_where_the_kernel_does_not_answer(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*asked: str) -> Decision:
        raise SenetError("The kernel does not answer.")

    monkeypatch.setattr(kernel, "access", refuse)
    assert ask(kernel) is None


def test_no_packet_leaves_for_a_broadcast_address() -> None:
    with socket.socket() as probe:
        probe.setblocking(False)
        assert probe.connect_ex((connecting._NOWHERE, 5432)) == errno.ENETUNREACH
