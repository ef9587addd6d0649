#!/usr/bin/python
# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: enforcement_info
short_description: Return what a host can enforce between SELinux domains, and why not
version_added: 0.1.0
description:
  - Returns whether the flows of M(senet.firewall.flows) can be put in place on a host and will be enforced, and if not,
    every reason with what to do about it.
  - Names the running domains that a SECMARK rule of another program would cut off now. One such rule turns on packet
    checks for the whole host, and stock policies differ in which domains may use unlabelled packets. The module asks
    the kernel, domain by domain.
requirements:
  - Root on the target
extends_documentation_fragment:
  - senet.firewall.attributes
  - senet.firewall.info
seealso:
  - module: senet.firewall.flows
  - module: senet.firewall.process_context_info
author:
  - senet.firewall contributors (@senet)
"""

EXAMPLES = r"""
- name: Ask what the host can enforce
  senet.firewall.enforcement_info:
  register: enforcement

- name: Stop where flows would not be enforced
  ansible.builtin.assert:
    that: enforcement.layers.selinux.enforced
    fail_msg: "{{ (enforcement.layers.selinux.reasons + enforcement.layers.selinux.notes) | join(' ') }}"
"""

RETURN = r"""
selinux:
  description: SELinux on the host.
  returned: success
  type: dict
  contains:
    status:
      description: V(enforcing), V(permissive) or V(disabled).
      returned: always
      type: str
      sample: enforcing
    policy:
      description: The policy that C(/etc/selinux/config) names, or null.
      returned: always
      type: str
      sample: targeted
    mls:
      description: Whether contexts carry a level; null where SELinux is disabled.
      returned: always
      type: bool
      sample: true
    policy_version:
      description: The newest binary policy version that the kernel takes; null where SELinux is disabled.
      returned: always
      type: int
      sample: 33
iptables:
  description: The commands by family, V(ipv4) and V(ipv6). A family whose command the host does not have is left out.
  returned: success
  type: dict
  contains:
    ipv4:
      description: The command iptables.
      returned: when the command is there
      type: dict
      contains:
        path:
          description: Where it is.
          returned: always
          type: str
          sample: /usr/sbin/iptables
        version:
          description: Its version. Null if the command does not print it.
          returned: always
          type: str
          sample: 1.8.9
        variant:
          description: V(nf_tables) or V(legacy). Null if the version is null.
          returned: always
          type: str
          sample: nf_tables
        selinux_match:
          description: Whether it has a match extension named selinux.
          returned: always
          type: bool
          sample: false
    ipv6:
      description: The command ip6tables.
      returned: when the command is there
      type: dict
      contains:
        path:
          description: Where it is.
          returned: always
          type: str
          sample: /usr/sbin/ip6tables
        version:
          description: Its version. Null if the command does not print it.
          returned: always
          type: str
          sample: 1.8.9
        variant:
          description: V(nf_tables) or V(legacy). Null if the version is null.
          returned: always
          type: str
          sample: nf_tables
        selinux_match:
          description: Whether it has a match extension named selinux.
          returned: always
          type: bool
          sample: false
  sample:
    ipv4:
      path: /usr/sbin/iptables
      version: 1.8.9
      variant: nf_tables
      selinux_match: false
nft:
  description: The command nft, or null.
  returned: success
  type: dict
  contains:
    path:
      description: Where it is.
      returned: always
      type: str
      sample: /usr/sbin/nft
    version:
      description: Its version. Null if the command does not print it.
      returned: always
      type: str
      sample: 1.0.6
  sample:
    path: /usr/sbin/nft
    version: 1.0.6
kernel:
  description: The kernel.
  returned: success
  type: dict
  contains:
    release:
      description: Its release.
      returned: always
      type: str
      sample: 6.1.0-40-cloud-amd64
    modules:
      description: For each kernel module that rules may need, whether the kernel has it, built in or on disk. Null if
        they cannot be listed, as in most containers.
      returned: always
      type: dict
      sample: {"xt_SECMARK": true, "xt_conntrack": true}
    unlabelled_mptcp:
      description: Whether MPTCP is on and the kernel checks its packets as those of C(kernel_t), whatever domain a
        program is in, as it does before Linux 6.5. A confined domain that uses MPTCP is then not confined, and programs
        of a flow that use it are cut off.
      returned: always
      type: bool
      sample: false
label_rules:
  description: The rules of iptables and ip6tables that label packets now, those of the collection and of others.
  returned: success
  type: list
  elements: str
  sample: []
foreign_labels:
  description:
    - The rules of other programs that label packets, in either variant of iptables or in nft, each as C(command table:)
      and the rule.
    - M(senet.firewall.flows) refuses to add labels while they exist, since the last label wins.
  returned: success
  type: list
  elements: str
  sample: ["nft ip filter OUTPUT: tcp dport 22 meta secmark set \"ssh\""]
domains_cut:
  description: The running domains that a SECMARK rule of another program would cut off now, because the policy does not
    let them send and receive unlabelled packets.
  returned: success
  type: list
  elements: str
  sample: [httpd_t, sshd_t]
layers:
  description: What can enforce flows on this host.
  returned: success
  type: dict
  contains:
    selinux:
      description: Packet labels and SELinux policy.
      returned: always
      type: dict
      contains:
        available:
          description: Whether flows can be put in place.
          returned: always
          type: bool
          sample: true
        enforced:
          description: Whether they will be enforced.
          returned: always
          type: bool
          sample: true
        reasons:
          description: Why they cannot be put in place.
          returned: always
          type: list
          elements: str
          sample: []
        notes:
          description: What else to know.
          returned: always
          type: list
          elements: str
          sample: []
        backends:
          description: What can put labels on packets, each with C(available) and the C(reasons) against it.
          returned: always
          type: dict
          sample: {"iptables": {"available": true, "reasons": []}, "nftables": {"available": true, "reasons": []}}
    owner:
      description: Netfilter rules that check users and systemd units, for hosts without SELinux or in addition to it.
      returned: always
      type: dict
      contains:
        available:
          description: Whether flows can be put in place.
          returned: always
          type: bool
          sample: true
        enforced:
          description: Whether they will be enforced.
          returned: always
          type: bool
          sample: true
        units:
          description: Whether units can be checked, and not only users.
          returned: always
          type: bool
          sample: true
        reasons:
          description: Why they cannot be put in place.
          returned: always
          type: list
          elements: str
          sample: []
        notes:
          description: What this layer does not check.
          returned: always
          type: list
          elements: str
          sample: ["It checks users and units: it does not distinguish domains, and does not check who answers."]
        backends:
          description: What can hold its rules, each with C(available) and the C(reasons) against it.
          returned: always
          type: dict
          sample: {"iptables": {"available": true, "reasons": []}, "nftables": {"available": true, "reasons": []}}
"""

import os
from typing import Any, Dict, List

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.senet.firewall.plugins.module_utils._agent.packed import this_host
from ansible_collections.senet.firewall.plugins.module_utils._compile.iptables import label_rules
from ansible_collections.senet.firewall.plugins.module_utils._decisions import enforcement
from ansible_collections.senet.firewall.plugins.module_utils._decisions.access import cut_domains
from ansible_collections.senet.firewall.plugins.module_utils._decisions.foreign_rules import foreign_labels
from ansible_collections.senet.firewall.plugins.module_utils._host.host import Host
from ansible_collections.senet.firewall.plugins.module_utils._host.netfilter import COMMANDS, kernel_modules
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import UNLABELED_TYPE


def _iptables(host: Host) -> Dict[str, enforcement.IptablesFacts]:
    tools = {family: host.netfilter.iptables(family) for family in COMMANDS}
    return {
        family: enforcement.IptablesFacts(
            tool.path, tool.version, tool.variant, host.netfilter.has_match(family, "selinux")
        )
        for family, tool in tools.items()
        if tool is not None
    }


def _selinux(host: Host, status: str) -> Dict[str, Any]:
    on = status != "disabled"
    return {
        "status": status,
        "policy": host.selinux.policy_name(),
        "mls": host.selinux.mls() if on else None,
        "policy_version": host.selinux.policy_version() if on else None,
    }


def _domains_cut(host: Host, status: str) -> List[str]:
    if status == "disabled":
        return []
    return cut_domains(host.selinux.access, host.processes(False), [host.selinux.context(UNLABELED_TYPE)])


def main() -> None:
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    host = this_host()
    release = os.uname().release
    try:
        status = host.selinux.status()
        tools = _iptables(host)
        nft = host.netfilter.nft()
        saves = host.netfilter.saves()
        facts = enforcement.Facts(
            selinux=status,
            iptables=tools,
            nft=nft.path if nft else None,
            semodule=host.store.command(),
            modules=kernel_modules(enforcement.KERNEL_MODULES, release),
            label_rules=tuple(rule for saved in saves if saved.default for rule in label_rules(saved.text)),
            foreign_labels=tuple(foreign_labels(saves, host.netfilter.ruleset())),
            cut=tuple(_domains_cut(host, status)),
            cgroups=host.accounts.matches_cgroups(),
            unlabelled_mptcp=host.unlabelled_mptcp(),
        )
    except SenetError as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(
        changed=False,
        selinux=_selinux(host, status),
        iptables={family: dict(tool._asdict()) for family, tool in facts.iptables.items()},
        nft={"path": nft.path, "version": nft.version} if nft else None,
        kernel={"release": release, "modules": facts.modules, "unlabelled_mptcp": facts.unlabelled_mptcp},
        label_rules=list(facts.label_rules),
        foreign_labels=list(facts.foreign_labels),
        domains_cut=list(facts.cut),
        layers={"selinux": enforcement.layer(facts), "owner": enforcement.owner_layer(facts)},
    )


if __name__ == "__main__":
    main()
