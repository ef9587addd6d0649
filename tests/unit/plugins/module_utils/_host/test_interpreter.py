# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which interpreter root's units run: none that somebody else could have changed."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.senet.firewall.plugins.module_utils._host import interpreter
from ansible_collections.senet.firewall.plugins.module_utils._host.commands import run_command
from ansible_collections.senet.firewall.plugins.module_utils._host.interpreter import find_interpreter, is_roots_alone
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError

ROOT, USER = 0, 1000


class Files:
    """A host's files below a directory, of whichever owners; all that leads to the directory is root's."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.owners: dict[str, int] = {}
        self._lstat = os.lstat
        monkeypatch.setattr(os, "lstat", self.lstat)

    def lstat(self, path: str) -> os.stat_result:
        status: list[Any] = list(self._lstat(path))
        if str(path).startswith(str(self.root) + "/"):
            status[4] = self.owners.get(str(path), ROOT)
        else:
            # What is above is another matter: some machines run tests in a directory that all may write.
            status[0] &= ~0o022
            status[4] = ROOT
        return os.stat_result(status)

    def program(self, name: str, mode: int = 0o755, owner: int = ROOT) -> str:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(mode)
        self.owners[str(path)] = owner
        return str(path)

    def link(self, name: str, target: str, owner: int = ROOT) -> str:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)
        self.owners[str(path)] = owner
        return str(path)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    old = os.umask(0o022)
    (tmp_path / "host").mkdir()
    os.umask(old)
    return Files(tmp_path / "host", monkeypatch)


def test_a_file_of_roots_alone(files: Files) -> None:
    assert is_roots_alone(files.program("usr/bin/python3.11"))
    assert is_roots_alone(files.link("usr/bin/python3", "python3.11"))
    assert is_roots_alone(files.link("usr/libexec/platform-python", "../bin/./python3"))


Harm = Callable[[Files], str]


def in_a_users_directory(files: Files) -> str:
    path = files.program("home/admin/python3")
    files.owners[str(files.root / "home/admin")] = USER
    return path


def in_a_group_writable_directory(files: Files) -> str:
    path = files.program("srv/python3")
    (files.root / "srv").chmod(0o775)
    return path


def by_a_users_link(files: Files) -> str:
    files.program("usr/bin/python3.11")
    return files.link("opt/venv/bin/python", str(files.root / "usr/bin/python3.11"), USER)


def to_a_users_file(files: Files) -> str:
    return files.link("usr/bin/python3", files.program("home/python3", owner=USER))


def by_a_directory_that_is_a_link(files: Files) -> str:
    files.program("home/admin/bin/python3")
    files.owners[str(files.root / "home/admin")] = USER
    files.link("usr/venv", "../home/admin/bin")
    return str(files.root / "usr/venv/python3")


@pytest.mark.parametrize(
    "make",
    [
        in_a_users_directory, in_a_group_writable_directory, by_a_users_link, to_a_users_file,
        by_a_directory_that_is_a_link,
        lambda files: files.program("usr/bin/python3", owner=USER),
        lambda files: files.program("usr/bin/python3", mode=0o757),
        lambda files: files.program("usr/bin/python3", mode=0o644),
        lambda files: files.link("usr/bin/python3", "python3"),
        lambda files: str(files.root / "usr/bin/python3"),
        lambda files: str(files.root),
        lambda files: "python3",
    ],
)  # fmt: skip
def test_what_somebody_else_could_change_is_not_roots_alone(files: Files, make: Harm) -> None:
    assert not is_roots_alone(make(files))


def everything_fits(args: list[str]) -> tuple[int, str, str]:
    return (0, "", "")


def test_the_same_interpreter_is_chosen_whatever_one_runs(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    system = files.program("usr/bin/python3")
    venv = files.program("opt/venv/bin/python3")
    monkeypatch.setattr(interpreter, "_KNOWN", (str(files.root / "usr/libexec/platform-python"), system))
    monkeypatch.setattr(sys, "executable", venv)
    assert find_interpreter(everything_fits, None) == system
    assert find_interpreter(everything_fits, venv) == system
    platform = files.program("usr/libexec/platform-python")
    assert find_interpreter(everything_fits, system) == platform


def test_one_that_does_not_fit_is_passed_over_for_the_newest_that_does(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, newer, newest = (files.program(f"usr/bin/python3{minor}") for minor in ("", ".9", ".11"))
    monkeypatch.setattr(interpreter, "_KNOWN", (old, str(files.root / "usr/bin/python3.*[0-9]")))
    monkeypatch.setattr(sys, "executable", "")
    unfit = {old}
    assert find_interpreter(lambda args: (int(args[0] in unfit), "", ""), None) == newest
    unfit.add(newest)
    assert find_interpreter(lambda args: (int(args[0] in unfit), "", ""), None) == newer


def test_without_a_known_one_the_units_keep_theirs_and_a_users_own_is_never_taken(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interpreter, "_KNOWN", ())
    first, second = files.program("opt/a/python3"), files.program("opt/b/python3")
    monkeypatch.setattr(sys, "executable", second)
    assert find_interpreter(everything_fits, first) == first
    assert find_interpreter(everything_fits, None) == second
    monkeypatch.setattr(sys, "executable", in_a_users_directory(files))
    with pytest.raises(SenetError, match="host has no Python interpreter .* by root only.* install the package"):
        find_interpreter(everything_fits, None)


def test_an_interpreter_of_this_machine_is_new_enough_and_a_program_that_is_none_does_not_fit() -> None:
    assert interpreter._fits(run_command, sys.executable)
    assert not interpreter._fits(run_command, "/bin/false")
    assert not interpreter._fits(run_command, "/nonexistent/python3")
