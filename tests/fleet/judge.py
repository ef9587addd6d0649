# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Holds what a job says of each host against what was expected, and against what the host really has."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from .job import Job
from .state import State

CONFIRMED, TO_BE_CHANGED, NO_WORD = "confirmed", "to be changed", "none"


class Plan(NamedTuple):
    """The batches of a rollout in order, the canaries first."""

    batches: tuple[tuple[str, ...], ...]

    @property
    def hosts(self) -> list[str]:
        return [host for batch in self.batches for host in batch]

    def until(self, number: int) -> set[str]:
        """The hosts of the batches up to this one."""
        return {host for batch in self.batches[: number + 1] for host in batch}


class Expected(NamedTuple):
    """How a rollout shall end: its status, the batch that is its last, and the words of those of its hosts that do not
    come through."""

    status: str
    last: int
    words: Mapping[str, str] = {}

    def of(self, host: str, plan: Plan) -> str:
        return self.words.get(host, CONFIRMED if host in plan.until(self.last) else TO_BE_CHANGED)


def plan_of(hosts: list[str], canaries: int, size: int) -> Plan:
    """The canaries, and the others in batches of one size."""
    rest = hosts[canaries:]
    cut = [tuple(rest[start : start + size]) for start in range(0, len(rest), size)]
    return Plan((tuple(hosts[:canaries]), *cut))


def word(job: Job, host: str) -> str:
    return job.verdicts.get(host, NO_WORD).partition(":")[0]


def counted(job: Job, hosts: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(word(job, host) for host in hosts).items()))


def wrong(
    plan: Plan, expected: Expected, job: Job, before: Mapping[str, State], after: Mapping[str, State], port: int
) -> list[str]:
    """What is not as it should be, a sentence each."""
    found = [] if job.status == expected.status else [f"The job ended {job.status}."]
    if job.status == "failed" and not job.stopped_by:
        found.append("The job does not say why it failed.")
    for host in plan.hosts:
        if word(job, host) != expected.of(host, plan):
            found.append(f"{host} got the word '{word(job, host)}' and not '{expected.of(host, plan)}'.")
        if host in job.verdicts and not job.verdicts[host].partition(":")[2].strip():
            found.append(f"{host} got a word without a reason.")
        found += _wrong_state(host, word(job, host), before[host], after[host], port)
        seen = after[host].outcome != before[host].outcome
        if seen != (host in plan.until(expected.last)):
            found.append(f"{host} has {'seen' if seen else 'not seen'} the change, against the order of the batches.")
    return found


def _wrong_state(host: str, told: str, before: State, after: State, port: int) -> list[str]:
    if after.pending:
        return [f"A change still waits on {host}."]
    if told == CONFIRMED:
        return [] if has(after, port) else [f"{host} does not have what was confirmed."]
    return [] if after.in_force == before.in_force else [f"{host} is not in its previous state."]


def has(state: State, port: int) -> bool:
    """Whether the flow of this port is in force and on record."""
    ports = {port for flow in json.loads(state.flows or '{"flows": []}')["flows"] for port in flow["ports"]}
    return str(port) in ports and f"--dport {port} " in state.rules
