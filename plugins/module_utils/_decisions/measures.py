# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the watch tells a monitoring system about a host. No I/O."""

from collections import Counter
from typing import Collection, Dict, List, Mapping, NamedTuple, Optional, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._compile.prometheus import COUNTER, GAUGE, Metric
from ansible_collections.senet.firewall.plugins.module_utils._decisions.record_flows import FlowFinder, is_question
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import (
    DEFAULT_PACKET_TYPE,
    ENFORCE,
    MODES,
    VERIFY_NONE,
)
from ansible_collections.senet.firewall.plugins.module_utils._values.intent import Intent
from ansible_collections.senet.firewall.plugins.module_utils._values.layers import SELINUX
from ansible_collections.senet.firewall.plugins.module_utils._values.records import (
    REFUSED,
    Line,
    Record,
    is_lost,
    parse_avc,
    parse_stamp,
)

_STATES = ("enforcing", "permissive", "disabled")
_PREFIX = "senet_firewall_"
_OWN_TYPE = "senet_"
_Labels = Tuple[Tuple[str, str], ...]


class Look(NamedTuple):
    """What one look at the host showed. ``enforced`` are the names of the flows that are enforced, None while a change
    waits to be confirmed; ``refusals`` are those since the watch began, None where no log can be read."""

    intent: Intent
    selinux: str
    pending: bool
    enforced: Optional[Tuple[str, ...]]
    repairs: int
    refusals: Optional[Mapping[str, int]]
    gaps: int
    time: float


def enforced_flows(intent: Intent, selinux: str, lacking: Collection[str], foreign: bool) -> Tuple[str, ...]:
    """The flows that each layer of the host enforces while all rules are in place. ``lacking`` are the types that the
    loaded policy does not have; ``foreign`` says that somebody else labels packets too."""
    flows = [flow for flow in intent.flows.flows if flow.mode == ENFORCE]
    if SELINUX in intent.layers:
        lost = set(lacking)
        no_peers = bool(lost.difference(intent.labelled.packet_types))
        if selinux != _STATES[0] or foreign or DEFAULT_PACKET_TYPE in lost:
            return ()
        flows = [
            flow
            for flow in flows
            if not lost.intersection(intent.labelled.types_of(flow))
            and not (no_peers and flow.verify_source != VERIFY_NONE)
        ]
    return tuple(flow.name for flow in flows)


def metrics(look: Look) -> List[Metric]:
    """The figures of a look."""
    modes = Counter(flow.mode for flow in look.intent.flows.flows)
    found = [
        _metric(
            "flows",
            GAUGE,
            "Flows that this host was asked for.",
            {(("mode", mode),): modes[mode] for mode in MODES},
        ),
        _metric(
            "selinux_mode",
            GAUGE,
            "SELinux on this host: 1 for the state that it is in.",
            {(("mode", state),): int(state == look.selinux) for state in _STATES},
        ),
        _metric("change_pending", GAUGE, "Whether a change waits to be confirmed.", {(): int(look.pending)}),
        _metric("repairs_total", COUNTER, "Times that the watch has put rules or policy back.", {(): look.repairs}),
        _metric(
            "last_look_timestamp_seconds",
            GAUGE,
            "When the watch last looked at the whole host, in seconds since 1970.",
            {(): round(look.time, 3)},
        ),
    ]
    if look.enforced is not None:
        text = "Flows in mode enforce that are in force. Absent while a change waits."
        found.append(_metric("flows_enforced", GAUGE, text, {(): len(look.enforced)}))
    if look.refusals is not None:
        counts = {(("flow", name),): count for name, count in look.refusals.items()}  # type: Dict[_Labels, float]
        text = "Packets and connects that SELinux refused, by flow; the flow is empty for those of confined domains."
        found.append(_metric("refusals_total", COUNTER, text, counts))
        text = "Times that records were dropped or cut short, so that refusals are counted too low."
        found.append(_metric("record_gaps_total", COUNTER, text, {(): look.gaps}))
    return sorted(found)


class Refusals:
    """Counts the refusals in lines of the kernel's log or auditd's, by flow. Their number is that of the flows and
    one, whatever the lines say."""

    def __init__(self) -> None:
        self.counts = {"": 0}  # type: Dict[str, int]
        self.gaps = 0
        self._finder = FlowFinder(())

    def follow(self, intent: Intent) -> None:
        """Count those of these flows from now on."""
        flows = intent.labelled.flows
        if flows != self._finder.flows:
            self._finder = FlowFinder(flows)
        for flow in flows:
            self.counts.setdefault(flow.name, 0)

    def take(self, line: Line) -> None:
        """Count a line in, if it is the record of a refusal."""
        found = parse_stamp(line.text) if "avc:" in line.text else None
        if found is None:
            self.gaps += is_lost(line.text)
            return
        try:
            record = parse_avc(found[2], found[1].time)
        except ValueError:  # cut short
            self.gaps += 1
            return
        if record is None or record.verdict != REFUSED or is_question(record):
            return
        name = self._finder.flow_of(record)
        if name in self.counts and (name or _is_ours(record)):
            self.counts[name] += 1


def _is_ours(record: Record) -> bool:
    return record.object.startswith(_OWN_TYPE)


def _metric(name: str, kind: str, text: str, values: Mapping[_Labels, float]) -> Metric:
    return Metric(_PREFIX + name, kind, text, values)
