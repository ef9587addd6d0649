# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's distribution, users and units, which the layer owner and the catalogue go by. It decides nothing."""

import os
import pwd
import re
from typing import Dict, Iterable, List, Optional

from ansible_collections.senet.firewall.plugins.module_utils._compile.owner import Accounts, Cgroup
from ansible_collections.senet.firewall.plugins.module_utils._host.command_types import FindCommand, RunCommand
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError

_OS_RELEASE = re.compile(r'^(?:ID|ID_LIKE)="?([^"\n]*)"?$', re.MULTILINE)
_DISTRIBUTIONS = (("debian", "Debian"), ("rhel", "RedHat"), ("fedora", "RedHat"))


class HostAccounts:
    """Users by the name service, units by systemd, control groups by the hierarchy that is mounted."""

    def __init__(
        self,
        run_command: RunCommand,
        find_command: FindCommand,
        cgroups: str = "/sys/fs/cgroup",
        os_release: str = "/etc/os-release",
    ) -> None:
        self._run = run_command
        self._find = find_command
        self._cgroups = cgroups
        self._os_release = os_release

    def distribution(self) -> Optional[str]:
        """The distribution as Ansible's os_family has it, Debian or RedHat; None for others: os-release(5)."""
        try:
            with open(self._os_release, encoding="utf-8", errors="replace") as text:
                words = " ".join(_OS_RELEASE.findall(text.read())).split()
        except FileNotFoundError:
            return None
        return next((distribution for word, distribution in _DISTRIBUTIONS if word in words), None)

    def matches_cgroups(self) -> bool:
        """Whether control groups are those of version 2 alone, the only ones that a rule can name."""
        return os.path.exists(os.path.join(self._cgroups, "cgroup.controllers"))

    def uid(self, user: str) -> Optional[int]:
        """The uid of a login name, or of a number itself; None where the host has no such user."""
        try:
            return int(user) if user.isdigit() else pwd.getpwnam(user).pw_uid
        except KeyError:
            return None

    def unknown_units(self, units: Iterable[str]) -> List[str]:
        """Those of the units that systemd does not know.

        :raises SenetError: systemd does not answer.
        """
        return [unit for unit, found in self._show(units, "LoadState").items() if found in ("", "not-found")]

    def look_up(self, users: Iterable[str], units: Iterable[str]) -> Accounts:
        """Those of the users and units that are here; a unit that does not run has no control group.

        :raises SenetError: systemd does not answer.
        """
        uids = {user: self.uid(user) for user in users}
        found = {}  # type: Dict[str, Cgroup]
        for unit, path in self._show(units, "ControlGroup").items():
            try:
                # Its number is that of its directory (kernfs).
                number = os.stat(os.path.join(self._cgroups, path.strip("/"))).st_ino
            except FileNotFoundError:
                continue
            if path.strip("/"):
                found[unit] = Cgroup(path.strip("/"), number)
        return Accounts({user: uid for user, uid in uids.items() if uid is not None}, found)

    def _show(self, units: Iterable[str], what: str) -> Dict[str, str]:
        """One property of each unit, empty where there is no systemd."""
        names = sorted(set(units))
        systemctl = self._find("systemctl")
        if not names or systemctl is None:
            return dict.fromkeys(names, "")
        # A line for each unit, in their order, an empty one between two
        code, out, err = self._run([systemctl, "show", "--property=" + what, "--"] + names)
        values = [line.partition("=")[2] for line in out.splitlines() if line.startswith(what + "=")]
        # Not as if none of them ran: rules would then refuse their clients
        if code or len(values) != len(names):
            raise SenetError(
                "systemd did not answer about the units {0} ({1}); run 'systemctl show' for each, or give the flow "
                "users and no units.".format(", ".join(names), " ".join(err.split()) or "it says nothing")
            )
        return dict(zip(names, values))
