# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether packets of an MPTCP socket are checked against the domain of whoever made it. It decides nothing."""

import os
import re

# Linux 6.5; distributions have brought it to older kernels, which the table of symbols tells.
_SINCE = (6, 5)
_SYMBOL = b"_mptcp_add_subflow"
_RELEASE = re.compile(r"(\d+)\.(\d+)")


def is_unlabelled_mptcp(proc: str = "/proc") -> bool:
    """Whether MPTCP is on, and its packets are sent and received by kernel_t whatever domain a program is in:
    security_mptcp_add_subflow in security/security.c is missing."""
    if _read(os.path.join(proc, "sys/net/mptcp/enabled")).strip() != b"1":
        return False
    release = _RELEASE.match(_read(os.path.join(proc, "sys/kernel/osrelease")).decode("ascii", "replace"))
    if release and (int(release.group(1)), int(release.group(2))) >= _SINCE:
        return False
    return _SYMBOL not in _read(os.path.join(proc, "kallsyms"))


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as content:
            return content.read()
    except OSError:
        return b""
