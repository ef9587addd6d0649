# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A network namespace of this machine: a real kernel's tables, which start empty and go with it. Needs root.

This machine need not have SELinux, without which no SECMARK rule loads: in the kernel each label is a MARK rule whose
number stands for the context, and what is saved says SECMARK again.
"""

import re
import subprocess
from types import TracebackType

from ansible_collections.senet.firewall.plugins.module_utils._host.commands import find_command

INFIXES = {"nf_tables": "nft", "legacy": "legacy"}
TABLES = ("raw", "mangle", "nat", "filter", "security")
_LABEL = re.compile(r"-j SECMARK --selctx (\S+)")
# No foreign rule of the tests sets a mark of this range.
_MARK = re.compile(r"-j MARK --set-xmark 0x5e([0-9a-f]{4})/0xffffffff")


class NetworkNamespace:
    """A context manager; `run` and `find` are what the edges take, for the variant of iptables that is the default."""

    def __init__(self, variant: str) -> None:
        self._infix = INFIXES[variant]
        self._contexts: list[str] = []

    def __enter__(self) -> "NetworkNamespace":
        command = ["unshare", "--net", "sh", "-c", "echo ready; read -r end"]
        self._holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"ready\n"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._holder.communicate()

    @property
    def contexts(self) -> dict[int, str]:
        """The contexts that were loaded, by the marks that stand for them."""
        return {0x5E0000 + number: context for number, context in enumerate(self._contexts)}

    @property
    def holder(self) -> int:
        """A process in the namespace."""
        return self._holder.pid

    def run(self, args: list[str], data: str | None = None) -> tuple[int, str, str]:
        done = subprocess.run(
            ["nsenter", f"--net=/proc/{self._holder.pid}/ns/net", *args],
            input=_LABEL.sub(self._mark, data or ""), capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.returncode, _MARK.sub(self._label, done.stdout), done.stderr

    def find(self, name: str) -> str | None:
        """The command of the default variant: iptables-restore is iptables-nft-restore."""
        base, dash, rest = name.partition("-")
        return find_command(f"{base}-{self._infix}{dash}{rest}" if base in ("iptables", "ip6tables") else name)

    def load(self, command: str, text: str) -> None:
        """Feed one restore command, counters among it."""
        code, dummy, err = self.run([f"{command}-restore", "--counters"], text)
        assert code == 0, f"{err}\n{text}"

    def saved(self, command: str) -> list[str]:
        """What one save command prints, counters among it, but the comments with the time."""
        code, out, err = self.run([f"{command}-save", "--counters"])
        assert code == 0, err
        return [line for line in out.splitlines() if not line.startswith("#")]

    def _mark(self, match: re.Match[str]) -> str:
        if match[1] not in self._contexts:
            self._contexts.append(match[1])
        return f"-j MARK --set-xmark 0x5e{self._contexts.index(match[1]):04x}/0xffffffff"

    def _label(self, match: re.Match[str]) -> str:
        return f"-j SECMARK --selctx {self._contexts[int(match[1], 16)]}"
