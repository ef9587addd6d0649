# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules that other programs have saved to load them at boot. It decides nothing."""

import glob
import os
from contextlib import suppress
from typing import Dict

# netfilter-persistent, the services of iptables on the RHEL family, and nftables on both
_PATTERNS = (
    "etc/iptables/rules.v[46]",
    "etc/sysconfig/iptables",
    "etc/sysconfig/ip6tables",
    "etc/nftables.conf",
    "etc/sysconfig/nftables.conf",
    "etc/nftables/*.nft",
)


def saved_rules(root: str = "/") -> Dict[str, str]:
    """The text of each such file that is there and can be read, by its path."""
    texts = {}
    for pattern in _PATTERNS:
        for path in sorted(glob.glob(os.path.join(root, pattern))):
            with suppress(OSError), open(path, encoding="utf-8", errors="replace") as content:
                texts[path] = content.read()
    return texts
