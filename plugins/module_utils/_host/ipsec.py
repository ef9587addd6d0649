# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The labels of the kernel's IPsec policies and associations, as ip prints them. It decides nothing."""

import re
from typing import List, Set

from ansible_collections.senet.firewall.plugins.module_utils._host.netfilter import FindCommand, RunCommand

_CONTEXT = re.compile(r"^\s*security context (\S+)", re.MULTILINE)


def ipsec_labels(run_command: RunCommand, find_command: FindCommand) -> List[str]:
    """The contexts that IPsec policies and associations of this host carry, sorted; none where it has no ip or no
    IPsec."""
    path = find_command("ip")
    found = set()  # type: Set[str]
    for kind in ("policy", "state"):
        code, out, dummy = run_command([path, "xfrm", kind]) if path else (1, "", "")
        found.update(_CONTEXT.findall(out) if code == 0 else ())
    return sorted(found)
