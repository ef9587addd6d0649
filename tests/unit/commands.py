# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands that answer as they are told: what AnsibleModule.run_command is to the edges."""

from typing import NamedTuple


class Call(NamedTuple):
    """One command that was run."""

    args: tuple[str, ...]
    data: str | None


class Commands:
    """A PATH with these commands. ``answers`` are by the start of the command line; others succeed and say nothing."""

    def __init__(self, *names: str) -> None:
        self.names = set(names)
        self.answers: dict[str, tuple[int, str, str]] = {}
        self.calls: list[Call] = []

    def run(self, args: list[str], data: str | None = None) -> tuple[int, str, str]:
        self.calls.append(Call(tuple(args), data))
        line = " ".join(args)
        return next((answer for start, answer in self.answers.items() if line.startswith(start)), (0, "", ""))

    def find(self, name: str) -> str | None:
        return f"/sbin/{name}" if name in self.names else None

    @property
    def lines(self) -> list[str]:
        return [" ".join(call.args) for call in self.calls]
