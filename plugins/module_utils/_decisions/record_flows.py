# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which flow a record of the kernel is about. No I/O."""

import re
from functools import lru_cache
from typing import Tuple

from ansible_collections.senet.firewall.plugins.module_utils._values.flows import Flow
from ansible_collections.senet.firewall.plugins.module_utils._values.records import SOCKET_CLASSES, Record

# The command of the collection's own question whether a domain may connect to a port (_host.connecting)
QUESTION = "senet-ask"
_PACKET_TYPE = re.compile(r"senet_([a-z][a-z0-9_]{0,30})_(client|server|refused)(_midstream|_unlogged)?_packet_t")


def is_question(record: Record) -> bool:
    """Whether it is the trace of a question that the collection itself asked."""
    return record.names_process and record.command == QUESTION


class FlowFinder:
    """Finds the flow that a check of SELinux was about, out of these."""

    def __init__(self, flows: Tuple[Flow, ...]) -> None:
        self.flows = flows
        self._at = lru_cache(maxsize=4096)(self._find)

    def flow_of(self, record: Record) -> str:
        """The flow's name, also of one that is gone; empty for none."""
        if record.tclass in SOCKET_CLASSES:
            port = record.destination_port
            return "" if port is None else self._at(record.protocol, port, record.subject)
        return of_type(record.object)[0] if record.tclass == "packet" else ""

    def _find(self, protocol: str, port: int, domain: str) -> str:
        """The flow of this port that has the domain as a source, else any flow of this port."""
        flows = [flow for flow in self.flows if flow.protocol == protocol and flow.has_port(port)]
        named = sorted(flow.name for flow in flows if flow.is_source(domain))
        return (named + sorted(flow.name for flow in flows) + [""])[0]


@lru_cache(maxsize=1024)
def of_type(packet_type: str) -> Tuple[str, str]:
    """The flow and the side that a type of ours stands for, also of a flow that is gone; empty for other types."""
    found = _PACKET_TYPE.fullmatch(packet_type)
    return (found.group(1), found.group(2)) if found else ("", "")
