# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel's NetLabel configuration, through netlabelctl. It decides nothing."""

from typing import List

from ansible_collections.senet.firewall.plugins.module_utils._compile.netlabel import LISTS
from ansible_collections.senet.firewall.plugins.module_utils._host.command_types import FindCommand, RunCommand
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError

_COMMAND = "netlabelctl"


class NetLabel:
    """NetLabel of this host."""

    def __init__(self, run_command: RunCommand, find_command: FindCommand) -> None:
        self._run = run_command
        self._find = find_command

    def available(self) -> bool:
        """Whether the command is here."""
        return self._find(_COMMAND) is not None

    def save(self) -> str:
        """What netlabelctl lists of each part, after a line ``# name``.

        :raises SenetError: the command is missing or fails.
        """
        return "".join("# {0}\n{1}\n".format(name, self._call([name, "list"])) for name in LISTS)

    def restore(self, text: str) -> None:
        """Run commands, a line each, going on after one that fails.

        :raises SenetError: the command is missing, or the kernel refused some.
        """
        failures = []
        for line in text.splitlines():
            try:
                self._call(line.split(" "))
            except SenetError as exc:
                failures.append(exc)
        if failures:
            raise failures[0]

    def _call(self, words: List[str]) -> str:
        path = self._find(_COMMAND)
        if path is None:
            raise SenetError(
                "The command 'netlabelctl' is not on this host, and peer labels need it, also those of verify_source; "
                "install the package netlabel_tools (netlabel-tools on the Debian family)."
            )
        code, out, err = self._run([path] + words)
        if code:
            said = err.strip().replace("netlabelctl: ", "") or "it says nothing"
            raise SenetError(
                "'netlabelctl {0}' was refused ({1}); see with 'netlabelctl -p mgmt protocols' whether the kernel has "
                "NetLabel, and with 'netlabelctl -p map list' and 'netlabelctl -p unlbl list' what it holds.".format(
                    " ".join(words), said
                )
            )
        return out
