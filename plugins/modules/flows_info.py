#!/usr/bin/python
# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: flows_info
short_description: Return which flows a host has, and whether they are in force as they were asked for
version_added: 0.1.0
description:
  - Returns the flows that M(senet.firewall.flows) and related modules have recorded on a host, the change that waits
    there to be confirmed, the outcome of the last change, the flows that the host had before, and the drift, which is
    where the host differs from the record.
  - It changes nothing.
requirements:
  - Root on the target
extends_documentation_fragment:
  - senet.firewall.attributes
  - senet.firewall.info
attributes:
  diff_mode:
    support: full
    details:
      - Shows what the host has beside what the record asks for, where they differ (RV(drift)).
seealso:
  - module: senet.firewall.flows
  - module: senet.firewall.guard
author:
  - senet.firewall contributors (@senet)
"""

EXAMPLES = r"""
# ansible web -b -m senet.firewall.flows_info
- name: Ask what the host has
  senet.firewall.flows_info:
  register: host

- name: Stop where the flows are not in force as they were asked for
  ansible.builtin.assert:
    that: not host.drift
    fail_msg: "It takes: {{ host.drift | join('; ') }}"

- name: Confirm a change whose play was interrupted, if it waits
  senet.firewall.guard:
    token: "{{ host.pending.token }}"
    state: confirmed
  when: host.pending is not none and host.pending.complete
"""

RETURN = r"""
flows:
  description: The flows on record, each as M(senet.firewall.flows) takes it.
  returned: success
  type: list
  elements: dict
  sample:
    - name: web_db
      source: [httpd_t]
      destination: [postgresql_t]
      protocol: tcp
      ports: ["5432"]
      mode: enforce
confine:
  description: The confined domains on record, each with its mode.
  returned: success
  type: dict
  sample: {"httpd_t": "enforce"}
peer_labels:
  description: The peer labels on record, each as M(senet.firewall.peer_label) takes it.
  returned: success
  type: list
  elements: dict
  sample:
    - type: partner_peer_t
      addresses: [192.0.2.0/24]
loopback_domains:
  description: The domains whose packets carry their own label over IPv4 loopback.
  returned: success
  type: list
  elements: str
  sample: []
layers:
  description: What enforces the flows. Empty where none is on record.
  returned: success
  type: list
  elements: str
  sample: [selinux]
backend:
  description: What holds the rules. Null where nothing is on record.
  returned: success
  type: str
  sample: iptables
metrics_directory:
  description: Where the watch writes metrics. Null where it does not.
  returned: success
  type: str
  sample: /var/lib/prometheus/node-exporter
selinux:
  description: The mode of SELinux. In C(permissive) the layer C(selinux) enforces nothing, in C(disabled) that layer
    cannot be used.
  returned: success
  type: str
  sample: enforcing
pending:
  description: The change that waits to be confirmed, or that a run is making. Null if there is none.
  returned: success
  type: dict
  contains:
    token:
      description: The name of the change, for M(senet.firewall.guard).
      returned: always
      type: str
      sample: 4f0c9be21a77
    complete:
      description: Whether the run made the whole change. If not, the run is still at work, or it died, and the timer or
        the next run undoes what it did.
      returned: always
      type: bool
      sample: true
    step:
      description: What was done last.
      returned: always
      type: str
      sample: wait for the confirmation over a new connection
    seconds_left:
      description: Seconds until the host undoes it. Null while it is not complete.
      returned: always
      type: int
      sample: 21
outcome:
  description: The outcome of the last guarded change. Null where there was none.
  returned: success
  type: dict
  contains:
    token:
      description: The name of the change.
      returned: always
      type: str
      sample: 4f0c9be21a77
    rolled_back:
      description: Whether it was undone.
      returned: always
      type: bool
      sample: true
    reason:
      description: Why it was undone; empty if it was not.
      returned: always
      type: str
      sample: it was not confirmed in time
repaired:
  description: When the host last put back labels that another program had removed, and which. Null if it has not done
    so since the last change or boot.
  returned: success
  type: str
  sample: null
history:
  description:
    - The sets of flows that the host had before, newest first, to which M(senet.firewall.flows) can go back with
      C(state=reverted).
    - A warning names each file of C(/etc/senet/history) that cannot be read.
  returned: success
  type: list
  elements: dict
  contains:
    confirmed:
      description: When the set was confirmed, for C(revert_to). Null if the set was there before the history began, or
        if the time is not known.
      returned: always
      type: str
      sample: "2026-11-19T08:12:40Z"
    replaced:
      description: When another set was confirmed in its place.
      returned: always
      type: str
      sample: "2026-11-21T13:30:02Z"
    reverted:
      description: Whether C(state=reverted) put another set in its place.
      returned: always
      type: bool
      sample: false
    flows:
      description: The names of its flows. Empty where the host had none.
      returned: always
      type: list
      elements: str
      sample: [web_db]
    confine:
      description: Its confined domains.
      returned: always
      type: list
      elements: str
      sample: []
drift:
  description:
    - The steps that would bring the host to what the record says. Empty if nothing differs.
    - Null while a change waits to be confirmed, since what is then in force is not in the record.
  returned: success
  type: list
  elements: str
  sample: [restore the ipv6 rules]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.senet.firewall.plugins.module_utils._agent.packed import this_host
from ansible_collections.senet.firewall.plugins.module_utils._change import drift
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError


def main() -> None:
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    try:
        result = drift.report(this_host())
    except SenetError as exc:
        module.fail_json(msg=str(exc))
    for warning in result.pop("warnings"):
        module.warn(warning)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
