# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible as a user runs it, from this checkout's virtual environment against hosts of the lab."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import yaml

from tests import warm_ansible
from tests.collection_tree import link

from .errors import LabError
from .vm import Host

_BIN = Path(sys.executable).parent
_RECAP = re.compile(r"^(\S+)\s+: ok=(\d+)\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)", re.MULTILINE)
# What is printed is wrapped to the width of a terminal.
_WARNING = re.compile(r"^\[WARNING\]: (.*?)(?=^\[|\Z)", re.MULTILINE | re.DOTALL)


class Play(NamedTuple):
    """A finished ansible-playbook: its output, and per host the counters of the recap."""

    rc: int
    output: str
    recap: dict[str, dict[str, int]]


class Controller:
    """Runs modules and playbooks; each Controller has a directory of its own, with the inventory of its hosts.

    `patch` is given the directory of a copy of the collection, to break in it what a test wants broken. `pipelining`
    is Ansible's setting, by default what we advise; without it each task takes four commands more. Without it, or
    without `warm`, each command is started as a user starts it (tests/warm_ansible.py).
    """

    def __init__(
        self,
        *hosts: Host,
        patch: Callable[[Path], None] | None = None,
        pipelining: bool = True,
        warm: bool = True,
    ) -> None:
        self._warm = warm and pipelining
        self._directory = tempfile.TemporaryDirectory(prefix="senet-controller-")
        self.path = Path(self._directory.name)
        inventory = {"all": {"hosts": {host.name: host.inventory_vars() for host in hosts}}}
        (self.path / "hosts.yml").write_text(yaml.safe_dump(inventory))
        (self.path / "ansible.cfg").write_text("")
        self._environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")},
            "ANSIBLE_COLLECTIONS_PATH": str(self._patched(patch) if patch else link()),
            "ANSIBLE_CONFIG": str(self.path / "ansible.cfg"),
            "ANSIBLE_INVENTORY": str(self.path / "hosts.yml"),
            "ANSIBLE_LOCAL_TEMP": str(self.path / "tmp"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_PIPELINING": str(pipelining),
            "ANSIBLE_RETRY_FILES_ENABLED": "0",
            # A control socket per Controller: a saved host restored elsewhere must not meet another's connection.
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self.path / "cp"),
        }

    def __enter__(self) -> Controller:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _patched(self, patch: Callable[[Path], None]) -> Path:
        shutil.copytree(link(), self.path / "collections", ignore=shutil.ignore_patterns("__pycache__"))
        patch(self.path / "collections" / "ansible_collections" / "senet" / "firewall")
        return self.path / "collections"

    def close(self) -> None:
        """End the shared SSH connections and remove the directory."""
        for socket in (self.path / "cp").glob("*"):
            command = ["ssh", "-o", f"ControlPath={socket}", "-O", "exit", "senet"]
            subprocess.run(command, capture_output=True, check=False)
        self._directory.cleanup()

    def module(
        self, host: Host, name: str, check: bool = False, diff: bool = False, arguments: str = "", **options: Any
    ) -> dict[str, Any]:
        """One module by an ad-hoc call, failed or not; returns its result, `failed` and `warnings` among it.

        It takes options, or `arguments` as a person types them.
        """
        results = self.path / "results"
        flags = [flag for flag, on in (("--check", check), ("--diff", diff)) if on]
        arguments = json.dumps(options) if options else arguments
        done = self._run(["ansible", host.name, "-m", name, "-a", arguments, "--tree", str(results), *flags])
        try:
            result: dict[str, Any] = json.loads((results / host.name).read_text())
        except (OSError, ValueError) as error:
            raise LabError(f"{name} on {host.name} gave no result:\n{done.stdout}{done.stderr}") from error
        (results / host.name).unlink()
        # ansible-core takes these two out of what it writes to the tree
        result["failed"] = done.returncode != 0
        result["warnings"] = [" ".join(warning.split()) for warning in _WARNING.findall(done.stderr)]
        return result

    def playbook(self, play: list[dict[str, Any]] | Path, *flags: str) -> Play:
        """A playbook, given as a file or as its plays."""
        path = play if isinstance(play, Path) else self.path / "play.yml"
        if not isinstance(play, Path):
            path.write_text(yaml.safe_dump(play))
        done = self._run(["ansible-playbook", str(path), *flags])
        names = ("ok", "changed", "unreachable", "failed")
        recap = {
            found[0]: dict(zip(names, map(int, found[1:]), strict=True)) for found in _RECAP.findall(done.stdout)
        }
        return Play(done.returncode, done.stdout + done.stderr, recap)

    def _run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        if self._warm:
            return warm_ansible.run(command, self._environment, self.path)
        return subprocess.run(
            [str(_BIN / command[0]), *command[1:]],
            env=self._environment, cwd=self.path, text=True, stdin=subprocess.DEVNULL, capture_output=True, check=False,
        )  # fmt: skip
