# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""tests/unchanged.sh runs a command once for the same files and the same words, and keeps the report of that run."""

import ast
import os
import subprocess
from pathlib import Path

import pytest

from tests.collection_tree import ROOT

WORK = "echo run >>runs; mkdir -p build; echo told | tee report.xml >build/report.json; test -e good"
FAILS_WITHOUT_GOOD = ["sh", "-c", WORK, "sh"]


class Tree:
    """A git tree with a file `code` and a page of docs, and what a command left there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir()
        self.git("init", "--quiet")
        self.write("code", "1")
        self.write("docs/page", "1")
        self.write(".gitignore", "runs\nreport.xml\nbuild/\ngood\n")

    def git(self, *words: str) -> None:
        subprocess.run(["git", *words], cwd=self.root, check=True)

    def write(self, name: str, text: str) -> None:
        (self.root / name).parent.mkdir(exist_ok=True)
        (self.root / name).write_text(text)

    def run(self, *more: str) -> tuple[int, int]:
        """The exit code, and how often the command has run so far."""
        done = subprocess.run(
            [ROOT / "tests" / "unchanged.sh", ":!docs", "--", *FAILS_WITHOUT_GOOD, *more], cwd=self.root, check=False
        )
        return done.returncode, len((self.root / "runs").read_text().splitlines())


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return Tree(tmp_path / "tree")


def test_what_failed_runs_again_and_what_passed_does_not(tree: Tree) -> None:
    assert [tree.run(), tree.run()] == [(1, 1), (1, 2)]
    tree.write("good", "")
    assert [tree.run(), tree.run()] == [(0, 3), (0, 3)]


def test_a_changed_file_a_new_one_and_another_command_run(tree: Tree) -> None:
    tree.write("good", "")
    tree.run()
    tree.write("code", "2")
    assert tree.run() == (0, 2)
    tree.write("new", "1")
    assert tree.run() == (0, 3)
    assert tree.run("--more") == (0, 4)
    tree.write("docs/page", "2")
    assert tree.run() == (0, 4)


@pytest.mark.parametrize("word", ["--junit-xml=report.xml", "build/report.json"])
def test_the_report_of_the_run_that_passed_comes_back(tree: Tree, word: str) -> None:
    tree.write("good", "")
    tree.run(word)
    report = tree.root / word.rpartition("=")[2]
    report.unlink()
    assert tree.run(word) == (0, 1)
    assert report.read_text() == "told\n"


def test_a_program_and_a_link_are_what_git_keeps_of_them(tree: Tree) -> None:
    tree.write("good", "")
    (tree.root / "link").symlink_to("docs")
    assert [tree.run(), tree.run()] == [(0, 1), (0, 1)]
    (tree.root / "code").chmod(0o755)
    assert [tree.run(), tree.run()] == [(0, 2), (0, 2)]
    (tree.root / "link").unlink()
    (tree.root / "link").symlink_to(".")
    assert [tree.run(), tree.run()] == [(0, 3), (0, 3)]


def test_what_runs_on_machines_reads_no_file_that_does_not_make_it_run_again() -> None:
    found = {
        (str(path.relative_to(ROOT)), name)
        for directory in ("vm", "lab", "containers", "crash")
        for path in (ROOT / "tests" / directory).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [])
        if name.startswith(("tests.unit", "tests.package"))
    }
    assert found == set()


def test_another_kind_of_machine_is_another_run() -> None:
    def words(kind: str) -> str:
        environment = {**os.environ, "SENET_LAB_KIND": kind}
        command = ["make", "--dry-run", "--silent", "-o", "setup-lab", "vm-debian13"]
        done = subprocess.run(command, cwd=ROOT, env=environment, text=True, capture_output=True, check=True)
        return done.stdout.partition(" -- ")[2]

    assert len({words(kind) for kind in ("", "uml", "qemu")}) == 3
