# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each domain may do with each flow's packets by the kernel's answers, compared with the flows. No I/O."""

from typing import Any, Callable, Dict, FrozenSet, Iterable, List, NamedTuple, Optional, Sequence, Set, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._values.flows import (
    ENFORCE,
    OBSERVE,
    Flow,
    FlowSet,
)
from ansible_collections.senet.firewall.plugins.module_utils._values.peers import KERNEL
from ansible_collections.senet.firewall.plugins.module_utils._values.processes import Process

# The permissions of the class packet that a socket's own traffic is checked against (security/selinux/hooks.c)
CHECKED = frozenset(("send", "recv"))


class Access(NamedTuple):
    """The kernel's answer for one flow and one domain.

    ``client`` and ``server`` are what the domain may do with packets of the flow's two types, out of send and recv;
    ``permissive`` says that SELinux does not enforce it; ``refused`` is the same for clients of other addresses, None
    where the flow takes any address. ``refused_ports`` are those that the policy does not let the domain connect to,
    whatever the packets' labels, as far as that was ``asked``.
    """

    flow: str
    domain: str
    client: FrozenSet[str]
    server: FrozenSet[str]
    permissive: bool
    refused: Optional[FrozenSet[str]] = None
    refused_ports: Tuple[int, ...] = ()
    asked: bool = False

    @property
    def empty(self) -> bool:
        """Whether the domain may do nothing at all."""
        return not (self.client or self.server or self.refused)

    def as_dict(self) -> Dict[str, Any]:
        """The row of the access matrix that the module returns."""
        row = {
            "flow": self.flow,
            "domain": self.domain,
            "client": sorted(self.client),
            "server": sorted(self.server),
            "can_connect": self.client == CHECKED and not self.refused_ports,
            "can_serve": self.server == CHECKED,
            "permissive": self.permissive,
        }
        if self.refused is not None:
            row["refused"] = sorted(self.refused)
        if self.refused_ports:
            row["refused_ports"] = list(self.refused_ports)
        return row


class Elsewhere(NamedTuple):
    """What a confined domain may do with packets of no flow: with our default label, and with none at all.

    Packets have no label where no rules of ours are, as in other network namespaces.
    """

    domain: str
    mode: str
    labelled: FrozenSet[str]
    unlabelled: FrozenSet[str]

    def as_dict(self) -> Dict[str, Any]:
        """The row that the module returns."""
        return {
            "domain": self.domain,
            "mode": self.mode,
            "elsewhere": sorted(self.labelled),
            "unlabelled": sorted(self.unlabelled),
        }


def contexts_by_domain(processes: Iterable[Process]) -> Dict[str, str]:
    """One context for each running domain, and for each that a socket has the label of."""
    contexts = {}  # type: Dict[str, str]
    for process in processes:
        contexts.update((sock.domain, sock.context) for sock in process.listening + process.connected if sock.domain)
        if process.context is not None and process.context.type is not None:
            contexts[process.context.type] = process.context.raw
    return contexts


def cut_domains(
    ask: Callable[[str, str, str], Any],
    processes: Iterable[Process],
    targets: Sequence[str],
    meant: Iterable[str] = (),
) -> List[str]:
    """The running domains that may not both send and receive packets of each of these contexts, but for those that are
    meant to be cut.

    ``ask`` answers (source context, target context, class) with a :class:`Decision` of the kernel.
    """
    return [
        domain
        for domain, context in sorted(contexts_by_domain(processes).items())
        if domain not in meant
        and not all(ask(context, target, "packet").allowed >= CHECKED for target in targets)
    ]


def deviations(flows: FlowSet, matrix: Iterable[Access], confined: Iterable[Elsewhere] = ()) -> List[str]:
    """Where the kernel grants more or less than the flows say, each as a clause; none when it enforces them.

    What a confined domain may do with unlabelled packets is told, not judged: Fedora's policy grants it to everybody.
    """
    by_name = {flow.name: flow for flow in flows.flows}
    held = {domain for domain, mode in flows.confine if mode == ENFORCE}
    clauses = [clause for row in matrix for clause in _row_deviations(by_name[row.flow], row, row.domain in held)]
    for row in confined:
        if row.mode == ENFORCE and row.labelled:
            clauses.append(
                "'{0}', which is confined, may {1} packets of no flow".format(
                    row.domain, " and ".join(sorted(row.labelled))
                )
            )
    return clauses


def _row_deviations(flow: Flow, row: Access, confined: bool) -> List[str]:
    # A flow that only observes opens nothing to a confined domain that it does not name.
    if flow.mode == OBSERVE and not confined:
        if (row.client == row.server == CHECKED and row.refused in (None, CHECKED)) or row.domain == KERNEL:
            return []
        return ["'{0}' is cut by the flow '{1}', which only observes".format(row.domain, flow.name)]
    clauses = []
    is_source = flow.is_source(row.domain)
    is_destination = flow.is_destination(row.domain)
    if is_source and row.client != CHECKED:
        clauses.append("'{0}' may not connect by the flow '{1}'".format(row.domain, flow.name))
    if is_destination and row.server != CHECKED:
        clauses.append("'{0}' may not serve the flow '{1}'".format(row.domain, flow.name))
    # kernel_t answers for closed and dying sockets of either side, and never has one of its own to receive on
    extra = set() if row.domain == KERNEL else {"send"}
    if not is_source and not is_destination:
        extra.add("recv")
    gained = set()  # type: Set[str]
    if not is_source:
        gained |= row.client & extra
    if not is_destination:
        gained |= row.server & extra
    if row.domain != KERNEL:
        gained |= row.refused or set()
    if gained:
        clauses.append(
            "'{0}' may {2} packets of the flow '{1}' that are for other domains only".format(
                row.domain, flow.name, " and ".join(sorted(gained))
            )
        )
    return clauses
