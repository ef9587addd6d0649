# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A job of ansible-runner that ended, by its events: which word each host got, in which batch it was changed."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

WORDS = (
    "confirmed", "changed", "unchanged", "rolled_back", "to be rolled back", "refused", "to be changed", "drift",
    "pending",
)  # fmt: skip
_ENDED = ("runner_on_ok", "runner_on_failed", "runner_on_unreachable")


class Job(NamedTuple):
    """A job that ended: the events in order, and what it printed."""

    status: str
    rc: int
    events: list[dict[str, Any]]
    output: str

    @property
    def verdicts(self) -> dict[str, str]:
        """The last word of each host, with its reason."""
        found = {}
        for event in self.events:
            result = event.get("event_data", {}).get("res", {})
            text = str(result.get("msg", ""))
            if event["event"] in ("runner_on_ok", "runner_on_failed") and text.partition(":")[0] in WORDS:
                found[event["event_data"]["host"]] = text
        return found

    @property
    def batches(self) -> list[list[str]]:
        """The hosts that were changed together, in order."""
        found: list[list[str]] = []
        for event in self.events:
            data = event.get("event_data", {})
            if event["event"] == "playbook_on_play_start":
                found.append([])
            if event["event"] in _ENDED and data["task"] == "Put the flows in place" and _changes(data["play"]):
                found[-1].append(data["host"])
        return [sorted(batch) for batch in found if batch]

    @property
    def tasks(self) -> Counter[str]:
        """How many tasks each host ran; those that a condition left out are none."""
        return Counter(event["event_data"]["host"] for event in self.events if event["event"] in _ENDED)

    @property
    def stopped_by(self) -> list[str]:
        """What the tasks said that ended the job."""
        failed = (event["event_data"] for event in self.events if event["event"] == "runner_on_failed")
        return [str(data["res"].get("msg")) for data in failed if not data.get("ignore_errors")]


def _changes(play: str) -> bool:
    return play.startswith(("Canar", "Batches"))


def read_job(artifacts: Path, output: str = "") -> Job:
    """The job whose artifacts these are."""
    events = [json.loads(path.read_text()) for path in (artifacts / "job_events").glob("*.json")]
    events.sort(key=lambda event: event["counter"])
    return Job((artifacts / "status").read_text(), int((artifacts / "rc").read_text() or 0), events, output)
