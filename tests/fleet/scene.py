# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rollout with or without an injected failure, from the hosts' states before it to those after it."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from . import judge
from .controller import Controller
from .hosts import Host, Hosts

CONFIRM_SECONDS = 20
# What the host needs to begin and to finish undoing, on a machine that does much else
_UNDO_SECONDS = 120
_FIRST_PORT = 6000
_PAIR = {"pair": "httpd_to_postgresql", "clients": "webservers", "servers": "databases"}


class Outcome(NamedTuple):
    """How a rollout ended. ``told`` has the hosts that did not come through, with what was said of each; ``wrong`` is
    empty if all was as it should be. ``cost`` has the job's, and the bytes that it sent to all hosts."""

    injected: str
    status: str
    stopped_by: list[str]
    words: dict[str, int]
    told: dict[str, str]
    cost: dict[str, float]
    wrong: list[str]


class Scene:
    """The fleet, and the change that comes next."""

    def __init__(self, hosts: Hosts, controller: Controller) -> None:
        self.hosts, self.controller = hosts, controller
        count = len(hosts.all)
        self.plan = judge.plan_of(list(hosts.all), 2 if count > 4 else 1, max(1, count // 5))
        self._port = _FIRST_PORT

    def batch(self, number: int) -> list[Host]:
        """The hosts of a batch; 0 are the canaries."""
        return [self.hosts.all[name] for name in self.plan.batches[number]]

    def roll(
        self,
        injected: str,
        expected: judge.Expected,
        inject: Callable[[], None] | None = None,
        cancel: Callable[[], bool] | None = None,
        flows: tuple[dict[str, Any], ...] = (),
        **extra: Any,
    ) -> Outcome:
        """Move all hosts to a new port of the second flow, while `inject` runs beside the job."""
        self._port += 1
        self.controller.flows = [{"name": "web_db", **_PAIR}, {"name": "extra", "ports": [self._port], **_PAIR}, *flows]
        extra = {
            "senet_canary": ",".join(self.plan.batches[0]),
            "senet_batches": str(len(self.plan.batches[1])),
            "senet_firewall_confirm_timeout": CONFIRM_SECONDS,
            **extra,
        }
        before, sent = self.hosts.states(), self.hosts.bytes()[0]
        with ThreadPoolExecutor(max_workers=1) as beside:
            acting = beside.submit(inject or (lambda: None))
            job, cost = self.controller.start("rollout", extra, cancel)
            acting.result()
        until(lambda: not any(host.changing for host in self.hosts.all.values()), "the hosts are settled")
        after = self.hosts.states()
        through = (judge.CONFIRMED, judge.TO_BE_CHANGED)
        told = {host: text for host, text in job.verdicts.items() if judge.word(job, host) not in through}
        return Outcome(
            injected,
            job.status,
            job.stopped_by,
            judge.counted(job, self.plan.hosts),
            told,
            {**cost._asdict(), "bytes_sent": self.hosts.bytes()[0] - sent},
            judge.wrong(self.plan, expected, job, before, after, self._port),
        )


def until(condition: Callable[[], bool], what: str, seconds: float = CONFIRM_SECONDS + _UNDO_SECONDS) -> None:
    """Wait for a condition.

    :raises TimeoutError: it did not come true.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"It did not come to this in {seconds:.0f} seconds: {what}.")
        time.sleep(0.05)
