# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether SELinux lets a domain connect to a port at all, whatever the packets' labels. It decides nothing.

The port's type is in no file of the kernel, so the kernel is asked by a socket with the domain's label (attr/sockcreate
in proc(5)). It checks name_connect before it looks for a route, and TCP has none to a broadcast address: no packet
leaves.
"""

import errno
import os
import socket
from contextlib import contextmanager, suppress
from typing import Iterable, Iterator, List, Optional

from ansible_collections.senet.firewall.plugins.module_utils._host.selinuxfs import SELinuxFS
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError

_ATTRIBUTES = "/proc/thread-self/attr"
_NOWHERE = "255.255.255.255"
# The kernel logs each port that it refuses: by this name of the command the records show that nobody tried in earnest
COMMAND = "senet-ask"
_OWN_COMMAND = "/proc/thread-self/comm"


def refused_ports(selinux: SELinuxFS, context: str, ports: Iterable[int]) -> Optional[List[int]]:
    """Those of these TCP ports that sockets of this context may not connect to; None where this process may not make
    such sockets, and so cannot ask."""
    try:
        with open(os.path.join(_ATTRIBUTES, "current"), encoding="utf-8") as current:
            own = current.read().rstrip("\0\n")
        if not selinux.access(own, context, "tcp_socket").allowed.issuperset(("create", "connect")):
            return None
        with _named(), open(os.path.join(_ATTRIBUTES, "sockcreate"), "wb", buffering=0) as label:
            label.write(context.encode("ascii"))
            try:
                return [port for port in ports if _refused(port)]
            finally:
                label.write(b"\n")
    except (OSError, SenetError):
        return None


@contextmanager
def _named() -> Iterator[None]:
    """This thread's command has the name that records of questions have."""
    before = b""
    with suppress(OSError):
        with open(_OWN_COMMAND, "rb") as own:
            before = own.read().rstrip(b"\n")
        _name(COMMAND.encode("ascii"))
    try:
        yield
    finally:
        with suppress(OSError):
            _name(before)


def _name(command: bytes) -> None:
    with open(_OWN_COMMAND, "wb", buffering=0) as own:
        own.write(command)


def _refused(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        return probe.connect_ex((_NOWHERE, port)) == errno.EACCES
