# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's guests by name: which Debian, with which kernel and which SELinux policy."""

from __future__ import annotations

from typing import NamedTuple

from .errors import LabError

STOCK = "stock"
FEDORA = "fedora"
DEFAULT_GUEST = "debian12"


class Guest(NamedTuple):
    """What a guest's image is built from, beside what all guests have.

    `kernel` is the package whose kernel QEMU boots. `policy` is STOCK, Debian's own, or FEDORA, built from a source.
    """

    suite: str
    kernel: str = "linux-image-cloud-amd64"
    policy: str = STOCK

    @property
    def selinux_type(self) -> str:
        """The policy's name in /etc/selinux."""
        return "default" if self.policy == STOCK else "targeted"


GUESTS = {
    "debian12": Guest("bookworm"),
    "debian13": Guest("trixie"),
    # The oldest tools that can be had: nft 0.9.8, iptables 1.8.7, systemd 247, and Python 3.9 as on EL 9.
    "debian11": Guest("bullseye"),
    "debian12-fedora": Guest("bookworm", policy=FEDORA),
}

# What a suite calls otherwise than guest/packages.txt.
RENAMED = {"bullseye": {"spamd": "spamassassin"}}

# Old suites whose mirrors still list updates of which they no longer have all files: only the release itself is used.
FROZEN = frozenset({"bullseye"})


def guest_named(name: str) -> Guest:
    """The guest of that name. Raises LabError when there is none."""
    if name not in GUESTS:
        raise LabError(f"There is no guest {name}: choose one of {', '.join(GUESTS)}.")
    return GUESTS[name]


def packages(guest: Guest, text: str) -> list[str]:
    """The packages of a guest: those of a list with one name a line, as the suite calls them, and the kernel."""
    renamed = RENAMED.get(guest.suite, {})
    names = [line.strip() for line in text.splitlines() if line.strip()]
    return sorted({guest.kernel, *(renamed.get(name, name) for name in names)})
