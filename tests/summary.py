# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sums up a run of the tests: how long each part took, and the JUnit files in the form of pytest's own last line.

python -m tests.summary DIRECTORY, where timed.sh and pytest left them.
"""

import sys
from pathlib import Path
from xml.etree import ElementTree


def sum_up(reports: list[Path]) -> tuple[str, bool]:
    """One line for each report that failed, the sum of all as the last line, and whether all of it is good."""
    totals = {"passed": 0, "failed": 0, "errors": 0, "skipped": 0}
    seconds = 0.0
    lines = []
    for report in reports:
        for suite in ElementTree.parse(report).iter("testsuite"):
            failed, errors, skipped = (int(suite.get(name, "0")) for name in ("failures", "errors", "skipped"))
            totals["failed"] += failed
            totals["errors"] += errors
            totals["skipped"] += skipped
            totals["passed"] += int(suite.get("tests", "0")) - failed - errors - skipped
            seconds += float(suite.get("time", "0"))
            for case in suite.iter("testcase"):
                if case.find("failure") is not None or case.find("error") is not None:
                    lines.append(f"FAILED {report.stem}: {case.get('classname')}::{case.get('name')}")
    good = bool(totals["passed"]) and not totals["failed"] and not totals["errors"]
    counts = ", ".join(f"{count} {word}" for word, count in totals.items() if count) or "no tests ran"
    return "\n".join([*lines, f"===== {counts} in {seconds:.1f}s ====="]), good


def times(written: str) -> str:
    """A line for each part of what timed.sh wrote down, with its minutes and seconds."""
    rows = [line.split() for line in written.splitlines()]
    return "".join(
        f"{name:<12}{int(seconds) // 60:>4}:{int(seconds) % 60:02} min{'' if code == '0' else '  FAILED'}\n"
        for name, seconds, code in rows
    )


if __name__ == "__main__":
    left = Path(sys.argv[1])
    text, all_good = sum_up(sorted((left / "junit").glob("*.xml")))
    if (left / "times").exists():
        print(times((left / "times").read_text()), end="")
    print(text)
    sys.exit(not all_good)
