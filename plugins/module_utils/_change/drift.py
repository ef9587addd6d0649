# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host has of ours: what was asked of it, what waits, and what is not as asked. It writes nothing."""

from typing import Any, Dict, Optional, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._change import history, observation, target
from ansible_collections.senet.firewall.plugins.module_utils._decisions import plan
from ansible_collections.senet.firewall.plugins.module_utils._host.guard import Pending, boot_id, clock
from ansible_collections.senet.firewall.plugins.module_utils._host.host import Host
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import FlowSet
from ansible_collections.senet.firewall.plugins.module_utils._values.intent import IPTABLES, Intent


def report(host: Host) -> Dict[str, Any]:
    """The host's flows and what became of them.

    :raises SenetError: the record is damaged, or a part of the host cannot be read.
    """
    intent = observation.stored_intent(host)
    flows = intent.flows if intent is not None else FlowSet(())
    pending = host.guard.pending()
    # What waits is in force, and not on record
    steps, diffs = drift(host, intent) if pending is None else (None, [])
    earlier, problems = history.rows(host, intent)
    return {
        "flows": [flow.as_dict() for flow in flows.flows],
        "confine": dict(flows.confine),
        "peer_labels": [label.as_dict() for label in flows.peers],
        "loopback_domains": list(flows.loopback_domains),
        "layers": list(intent.layers) if intent is not None else [],
        "backend": intent.backend if intent is not None else None,
        "metrics_directory": intent.metrics_directory if intent is not None else None,
        "selinux": host.selinux.status(),
        "pending": None if pending is None else _pending(pending),
        "outcome": host.guard.outcome(),
        "repaired": host.guard.repairs(),
        "drift": None if steps is None else list(steps),
        "history": earlier,
        "diff": diffs,
        "warnings": problems,
    }


def drift(host: Host, intent: Optional[Intent]) -> Tuple[Tuple[str, ...], Any]:
    """The steps that would bring the host to what is on record, and what they would change.

    :raises SenetError: a part of the host cannot be read.
    """
    wanted = intent if intent is not None else Intent(FlowSet(()), IPTABLES)
    sets = observation.sets_to_read(host, intent.backend if intent is not None else None, intent)
    observed = observation.with_left_over(host, observation.observe(host, sets))
    desired = target.recorded_state(host, wanted, observed)
    steps = plan.plan(observed, desired, False)
    return tuple(str(step) for step in steps), plan.diffs(observed, desired, steps) if steps else []


def _pending(pending: Pending) -> Dict[str, Any]:
    seconds_left = pending.seconds_left(boot_id(), clock())
    return {
        "token": pending.token,
        "complete": seconds_left is not None,
        "step": pending.step,
        "seconds_left": seconds_left,
    }
