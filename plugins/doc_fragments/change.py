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
      - What enforces all flows of this host. V(selinux) checks the domains of processes, by packet labels and policy.
        V(owner) checks the users and systemd units of the clients, by netfilter rules.
      - With both layers, a client must satisfy both. V(owner) alone needs no SELinux, and checks neither domains nor
        who answers.
      - V(auto) must be the only item. It means the layers that the host's flows have already, else V(selinux) if
        SELinux is enabled, else V(owner), as in containers. With V(owner) alone, a warning says what is not checked.
    type: list
    elements: str
    choices: [auto, selinux, owner]
    default: [auto]
  backend:
    description:
      - The tool that holds the rules. V(iptables) is both iptables and ip6tables, of either variant. V(nftables) is a
        table of the collection's own in nftables; the time that a packet takes there does not grow with the number of
        flows on ports alone.
      - V(auto) is the backend that the host's flows use already, else V(iptables) if both its commands are installed,
        else V(nftables). RV(backend) and RV(backend_reason) say which it is and why.
      - A host that changes its backend is labelled by both for a moment, and never by none.
    type: str
    choices: [auto, iptables, nftables]
    default: auto
attributes:
  action_group:
    description:
      - Use C(group/senet.firewall.firewall) in C(module_defaults) to set O(mode), O(layers), O(backend),
        O(confirm_timeout), O(health_checks) and O(health_commands) for all tasks of this module and its like.
    support: full
    membership:
      - senet.firewall.firewall
notes:
  - If C(senet-firewall.service) is stopped, every flow is open to everybody. The journal says so, and the next run
    starts the unit again.
  - With the layer V(selinux), established connections of domains that a flow does not name are cut at once. With the
    layer V(owner) alone they stay, except for UDP.
  - For a process in another network namespace of the same host, such as a container, the flows limit only what it
    receives. A datagram that it sends to a service of the host arrives, but the answer does not.
  - Root in an unconfined domain can load policy, so the flows are not a security boundary against it.
"""
