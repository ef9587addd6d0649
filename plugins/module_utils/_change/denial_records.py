# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host's records of what was refused or observed, and what must be known to read them. It writes nothing."""

from typing import List, NamedTuple, Sequence, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._change import observation
from ansible_collections.senet.firewall.plugins.module_utils._decisions.advice import Known
from ansible_collections.senet.firewall.plugins.module_utils._decisions.denial_rows import listeners
from ansible_collections.senet.firewall.plugins.module_utils._decisions.denials import Collector, Wish
from ansible_collections.senet.firewall.plugins.module_utils._host import audit
from ansible_collections.senet.firewall.plugins.module_utils._host.commands import find_command
from ansible_collections.senet.firewall.plugins.module_utils._host.host import Host
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import FlowSet
from ansible_collections.senet.firewall.plugins.module_utils._values.layers import OWNER
from ansible_collections.senet.firewall.plugins.module_utils._values.processes import Process


class Collected(NamedTuple):
    """The records, what is known of the host, its processes with their sockets, and the logs that were read."""

    collector: Collector
    known: Known
    processes: Sequence[Process]
    sources: Tuple[str, ...]


def collect(host: Host, wish: Wish, warnings: List[str]) -> Collected:
    """Read the logs; what is wrong with one of them is added to the warnings.

    :raises SenetError: the record of the flows is damaged, or a part of the host cannot be read.
    """
    intent = observation.stored_intent(host)
    flows = intent.flows if intent is not None else FlowSet(())
    processes = host.processes(True)
    collector = Collector(flows, wish)
    found = audit.read_records(
        collector.feed,
        wish.since,
        any(process.command == "auditd" for process in processes),
        intent is not None and OWNER in intent.layers,
        find_command("journalctl"),
    )
    warnings.extend(found.problems)
    uids = {uid for group in collector.groups for uid in group.uids}
    known = Known(
        flows,
        host.accounts.distribution(),
        listeners(processes),
        frozenset(address for own in host.addresses().values() for address in own),
        audit.user_names(uids),
    )
    return Collected(collector, known, processes, tuple(found.sources))
