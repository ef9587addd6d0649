# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
import configparser
import os
import py_compile
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.senet.firewall.plugins.module_utils._compile import systemd_units

COMMAND = (sys.executable, "-IB", "/var/lib/senet-firewall/code/senet-firewall")


def parsed(unit: str) -> configparser.RawConfigParser:
    """A unit; ``After`` stands twice in it, which configparser takes for the last."""
    parser = configparser.RawConfigParser(strict=False, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(systemd_units.units(COMMAND)[unit])
    return parser


@pytest.mark.parametrize(
    ("unit", "key", "command"),
    [
        (systemd_units.LOAD_UNIT, "ExecStart", "load"),
        (systemd_units.LOAD_UNIT, "ExecReload", "load"),
        (systemd_units.LOAD_UNIT, "ExecStop", "clear"),
        (systemd_units.WATCH_UNIT, "ExecStart", "watch"),
    ],
)
def test_the_units_run_the_launcher_by_its_interpreter(unit: str, key: str, command: str) -> None:
    assert shlex.split(parsed(unit)["Service"][key]) == [*COMMAND, command]


def test_labels_are_loaded_before_the_network_and_after_all_that_empties_tables() -> None:
    unit = parsed(systemd_units.LOAD_UNIT)["Unit"]
    assert unit["DefaultDependencies"] == "no"
    assert "network-pre.target" in unit["Before"].split()
    assert unit["Wants"].split() == ["network-pre.target", systemd_units.WATCH_UNIT]
    emptying = {"nftables", "iptables", "ip6tables", "netfilter-persistent", "ufw", "firewalld"}
    assert {name.removesuffix(".service") for name in unit["After"].split()} == emptying
    assert {"/etc", "/var/lib"} <= set(unit["RequiresMountsFor"].split())


def test_the_watch_goes_with_the_unit_it_watches_and_comes_back_by_itself() -> None:
    watch = parsed(systemd_units.WATCH_UNIT)
    assert watch["Unit"]["PartOf"] == watch["Unit"]["After"] == systemd_units.LOAD_UNIT
    assert watch["Service"]["Restart"] == "always"
    assert set(systemd_units.units(COMMAND)) == set(systemd_units.NAMES)


@pytest.mark.parametrize("unit", systemd_units.NAMES)
def test_systemd_has_nothing_to_say_about_a_unit(unit: str, tmp_path: Path) -> None:
    for name, text in systemd_units.units((sys.executable, "-c", "pass")).items():
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(tmp_path / unit)],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert [line for line in done.stderr.splitlines() if "senet-firewall" in line] == []
    assert done.returncode == 0, done.stderr


COMMANDS = """import sys
from json import loads
from ansible_collections.senet.firewall.plugins.module_utils._agent import other

def main(args):
    print(args, other.SAID, __file__.endswith("_agent/commands.py"), __loader__.get_source(__name__)[:6])
    return 7
"""


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """The directory of the code, with a launcher for a program of two modules."""
    agent = tmp_path / "ansible_collections/senet/firewall/plugins/module_utils/_agent"
    agent.mkdir(parents=True)
    (agent / "commands.py").write_text(COMMANDS)
    (agent / "other.py").write_text("SAID = 'ours'\n")
    for directory in (agent, *agent.parents[:5]):
        (directory / "__init__.py").touch()
    files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.py"))
    (tmp_path / "senet-firewall").write_text(systemd_units.launcher(str(tmp_path), files))
    return tmp_path


def launch(code: Path) -> tuple[int, str]:
    command = [sys.executable, "-IB", str(code / "senet-firewall"), "rollback", "t1"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return done.returncode, done.stdout


LAUNCHED = (7, "['rollback', 't1'] ours True import\n")


def test_the_launcher_is_python_that_hands_its_arguments_on(code: Path) -> None:
    assert launch(code) == LAUNCHED


@pytest.mark.parametrize("planted", ["json.py", "other/__init__.py", "other.abi3.so", "other.pyc", "_agent.py"])
def test_the_launcher_imports_nothing_that_was_put_beside_the_code(code: Path, planted: str) -> None:
    agent = code / "ansible_collections/senet/firewall/plugins/module_utils/_agent"
    other = agent / "other.py"
    path = {"json.py": code / planted, "_agent.py": agent.parent / planted}.get(planted, agent / planted)
    if planted == "other.pyc":
        status = other.stat()
        other.write_text("SAID = 'evil'\n")
        os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
        py_compile.compile(str(other), doraise=True)
        other.write_text("SAID = 'ours'\n")
        os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    else:
        path.parent.mkdir(exist_ok=True)
        path.write_text("raise SystemExit(9)\n")
    assert launch(code) == LAUNCHED
