# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host really has, as text that can be compared."""

from __future__ import annotations

import re
from typing import NamedTuple

DIRECTORY = "/var/lib/senet-firewall"
# One answer for all, since each look enters the host anew
LOOK = (
    "iptables-save; ip6tables-save; nft list ruleset; echo; echo -- flows; cat /etc/senet/flows.json; echo; "
    f"echo -- pending; cat {DIRECTORY}/pending.json; echo; echo -- outcome; cat {DIRECTORY}/outcome.json"
)
_COUNTERS = re.compile(r"\[\d+:\d+\]|packets \d+ bytes \d+")


class State(NamedTuple):
    """The rules without their counters, the record, the change that waits, and what became of the last one."""

    rules: str
    flows: str
    pending: str
    outcome: str

    @property
    def in_force(self) -> tuple[str, str]:
        return self.rules, self.flows


def parse(text: str) -> State:
    """What the command LOOK printed."""
    rules, flows, pending, outcome = re.split(r"^-- \w+\n", text, flags=re.MULTILINE)
    kept = [line for line in _COUNTERS.sub("", rules).splitlines() if line.strip() and not line.startswith("#")]
    return State("\n".join(kept), flows.strip(), pending.strip(), outcome.strip())
