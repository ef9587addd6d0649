# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which backend labels the packets of a host."""

from typing import NamedTuple, Optional, Sequence

from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.intent import IPTABLES, NFTABLES

AUTO_BACKEND = "auto"
_MISSING = {
    IPTABLES: "install the package iptables, which brings ip6tables too",
    NFTABLES: "install the package nftables",
}


class Choice(NamedTuple):
    """A backend, and why it is that one."""

    backend: str
    reason: str


def choose_backend(asked: str, recorded: Optional[str], available: Sequence[str]) -> Choice:
    """The backend for a host: what is asked for, else what it has already, else the first that is available.

    :raises SenetError: the host has none, or not the one that is asked for.
    """
    if asked != AUTO_BACKEND:
        if asked not in available:
            raise SenetError(
                "The commands of the backend '{0}' are not on this host; {1}, or use backend=auto.".format(
                    asked, _MISSING[asked]
                )
            )
        return Choice(asked, "it was asked for")
    if not available:
        raise SenetError(
            "This host has neither iptables and ip6tables nor nft, so nothing can label its packets; {0}, or "
            "{1}.".format(_MISSING[IPTABLES], _MISSING[NFTABLES])
        )
    if recorded in available:
        return Choice(str(recorded), "the host's flows use it already")
    if len(available) == 1:
        return Choice(available[0], "the host has the commands of this backend only")
    return Choice(available[0], "it is the first of those that the host has: " + ", ".join(available))
