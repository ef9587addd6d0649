# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host has of ours: what was asked of it, what waits, what is not as asked, and who may what. It writes nothing.
"""

from typing import Any, Dict, List, Optional, Sequence, Tuple

from ansible_collections.senet.firewall.plugins.module_utils import _backends, _plan, _survey, _verdicts
from ansible_collections.senet.firewall.plugins.module_utils._decisions import findings
from ansible_collections.senet.firewall.plugins.module_utils._host.guard import Pending, boot_id, clock
from ansible_collections.senet.firewall.plugins.module_utils._host.host import Host
from ansible_collections.senet.firewall.plugins.module_utils._intent import Intent
from ansible_collections.senet.firewall.plugins.module_utils._layers import SELINUX, without_types
from ansible_collections.senet.firewall.plugins.module_utils._model import FlowSet, SenetError, packet_context
from ansible_collections.senet.firewall.plugins.module_utils._peers import peering


def report(host: Host) -> Dict[str, Any]:
    """The host's flows and what became of them.

    :raises SenetError: the record is damaged, or a part of the host cannot be read.
    """
    intent = _survey.stored_intent(host)
    flows = intent.flows if intent is not None else FlowSet(())
    pending = host.guard.pending()
    # What waits is in force, and not on record
    steps, diffs = drift(host, intent) if pending is None else (None, [])
    return {
        "flows": [flow.as_dict() for flow in flows.flows],
        "confine": dict(flows.confine),
        "peer_labels": [label.as_dict() for label in flows.peers],
        "loopback_domains": list(flows.loopback_domains),
        "layers": list(intent.layers) if intent is not None else [],
        "backend": intent.backend if intent is not None else None,
        "selinux": host.selinux.status(),
        "pending": None if pending is None else _pending(pending),
        "outcome": host.guard.outcome(),
        "repaired": host.guard.repairs(),
        "drift": None if steps is None else list(steps),
        "diff": diffs,
    }


def drift(host: Host, intent: Optional[Intent]) -> Tuple[Tuple[str, ...], Any]:
    """The steps that would bring the host to what is on record, and what they would change.

    :raises SenetError: a part of the host cannot be read.
    """
    enabled = host.selinux.status() != "disabled"
    mls = _survey.mls(host)
    backend = intent.backend if intent is not None else None
    families = _survey.families_to_read(host, backend, intent)
    observed = _survey.observe(host, mls, families)
    wanted = intent if intent is not None else Intent(FlowSet(()), _backends.IPTABLES)
    # Types of interfaces are in the policy alone, and not on record
    types = _survey.present(observed, None).interface_types
    wanted = wanted._replace(flows=wanted.flows._replace(interface_types=types))
    if not enabled and SELINUX not in wanted.layers:
        wanted = wanted._replace(flows=without_types(wanted.flows))
    desired = _survey.desired_state(wanted, mls, _survey.look_up(host, wanted), families)
    steps = _plan.plan(observed, desired, False)
    return tuple(str(step) for step in steps), _plan.diffs(observed, desired, steps) if steps else []


def access(host: Host, domains: Sequence[str], names: Sequence[str]) -> Dict[str, Any]:
    """The kernel's answer for the host's flows, or those of these names, and for each running domain, or these.

    :raises SenetError: a domain or a flow is unknown, the record is damaged, or the kernel does not answer.
    """
    intent = _survey.stored_intent(host)
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
    mls = _survey.mls(host)
    _check_domains(host, domains, mls)
    asked = flows._replace(flows=tuple(flow for flow in flows.flows if not names or flow.name in names))
    missing = [
        flow
        for flow in asked.flows
        if not all(host.selinux.canonical(packet_context(name, mls)) for name in flows.types_of(flow))
    ]
    known = asked._replace(flows=tuple(flow for flow in asked.flows if flow not in missing))
    processes = host.processes(True)
    matrix = _verdicts.access_matrix(host, known, processes, mls, domains)
    confined = [] if missing else _verdicts.confined_access(host, known, mls)
    heard = [] if missing else _verdicts.hearings(host, peering(flows), mls)
    permissive = _verdicts.permissive_domains(host, known, processes, mls)
    host.decisions.keep()
    found = findings.of_types(missing) + findings.of_access(known, matrix, confined, heard)
    result["access"] = [findings.row(known, each) for each in matrix if domains or not each.empty or each.asked]
    result["confined"] = [row.as_dict() for row in confined]
    result["peers"] = [row.as_dict() for row in heard]
    result["findings"] = findings.of_mode(status, permissive, flows) + found
    return result


def _check_domains(host: Host, domains: Sequence[str], mls: bool) -> None:
    for domain in domains:
        if host.selinux.canonical(packet_context(domain, mls)) is None:
            raise SenetError(
                "The domain '{0}' is not in the loaded policy; check the spelling with process_context_info.".format(
                    domain
                )
            )


def _pending(pending: Pending) -> Dict[str, Any]:
    here = pending.boot == boot_id()
    return {
        "token": pending.token,
        "complete": pending.complete and here,
        "step": pending.step,
        "seconds_left": max(0, int(pending.deadline - clock())) if pending.complete and here else None,
    }
