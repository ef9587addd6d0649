#!/usr/bin/python
# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: packet_denial_info
short_description: Return who was refused what by SELinux or would be, and what to do about it
version_added: 0.1.0
description:
  - Reads the kernel's records of packets, peers, interfaces, nodes and IPsec associations that SELinux refused, or that
    a flow in the mode V(observe) would refuse, and of connects that the policy refused (C(name_connect)). It also reads
    what the rules of the layer V(owner) log.
  - Groups the records by who tried what, and says for each group what to do. If a flow refused a domain that it does
    not name, as it should, the advice says so.
  - Reads auditd's log with its rotations, plain or compressed. If auditd does not run, it reads the journal with
    C(journalctl), or else what is left of the kernel's log since boot. It needs no other tool.
  - It changes nothing.
options:
  since:
    description:
      - Only records from this time on, such as V(2026-11-21T14:30) in UTC, V(2026-11-21T14:30+01:00), or a span before
        now, such as V(30m), V(2h) or V(1d).
      - If it is not given, all records that the logs have.
    type: str
  until:
    description: Only records up to this time, written as O(since) is.
    type: str
  domains:
    description: Only what these domains tried, for example V(httpd_t). Leaves out the records of the layer V(owner),
      which knows no domains.
    type: list
    elements: str
  flows:
    description: Only what these flows refused or would refuse, by name.
    type: list
    elements: str
requirements:
  - Root on the target
notes:
  - However many records there are, the module keeps at most 500 groups, with at most 64 ports of one domain and flow
    and 8 values of each kind, and reads one line of a log at a time. Records beyond that are counted in RV(left_out).
  - The kernel's record of a packet has no protocol. Since the kernel can check a packet while another process runs, the
    record may name a wrong process; then RV(groups[].processes_reliable) is false.
  - The kernel may drop records if there are very many. Then RV(lost) is true, and counts are too low.
extends_documentation_fragment:
  - senet.firewall.attributes
  - senet.firewall.info
seealso:
  - module: senet.firewall.packet_access_info
  - module: senet.firewall.flows
  - module: senet.firewall.flows_info
author:
  - senet.firewall contributors (@senet)
"""

EXAMPLES = r"""
# ansible web -b -m senet.firewall.packet_denial_info -a 'since=1h'
- name: Ask who was refused what in the last hour
  senet.firewall.packet_denial_info:
    since: 1h
  register: denials

- name: Say what to do about each
  ansible.builtin.debug:
    msg: "{{ item.count }} x {{ item.domain }}: {{ item.advice | map(attribute='text') | join(' ') }}"
  loop: "{{ denials.groups }}"
  loop_control:
    label: "{{ item.flow }}"

- name: Ask who would be refused by a flow that only observes
  senet.firewall.packet_denial_info:
    flows: [web_db]
  register: observed
"""

RETURN = r"""
groups:
  description: The records, grouped by who tried what. Refused ones come first, the largest of them first.
  returned: success
  type: list
  elements: dict
  contains:
    verdict:
      description: V(refused); V(observed) if a flow or a confinement only observes; or V(permissive) if nothing was
        refused since the host or the domain is permissive.
      returned: always
      type: str
      sample: refused
    domain:
      description: The domain that sent, received or connected. Null for records of the layer owner, which do not name
        domains.
      returned: always
      type: str
      sample: unconfined_t
    users:
      description: The users in the records, by login name or uid. Records of packets name no user.
      returned: always
      type: list
      elements: str
      sample: []
    flow:
      description: The flow whose label or port the records have. Null if they belong to no flow.
      returned: always
      type: str
      sample: web_db
    side:
      description: Which end of the conversation this was, V(client) or V(server).
      returned: always
      type: str
      sample: client
    direction:
      description: V(out) or V(in), as this host saw it.
      returned: always
      type: str
      sample: out
    protocol:
      description: The protocol, as the flow or the record says. Null where neither does.
      returned: always
      type: str
      sample: tcp
    port:
      description: The port of the service. Null if there is none, or if more ports were tried than are kept.
      returned: always
      type: int
      sample: 5432
    clients:
      description: Addresses of the client, at most 8.
      returned: always
      type: list
      elements: str
      sample: [127.0.0.1]
    servers:
      description: Addresses of the server, at most 8.
      returned: always
      type: list
      elements: str
      sample: [127.0.0.1]
    interfaces:
      description: The network interfaces, at most 8.
      returned: always
      type: list
      elements: str
      sample: [lo]
    classes:
      description: What was checked, such as V(packet), V(peer), V(netif), V(node), V(association) or V(tcp_socket), or
        V(owner) for the layer owner.
      returned: always
      type: list
      elements: str
      sample: [packet]
    permissions:
      description: The permissions that were checked, such as V(send), V(recv) or V(name_connect).
      returned: always
      type: list
      elements: str
      sample: [send]
    types:
      description: The types of the packets, peers, ports and so on that were checked, at most 8.
      returned: always
      type: list
      elements: str
      sample: [senet_web_db_client_packet_t]
    count:
      description: The number of records. A client that tries again leaves another one, and so does each retransmission.
      returned: always
      type: int
      sample: 12
    first:
      description: The time of the first record, in UTC.
      returned: always
      type: str
      sample: "2026-11-21T14:31:38Z"
    last:
      description: The time of the last record, in UTC.
      returned: always
      type: str
      sample: "2026-11-21T14:33:02Z"
    processes:
      description: The processes in the records, at most 8.
      returned: always
      type: list
      elements: dict
      contains:
        pid:
          description: Process id.
          returned: always
          type: int
          sample: 674
        command:
          description: Name of the command.
          returned: always
          type: str
          sample: senet-probe
    processes_reliable:
      description: Whether the processes in the records are those that tried. For packets it is false, since they may be
        bystanders.
      returned: always
      type: bool
      sample: false
    running:
      description: The processes that run in the domain now, at most 8.
      returned: always
      type: list
      elements: dict
      contains:
        user:
          description: The effective user.
          returned: always
          type: str
          sample: root
        unit:
          description: The systemd unit. Null where there is none.
          returned: always
          type: str
          sample: session-3.scope
        command:
          description: Name of the command.
          returned: always
          type: str
          sample: bash
    advice:
      description: What to do, in this order.
      returned: always
      type: list
      elements: dict
      contains:
        kind:
          description:
            - V(as_asked) if a flow or a label refuses whom it should.
            - V(flow) if a confined domain has no flow for it, V(address) if a client's address is not among those of
              the flow.
            - V(boolean) if the policy refuses the connect, whatever a flow says.
            - V(peer_label) if a domain is not a receiver of a peer label, V(look) if you must look at something first.
          returned: always
          type: str
          sample: as_asked
        text:
          description: What to do, and why.
          returned: always
          type: str
          sample: >-
            The flow 'web_db' keeps 'redis_t' from connecting to tcp/5432, as intended, since it does not name that
            domain. If 'redis_t' should be permitted, add it to the flow's source.
        flow:
          description: The flow to set if the attempt should be permitted, as M(senet.firewall.flow) and
            M(senet.firewall.flows) take it. Null if no flow would help.
          returned: always
          type: dict
          sample:
            name: web_db
            source: [httpd_t, redis_t]
            destination: [postgresql_t]
            protocol: tcp
            ports: ["5432"]
            mode: enforce
        peer_label:
          description: The label to set if the attempt should be permitted, as M(senet.firewall.peer_label) takes it.
            Null if no label would help.
          returned: always
          type: dict
          sample: null
        booleans:
          description: The policy's booleans that permit it, as far as the catalogue of pairs knows them.
          returned: always
          type: list
          elements: str
          sample: []
records:
  description: The number of records in all groups and in RV(left_out).
  returned: success
  type: int
  sample: 12
left_out:
  description: The number of records for which there was no room in a group.
  returned: success
  type: int
  sample: 0
unreadable:
  description: The number of records that were cut short or garbled.
  returned: success
  type: int
  sample: 0
questions:
  description: The number of records that this collection has caused itself, since it asks the kernel by a connect
    whether a domain may connect to a port. They are in no group.
  returned: success
  type: int
  sample: 0
lost:
  description: Whether the kernel's log says that it dropped records. It is false if that log was not read.
  returned: success
  type: bool
  sample: false
sources:
  description: The logs that were read.
  returned: success
  type: list
  elements: str
  sample: [/var/log/audit/audit.log]
"""

import time
from typing import Any, Dict, List

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.senet.firewall.plugins.module_utils._agent.packed import this_host
from ansible_collections.senet.firewall.plugins.module_utils._change import denial_records
from ansible_collections.senet.firewall.plugins.module_utils._decisions.denial_rows import rows
from ansible_collections.senet.firewall.plugins.module_utils._decisions.denials import Wish
from ansible_collections.senet.firewall.plugins.module_utils._host.host import Host
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.fields import refuse_empty
from ansible_collections.senet.firewall.plugins.module_utils._values.moments import parse_moment


def _wish(params: Dict[str, Any]) -> Wish:
    refuse_empty(params)
    now = time.time()
    return Wish(
        parse_moment("since", params["since"], now),
        parse_moment("until", params["until"], now),
        frozenset(params["domains"] or ()),
        frozenset(params["flows"] or ()),
    )


def _report(host: Host, wish: Wish, warnings: List[str]) -> Dict[str, Any]:
    found = denial_records.collect(host, wish, warnings)
    collector = found.collector
    return {
        "groups": rows(collector, found.known, found.processes),
        "records": collector.records,
        "left_out": collector.left_out,
        "unreadable": collector.unreadable,
        "questions": collector.questions,
        "lost": collector.lost,
        "sources": list(found.sources),
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "since": {"type": "str"},
            "until": {"type": "str"},
            "domains": {"type": "list", "elements": "str"},
            "flows": {"type": "list", "elements": "str"},
        },
        supports_check_mode=True,
    )
    warnings = []  # type: List[str]
    try:
        result = _report(this_host(), _wish(module.params), warnings)
    except SenetError as exc:
        module.fail_json(msg=str(exc))
    for warning in warnings:
        module.warn(warning)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
