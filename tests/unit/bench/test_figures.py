# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The figures of the benchmark: the ratio is taken run by run, and held against the goal by its median."""

from __future__ import annotations

import pytest

from tests.bench.figures import Figure, Goal, table


def figure(goal: Goal, *pairs: tuple[float, float]) -> Figure:
    return Figure("apply", "ours ÷ theirs", goal, "s", pairs)


def test_each_ratio_is_of_one_run_and_not_of_the_medians() -> None:
    # The machine was three times as slow in the second run.
    found = figure(Goal(2), (2, 1), (6, 3), (2.5, 1)).as_dict()
    assert found["ratio"] == {"min": 2, "median": 2, "max": 2.5}
    assert found["runs"] == 3
    assert (found["above"], found["below"]) == ({"min": 2, "median": 2.5, "max": 6}, {"min": 1, "median": 1, "max": 3})


@pytest.mark.parametrize(
    ("goal", "ratio", "met"),
    [(Goal(1.5), 1.5, True), (Goal(1.5), 1.51, False), (Goal(100, at_least=True), 100, True),
     (Goal(100, at_least=True), 99, False)],
)  # fmt: skip
def test_a_goal_is_a_limit_or_a_minimum(goal: Goal, ratio: float, met: bool) -> None:
    assert figure(goal, (ratio, 1)).met is met


def test_the_table_says_what_was_missed() -> None:
    figures = {
        name: figure(goal, (3, 2), (4, 2)).as_dict()
        for name, goal in (("fast", Goal(2)), ("faster", Goal(1)), ("more", Goal(1, at_least=True)))
    }
    assert table(figures).splitlines()[2:] == [
        "| `fast` | ours ÷ theirs | 2 | 1.5 | 1.75 | 2.0 | ≤ 2 | met |",
        "| `faster` | ours ÷ theirs | 2 | 1.5 | 1.75 | 2.0 | ≤ 1 | missed |",
        "| `more` | ours ÷ theirs | 2 | 1.5 | 1.75 | 2.0 | ≥ 1 | met |",
    ]
