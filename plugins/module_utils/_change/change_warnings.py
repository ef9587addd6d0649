# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All warnings of a change, gathered. Their sentences are in :mod:`_decisions.warnings`."""

from typing import Iterable, List

from ansible_collections.senet.firewall.plugins.module_utils._change import kernel_answers
from ansible_collections.senet.firewall.plugins.module_utils._change.change import Change, is_forgetful
from ansible_collections.senet.firewall.plugins.module_utils._decisions import foreign_rules, warnings
from ansible_collections.senet.firewall.plugins.module_utils._decisions.opened import Opened
from ansible_collections.senet.firewall.plugins.module_utils._host.host import Host
from ansible_collections.senet.firewall.plugins.module_utils._values.layers import AUTO, OWNER
from ansible_collections.senet.firewall.plugins.module_utils._values.requests import Remove, asked_flows


def change_warnings(
    host: Host, change: Change, answers: kernel_answers.Answers, opened: Iterable[Opened]
) -> List[str]:
    """What an administrator should know of a change, or of flows that are in place, each one sentence or two."""
    found = []  # type: List[str]
    if change.steps:
        found += warnings.peer_warnings(change.peers)
        found += warnings.observed_peer_warnings(change.labelled, change.peers)
        found += warnings.own_domain_warnings(answers.receivers)
        found += warnings.login_warnings(change.flows, change.processes)
        found += kernel_answers.interface_warnings(host, change.desired.interfaces, change.processes)
    else:
        found += warnings.repair_warnings(host.guard.repairs())
    found += warnings.left_over_warnings(change.left_over)
    found += foreign_rules.stale_files(host.saved_rules(), change.labelled.packet_types)
    permissive = kernel_answers.permissive_domains(host, change.labelled, change.processes)
    found += warnings.owner_warnings(change.layers, change.mode != "disabled", change.flows, change.accounts)
    if AUTO in change.options.layers and OWNER not in change.layers:
        found += warnings.unused_owners(asked_flows(change.request))
    if AUTO not in change.options.layers:
        found += warnings.lost_layers(change.recorded, change.layers, change.flows)
    if not host.service.systemd and not change.flows.empty:
        found += warnings.no_systemd_warnings(host.service.command())
    found += warnings.purge_warnings(change.request, change.present, change.flows)
    if not isinstance(change.request, Remove):  # whose task names all that it frees
        found += [one.message for one in opened]
    found += warnings.interface_name_warnings(change.flows, host.netfilter.interfaces())
    found += warnings.address_family_warnings(change.flows, host.netfilter.versions())
    found += warnings.confinement_warnings(change.cuts)
    if change.labelled.labels_packets:
        ports = host.netfilter.source_ports()
        found += warnings.source_port_warnings(change.labelled, ports, is_forgetful(change))
    found += warnings.access_warnings(
        change.mode, change.labelled, answers.access, answers.confined, change.processes, permissive
    )
    if change.labelled.labels_packets and host.unlabelled_mptcp():
        found += warnings.mptcp_warnings(change.labelled, bool(change.steps))
    return found
