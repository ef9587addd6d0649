# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the kernel's answers differ from what a host's flows say, each with what it is about. No I/O."""

from typing import Any, Dict, Iterable, List, Sequence

from ansible_collections.senet.firewall.plugins.module_utils._decisions.access import Access, Elsewhere, deviations
from ansible_collections.senet.firewall.plugins.module_utils._decisions.peers import ReceiverAccess
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import Flow, FlowSet

Finding = Dict[str, Any]


def row(flows: FlowSet, access: Access) -> Dict[str, Any]:
    """A row of the matrix as the module returns it."""
    flow = next(flow for flow in flows.flows if flow.name == access.flow)
    own = access.as_dict()
    own.pop("refused_ports", None)
    return dict(
        own,
        source=flow.is_source(access.domain),
        destination=flow.is_destination(access.domain),
        name_connect=not access.refused_ports if access.asked else None,
        refused_ports=list(access.refused_ports),
        refused=None if access.refused is None else sorted(access.refused),
    )


def of_access(
    flows: FlowSet, matrix: Iterable[Access], confined: Iterable[Elsewhere], receivers: Iterable[ReceiverAccess]
) -> List[Finding]:
    """Whom the kernel grants more or less than the flows say."""
    found = []  # type: List[Finding]
    for each in matrix:
        found.extend(_finding(each.flow, each.domain, clause) for clause in deviations(flows, [each]))
        flow = next(flow for flow in flows.flows if flow.name == each.flow)
        if each.refused_ports and flow.is_source(each.domain):
            clause = (
                "'{0}' is a source of the flow '{1}', and the policy does not let it connect to port {2} "
                "(name_connect): a boolean often decides that"
            )
            ports = ", ".join(str(port) for port in each.refused_ports)
            found.append(_finding(each.flow, each.domain, clause.format(each.domain, each.flow, ports)))
    for one in confined:
        found.extend(_finding(None, one.domain, clause) for clause in deviations(flows, [], [one]))
    for access in receivers:
        found.extend(_finding(None, access.receiver.domain, clause) for clause in access.deviations())
    return found


def of_types(flows: Iterable[Flow]) -> List[Finding]:
    """The flows whose types the loaded policy does not know, so that nothing can be asked about them."""
    clause = (
        "the loaded policy does not know the types of the flow '{0}', so nothing enforces it: run its task again, or "
        "see with flows_info what is missing"
    )
    return [_finding(flow.name, None, clause.format(flow.name)) for flow in flows]


def of_mode(status: str, permissive: Sequence[str], flows: FlowSet) -> List[Finding]:
    """Where SELinux refuses nothing."""
    if not flows.labels_packets:
        return []
    found = []
    if status == "permissive":
        clause = "SELinux is permissive on this host and refuses nothing until 'setenforce 1'"
        found.append(_finding(None, None, clause))
    clause = "the policy declares '{0}' permissive, so no flow refuses it anything until 'semanage permissive -d {0}'"
    found.extend(_finding(None, domain, clause.format(domain)) for domain in permissive)
    return found


def of_labels(rules: Iterable[str]) -> List[Finding]:
    """The rules of others that label packets, whose labels may take the place of the flows'."""
    clause = (
        "another rule labels packets too, and the last label wins: '{0}'. Remove it, and find out which program "
        "created it"
    )
    return [_finding(None, None, clause.format(rule)) for rule in rules]


def _finding(flow: Any, domain: Any, clause: str) -> Finding:
    return {"flow": flow, "domain": domain, "text": clause[:1].upper() + clause[1:] + "."}
