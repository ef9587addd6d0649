# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sums up the JUnit files that pytest wrote into a directory, in the form of pytest's own last line."""

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


if __name__ == "__main__":
    text, all_good = sum_up(sorted(Path(sys.argv[1]).glob("*.xml")))
    print(text)
    sys.exit(not all_good)
