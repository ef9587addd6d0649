# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may use a host's flows, as the kernel says, and what of that is not as asked. It writes nothing."""

from typing import Any, Dict, Sequence

from ansible_collections.senet.firewall.plugins.module_utils._change import kernel_answers, observation, repair
from ansible_collections.senet.firewall.plugins.module_utils._decisions import findings
from ansible_collections.senet.firewall.plugins.module_utils._host.host import Host
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import FlowSet
from ansible_collections.senet.firewall.plugins.module_utils._values.peers import peering


def access(host: Host, domains: Sequence[str], names: Sequence[str]) -> Dict[str, Any]:
    """The kernel's answer for the host's flows, or those of these names, and for each running domain, or these.

    :raises SenetError: a domain or a flow is unknown, the record is damaged, or the kernel does not answer.
    """
    intent = observation.stored_intent(host)
    flows = intent.labelled if intent is not None else FlowSet(())
    status = host.selinux.status()
    unknown = sorted(set(names).difference(flow.name for flow in flows.flows))
    if unknown:
        raise SenetError(
            "The flow '{0}' is not among those that SELinux enforces on this host; see with flows_info which it "
            "has.".format(unknown[0])
        )
    result = {"selinux": status, "access": [], "confined": [], "peers": [], "findings": []}  # type: Dict[str, Any]
    if status == "disabled":
        return result
    _check_domains(host, domains)
    asked = flows._replace(flows=tuple(flow for flow in flows.flows if not names or flow.name in names))
    missing = [
        flow
        for flow in asked.flows
        if not all(host.selinux.canonical(host.selinux.context(name)) for name in flows.types_of(flow))
    ]
    known = asked._replace(flows=tuple(flow for flow in asked.flows if flow not in missing))
    processes = host.processes(True)
    matrix = kernel_answers.access_matrix(host, known, processes, domains)
    confined = [] if missing else kernel_answers.confined_access(host, known)
    receivers = [] if missing else kernel_answers.receiver_access(host, peering(flows))
    permissive = kernel_answers.permissive_domains(host, known, processes)
    host.decisions.keep()
    found = findings.of_labels(repair.foreign_labels(host)) + findings.of_types(missing)
    found += findings.of_access(known, matrix, confined, receivers)
    result["access"] = [findings.row(known, each) for each in matrix if domains or not each.empty or each.asked]
    result["confined"] = [row.as_dict() for row in confined]
    result["peers"] = [row.as_dict() for row in receivers]
    result["findings"] = findings.of_mode(status, permissive, flows) + found
    return result


def _check_domains(host: Host, domains: Sequence[str]) -> None:
    for domain in domains:
        if host.selinux.canonical(host.selinux.context(domain)) is None:
            raise SenetError(
                "The domain '{0}' is not in the loaded policy; check the spelling with process_context_info.".format(
                    domain
                )
            )
