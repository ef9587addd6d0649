# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A command of Ansible in a fork does what it does as a process of its own."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests import warm_ansible

pytestmark = pytest.mark.long
HERE = ("-i", "localhost,", "-c", "local")


def environment(place: Path, **variables: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
    return {**kept, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_LOCAL_TEMP": str(place / "tmp"), **variables}


@pytest.mark.parametrize(
    "command",
    [
        ("ansible", *HERE, "localhost", "-m", "debug", "-a", "msg=öffnen"),
        ("ansible", *HERE, "localhost", "-m", "fail"),
        ("ansible", *HERE, "localhost", "-m", "none.such.module"),
        ("ansible", "--none-such"),
        ("ansible-playbook", *HERE, "none.yml"),
    ],
)
def test_it_gives_what_the_command_gives(tmp_path: Path, command: tuple[str, ...]) -> None:
    variables = environment(tmp_path)
    made = warm_ansible.run(command, variables, tmp_path)
    path = Path(sys.executable).parent / command[0]
    alone = subprocess.run(
        [str(path), *command[1:]], env=variables, cwd=tmp_path, text=True, stdin=subprocess.DEVNULL,
        capture_output=True, check=False,
    )  # fmt: skip
    assert (made.returncode, made.stdout, made.stderr) == (alone.returncode, alone.stdout, alone.stderr)


def test_each_command_has_its_own_environment_and_directory(tmp_path: Path) -> None:
    def listed(name: str) -> str:
        place = tmp_path / name
        place.mkdir()
        (place / "hosts").write_text(f"{name}\n")
        variables = environment(place, ANSIBLE_INVENTORY=str(place / "hosts"))
        script = "{{ lookup('pipe', 'pwd') }} {{ lookup('env', 'ANSIBLE_INVENTORY') }}"
        shown = ("ansible", "all", "-c", "local", "-m", "debug", "-a", f"msg='{script}'")
        return warm_ansible.run(shown, variables, place).stdout

    names = ["web", "db", "mail"]
    with ThreadPoolExecutor() as pool:
        for name, output in zip(names, pool.map(listed, names), strict=True):
            assert f"{name} | SUCCESS" in output
            assert f"{tmp_path / name} {tmp_path / name / 'hosts'}" in output
