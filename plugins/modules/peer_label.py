#!/usr/bin/python
# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: peer_label
short_description: Label peers by their address, and processes of the same host by their domain
version_added: 0.1.0
description:
  - The kernel's class C(peer) decides whose packets a socket may receive, by the label of the sender. This module says
    what the labels are, by NetLabel, and installs the policy that they need.
  - A static label gives all that arrives from some addresses a type of its own. The type is declared by the
    collection's policy module. Policy of your own may speak of it, or O(receivers) says who hears it.
  - A full label on loopback is the sender's own context. A service then learns by C(SO_PEERSEC) which domain a client
    on the same host has, as sepgsql of PostgreSQL does.
  - It turns on peer checks for the whole host, which cuts SSH under Debian's stock policy. So the policy comes first
    that lets everybody hear everybody, but for the peers of O(receivers). Before a label is in force, the change is
    refused if a running process would be cut that is not meant to be, and the kernel is asked for every running domain.
  - The host undoes a change that is not confirmed over a new connection, as M(senet.firewall.flows) says. Labels
    survive a reboot, and are put back when somebody takes them away.
  - To let a service hear the sources of its flows alone, use C(verify_source) of M(senet.firewall.flows).
requirements:
  - A Linux kernel with SELinux and NetLabel on the target
  - The commands C(semodule) and C(netlabelctl), and either iptables with ip6tables or nft
  - Root on the target
  - A NetLabel that nobody else has configured
extends_documentation_fragment:
  - senet.firewall.attributes
  - senet.firewall.guarded
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  action:
    description: Has an action plugin, so that some of its work is done on the controller.
    support: full
  async:
    description: Needs no C(async), and does not take it.
    support: none
options:
  type:
    description:
      - The type of the peers, which is the label's name too. Of lower-case letters, digits and C(_), with C(_t) at the
        end.
      - It must be in no other policy module. It is required unless O(loopback_domains) is given.
    type: str
  addresses:
    description:
      - The peers' addresses or networks, of either family. Required with O(type) and O(state=present).
      - Of two labels the one with the longer prefix counts. Addresses that a flow with C(verify_source=address) names
        cannot be in a label.
      - Addresses of the host itself are peers too, as long as full labels on loopback are not in use.
    type: list
    elements: str
  receivers:
    description:
      - The domains that may receive from these peers. Nobody else can then, whatever the port and whoever connected,
        except the kernel, which answers for closed ports.
      - Every domain may if the option is not given. A destination of a flow with C(verify_source=address) hears
        the peers only if it is among the receivers.
    type: list
    elements: str
  interface_type:
    description:
      - The type of the network interfaces that these peers may come by, as M(senet.firewall.interface_context) gives
        it. What comes from these addresses by another interface is dropped.
      - Without it they may come by every interface.
      - NetLabel's own labels by interface are not used. The kernel forgets them when the interface goes down, and yet
        goes on checking peers until the next boot.
    type: str
  loopback_domains:
    description:
      - Domains whose packets carry their own label over C(127.0.0.0/8), as long as they stay on this host. IPv6 carries
        none.
      - With O(state=present) these come to those that are there, with O(state=absent) they are taken away from them.
    type: list
    elements: str
  state:
    description: Whether the label of O(type), and O(loopback_domains), shall be there.
    type: str
    choices: [present, absent]
    default: present
notes:
  - Stopping C(senet-firewall.service) takes all labels off, those of flows too. The next run starts it again.
  - Peer labels know no ports.
seealso:
  - module: senet.firewall.flows
  - module: senet.firewall.interface_context
  - module: senet.firewall.guard
author:
  - senet.firewall contributors (@senet)
"""

EXAMPLES = r"""
- name: What comes from the partner's network has a type, for policy of your own
  senet.firewall.peer_label:
    type: partner_peer_t
    addresses: [192.0.2.0/24, "2001:db8:7::/48"]

- name: Apache alone hears them
  senet.firewall.peer_label:
    type: partner_peer_t
    addresses: [192.0.2.0/24, "2001:db8:7::/48"]
    receivers: [httpd_t]

- name: PostgreSQL learns the domain of its clients on this host
  senet.firewall.peer_label:
    loopback_domains: [httpd_t, postgresql_t]

- name: Remove it
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
      description: The domains that may hear them. Empty for every domain.
      returned: always
      type: list
      elements: str
      sample: [httpd_t]
    interface_type:
      description: The type of the interfaces that they may come by, null for every interface.
      returned: always
      type: str
      sample: null
    received_by:
      description:
        - The kernel's answer, which of the domains that run or are named may hear them.
        - Empty in check mode when there is something to change, since the kernel does not know the type yet.
      returned: always
      type: list
      elements: str
      sample: [httpd_t, kernel_t]
loopback_domains:
  description: The domains whose packets carry their own label over loopback, those of flows not among them.
  returned: success
  type: list
  elements: str
  sample: [httpd_t, postgresql_t]
steps:
  description: What was done, or in check mode would be, in order.
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
  description: The open connections that the host's labels cut, or in check mode would cut. The module's own are those
    with a RV(cut[].label), because their domain is no receiver of their other end's label.
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
      description: The flow that the connection's port belongs to, null where it is a peer label or the domain's
        confinement that cuts it.
      returned: always
      type: str
      sample: null
    label:
      description: The peer label whose receivers the domain is not among, null where it is a flow or a confinement.
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
  description: What became of the guarded change, from the module M(senet.firewall.guard).
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
