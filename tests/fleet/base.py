# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files that all hosts of the fleet share, read only: the containers' image unpacked, with no service but sshd."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.containers.image import image

# What no host of the fleet runs, and takes long to unpack
_LEFT_OUT = (
    "./dev/*", "./usr/lib/mysql", "./usr/lib/postgresql", "./usr/sbin/mariadbd", "./usr/lib/x86_64-linux-gnu/libLLVM*",
    "./usr/share/doc", "./usr/share/man", "./usr/share/locale", "./var/cache/apt", "./var/lib/apt",
)  # fmt: skip
# Of the machine, or not of a host that only waits for Ansible. The clients' units stay, and do not run.
_MASKED = (
    "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer",
    "console-getty.service", "e2scrub_reap.service", "getty@tty1.service", "systemd-modules-load.service",
    "systemd-remount-fs.service", "systemd-sysctl.service", "systemd-udev-trigger.service", "systemd-udevd.service",
    "dev-hugepages.mount", "dev-mqueue.mount", "sys-fs-fuse-connections.mount", "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
)  # fmt: skip
_UNITS = "etc/systemd/system"
_SERVICES = ("apache2", "mariadb", "memcached", "postgresql", "redis-server")


def base() -> Path:
    """The directory, unpacked now if the cache does not have it. Raises CalledProcessError."""
    archive = image()
    root = archive.with_suffix(".root")
    if not root.exists():
        unfinished = archive.with_suffix(".root.part")
        for old in (unfinished, *archive.parent.glob("*.root")):
            shutil.rmtree(old, ignore_errors=True)
        unfinished.mkdir()
        print("fleet: unpacking the hosts' files; once, about a minute", flush=True)
        left_out = [f"--exclude={path}" for path in _LEFT_OUT]
        subprocess.run(["tar", "-xf", archive, "-C", unfinished, *left_out], check=True)
        _quieten(unfinished)
        unfinished.rename(root)
    return root


def _quieten(root: Path) -> None:
    for unit in _MASKED:
        (root / _UNITS / unit).unlink(missing_ok=True)
        (root / _UNITS / unit).symlink_to("/dev/null")
    for service in _SERVICES:
        (root / _UNITS / "multi-user.target.wants" / f"{service}.service").unlink()
    (root / "usr/lib/systemd/system-generators/postgresql-generator").unlink()
