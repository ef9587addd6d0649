# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CI's closing summary, from reports that pytest itself writes."""

import subprocess
from pathlib import Path

import pytest

from tests.collection_tree import ROOT
from tests.summary import sum_up, times

pytest_plugins = ["pytester"]

PASSES = "def test_good(): pass"
FAILS_AND_BREAKS = """
import pytest

@pytest.fixture
def gone():
    raise OSError

def test_broken(gone): pass

def test_failed(): assert 0
"""


def report(pytester: pytest.Pytester, name: str, source: str) -> Path:
    test = pytester.makepyfile(**{f"test_{name}": source})
    pytester.runpytest_inprocess("-p", "no:cacheprovider", f"--junit-xml={name}.xml", test)
    return pytester.path / f"{name}.xml"


def test_passes_of_all_reports_are_added(pytester: pytest.Pytester) -> None:
    text, good = sum_up([report(pytester, "one", PASSES), report(pytester, "two", PASSES)])
    assert good
    assert text.startswith("===== 2 passed in ")


def test_one_bad_report_is_named_and_spoils_the_sum(pytester: pytest.Pytester) -> None:
    text, good = sum_up([report(pytester, "one", PASSES), report(pytester, "vm", FAILS_AND_BREAKS)])
    assert not good
    assert "FAILED vm: test_vm::test_broken\nFAILED vm: test_vm::test_failed\n" in text
    assert "1 passed, 1 failed, 1 errors" in text


def test_no_report_is_not_good() -> None:
    assert sum_up([]) == ("===== no tests ran in 0.0s =====", False)


def test_each_part_is_timed_and_a_failed_one_still_fails(tmp_path: Path) -> None:
    for name, command, code in (("lint", "true", 0), ("unit", "false", 1)):
        done = subprocess.run([ROOT / "tests" / "timed.sh", name, command], cwd=tmp_path, check=False)
        assert done.returncode == code
    written = (tmp_path / "build" / "times").read_text()
    assert [line.split()[0::2] for line in written.splitlines()] == [["lint", "0"], ["unit", "1"]]


def test_times_are_minutes_and_seconds() -> None:
    assert times("lint 220 0\nvm 3661 2\n") == "lint           3:40 min\nvm            61:01 min  FAILED\n"
