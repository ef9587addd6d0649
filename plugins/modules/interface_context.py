#!/usr/bin/python
# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: interface_context
short_description: Give a network interface an SELinux context
version_added: 0.1.0
description:
  - Sets the context of an interface, as C(semanage interface) does. If the interface has the context already, it
    changes nothing.
  - The kernel checks the class C(netif) only while peer labels are in use, by NetLabel or labelled IPsec. Without them
    the context of an interface has no effect at all.
  - A change rebuilds the host's policy, which takes some seconds.
  - The kernel is asked before the change, whether peer labels are in use or not. A change is refused if it would stop
    C(sshd_t) from using the interface while somebody is logged in over it, or would cut the connection that Ansible
    uses. The host undoes the change unless it is confirmed over a new connection, as with M(senet.firewall.flows).
requirements:
  - The command C(semanage) on the target, of the package policycoreutils-python-utils
  - Root on the target
extends_documentation_fragment:
  - senet.firewall.attributes
  - senet.firewall.guarded
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
options:
  interface:
    description: The name of the interface, in full. The interface need not exist yet.
    type: str
    required: true
  type:
    description:
      - The type of the interface's context, such as V(netif_t). Required with O(state=present).
      - It must be in the loaded policy, unless O(create_type=true). If the type has the attribute C(netif_type), every
        domain that may use all interfaces may use this one; otherwise only domains to which your own policy grants it
        may.
    type: str
  create_type:
    description:
      - Whether to declare O(type) in the collection's own policy module if the loaded policy does not have it.
        M(senet.firewall.flows) leaves such a type in place. Its name consists of lower-case letters, digits and C(_),
        with C(_t) at the end.
      - Every domain may use an interface of a created type, as it may use any other, and packets without a label may
        arrive on it.
      - With this option, a created type that no interface and no peer label uses any longer is removed, whatever
        O(state) is.
    type: bool
    default: false
  level:
    description: The MLS or MCS range. It is not used if the policy has no levels.
    type: str
    default: s0
    aliases: [serange]
  state:
    description:
      - Whether the interface is to have a context of its own.
      - With V(absent), the context that was set on this host is removed, and the interface gets the one that the policy
        itself gives it. If SELinux is disabled, nothing is done.
    type: str
    choices: [present, absent]
    default: present
seealso:
  - module: senet.firewall.flows
author:
  - senet.firewall contributors (@senet)
"""

EXAMPLES = r"""
- name: Give the interface to the internet a type that the policy has
  senet.firewall.interface_context:
    interface: eth0
    type: public_iface_t

- name: Give it a type that is in no policy yet
  senet.firewall.interface_context:
    interface: eth0
    type: public_iface_t
    create_type: true

- name: Give it back the context of all other interfaces, and remove the created type
  senet.firewall.interface_context:
    interface: eth0
    state: absent
    create_type: true
"""

RETURN = r"""
interface:
  description: The interface.
  returned: success
  type: str
  sample: eth0
context:
  description: The context that was set on this host, now or after the real run in check mode. Null if the interface has
    the one that the policy itself gives it.
  returned: success
  type: str
  sample: system_u:object_r:public_iface_t:s0
previous:
  description: The context before, or null.
  returned: success
  type: str
  sample: null
created_types:
  description: The types that the collection's policy module declares for interfaces, now or after the real run in check
    mode. Null without O(create_type=true).
  returned: success
  type: list
  elements: str
  sample: [public_iface_t]
steps:
  description: The steps that were taken, or in check mode would be, in order.
  returned: success
  type: list
  elements: str
  sample:
    - arm the guard, which undoes the change unless it is confirmed
    - give the interface eth0 its context
    - read everything back and ask the kernel for the flows' access
    - wait for the confirmation over a new connection
    - make it permanent in /etc/senet
cut:
  description: The connections over the interface that the change cuts, or in check mode would cut, if peer labels are
    in use.
  returned: success
  type: list
  elements: dict
  contains:
    interface:
      description: The interface.
      returned: always
      type: str
      sample: eth0
    domain:
      description: The domain that loses the connection.
      returned: always
      type: str
      sample: unconfined_t
    flow:
      description: Null.
      returned: always
      type: str
      sample: null
    label:
      description: Null.
      returned: always
      type: str
      sample: null
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
      description: V(enforce).
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
    modules.interface_context(AnsibleModule(supports_check_mode=True, **options.INTERFACE_CONTEXT), this_host)


if __name__ == "__main__":
    main()
