# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The examples of the pages are YAML; what they do is for tests/vm/test_docs_examples.py."""

import re
from pathlib import Path

import pytest
import yaml

from tests.collection_tree import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "roles").glob("*/README.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_examples_of_a_page_are_yaml(page: Path) -> None:
    for text in re.findall(r"^```yaml[^\n]*\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE):
        assert isinstance(yaml.safe_load(text), (dict, list)), text
