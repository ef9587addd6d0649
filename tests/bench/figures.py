# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Figures as ratios: each run measures both sides one right after the other, and the ratio is taken run by run."""

from __future__ import annotations

import statistics
from typing import Any, NamedTuple


class Goal(NamedTuple):
    """What a figure shall be: at most the limit, or at least it."""

    limit: float
    at_least: bool = False

    def met(self, ratio: float) -> bool:
        return ratio >= self.limit if self.at_least else ratio <= self.limit

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.limit:g}"


class Figure(NamedTuple):
    """A named ratio: what is divided by what, and both sides of each run in one unit."""

    name: str
    what: str
    goal: Goal
    unit: str
    pairs: tuple[tuple[float, float], ...]

    @property
    def ratios(self) -> list[float]:
        return [above / below for above, below in self.pairs]

    @property
    def met(self) -> bool:
        return self.goal.met(statistics.median(self.ratios))

    def as_dict(self) -> dict[str, Any]:
        """The figure as bench.json has it."""
        return {
            "what": self.what,
            "goal": str(self.goal),
            "met": self.met,
            "runs": len(self.pairs),
            "ratio": spread(self.ratios),
            "unit": self.unit,
            "above": spread([above for above, dummy in self.pairs]),
            "below": spread([below for dummy, below in self.pairs]),
        }


def spread(values: list[float]) -> dict[str, float]:
    """Minimum, median and maximum, to four digits."""
    parts = {"min": min(values), "median": statistics.median(values), "max": max(values)}
    return {name: float(f"{value:.4g}") for name, value in parts.items()}


def table(figures: dict[str, dict[str, Any]]) -> str:
    """The figures of bench.json as the table of the documentation."""
    lines = ["| name | ratio | runs | min | median | max | goal | |", "|---|---|---|---|---|---|---|---|"]
    for name, figure in figures.items():
        ratio, sign = figure["ratio"], "met" if figure["met"] else "missed"
        cells = [f"`{name}`", figure["what"], figure["runs"], ratio["min"], ratio["median"], ratio["max"]]
        lines.append("| " + " | ".join(map(str, [*cells, figure["goal"], sign])) + " |")
    return "\n".join(lines) + "\n"
