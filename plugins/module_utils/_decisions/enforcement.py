# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host can enforce, and why not, from facts about it. No I/O."""

from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional, Set, Tuple

# What the rules of a flow need of the kernel: those of each variant of iptables, and those of nft, whose secmark is a
# part of nf_tables itself (CONFIG_NETWORK_SECMARK).
_NEEDED_BY_VARIANT = {
    "legacy": ("iptable_security", "ip6table_security", "xt_SECMARK", "xt_conntrack"),
    "nf_tables": ("nf_tables", "nft_compat", "xt_SECMARK", "xt_conntrack"),
}
_NEEDED_BY_NFT = ("nf_tables", "nft_ct")
# The same for the rules of the layer owner, whose users nft knows by nf_tables itself
_OWNER_BY_VARIANT = {
    "legacy": ("iptable_filter", "ip6table_filter", "xt_owner", "xt_conntrack"),
    "nf_tables": ("nf_tables", "nft_compat", "xt_owner", "xt_conntrack"),
}
_OWNER_BY_NFT = ("nf_tables", "nft_ct", "nft_reject_inet")
KERNEL_MODULES = tuple(
    sorted(
        set(_NEEDED_BY_NFT + _OWNER_BY_NFT).union(*_NEEDED_BY_VARIANT.values()).union(*_OWNER_BY_VARIANT.values())
    )
)


class IptablesFacts(NamedTuple):
    """iptables of one family; ``selinux_match`` says whether it has a match named selinux."""

    path: str
    version: Optional[str]
    variant: Optional[str]
    selinux_match: bool


class Facts(NamedTuple):
    """What was found on a host.

    ``iptables`` has a family for each command that is there, ``nft`` is the path of that command; ``modules`` is None
    where the kernel's modules cannot be listed, as in most containers; ``label_rules`` are rules that label packets,
    each as ``table: rule``, ``foreign_labels`` those of others, with the command in front; ``cut`` are the running
    domains that a SECMARK rule would cut off now; ``cgroups`` says whether rules can match control groups;
    ``unlabelled_mptcp`` whether the packets of MPTCP sockets count as those of kernel_t.
    """

    selinux: str
    iptables: Mapping[str, IptablesFacts]
    nft: Optional[str]
    semodule: Optional[str]
    modules: Optional[Mapping[str, bool]]
    label_rules: Tuple[str, ...]
    foreign_labels: Tuple[str, ...]
    cut: Tuple[str, ...]
    cgroups: bool
    unlabelled_mptcp: bool = False


def obstacles(facts: Facts) -> List[str]:
    """Why flows cannot be put in place here by any backend, each a sentence; none where they can."""
    reasons = []
    if facts.selinux == "disabled":
        reasons.append(
            "SELinux is disabled: enable it in /etc/selinux/config and on the kernel command line, and reboot."
        )
    if facts.semodule is None:
        reasons.append("The command semodule is missing: install the package policycoreutils.")
    by_backend = backends(facts)
    if not any(backend["available"] for backend in by_backend.values()):
        reasons.extend(reason for backend in by_backend.values() for reason in backend["reasons"])
    if facts.foreign_labels:
        reasons.append(
            "Rules of other programs label packets, and the last label wins: remove {0}.".format(
                ", ".join("'{0}'".format(rule) for rule in facts.foreign_labels)
            )
        )
    return reasons


def backends(facts: Facts) -> Dict[str, Dict[str, Any]]:
    """What can put labels on packets, and why not, as the module returns it."""
    return _tools(facts, _NEEDED_BY_VARIANT, _NEEDED_BY_NFT)


def _tools(
    facts: Facts, by_variant: Mapping[str, Iterable[str]], by_nft: Iterable[str]
) -> Dict[str, Dict[str, Any]]:
    iptables = [
        "The command {0} is missing: install the package iptables.".format(command)
        for family, command in (("ipv4", "iptables"), ("ipv6", "ip6tables"))
        if family not in facts.iptables
    ]
    needed = set()  # type: Set[str]
    for tool in facts.iptables.values():
        needed.update(by_variant.get(tool.variant or "", ()))
    nftables = ["The command nft is missing: install the package nftables."] if facts.nft is None else []
    reasons = {
        "iptables": iptables + _missing_modules(facts, needed),
        "nftables": nftables + _missing_modules(facts, by_nft),
    }
    return {name: {"available": not why, "reasons": why} for name, why in reasons.items()}


def _missing_modules(facts: Facts, needed: Iterable[str]) -> List[str]:
    if facts.modules is None:
        return []
    missing = sorted(name for name in needed if not facts.modules.get(name))
    if not missing:
        return []
    return [
        "The kernel has no module {0}: install the package with the kernel's other modules, or boot the "
        "distribution's own kernel.".format(", ".join(missing))
    ]


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
    if facts.unlabelled_mptcp:
        notes.append(
            "MPTCP is on, and this kernel checks its packets as those of kernel_t: a confined domain that uses MPTCP "
            "is not confined, and programs of a flow's own domains that use it are cut off. Turn it off with 'sysctl "
            "-w net.mptcp.enabled=0' and in /etc/sysctl.d, or boot Linux 6.5 or newer."
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
        "backends": backends(facts),
    }


def owner_layer(facts: Facts) -> Dict[str, Any]:
    """The layer ``owner`` as the module returns it."""
    by_backend = _tools(facts, _OWNER_BY_VARIANT, _OWNER_BY_NFT)
    available = any(backend["available"] for backend in by_backend.values())
    notes = ["It checks users and units: it does not distinguish domains, and does not check who answers."]
    if not facts.cgroups:
        notes.append(
            "Only users are checked, and units are not, since the control groups are not those of version 2 alone: "
            "boot the host with systemd.unified_cgroup_hierarchy=1."
        )
    return {
        "available": available,
        "enforced": available,
        "units": available and facts.cgroups,
        "reasons": [] if available else [why for backend in by_backend.values() for why in backend["reasons"]],
        "notes": notes if available else [],
        "backends": by_backend,
    }
