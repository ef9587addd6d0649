# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Python interpreter that root's units may run: one that nobody but root can have changed."""

import glob
import os
import stat
import sys
from typing import Iterator, List, Optional

from ansible_collections.senet.firewall.plugins.module_utils._host.command_types import RunCommand
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError

# The same whatever interpreter a run has, so that the units stay as they are
_KNOWN = ("/usr/libexec/platform-python", "/usr/bin/python3", "/usr/bin/python3.*[0-9]")
# A package such as Debian's python3-minimal has not all of the standard library.
_FITS = (
    "import bz2, fcntl, ipaddress, json, pwd, select, socket, subprocess, sys, tempfile; "
    "sys.exit(sys.version_info < (3, 6))"
)
# ELOOP of the kernel: path_resolution(7)
_MAX_LINKS = 40


def find_interpreter(run_command: RunCommand, installed: Optional[str]) -> str:
    """The path of the interpreter for this host's units; ``installed`` is the one that they have, if any.

    The interpreter of this run is the last choice: a virtual environment in a home directory is its user's.

    :raises SenetError: there is none that is root's alone and new enough.
    """
    for path in _candidates(installed):
        if is_roots_alone(path) and _fits(run_command, path):
            return path
    raise SenetError(
        "This host has no Python interpreter that the units of root can run: it must be 3.6 or newer, have the whole "
        "standard library, and be writable by root only, with each directory and link on its path; install the "
        "package python3 (Debian) or platform-python (RHEL family)."
    )


def is_roots_alone(path: str) -> bool:
    """Whether root owns a file and each directory and link that leads to it, and nobody else may write any of them."""
    links = 0
    walked = "/"
    waiting = _parts(path)
    if not os.path.isabs(path) or not _is_safe(os.lstat(walked)):
        return False
    while waiting:
        name = waiting.pop(0)
        if name == "..":
            walked = os.path.dirname(walked)
            continue
        step = os.path.join(walked, name)
        try:
            status = os.lstat(step)
            if not _is_safe(status):
                return False
            if stat.S_ISLNK(status.st_mode):
                target = os.readlink(step)
                links += 1
                if links > _MAX_LINKS:
                    return False
                walked = "/" if os.path.isabs(target) else walked
                waiting = _parts(target) + waiting
                continue
        except OSError:
            return False
        walked = step
    return os.path.isfile(walked) and os.access(walked, os.X_OK)


def _candidates(installed: Optional[str]) -> Iterator[str]:
    for pattern in _KNOWN:
        # Newest first
        yield from sorted(glob.glob(pattern), key=_version, reverse=True)
    if installed:
        yield installed
    if sys.executable:
        yield sys.executable


def _version(path: str) -> List[int]:
    return [int(part) for part in os.path.basename(path).replace("python", "").split(".") if part.isdigit()]


def _parts(path: str) -> List[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _is_safe(status: os.stat_result) -> bool:
    # A link's own mode means nothing
    others = 0 if stat.S_ISLNK(status.st_mode) else stat.S_IWGRP | stat.S_IWOTH
    return status.st_uid == 0 and not status.st_mode & others


def _fits(run_command: RunCommand, path: str) -> bool:
    # What runs here has imported most of it
    if sys.executable and os.path.realpath(path) == os.path.realpath(sys.executable):
        return True
    try:
        return run_command([path, "-IB", "-c", _FITS])[0] == 0
    except OSError:
        return False
