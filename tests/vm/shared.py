# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""States of hosts that one worker of pytest-xdist makes and all of them use, for as long as the run lasts."""

from collections.abc import Callable
from pathlib import Path

from tests.lab.building import locked
from tests.lab.states import State


class SharedStates:
    """Saved hosts below a directory that all workers know."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def get(self, name: str, make: Callable[[Path], None]) -> State:
        """The state of that name. `make` saves a host as the directory that it is given, if no worker has done so."""
        directory = self._root / name
        with locked(self._root / "locks" / name, print):
            if not directory.is_dir():
                saving = self._root / f"saving-{name}"
                make(saving)
                saving.rename(directory)
        return State(name, directory)
