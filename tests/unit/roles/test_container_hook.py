# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The script that podman runs as a hook, and the role for the running containers, with nsenter and podman replaced."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.collection_tree import ROOT

SCRIPT = ROOT / "roles" / "container_hook" / "files" / "senet-container"
LAUNCHER = "/var/lib/senet-firewall/code/senet-firewall"


class Machine:
    """Runs the script, whose nsenter writes down what it is asked and fails for some processes."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.launcher = place / "senet-firewall"
        self.launcher.touch()
        (place / "script").write_text(SCRIPT.read_text().replace(LAUNCHER, str(self.launcher)))
        self.containers()

    def command(self, name: str, text: str) -> None:
        path = self.place / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def containers(self, *pids: int, failing: str = "none") -> None:
        self.command("podman", f"printf '%s\\n' {' '.join(map(str, pids))}")
        self.command("nsenter", f'echo "$1 $5" >>{self.place}/entered; case "$1" in {failing}) exit 1; esac')

    def run(self, *arguments: str, state: str = "") -> tuple[int, list[str]]:
        """The script's exit code, and for which namespaces the launcher was called, with which command."""
        done = subprocess.run(
            ["sh", self.place / "script", *arguments], input=state, text=True, check=False, capture_output=True,
            env={"PATH": f"{self.place}:{os.environ['PATH']}"},
        )
        entered = self.place / "entered"
        return done.returncode, entered.read_text().splitlines() if entered.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_as_a_hook_it_loads_in_the_containers_namespace(machine: Machine) -> None:
    assert machine.run(state='{"pid": 4711}') == (0, ["--net=/proc/4711/ns/net load"])


def test_a_state_that_cannot_be_read_keeps_the_container_from_starting(machine: Machine) -> None:
    assert machine.run(state="{}") == (1, [])


def test_without_flows_there_is_nothing_to_load(machine: Machine) -> None:
    machine.launcher.unlink()
    assert machine.run(state='{"pid": 4711}') == (0, [])


@pytest.mark.parametrize("command", ["load", "clear"])
def test_every_running_container_is_entered(machine: Machine, command: str) -> None:
    machine.containers(1, 2)
    assert machine.run(command) == (0, [f"--net=/proc/1/ns/net {command}", f"--net=/proc/2/ns/net {command}"])


def test_one_failure_is_told_after_the_others_had_their_turn(machine: Machine) -> None:
    machine.containers(os.getpid(), 1, failing=f"*/{os.getpid()}/*")
    code, entered = machine.run("load")
    assert (code, len(entered)) == (1, 2)


def test_a_container_that_has_ended_is_no_failure(machine: Machine) -> None:
    # No process has a number this high: it is above the kernel's own limit.
    machine.containers(2**22 + 1, failing="*")
    assert machine.run("load")[0] == 0


def test_another_word_is_an_error(machine: Machine) -> None:
    assert machine.run("reload") == (2, [])
