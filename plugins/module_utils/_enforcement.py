# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host can enforce, and why not, from facts about it. No I/O."""

from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple

# What the rules of a flow need of the kernel: by each variant of iptables, and by both.
_NEEDED = ("xt_SECMARK", "xt_conntrack")
_NEEDED_BY_VARIANT = {
    "legacy": ("iptable_security", "ip6table_security"),
    "nf_tables": ("nf_tables", "nft_compat"),
}
KERNEL_MODULES = tuple(sorted(_NEEDED + _NEEDED_BY_VARIANT["legacy"] + _NEEDED_BY_VARIANT["nf_tables"]))


class IptablesFacts(NamedTuple):
    """iptables of one family; ``selinux_match`` says whether it has a match named selinux."""

    path: str
    version: Optional[str]
    variant: Optional[str]
    selinux_match: bool


class Facts(NamedTuple):
    """What was found on a host.

    ``iptables`` has a family for each command that is there; ``modules`` is None where the kernel's modules cannot
    be listed, as in most containers; ``label_rules`` are rules that label packets, each as ``table: rule``;
    ``cut`` are the running domains that a SECMARK rule would cut off now.
    """

    selinux: str
    iptables: Mapping[str, IptablesFacts]
    semodule: Optional[str]
    modules: Optional[Mapping[str, bool]]
    label_rules: Tuple[str, ...]
    cut: Tuple[str, ...]


def obstacles(facts: Facts) -> List[str]:
    """Why flows cannot be put in place here, each a sentence; none where they can."""
    reasons = []
    if facts.selinux == "disabled":
        reasons.append(
            "SELinux is disabled: enable it in /etc/selinux/config and on the kernel command line, and reboot."
        )
    for family, command in (("ipv4", "iptables"), ("ipv6", "ip6tables")):
        if family not in facts.iptables:
            reasons.append("The command {0} is missing: install the package iptables.".format(command))
    if facts.semodule is None:
        reasons.append("The command semodule is missing: install the package policycoreutils.")
    if facts.modules is not None:
        needed = set(_NEEDED)
        for tool in facts.iptables.values():
            needed.update(_NEEDED_BY_VARIANT.get(tool.variant or "", ()))
        missing = sorted(name for name in needed if not facts.modules.get(name))
        if missing:
            reasons.append(
                "The kernel has no module {0}: install the package with the kernel's other modules, or boot the "
                "distribution's own kernel.".format(", ".join(missing))
            )
    return reasons


def caveats(facts: Facts) -> List[str]:
    """What a user must know although flows can be put in place, each a sentence."""
    notes = []
    if facts.selinux == "permissive":
        notes.append("SELinux is permissive: refusals are logged and not enforced until 'setenforce 1'.")
    if facts.cut:
        notes.append(
            "A SECMARK rule of another program would cut off the running domains {0}, since the policy does not let "
            "them use unlabelled packets; the flows of this collection bring the policy that does.".format(
                ", ".join(facts.cut)
            )
        )
    return notes


def layer(facts: Facts) -> Dict[str, Any]:
    """The layer ``selinux`` as the module returns it."""
    reasons = obstacles(facts)
    return {
        "available": not reasons,
        "enforced": not reasons and facts.selinux == "enforcing",
        "reasons": reasons,
        "notes": caveats(facts) if not reasons else [],
    }
