#!/usr/bin/python
# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: flow_suggestion_info
short_description: Suggest flows for the connections that a host's domains have now, and what each would cut
version_added: 0.1.0
description:
  - Looks at the open connections and the listening sockets of all processes, with their SELinux domains, and at the
    records of flows and confinements that only observe. It makes a flow for each service, under the name of the pair if
    the catalogue has one.
  - A suggestion names only the domains that were connected just then or that the records name, and is for a person to
    review. Observe a flow for some days before you enforce it.
  - What the host's flows permit already is not suggested again. A flow that only observes is suggested again, with the
    domains that it does not name yet.
  - It changes nothing.
options:
  since:
    description:
      - Only records of observing flows from this time on, such as V(2026-11-21T14:30) in UTC, or a span before now,
        such as V(2h) or V(7d).
      - If it is not given, all records that the logs have.
    type: str
requirements:
  - Root on the target
notes:
  - Clients in C(unconfined_t) are left out, since every program of an unconfined user is in that domain, root's among
    them. SSH is left out too, since you log in by it.
  - Only the network namespace of process 1 is looked at, which has the flows' labels.
  - UDP has no connections. Clients of UDP are seen only while they hold a connected socket.
extends_documentation_fragment:
  - senet.firewall.attributes
  - senet.firewall.info
seealso:
  - plugin: senet.firewall.flows_from_suggestions
    plugin_type: filter
    description: Merge the suggestions of many hosts.
  - module: senet.firewall.process_context_info
  - module: senet.firewall.packet_denial_info
author:
  - senet.firewall contributors (@senet)
"""

EXAMPLES = r"""
# ansible web -b -m senet.firewall.flow_suggestion_info
- name: Suggest flows for what the host does now
  senet.firewall.flow_suggestion_info:
  register: suggested

- name: Keep them for a person to review
  ansible.builtin.copy:
    content: "{{ {'flow_set_flows': suggested.suggestions | map(attribute='flow')} | to_nice_yaml }}"
    dest: "suggested-{{ inventory_hostname }}.yml"
    mode: "0600"
  delegate_to: localhost
  become: false

- name: Say which connections each of them would cut
  ansible.builtin.debug:
    msg: "{{ item.cut }}"
  loop: "{{ suggested.suggestions }}"
  loop_control:
    label: "{{ item.flow.name }}"
"""

RETURN = r"""
suggestions:
  description: The flows, and what each was made from.
  returned: success
  type: list
  elements: dict
  contains:
    flow:
      description: The flow, as M(senet.firewall.flow), M(senet.firewall.flows) and the role C(flow_set) take it.
      returned: always
      type: dict
      sample:
        name: httpd_to_postgresql
        source: [httpd_t]
        destination: [postgresql_t]
        protocol: tcp
        ports: ["5432"]
    pair:
      description: The pair of the catalogue to which the flow corresponds. Null if there is none.
      returned: always
      type: str
      sample: httpd_to_postgresql
    changes:
      description: Whether the host has a flow of this name that only observes, and the suggestion adds to it.
      returned: always
      type: bool
      sample: false
    connections:
      description: The number of connections that the suggestion was made from. If it is V(0) and there are no records
        either, a service listens here, and a client of it that the catalogue knows runs here but was not connected.
      returned: always
      type: int
      sample: 3
    records:
      description: The number of records of observing flows or confinements that the suggestion was made from.
      returned: always
      type: int
      sample: 0
    notes:
      description: What to check in the review, a sentence each.
      returned: always
      type: list
      elements: str
      sample:
        - "Clients on other hosts are not limited, since none was seen: add source_addresses to limit them."
    cut:
      description: The sockets that the flow alone would cut now if it were enforced.
      returned: always
      type: list
      elements: dict
      contains:
        domain:
          description: The domain that loses the socket's traffic.
          returned: always
          type: str
          sample: unconfined_t
        flow:
          description: The flow that cuts it, which is the suggested one.
          returned: always
          type: str
          sample: httpd_to_postgresql
        label:
          description: Null, since no peer label is suggested.
          returned: always
          type: str
          sample: null
        pid:
          description: Process id.
          returned: always
          type: int
          sample: 812
        command:
          description: Name of the command.
          returned: always
          type: str
          sample: psql
        socket:
          description: The socket.
          returned: always
          type: str
          sample: tcp 127.0.0.1 port 40122 to 127.0.0.1 port 5432
        mode:
          description: Always V(enforce).
          returned: always
          type: str
          sample: enforce
not_suggested:
  description: The services for which there is no suggestion.
  returned: success
  type: list
  elements: dict
  contains:
    protocol:
      description: The protocol.
      returned: always
      type: str
      sample: tcp
    port:
      description: The port of the service.
      returned: always
      type: int
      sample: 22
    domains:
      description: The domains that were seen on this host.
      returned: always
      type: list
      elements: str
      sample: [sshd_t]
    text:
      description: Why.
      returned: always
      type: str
      sample: "This is how you log in: write a flow for it by hand, with every address that you come from."
addresses:
  description: The host's own addresses without those of loopback. The filter
    P(senet.firewall.flows_from_suggestions#filter) finds the hosts at both ends by them.
  returned: success
  type: list
  elements: str
  sample: [192.0.2.1, "2001:db8::1"]
selinux:
  description: The mode of SELinux. While it is C(disabled) there are no domains, and nothing is suggested.
  returned: success
  type: str
  sample: enforcing
"""

import time
from typing import Any, Dict, List

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.senet.firewall.plugins.module_utils._agent.packed import this_host
from ansible_collections.senet.firewall.plugins.module_utils._change import denial_records
from ansible_collections.senet.firewall.plugins.module_utils._decisions import suggestions
from ansible_collections.senet.firewall.plugins.module_utils._decisions.conversations import conversations
from ansible_collections.senet.firewall.plugins.module_utils._decisions.denials import Wish
from ansible_collections.senet.firewall.plugins.module_utils._host.host import Host
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.fields import refuse_empty
from ansible_collections.senet.firewall.plugins.module_utils._values.moments import parse_moment
from ansible_collections.senet.firewall.plugins.module_utils._values.processes import Selection, explain_gaps


def _report(host: Host, wish: Wish, warnings: List[str]) -> Dict[str, Any]:
    status = host.selinux.status()
    found = denial_records.collect(host, wish, warnings)
    warnings.extend(explain_gaps(found.processes, status != "disabled", Selection()))
    if status == "disabled":
        warnings.append("SELinux is disabled on this host, so no process has a domain and there is nothing to suggest.")
    seen = conversations(found.processes, found.collector.groups, found.known)
    running = {process.context.type for process in found.processes if process.context and process.context.type}
    suggested, not_suggested = suggestions.suggest(seen, found.known, running)
    return {
        "suggestions": [suggestions.row(each, found.processes, host.pid) for each in suggested],
        "not_suggested": [each.as_dict() for each in not_suggested],
        "addresses": suggestions.addresses_elsewhere(found.known.addresses),
        "selinux": status,
    }


def main() -> None:
    module = AnsibleModule(argument_spec={"since": {"type": "str"}}, supports_check_mode=True)
    warnings = []  # type: List[str]
    try:
        refuse_empty(module.params)
        since = parse_moment("since", module.params["since"], time.time())
        result = _report(this_host(), Wish(since), warnings)
    except SenetError as exc:
        module.fail_json(msg=str(exc))
    for warning in warnings:
        module.warn(warning)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
