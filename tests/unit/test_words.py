# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Words that stop a reader do not come back: docs/glossary.md has the terms to use instead."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.collection_tree import ROOT

# What to write instead, by what is searched for
INSTEAD = {
    "receive from": r"(?<![a-z])(hear(s|d|ing|ings|er|ers)?|audiences?|deaf)(?![a-z])",
    "distinguish, or limit each to": r"\b(told|tells?|telling) (\w+ ){0,3}apart\b|\btold from\b",
    "check, enforce or limit to": r"\b(held|holds?) (\w+ ){0,3}(to|against) ",
    "check nothing": r"\bno words? (in|for)\b",
    "does not affect": r"\bno matter of\b",
    "other connections, other services": r"\bwhom it is not about\b",
    "remove with": r"\b(take|takes|taking|taken) (\S+ ){0,4}along\b",
    "is not a": r"\b(there )?(is|are) no (?!longer\b|more\b)(?=[a-z])",
}
# It is in the policy module of every host: a word less would make each run a change.
INSTALLED = re.compile(
    r"senet_peer_hearer|senet_hearing-|who is no verified\n; destination hears everybody, and everybody's packets pass"
)
SEARCHED = ("plugins", "roles", "docs", "README.md")
TEXTS = (".py", ".yml", ".yaml", ".md", ".j2", ".json", ".svg")


def texts(names: tuple[str, ...] = SEARCHED) -> Iterator[Path]:
    for name in names:
        path = ROOT / name
        yield from [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.suffix in TEXTS)


def found(text: str) -> Iterator[tuple[int, str, str]]:
    """Line, words and what to write instead; a line, a comment or a string may end between two words."""
    text = INSTALLED.sub(lambda match: re.sub(r"[^\n]", "-", match[0]), text)
    for instead, pattern in INSTEAD.items():
        for match in re.finditer(pattern.replace(" ", r"\s[\s#\"';]*"), text, re.IGNORECASE):
            if not match[0].lower().startswith("there"):
                yield text.count("\n", 0, match.start()) + 1, " ".join(match[0].split()), instead


def test_no_text_of_a_user_has_words_that_stop_a_reader() -> None:
    hits = [
        f"{path.relative_to(ROOT)}:{line}: '{words}': write '{instead}' or the like"
        for path in texts()
        for line, words, instead in found(path.read_text())
    ]
    assert not hits, "\n".join(hits)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("one\nPostgreSQL hears\nApache", 2),
        ("They cannot be told\n    # apart.", 1),
        ('"a client is held "\n    "to both"', 1),
        ("HTTP/3 is UDP, and no matter of this flow.", 1),
        ("self._hears(peer)", 1),
        ("The type is no domain.", 1),
    ],
)
def test_it_is_found_also_where_a_line_ends(text: str, line: int) -> None:
    assert [hit[0] for hit in found(text)] == [line]


def test_other_words_are_left_alone() -> None:
    assert not list(found("There\n  is no guard. It is no longer there. It holds the lock."))
