# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What jobs cost that have nothing to do, beside a ping of the same hosts with the same forks."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any, NamedTuple

from tests.bench.figures import Figure, Goal

from .controller import Cost
from .scene import Scene

AUDIT, ROLLOUT, PING = "audit", "rollout", "ping"
TASKS_GOAL = 3
# Of the inventory that the hosts of the job are a part of
SIZES = (1_000, 10_000)


class Run(NamedTuple):
    """One job: its cost, what it sent to all hosts and got from them, and how many tasks they ran and did not run."""

    cost: Cost
    sent: int
    received: int
    tasks: int
    skipped: int


def measure(scene: Scene, rounds: int, progress: Callable[[str], None]) -> dict[str, Any]:
    """The figures of fleet.json. The hosts have their flows."""
    count = len(scene.plan.hosts)
    few = max(1, count // 5)
    runs: dict[str, list[Run]] = {AUDIT: [], ROLLOUT: [], PING: []}
    # The first takes longer for all that follow
    _run(scene, PING)
    for number in range(rounds):
        progress(f"nothing to do: round {number + 1} of {rounds}")
        for what in (PING, AUDIT, ROLLOUT):
            runs[what].append(_run(scene, what))
    progress(f"nothing to do: {few} of the hosts, and large inventories")
    smaller = {what: _run(scene, what, hosts=few) for what in (PING, AUDIT)}
    larger = {size: _run(scene, AUDIT, inventory=size) for size in SIZES}
    return {
        "audit_vs_ping": _ratio(AUDIT, runs),
        "rollout_vs_ping": _ratio(ROLLOUT, runs),
        "tasks_a_host": _tasks({what: runs[what][0] for what in (AUDIT, ROLLOUT)}, count),
        "a_host": {what: _a_host(runs[what], count) for what in runs},
        "a_job": {
            **{f"{what} of {count} hosts": _a_job(runs[what]) for what in runs},
            **{f"{what} of {few} hosts": _a_job([run]) for what, run in smaller.items()},
            **{f"audit of {count} hosts, {size} in the inventory": _a_job([run]) for size, run in larger.items()},
        },
    }


def _run(scene: Scene, what: str, hosts: int | None = None, inventory: int = 0) -> Run:
    before = scene.hosts.bytes()
    job, cost = scene.controller.start(what, {}, hosts=hosts, inventory=inventory)
    if job.status != "successful":
        raise RuntimeError(job.output)
    sent, received = (now - then for now, then in zip(scene.hosts.bytes(), before, strict=True))
    skipped = sum(event["event"] == "runner_on_skipped" for event in job.events)
    return Run(cost, sent, received, sum(job.tasks.values()), skipped)


def _ratio(what: str, runs: dict[str, list[Run]]) -> dict[str, Any]:
    pairs = tuple((ours.cost.seconds, ping.cost.seconds) for ours, ping in zip(runs[what], runs[PING], strict=True))
    return Figure(what, f"{what} with nothing to do ÷ ping, same hosts and forks", Goal(1.5), "s", pairs).as_dict()


def _tasks(runs: dict[str, Run], count: int) -> dict[str, Any]:
    """Tasks that ran, and those that a condition left out, which cost the controller a process as well."""
    ran = {what: round(run.tasks / count, 2) for what, run in runs.items()}
    left_out = {what: round(run.skipped / count, 2) for what, run in runs.items()}
    return {"goal": str(Goal(TASKS_GOAL)), "met": max(ran.values()) <= TASKS_GOAL, "ran": ran, "left_out": left_out}


def _a_host(runs: list[Run], count: int) -> dict[str, int | float]:
    def mean(of: Callable[[Run], int]) -> float:
        return round(statistics.median(map(of, runs)) / count, 1)

    return {
        "bytes_sent": mean(lambda run: run.sent),
        "bytes_received": mean(lambda run: run.received),
        "event_files": mean(lambda run: run.cost.event_files),
        "event_bytes": mean(lambda run: run.cost.event_bytes),
    }


def _a_job(runs: list[Run]) -> dict[str, float]:
    def median(of: Callable[[Cost], float]) -> float:
        return round(statistics.median(of(run.cost) for run in runs), 1)

    return {
        "seconds": median(lambda cost: cost.seconds),
        "processor_seconds": median(lambda cost: cost.processor),
        "memory_mib": median(lambda cost: cost.memory),
        "event_files": median(lambda cost: cost.event_files),
    }
