# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs jobs as AWX does: ansible-runner, a private data directory, the collection installed from its archive."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import ansible_runner

from tests.collection_tree import ROOT

from .job import Job, read_job

_BIN = Path(sys.executable).parent
PROJECT = ROOT / "extensions" / "awx" / "project"
_PLAYBOOK = "senet.firewall.{}"


class Cost(NamedTuple):
    """What one job took. ``processor`` has the seconds of the controller's processes, ``memory`` the MiB of all of them
    at their peak, each page counted once."""

    seconds: float
    processor: float
    memory: float
    event_files: int
    event_bytes: int


class Controller:
    """The place of all jobs, with the collection and nothing else on Ansible's path."""

    def __init__(self, place: Path, archive: Path, key: Path, hosts: dict[str, str]) -> None:
        self._place, self._key, self._hosts = place, key, hosts
        self._collections = place / "collections"
        self._run("ansible-galaxy", "collection", "install", "--offline", "-p", self._collections, archive)
        self._number = 0
        self.flows: list[dict[str, Any]] = []

    def start(
        self,
        what: str,
        extra: dict[str, Any],
        cancel: Callable[[], bool] | None = None,
        hosts: int | None = None,
        inventory: int = 0,
    ) -> tuple[Job, Cost]:
        """Run a playbook of the collection to its end, or `ping` as an ad-hoc call, on so many of the hosts, all
        without; the inventory has as many web servers as it takes to be of the given size. `cancel` is asked, as AWX
        is, whether somebody has cancelled the job."""
        self._number += 1
        data = self._place / f"job{self._number}"
        shutil.copytree(PROJECT, data / "project")
        (data / "inventory").mkdir()
        (data / "inventory" / "hosts.json").write_text(json.dumps(self._inventory(inventory)))
        called = {"module": "ansible.builtin.ping", "host_pattern": "all"} if what == "ping" else {
            "playbook": _PLAYBOOK.format(what)
        }  # fmt: skip
        limit = ",".join(list(self._hosts)[:hosts])
        memory = _Memory()
        before, begun = _processor(), time.monotonic()
        runner = ansible_runner.run(
            private_data_dir=str(data), ident="job", quiet=True, cancel_callback=cancel,
            envvars=self._environment(data), extravars=extra, cmdline=f"--forks {len(self._hosts)} --limit {limit}",
            **called,
        )  # fmt: skip
        seconds, processor = time.monotonic() - begun, _processor() - before
        artifacts = data / "artifacts" / "job"
        files = [path.stat().st_size for path in (artifacts / "job_events").glob("*.json")]
        job = read_job(artifacts, (artifacts / "stdout").read_text())
        cost = Cost(round(seconds, 2), round(processor, 1), memory.stop(), len(files), sum(files))
        shutil.rmtree(data)
        assert runner.status == job.status
        return job, cost

    def _run(self, *command: str | Path) -> None:
        done = subprocess.run(
            [_BIN / command[0], *command[1:]], env={**os.environ, **self._environment(self._place)}, cwd=self._place,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(done.stdout)

    def _environment(self, data: Path) -> dict[str, str]:
        """As AWX sets it, but for the path of collections, which is the execution environment's."""
        return {
            "PATH": f"{_BIN}:{os.environ['PATH']}",
            "HOME": str(self._place),
            "ANSIBLE_COLLECTIONS_PATH": str(self._collections),
            "ANSIBLE_COLLECTIONS_SCAN_SYS_PATH": "false",
            "ANSIBLE_HOST_KEY_CHECKING": "False",
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(data / "cp"),
            "ANSIBLE_LOCAL_TEMP": str(data / "tmp"),
        }

    def _inventory(self, size: int) -> dict[str, Any]:
        hosts = {name: {"ansible_host": address} for name, address in self._hosts.items()}
        for number in range(len(hosts), size):
            hosts[f"web{number + 1}"] = {"ansible_host": f"10.78.{number // 250}.{number % 250 + 1}"}
        groups = {"webservers": "web", "databases": "db"}
        return {
            "all": {
                "vars": {
                    "ansible_user": "root",
                    "ansible_ssh_private_key_file": str(self._key),
                    "ansible_python_interpreter": "/usr/bin/python3",
                    "senet_flows": self.flows,
                },
                "children": {
                    group: {"hosts": {name: hosts[name] for name in hosts if name.startswith(prefix)}}
                    for group, prefix in groups.items()
                },
            }
        }


def _processor() -> float:
    """The seconds of all that this process has started and that has ended, with all that they started."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class _Memory:
    """The peak of the memory of all that this process has started and that carries the word ansible, in MiB."""

    def __init__(self) -> None:
        self._peak, self._ended = 0, threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def stop(self) -> float:
        self._ended.set()
        self._thread.join()
        return round(self._peak / 1024, 1)

    def _watch(self) -> None:
        while not self._ended.wait(0.5):
            self._peak = max(self._peak, sum(map(_pss, Path("/proc").glob("[0-9]*"))))


def _pss(process: Path) -> int:
    """The KiB of a process of a job of Ansible's, with its part of the pages that it shares."""
    try:
        if b"ansible" not in (process / "cmdline").read_bytes():
            return 0
        lines = (process / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
