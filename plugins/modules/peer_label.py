#!/usr/bin/python
# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: peer_label
short_description: Label peers by their address, and processes of the same host by their domain
version_added: 0.1.0
description:
  - SELinux's class C(peer) decides from which senders a socket may receive, by the label of the sender. This module
    sets these labels by NetLabel, and installs the policy that they need.
  - A static label gives the senders at some addresses a type of their own, which the collection's policy module
    declares. O(receivers) limits who may receive from them. Policy of your own can use the type too.
  - A full label on loopback is the sender's own context. A service can then read the domain of a client on the same
    host by C(SO_PEERSEC), as sepgsql of PostgreSQL does.
  - A label turns on peer checks for the whole host, which under Debian's stock policy cut SSH. So a policy that permits
    every domain to receive from every peer, except from those with O(receivers), is installed first. Before a label is
    in force, the kernel is asked about every running domain. The change is refused if it would cut off C(sshd_t) or the
    connection that Ansible uses, or any other domain for another reason than O(receivers).
  - The host undoes a change that is not confirmed over a new connection, as with M(senet.firewall.flows). Labels
    survive a reboot, and are put back when another program removes them.
  - To let a service receive only from the sources of its flows, use C(verify_source) of M(senet.firewall.flows).
requirements:
  - A Linux kernel with SELinux and NetLabel on the target
  - The commands C(semodule) and C(netlabelctl), and either iptables with ip6tables or nft
  - Root on the target
  - No configuration of NetLabel by another program
extends_documentation_fragment:
  - senet.firewall.attributes
  - senet.firewall.guarded
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
options:
  type:
    description:
      - The type of the peers, which is also the label's name. It consists of lower-case letters, digits and C(_), with
        C(_t) at the end.
      - No other policy module may declare it. It is required unless O(loopback_domains) is given.
    type: str
  addresses:
    description:
      - The peers' addresses or networks, of either family. Required with O(type) and O(state=present).
      - If an address is in two labels, the one with the longer prefix counts. Addresses of a flow with
        C(verify_source=address) cannot be in a label of this module.
      - If addresses of the host itself are among them, they are labelled too, unless full labels on loopback are in
        use.
    type: list
    elements: str
  receivers:
    description:
      - The domains that may receive from these peers. No other domain may then receive from them, on any port and
        whichever side connected. Only the kernel may, which answers for closed ports.
      - If the option is not given, every domain may receive from them, except destinations of flows with
        C(verify_source=address). Such a destination must be among the receivers.
    type: list
    elements: str
  interface_type:
    description:
      - The type of the network interfaces on which packets of these peers may arrive, as
        M(senet.firewall.interface_context) sets it. Packets from these addresses on another interface are dropped.
      - Without it they may arrive on every interface.
      - NetLabel's own labels by interface are not used, since the kernel forgets them when the interface goes down, and
        still checks peers until the next boot.
    type: str
  loopback_domains:
    description:
      - Domains whose packets carry their own label over C(127.0.0.0/8), within this host. IPv6 carries none.
      - O(state=present) adds them to those that the host has, O(state=absent) removes them.
    type: list
    elements: str
  state:
    description: Whether the label that O(type) names, and the O(loopback_domains), are to be present or absent.
    type: str
    choices: [present, absent]
    default: present
notes:
  - If C(senet-firewall.service) is stopped, all labels are removed, those of flows too. The next run starts the unit
    again.
  - Peer labels apply to all ports.
seealso:
  - module: senet.firewall.flows
  - module: senet.firewall.interface_context
  - module: senet.firewall.guard
author:
  - senet.firewall contributors (@senet)
"""

EXAMPLES = r"""
- name: Give senders in the partner's network a type, for policy of your own
  senet.firewall.peer_label:
    type: partner_peer_t
    addresses: [192.0.2.0/24, "2001:db8:7::/48"]

- name: Only Apache may receive from them
  senet.firewall.peer_label:
    type: partner_peer_t
    addresses: [192.0.2.0/24, "2001:db8:7::/48"]
    receivers: [httpd_t]

- name: PostgreSQL can read the domain of its clients on this host
  senet.firewall.peer_label:
    loopback_domains: [httpd_t, postgresql_t]

- name: Remove the label and the domains
  senet.firewall.peer_label:
    type: partner_peer_t
    loopback_domains: [httpd_t, postgresql_t]
    state: absent
"""

RETURN = r"""
labels:
  description: The host's static peer labels of this module, now or after the real run in check mode.
  returned: success
  type: list
  elements: dict
  contains:
    type:
      description: The peers' type.
      returned: always
      type: str
      sample: partner_peer_t
    addresses:
      description: Their addresses and networks.
      returned: always
      type: list
      elements: str
      sample: [192.0.2.0/24]
    receivers:
      description: The domains that may receive from them. Empty for every domain.
      returned: always
      type: list
      elements: str
      sample: [httpd_t]
    interface_type:
      description: The type of the interfaces on which their packets may arrive, null for every interface.
      returned: always
      type: str
      sample: null
    received_by:
      description:
        - Those of the running and the named domains that may receive from them, as the kernel answers.
        - Empty in check mode when there is something to change, since the kernel does not know the type yet.
      returned: always
      type: list
      elements: str
      sample: [httpd_t, kernel_t]
loopback_domains:
  description: The domains whose packets carry their own label over loopback, without those of flows.
  returned: success
  type: list
  elements: str
  sample: [httpd_t, postgresql_t]
steps:
  description: The steps that were taken, or in check mode would be, in order.
  returned: success
  type: list
  elements: str
  sample:
    - arm the guard, which undoes the change unless it is confirmed
    - install the policy module senet_firewall
    - ask the kernel for every running domain's access
    - restore the netlabel rules
    - read everything back and ask the kernel for the flows' access
    - wait for the confirmation over a new connection
    - make it permanent in /etc/senet
cut:
  description: The open connections that the host's labels cut, or in check mode would cut. Those with a RV(cut[].label)
    are cut because their domain is not a receiver of that peer label.
  returned: success
  type: list
  elements: dict
  contains:
    domain:
      description: The domain that loses the connection.
      returned: always
      type: str
      sample: unconfined_t
    flow:
      description: The flow that the connection's port belongs to, null where a peer label or the domain's confinement
        cuts it.
      returned: always
      type: str
      sample: null
    label:
      description: The peer label of which the domain is not a receiver, null where a flow or a confinement cuts the
        connection.
      returned: always
      type: str
      sample: partner_peer_t
    pid:
      description: The process that holds the connection.
      returned: always
      type: int
      sample: 4711
    command:
      description: The name of that process.
      returned: always
      type: str
      sample: psql
    socket:
      description: The connection.
      returned: always
      type: str
      sample: tcp 192.0.2.1 port 40112 to 192.0.2.9 port 5432
    mode:
      description: With V(observe) the connection is not cut, only logged. Peer labels are always V(enforce).
      returned: always
      type: str
      sample: enforce
guard:
  description: The guarded change. M(senet.firewall.guard) confirms or undoes it by its token.
  returned: when the change was guarded
  type: dict
  contains:
    token:
      description: The name of the change.
      returned: always
      type: str
      sample: 4f0c9be21a77
    confirmed:
      description: Whether it was confirmed over a new connection.
      returned: always
      type: bool
      sample: true
rolled_back:
  description: Whether the host is back in its previous state because the change could not be confirmed.
  returned: when a guarded change failed
  type: bool
  sample: true
selinux:
  description: The mode of SELinux; nothing is enforced in C(permissive).
  returned: success
  type: str
  sample: enforcing
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.senet.firewall.plugins.module_utils._agent.packed import this_host
from ansible_collections.senet.firewall.plugins.module_utils._change import modules
from ansible_collections.senet.firewall.plugins.module_utils._values import options


def main() -> None:
    modules.peer_label(AnsibleModule(supports_check_mode=True, **options.PEER_LABEL), this_host)


if __name__ == "__main__":
    main()
