# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Saved hosts, the common ones kept in the cache beside the image."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from .guests import STOCK

KEEP_STATES = 2
# What the lab's services, its tools and an administrator need; Debian's `base` holds init, systemd, logging and so on.
SLIM_MODULES = (
    *("apache", "base", "bind", "chronyd", "clock", "cron", "getty", "hostname", "ipsec", "iptables", "ldap", "lvm"),
    *("memcached", "mysql", "netlabel", "netutils", "policykit", "postgresql", "redis", "rpc", "setrans", "shutdown"),
    *("ssh", "su", "sudo", "tmpreaper", "unconfined", "xdg", "xserver", "zabbix"),
)


class State(NamedTuple):
    """A saved host in `directory`: of QEMU its disk and, but for Host.save_disk(), its memory; of User Mode Linux its
    disk alone."""

    name: str
    directory: Path

    @property
    def ram(self) -> Path:
        return self.directory / "ram"

    @property
    def overlay(self) -> Path:
        return self.directory / "disk.qcow2"

    @property
    def cow(self) -> Path:
        return self.directory / "disk.cow"


class Recipe(NamedTuple):
    """How a cached state is made: start from `base`, run `commands` in the guest, save."""

    base: str
    commands: tuple[str, ...]
    doing: str


BOOTED = Recipe("cold", (), "booting the image once")
# Debian's policy is a hundred modules more than the lab's services have: a rebuild takes a fifth of its time with a
# tenth of them. The files of the others get new labels.
SLIM = Recipe(
    "booted",
    (
        "semodule $(semodule -l | grep -vxE '" + "|".join(SLIM_MODULES) + "' | sed 's/^/-d /')",
        "setfiles -F /etc/selinux/default/contexts/files/file_contexts /",
    ),
    "disabling most modules of the policy once",
)
# The modules of Fedora's policy need one another.
WHOLE = Recipe("booted", (), "booting it once more, with all of its policy")


def recipes(policy: str) -> dict[str, Recipe]:
    """The states that the cache can hold of a guest with that policy (guests.py)."""
    return {"booted": BOOTED, "slim": SLIM if policy == STOCK else WHOLE}


def recipe_digest(name: str, identity: str, known: dict[str, Recipe]) -> str:
    """What a cached state depends on beside the image: the kind of machine as it is set up, and the recipes."""
    parts = [identity]
    while name in known:
        parts += [name, *known[name].commands]
        name = known[name].base
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def to_prune(directories: Iterable[Path], current: Path) -> list[Path]:
    """The directories beyond the newest KEEP_STATES, by last use; never `current`."""
    others = sorted((path for path in directories if path != current), key=lambda path: path.stat().st_mtime)
    return others[: max(0, len(others) - (KEEP_STATES - 1))]


def prune(image: Path, name: str, current: Path) -> None:
    """Remove the states of one name that earlier versions of the lab left."""
    for old in to_prune(image.glob(f"{name}-*"), current):
        shutil.rmtree(old, ignore_errors=True)
