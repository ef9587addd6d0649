# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files that are made, in the work tree."""

from __future__ import annotations

import re
from pathlib import Path

from tests.collection_tree import ROOT

from .render import known, role, table
from .words import told

_DOCS = "docs/pairs.md"
_TABLE = re.compile(r"(?<=<!-- made from the catalogue -->\n).*?(?=<!-- end -->)", re.DOTALL)


def files(root: Path = ROOT) -> dict[str, str]:
    """Path and text of each file; of docs/pairs.md, only its table is made."""
    every = told()
    made = {f"roles/{one.name}/{path}": text for one in every for path, text in role(one).items()}
    made["roles/service_pair/vars/main.yml"] = known()
    made[_DOCS] = _TABLE.sub(lambda dummy: table(every), (root / _DOCS).read_text())
    return made


def stale(root: Path = ROOT) -> list[str]:
    """Files that are not as they are made."""
    made = files(root)
    return [path for path, text in made.items() if not (root / path).exists() or (root / path).read_text() != text]


def write(root: Path = ROOT) -> None:
    for path, text in files(root).items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
