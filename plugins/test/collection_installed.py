# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec


def collection_installed(name: str) -> bool:
    """Whether the controller has a collection."""
    try:
        return find_spec(f"ansible_collections.{name}") is not None
    except ModuleNotFoundError:
        return False


class TestModule:
    """The tests of this file."""

    def tests(self) -> dict[str, Callable[[str], bool]]:
        return {"collection_installed": collection_installed}
