# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The other network namespaces of a host: those of running processes, and those that a file keeps."""

import os
from typing import Dict, Iterator, List, Sequence

# ip-netns(8), which podman does like, and Docker
_NAMED = ("/run/netns", "/run/docker/netns")


def other_namespaces(proc: str = "/proc", named: Sequence[str] = _NAMED) -> List[str]:
    """A file for each network namespace but our own, a process's where one is in it: namespaces(7)."""
    own = os.stat(os.path.join(proc, "self/ns/net"))
    found = {}  # type: Dict[int, str]
    for path in _candidates(proc, named):
        try:
            status = os.stat(path)
        except OSError:  # the process has ended
            continue
        # The inode identifies a namespace; a plain file is of another file system.
        if status.st_dev == own.st_dev and status.st_ino != own.st_ino:
            found.setdefault(status.st_ino, path)
    return list(found.values())


def _candidates(proc: str, named: Sequence[str]) -> Iterator[str]:
    for pid in sorted(int(name) for name in os.listdir(proc) if name.isdigit()):
        yield os.path.join(proc, str(pid), "ns/net")
    for directory in named:
        if os.path.isdir(directory):
            for name in sorted(os.listdir(directory)):
                yield os.path.join(directory, name)
