# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running commands without Ansible, for what runs on the host by itself. The same shape as AnsibleModule's own."""

import os
import subprocess
from contextlib import contextmanager, suppress
from typing import Iterator, List, Optional, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._compile import owner

# proc(5): the context that the next program gets
_NEXT_CONTEXT = "/proc/thread-self/attr/exec"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def run_command(args: List[str], data: Optional[str] = None) -> Tuple[int, str, str]:
    """Return code, standard output and standard error of a command that gets ``data`` on its standard input."""
    with _own_context(args, data or ""):
        process = subprocess.Popen(  # pylint: disable=ansible-bad-function
            args,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={"LANG": "C", "LC_ALL": "C", "PATH": _PATH},
        )
    out, err = process.communicate((data or "").encode("utf-8"))
    return process.returncode, out.decode("utf-8", "replace"), err.decode("utf-8", "replace")


@contextmanager
def _own_context(args: List[str], data: str) -> Iterator[None]:
    """Start nft in our own domain for the layer owner's table: the one that a policy gives it, iptables_t, may not look
    at control groups. Labels it keeps to: a policy lets iptables_t relabel packets, and not our own domain."""
    if os.path.basename(args[0]) != "nft" or owner.TABLE not in " ".join(args) + data:
        yield
        return
    # Not there without SELinux, and not ours to write in every domain
    with suppress(OSError), open("/proc/thread-self/attr/current", "rb") as current:
        _write_next_context(current.read())
    try:
        yield
    finally:
        with suppress(OSError):
            _write_next_context(b"\n")


def _write_next_context(context: bytes) -> None:
    descriptor = os.open(_NEXT_CONTEXT, os.O_WRONLY)
    try:
        os.write(descriptor, context)
    finally:
        os.close(descriptor)


def find_command(name: str) -> Optional[str]:
    """The path of a command, or None."""
    for directory in _PATH.split(":"):
        path = os.path.join(directory, name)
        if os.access(path, os.X_OK) and os.path.isfile(path):
            return path
    return None
