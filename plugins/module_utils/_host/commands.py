# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running commands without Ansible, for what runs on the host by itself. The same shape as AnsibleModule's own."""

import os
import subprocess
from typing import List, Optional, Tuple

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def run_command(args: List[str], data: Optional[str] = None) -> Tuple[int, str, str]:
    """Return code, standard output and standard error of a command that gets ``data`` on its standard input."""
    process = subprocess.Popen(
        args,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"LANG": "C", "LC_ALL": "C", "PATH": _PATH},
    )
    out, err = process.communicate((data or "").encode("utf-8"))
    return process.returncode, out.decode("utf-8", "replace"), err.decode("utf-8", "replace")


def find_command(name: str) -> Optional[str]:
    """The path of a command, or None."""
    for directory in _PATH.split(":"):
        path = os.path.join(directory, name)
        if os.access(path, os.X_OK) and os.path.isfile(path):
            return path
    return None
