# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an outcome means: blocked, a limit that the docs name, or an error of the run."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIMIT, PERMITTED = "limit: ", "permitted"
THROUGH = ("answered", "arrived")
# What says that nothing got through, apart from an error of the attempt itself
SHUT = ("refused", "timeout", "denied", "closed", "sent", "nothing", "no end", "EHOSTUNREACH", "EPROTONOSUPPORT")


def verdict(before: str, after: str, limit: str, never: str) -> str:
    """`before`: what happened without flows; `after`: with them. Neither blocked nor a limit: an error."""
    if after in THROUGH:
        return f"{LIMIT}{limit}" if limit else "OPEN"
    if after not in SHUT:
        return f"NO ANSWER: {after}"
    if limit:
        return f"NO LIMIT: the docs name one ({limit})"
    if before not in THROUGH and not never and before != "denied":
        return f"NOTHING SHOWN: without flows it is {before}"
    return "blocked"


def permitted(after: str, limit: str) -> str:
    """What a flow allows gets through, or a limit that the docs name is in its way."""
    if after in THROUGH:
        return f"NO LIMIT: the docs name one ({limit})" if limit else PERMITTED
    return f"{LIMIT}{limit}" if limit else "CUT OFF"


def good(said: str) -> bool:
    return said in ("blocked", PERMITTED) or said.startswith(LIMIT)


def limits(root: Path = ROOT) -> set[str]:
    """The names of the limits in the docs: the bold words of README's bullets, and the headings of docs/limits.md."""
    section = (root / "README.md").read_text().partition("\n## What it does not cover\n")[2].partition("\n## ")[0]
    bullets = re.findall(r"^- \*\*(.+?)\*\*", section, re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^## (.+)$", (root / "docs" / "limits.md").read_text(), re.MULTILINE)
    return {" ".join(name.split()).rstrip(".") for name in bullets + headings}


def missing_tests(tests: list[str], root: Path = ROOT) -> list[str]:
    """The ids of tests that are not there."""
    missing = []
    for test in tests:
        path, dummy, name = test.partition("::")
        if not (root / path).exists() or f"\ndef {name}(" not in (root / path).read_text():
            missing.append(test)
    return missing
