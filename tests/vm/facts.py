# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the collection may change on a host, read with the host's own tools."""

from typing import NamedTuple

from tests.lab.vm import Host

# Date and time stand in comments only; packet counters are printed for the built-in chains.
_SAVED = "%s-save | sed -e '/^#/d' -e 's/ \\[[0-9]*:[0-9]*\\]$//'"


# A shell finds the cluster's version, which each release of Debian has another of.
POSTGRESQL = "postgresql@$(ls /etc/postgresql)-main"
# The name of the policy, in Debian's guests and in those with Fedora's
DEBIAN, FEDORA = "default", "targeted"


class Facts(NamedTuple):
    """Rules of both families, the whole nft ruleset, the policy store's modules, files of our name, kernel modules."""

    ipv4: str
    ipv6: str
    nft: str
    policy: str
    files: str
    kernel: str


def facts(host: Host) -> Facts:
    """Kernel modules last: iptables-save and nft, which also the collection reads with, load nf_tables themselves.

    /var/lib/senet-firewall is left out: the outcome of the last change outlives it, for whoever asks the guard. So is
    /etc/senet/history, with the earlier sets of flows for whoever goes back.
    """
    commands = (
        _SAVED % "iptables",
        _SAVED % "ip6tables",
        "nft list ruleset | sed 's/ packets [0-9]* bytes [0-9]*//'",
        "semodule --list-modules=full",
        "find /etc /usr /var -xdev '(' -name '*senet*' -o -path '/etc/senet/*' ')' -not -path '/etc/senet' "
        "-not -path '/etc/senet/history*' -not -path '/var/lib/senet-firewall' | sort",
        "lsmod | cut -d' ' -f1 | sort",
    )
    return Facts(*(host.run(command).stdout for command in commands))


def policy_name(host: Host) -> str:
    """The host's policy as /etc/selinux/config names it."""
    return host.run("sed -n 's/^SELINUXTYPE=//p' /etc/selinux/config").stdout.strip()
