# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


class ModuleDocFragment:
    # What every module that changes flows takes, and what holds for all of them.
    DOCUMENTATION = r"""
requirements:
  - A Linux kernel with conntrack on the target, and for the layer C(selinux) with SELinux and SECMARK
  - Either iptables with ip6tables or nft, and for the layer C(selinux) the command C(semodule)
  - Root on the target
options:
  layers:
    description:
      - What enforces the flows on this host, all of them. V(selinux) checks the domains of processes, by packet labels
        and policy. V(owner) checks the users and systemd units of the clients, by netfilter rules.
      - With both layers, a client must satisfy both. V(owner) alone needs no SELinux, and checks neither domains nor
        who answers.
      - V(auto) must be the only item. It means the layers that the host's flows have already, else V(selinux) where
        SELinux is enabled, else V(owner), as in containers. A warning then says what is not checked.
    type: list
    elements: str
    choices: [auto, selinux, owner]
    default: [auto]
  backend:
    description:
      - What holds the rules. V(iptables) is both iptables and ip6tables, of either variant. V(nftables) is a
        table of nftables' own, whose cost to a packet does not grow with the number of flows.
      - V(auto) is the backend that the host's flows use already, else V(iptables) where its commands are installed,
        else V(nftables). RV(backend) and RV(backend_reason) say which it is and why.
      - A host that changes its backend is labelled by both for a moment, and never by none.
    type: str
    choices: [auto, iptables, nftables]
    default: auto
attributes:
  action:
    description: Has an action plugin, so that some of its work is done on the controller.
    support: full
  async:
    description: Does not support C(async), and does not need it.
    support: none
  action_group:
    description:
      - Use C(group/senet.firewall.firewall) in C(module_defaults) to set O(mode), O(layers), O(backend),
        O(confirm_timeout), O(health_checks) and O(health_commands) for all tasks of this module and its like.
    support: full
    membership:
      - senet.firewall.firewall
notes:
  - Stopping C(senet-firewall.service) opens every flow to everybody. It is logged, and the next run starts it again.
  - Established connections of domains that are not allowed are cut at once.
  - For a process in another network namespace of the same host, such as a container, the flows limit only what it
    receives. A datagram that it sends to a service of the host arrives, and the answer does not.
  - Root in an unconfined domain can load policy, so the flows are not a security boundary against it.
"""
