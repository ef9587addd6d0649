# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Golden files: what a compiler writes, byte for byte. Run pytest with GOLDEN=write to write them anew."""

import os
from pathlib import Path

DIRECTORY = Path(__file__).with_name("golden")


def assert_golden(name: str, text: str) -> None:
    """Hold a text against the file of that name."""
    path = DIRECTORY / name
    if os.environ.get("GOLDEN") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text(), f"{path} differs"
