# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The edges of one host, put together for a module or for what runs on the host by itself."""

import os
from typing import Callable, Dict, List, NamedTuple, Optional

from ansible_collections.senet.firewall.plugins.module_utils._compile.rule_sets import NETLABEL, RULE_SETS
from ansible_collections.senet.firewall.plugins.module_utils._host.accounts import HostAccounts
from ansible_collections.senet.firewall.plugins.module_utils._host.addresses import interface_addresses
from ansible_collections.senet.firewall.plugins.module_utils._host.command_types import FindCommand, RunCommand
from ansible_collections.senet.firewall.plugins.module_utils._host.compiled import Sources
from ansible_collections.senet.firewall.plugins.module_utils._host.connecting import refused_ports
from ansible_collections.senet.firewall.plugins.module_utils._host.decisions import Decisions
from ansible_collections.senet.firewall.plugins.module_utils._host.guard import Guard
from ansible_collections.senet.firewall.plugins.module_utils._host.history import History
from ansible_collections.senet.firewall.plugins.module_utils._host.ipsec import ipsec_labels
from ansible_collections.senet.firewall.plugins.module_utils._host.metrics import MetricsFile
from ansible_collections.senet.firewall.plugins.module_utils._host.mptcp import is_unlabelled_mptcp
from ansible_collections.senet.firewall.plugins.module_utils._host.netfilter import Netfilter
from ansible_collections.senet.firewall.plugins.module_utils._host.netlabel import NetLabel
from ansible_collections.senet.firewall.plugins.module_utils._host.policystore import PolicyStore
from ansible_collections.senet.firewall.plugins.module_utils._host.procfs import read_processes
from ansible_collections.senet.firewall.plugins.module_utils._host.saved_rules import saved_rules
from ansible_collections.senet.firewall.plugins.module_utils._host.selinuxfs import SELinuxFS
from ansible_collections.senet.firewall.plugins.module_utils._host.service import Service
from ansible_collections.senet.firewall.plugins.module_utils._values.processes import Process


class Host(NamedTuple):
    """All I/O there is. ``processes`` reads them with or without their sockets; ``refused_ports`` says which of these
    TCP ports a process in a context may not connect to, None where that cannot be asked; ``pid`` is the one that asks;
    ``unlabelled_mptcp`` says whether MPTCP is a way past the domains; ``saved_rules`` are the texts of rules saved by
    others; ``addresses`` are those of each interface; ``ipsec_labels`` are those of IPsec policies and associations."""

    selinux: SELinuxFS
    decisions: Decisions
    netfilter: Netfilter
    netlabel: NetLabel
    store: PolicyStore
    service: Service
    guard: Guard
    accounts: HostAccounts
    processes: Callable[[bool], List[Process]]
    refused_ports: Callable[[str, List[int]], Optional[List[int]]]
    pid: int
    unlabelled_mptcp: Callable[[], bool] = is_unlabelled_mptcp
    saved_rules: Callable[[], Dict[str, str]] = saved_rules
    addresses: Callable[[], Dict[str, List[str]]] = interface_addresses
    history: History = History()
    metrics: MetricsFile = MetricsFile()
    ipsec_labels: Callable[[], List[str]] = list

    def save(self, name: str) -> str:
        """What the tool of a set of rules prints of them.

        :raises SenetError: the tool is missing or fails.
        """
        return self.netlabel.save() if name == NETLABEL else self.netfilter.save(name)

    def restore(self, name: str, text: str) -> None:
        """Give its input to the tool of a set of rules.

        :raises SenetError: the tool is missing or fails.
        """
        if name == NETLABEL:
            self.netlabel.restore(text)
        else:
            self.netfilter.restore(RULE_SETS[name].source, text)


def open_host(run_command: RunCommand, find_command: FindCommand, sources: Callable[[], Sources]) -> Host:
    """The host this runs on, which gets the code of ``sources``. Nothing is read of it yet but its policy's name."""
    selinux = SELinuxFS()
    service = Service(run_command, find_command, sources)
    return Host(
        selinux,
        Decisions(selinux),
        Netfilter(run_command, find_command),
        NetLabel(run_command, find_command),
        PolicyStore(run_command, find_command, selinux.policy_name() or ""),
        service,
        Guard(run_command, find_command, service.systemd, service.command),
        HostAccounts(run_command, find_command),
        lambda sockets: read_processes(selinux.status() != "disabled", sockets=sockets),
        lambda context, ports: refused_ports(selinux, context, ports),
        os.getpid(),
        ipsec_labels=lambda: ipsec_labels(run_command, find_command),
    )
