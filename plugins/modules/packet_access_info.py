#!/usr/bin/python
# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: packet_access_info
short_description: Return which domains may use a host's flows, as the kernel answers
version_added: 0.1.0
description:
  - Asks the kernel for each flow and each domain whether it may send and receive the flow's packets, and connect to its
    ports (C(name_connect)). Booleans and policy modules of others are taken into account.
  - RV(findings) lists where the kernel's answers differ from the host's flows. It is empty if nothing differs.
  - It changes nothing.
options:
  domains:
    description:
      - Only these domains, whether they run or not, for example V(httpd_t). Every flow then has a row for each of them.
      - If it is not given, all domains that run or that a flow names. Rows of domains that may do nothing are then left
        out.
    type: list
    elements: str
  flows:
    description:
      - Only these flows, by name.
      - If it is not given, all flows of the host.
    type: list
    elements: str
requirements:
  - Root on the target
notes:
  - To ask for C(name_connect), the module tries a connect, and the kernel logs each one that it refuses. So the module
    asks for it only for a flow's sources and for O(domains). These records have the command C(senet-ask), and
    M(senet.firewall.packet_denial_info) leaves them out.
  - If SELinux is disabled, or is not a layer of the flows, there is nothing to ask, and the lists are empty.
extends_documentation_fragment:
  - senet.firewall.attributes
  - senet.firewall.info
seealso:
  - module: senet.firewall.packet_denial_info
  - module: senet.firewall.flows_info
  - module: senet.firewall.enforcement_info
author:
  - senet.firewall contributors (@senet)
"""

EXAMPLES = r"""
# ansible web -b -m senet.firewall.packet_access_info -a 'domains=httpd_t'
- name: Ask the kernel who may use the host's flows
  senet.firewall.packet_access_info:
  register: kernel

- name: Stop if the answers differ from the flows
  ansible.builtin.assert:
    that: not kernel.findings
    fail_msg: "{{ kernel.findings | map(attribute='text') | join(' ') }}"

- name: Ask what Apache may do
  senet.firewall.packet_access_info:
    domains: [httpd_t]
  register: apache

- name: Name the flows that it cannot use as a client
  ansible.builtin.debug:
    msg: "{{ apache.access | rejectattr('can_connect') | map(attribute='flow') }}"
"""

RETURN = r"""
selinux:
  description: The mode of SELinux. SELinux refuses packets in C(enforcing) only.
  returned: success
  type: str
  sample: enforcing
access:
  description: The kernel's answer, a row for each flow and domain.
  returned: success
  type: list
  elements: dict
  contains:
    flow:
      description: The flow's name.
      returned: always
      type: str
      sample: web_db
    domain:
      description: The domain.
      returned: always
      type: str
      sample: httpd_t
    source:
      description: Whether the flow names the domain as a source.
      returned: always
      type: bool
      sample: true
    destination:
      description: Whether the flow names the domain as a destination.
      returned: always
      type: bool
      sample: false
    client:
      description: What the domain may do with the packets of the client's side.
      returned: always
      type: list
      elements: str
      sample: [recv, send]
    server:
      description: What the domain may do with the packets of the server's side.
      returned: always
      type: list
      elements: str
      sample: [recv]
    refused:
      description: What the domain may do with packets of clients whose address is not among the flow's. Null if the
        flow permits any address.
      returned: always
      type: list
      elements: str
      sample: null
    name_connect:
      description:
        - Whether the policy lets the domain connect to the flow's ports, whatever the packets' labels. Only the first
          port of a range is asked for.
        - Null if that was not asked, or cannot be asked. It is asked for TCP only.
      returned: always
      type: bool
      sample: true
    refused_ports:
      description: The ports to which the policy does not let the domain connect.
      returned: always
      type: list
      elements: int
      sample: []
    can_connect:
      description: Whether the domain can be a client of the flow.
      returned: always
      type: bool
      sample: true
    can_serve:
      description: Whether the domain can be the server of the flow.
      returned: always
      type: bool
      sample: false
    permissive:
      description: Whether the policy declares the domain permissive, so that SELinux refuses it nothing.
      returned: always
      type: bool
      sample: false
confined:
  description: What the kernel grants each confined domain on packets of no flow.
  returned: success
  type: list
  elements: dict
  contains:
    domain:
      description: The confined domain.
      returned: always
      type: str
      sample: httpd_t
    mode:
      description: Its mode. With V(observe) it is not confined, only logged.
      returned: always
      type: str
      sample: enforce
    elsewhere:
      description: What it may do with packets of no flow on this host. Empty where the confinement is enforced.
      returned: always
      type: list
      elements: str
      sample: []
    unlabelled:
      description: What it may do with packets without a label, as in network namespaces without these rules.
      returned: always
      type: list
      elements: str
      sample: []
peers:
  description: The peers from which each destination of a flow with C(verify_source) may receive, as the kernel answers.
  returned: success
  type: list
  elements: dict
  contains:
    domain:
      description: The destination domain.
      returned: always
      type: str
      sample: postgresql_t
    mode:
      description: Its mode. With V(observe) it receives from everybody, and the kernel logs those that V(enforce) would
        refuse.
      returned: always
      type: str
      sample: enforce
    receives:
      description:
        - The types of the peers it may receive from. A domain stands for a process of this host,
          C(senet_NAME_host_peer_t) for the addresses of the flow C(NAME), C(unlabeled_t) for every other host.
        - C(senet_loopback_peer_t) and C(senet_default_peer_t), which stand for everybody else on this host and
          elsewhere, are among them only where nothing is refused.
      returned: always
      type: list
      elements: str
      sample: [httpd_t, kernel_t, postgresql_t, unlabeled_t]
findings:
  description: Where the kernel's answers differ from the host's flows, and rules of other programs that label packets
    too. Empty if the kernel enforces the flows.
  returned: success
  type: list
  elements: dict
  contains:
    flow:
      description: The flow that the finding is about. Null if it is not about a single flow.
      returned: always
      type: str
      sample: web_db
    domain:
      description: The domain that the finding is about. Null if it is not about a single domain.
      returned: always
      type: str
      sample: httpd_t
    text:
      description: What differs.
      returned: always
      type: str
      sample: "'httpd_t' may not connect by the flow 'web_db'."
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.senet.firewall.plugins.module_utils._agent.packed import this_host
from ansible_collections.senet.firewall.plugins.module_utils._change import packet_access
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.fields import refuse_empty


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "domains": {"type": "list", "elements": "str"},
            "flows": {"type": "list", "elements": "str"},
        },
        supports_check_mode=True,
    )
    try:
        refuse_empty(module.params)
        result = packet_access.access(this_host(), module.params["domains"] or (), module.params["flows"] or ())
    except SenetError as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
