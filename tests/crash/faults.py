# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ends a change after each of its steps, by SIGKILL and by cutting the power, and looks at what becomes of the host."""

from __future__ import annotations

import io
import json
import shlex
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.collection_tree import ROOT
from tests.lab.controller import Controller
from tests.lab.errors import LabError
from tests.lab.lab import Lab
from tests.lab.probes import ADDRESSES, connect, through_apache
from tests.lab.states import State
from tests.lab.vm import Host

FLOWS = [{"name": "web_db", "source": ["httpd_t"], "destination": ["postgresql_t"], "ports": ["5432"]}]
STEP_SECONDS = 300
_CODE = "/root/crash"
_WORK = "/run/crash"
_TOKEN = "crash"
_PATHS = {"ipv4": "pg4", "ipv6": "pg6"}


class Fault(NamedTuple):
    """How one fault went. `found` is what was in force afterwards: previous, new, or mixed.

    ``enforced_or_reported``: one of both states was in force as a whole, or the next run or the journal told of it.
    ``told`` is what the runs after it said, in order: their error or warnings, and whether they changed anything.
    """

    point: str
    kind: str
    reachable: bool
    converged: bool
    enforced_or_reported: bool
    found: str
    told: list[str]
    seconds: float

    @property
    def good(self) -> bool:
        return self.reachable and self.converged and self.enforced_or_reported


class Stepper:
    """A first change on a slim host, taken step by step."""

    def __init__(self, host: Host) -> None:
        self._host = host
        host.run(f"mkdir -p {_CODE} {_WORK} && tar -x -C {_CODE}", input=_collection())
        host.put((Path(__file__).parent / "stepper.py").read_text(), f"{_CODE}/stepper.py")
        words = ["python3", f"{_CODE}/stepper.py", _CODE, _WORK, json.dumps(FLOWS)]
        host.run(f"setsid {shlex.join(words)} >{_WORK}/log 2>&1 </dev/null &")
        self.steps: tuple[str, ...] = tuple(json.loads(self._await("steps", "")))

    def points(self) -> Iterator[str]:
        """Each step when it has been taken. Going on to the next one lets the change go on."""
        taken = ""
        for dummy in self.steps:
            taken = self._await("point", taken)
            yield taken
            self._host.put(taken, f"{_WORK}/go")

    def _await(self, name: str, old: str) -> str:
        deadline = time.monotonic() + STEP_SECONDS
        while True:
            files = self._host.run(f"cd {_WORK}; cat {name}; echo; cat end", check=False).stdout
            text, dummy, end = files.partition("\n")
            if text and text != old:
                return text
            if end or time.monotonic() > deadline:
                log = self._host.run(f"cat {_WORK}/log", check=False).stdout
                raise LabError(f"The change did not come to its next step after '{old}': {end}\n{log}")
            time.sleep(0.1)


def disks(lab: Lab) -> Iterator[tuple[str, State]]:
    """Each step of the change when it has been taken, and the disk as a power cut at that moment would leave it."""
    with lab.start("web", state="slim") as host:
        for number, point in enumerate(Stepper(host).points()):
            yield point, host.save_disk(f"step-{number}")


def killed(lab: Lab, point: str) -> Fault:
    """Make the change up to a point, kill it there, look, and run the module again."""
    start = time.monotonic()
    with lab.start("web", state="slim") as host:
        stepper = Stepper(host)
        if point not in stepper.points():
            raise LabError(f"The change never stopped after '{point}'; its steps are: {', '.join(stepper.steps)}.")
        host.run(f"kill -9 $(cat {_WORK}/pid)")
        return _aftermath(host, point, "kill", start)


def power_cut(lab: Lab, point: str, disk: State) -> Fault:
    """Boot from the disk of the change at a point, look, and run the module again."""
    start = time.monotonic()
    with lab.start("web", state=disk, degraded_ok=True) as host:
        return _aftermath(host, point, "power_cut", start)


def _aftermath(host: Host, point: str, kind: str, start: float) -> Fault:
    reachable = host.run("true", check=False, fresh=True).rc == 0
    found = in_force(host)
    with Controller(host) as controller:
        results = _converge(controller, host)
    told = [_said(result) for result in results]
    journal = host.run("journalctl -u senet-firewall.service -o cat", check=False).stdout
    changes = [(result["failed"], result.get("changed")) for result in results[-2:]]
    return Fault(
        point,
        kind,
        reachable,
        converged=changes in ([(False, True), (False, False)], [(False, False)] * 2) and in_force(host) == "new",
        enforced_or_reported=found != "mixed" or _TOKEN in journal or "earlier run ended" in told[0],
        found=found,
        told=told,
        seconds=round(time.monotonic() - start, 1),
    )


def in_force(host: Host) -> str:
    """What really gets through: previous (everybody), new (Apache alone), or mixed."""
    root = {connect(host, address, 5432).result for address in ADDRESSES.values()}
    apache = {through_apache(host, path).result for path in _PATHS.values()}
    if apache == {"connected"}:
        return {"connected": "previous", "refused": "new"}.get("".join(root), "mixed")
    return "mixed"


def _converge(controller: Controller, host: Host) -> list[dict[str, Any]]:
    """The module twice, after what it says is needed first: to confirm the change that waits."""
    results = [controller.module(host, "senet.firewall.flows", flows=FLOWS, purge=True)]
    if f"token={_TOKEN} state=confirmed" in results[0].get("msg", ""):
        results.append(controller.module(host, "senet.firewall.guard", token=_TOKEN, state="confirmed"))
        results.append(controller.module(host, "senet.firewall.flows", flows=FLOWS, purge=True))
    results.append(controller.module(host, "senet.firewall.flows", flows=FLOWS, purge=True))
    return results


def _said(result: dict[str, Any]) -> str:
    return " ".join(["changed" if result.get("changed") else "unchanged", result.get("msg", ""), *result["warnings"]])


def _collection() -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.add(
            ROOT / "plugins" / "module_utils",
            "ansible_collections/senet/firewall/plugins/module_utils",
            filter=lambda entry: None if entry.name.endswith("__pycache__") else entry,
        )
    return content.getvalue()
