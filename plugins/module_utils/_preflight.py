# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which running processes a set of flows would cut, and which of them it does not mean to. No I/O."""

from typing import Any, Dict, Iterable, List, NamedTuple, Optional, Sequence, Set, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._model import ENFORCE, Flow, FlowSet
from ansible_collections.senet.firewall.plugins.module_utils._processes import Process
from ansible_collections.senet.firewall.plugins.module_utils._sockets import Socket

_SSH_DOMAIN = "sshd_t"


class Cut(NamedTuple):
    """A socket that loses its traffic, or would if the flow's mode were enforce.

    ``meant`` is True for a client of the flow's service that is no source of it.
    """

    domain: str
    flow: str
    pid: int
    command: str
    socket: str
    mode: str
    meant: bool

    def as_dict(self) -> Dict[str, Any]:
        """The cut as the module returns it."""
        return {
            "domain": self.domain,
            "flow": self.flow,
            "pid": self.pid,
            "command": self.command,
            "socket": self.socket,
            "mode": self.mode,
        }

    def __str__(self) -> str:
        return "'{0}' ({1}, pid {2}, {3}) by the flow '{4}'".format(
            self.domain, self.command, self.pid, self.socket, self.flow
        )


def find_cuts(flows: FlowSet, processes: Sequence[Process], own_pid: int) -> List[Cut]:
    """The sockets whose packets the flows' labels would take from their domains.

    Labels follow ports on both ends: a flow's port here makes this the server's side, there the client's. A cut is
    meant where a client loses its way to the service. It is not meant where somebody serves a flow's port without
    being its destination, where a server's peer happens to use such a port, and never for the processes that this
    change came through.
    """
    protected = _lineage(processes, own_pid)
    served = {(sock.protocol, sock.local_port) for process in processes for sock in process.listening}
    cuts = set()
    for process in processes:
        domain = process.context.type if process.context else None
        if domain is None:
            continue
        for sock in process.listening + process.connected:
            flow = _cutting_flow(flows, domain, sock)
            if flow is None:
                continue
            is_client = not sock.is_listening and (sock.protocol, sock.local_port) not in served
            meant = (
                is_client
                and _has(flow, sock.protocol, sock.remote_port)
                and domain != _SSH_DOMAIN
                and process.pid not in protected
            )
            cuts.add(Cut(domain, flow.name, process.pid, process.command, _said(sock), flow.mode, meant))
    return sorted(cuts)


def refusal(cuts: Iterable[Cut]) -> Optional[str]:
    """The error for cuts that are not meant; None where all are."""
    unmeant = [str(cut) for cut in cuts if not cut.meant and cut.mode == ENFORCE]
    if not unmeant:
        return None
    shown = "; ".join(unmeant[:5]) + ("; and {0} more".format(len(unmeant) - 5) if len(unmeant) > 5 else "")
    return (
        "These running domains would be cut off, and no flow names them: {0}. Nothing was changed; add the domain "
        "to the flow's destination or source, choose other ports, or look first with mode=observe.".format(shown)
    )


def _cutting_flow(flows: FlowSet, domain: str, sock: Socket) -> Optional[Flow]:
    touched = []  # type: List[Tuple[Flow, Tuple[str, ...]]]
    for flow in flows.flows:
        if _has(flow, sock.protocol, sock.local_port):
            touched.append((flow, flow.destination))
        if _has(flow, sock.protocol, sock.remote_port):
            touched.append((flow, flow.source))
    # With a flow's port on either end, the tuple's direction decides which label wins: one permitted is enough.
    if any(domain in permitted for dummy, permitted in touched):
        return None
    return touched[0][0] if touched else None


def _has(flow: Flow, protocol: str, port: Optional[int]) -> bool:
    return port is not None and flow.protocol == protocol and flow.has_port(port)


def _lineage(processes: Sequence[Process], pid: int) -> Set[int]:
    parents = {process.pid: process.ppid for process in processes}
    lineage = set()  # type: Set[int]
    while pid in parents and pid not in lineage and pid != 1:
        lineage.add(pid)
        pid = parents[pid]
    return lineage


def _said(sock: Socket) -> str:
    local = "{0} {1} port {2}".format(sock.protocol, sock.local_address, sock.local_port)
    if sock.remote_port is None:
        return local
    return "{0} to {1} port {2}".format(local, sock.remote_address, sock.remote_port)
