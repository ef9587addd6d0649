# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One thing to do about what the kernel refused, as a value, and what must be known of the host to say it. No I/O."""

from typing import Any, Dict, FrozenSet, Mapping, NamedTuple, Optional, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._decisions.denials import Group
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import Flow, FlowSet
from ansible_collections.senet.firewall.plugins.module_utils._values.records import OBSERVED

AS_ASKED = "as_asked"
FLOW = "flow"
ADDRESS = "address"
BOOLEAN = "boolean"
PEER_LABEL = "peer_label"
LOOK = "look"
KINDS = (AS_ASKED, FLOW, ADDRESS, BOOLEAN, PEER_LABEL, LOOK)


class Known(NamedTuple):
    """What is known of the host beside the records: its flows, its distribution, which domains listen on
    (protocol, port), its own addresses, and login names by uid."""

    flows: FlowSet
    distribution: Optional[str] = None
    listening: Mapping[Tuple[str, int], FrozenSet[str]] = {}
    addresses: FrozenSet[str] = frozenset()
    users: Mapping[int, str] = {}


class Advice(NamedTuple):
    """One thing to do, or to know. ``flow`` and ``label`` are options of the modules flow and peer_label."""

    kind: str
    text: str
    flow: Optional[Dict[str, Any]] = None
    label: Optional[Dict[str, Any]] = None
    booleans: Tuple[str, ...] = ()

    def as_dict(self) -> Dict[str, Any]:
        """The advice as the module returns it."""
        return {
            "kind": self.kind,
            "text": self.text,
            "flow": self.flow,
            "peer_label": self.label,
            "booleans": list(self.booleans),
        }


def keeps(group: Group) -> str:
    """What the flow does, or would do in the mode enforce."""
    return "would keep" if group.key.verdict == OBSERVED else "keeps"


def place(group: Group, flow: Optional[Flow], protocol: str = "") -> str:
    """The service that was tried."""
    protocol = flow.protocol if flow is not None else protocol
    return "its ports" if group.key.port is None else "{0}/{1}".format(protocol, group.key.port)
