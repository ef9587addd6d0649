# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
name: ipsec_order
short_description: Say whether a job would have permitted clients refused for want of labelled IPsec
version_added: 0.1.0
description:
  - The playbooks C(senet.firewall.rollout) and C(senet.firewall.rollback) use it before they change the first host.
  - A server's host may begin to enforce a flow with C(verify_source=ipsec) if it and the hosts of all the flow's
    clients have the flow with C(verify_source=ipsec) already. A host that enforces it already is not checked.
  - A flow that is only observed counts as enforced if another one with the same destination begins to be.
  - A client's host may lose C(verify_source=ipsec) of a flow if no host of the flow's servers enforces it.
  - A host of the other side that is not among the hosts of the job is a reason to refuse it, since nobody knows what it
    has.
author:
  - senet.firewall contributors (@senet)
positional: groups, hosts, results, records
options:
  _input:
    description:
      - The flows of the fleet, as P(senet.firewall.flows_for_host#filter) takes them.
      - The sides of a flow that is not among them are taken from the hosts' flows. One with C(source_addresses) is that
        of a server's host.
    type: list
    elements: dict
    required: true
  groups:
    description: Ansible's variable C(groups).
    type: dict
    required: true
  hosts:
    description: The hosts of the job.
    type: list
    elements: str
    required: true
  results:
    description: What M(senet.firewall.flows) returned in check mode, by host. A task that was skipped, as for a host
      without flows, returned none.
    type: dict
    required: true
  records:
    description: What M(senet.firewall.flows_info) returned, by host. Needed for a host that changes and whose
      RV(senet.firewall.flows#module:previous_flows) is null.
    type: dict
    default: {}
seealso:
  - module: senet.firewall.flows
  - plugin: senet.firewall.flows_for_host
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Look at what would change
  senet.firewall.flows:
    flows: "{{ senet_flows | senet.firewall.flows_for_host(inventory_hostname, groups, hostvars) }}"
  check_mode: true
  register: looked

- name: Refuse an order in which permitted clients would be cut off
  ansible.builtin.assert:
    that: refusals | length == 0
    fail_msg: "{{ refusals | join(' ') }}"
  run_once: true
  vars:
    results: "{{ dict(ansible_play_hosts | zip(ansible_play_hosts | map('extract', hostvars, 'looked'))) }}"
    refusals: "{{ senet_flows | senet.firewall.ipsec_order(groups, ansible_play_hosts, results) }}"
"""

RETURN = r"""
_value:
  description: Why the job must not be done, for each flow. Empty if no permitted client would be refused.
  type: list
  elements: str
  sample:
    - db1 would enforce the flow 'web_db' with verify_source=ipsec, and db1 and web1 do not have this flow with
      verify_source=ipsec yet, so permitted clients would be refused. First roll the flow out to these hosts with
      mode=observe, then set up IPsec there with the role labelled_ipsec, then roll out with mode=enforce
      (docs/labelled-ipsec.md).
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any, Optional

from ansible.errors import AnsibleFilterError

from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError


def ipsec_order(
    flows: Any,
    groups: Mapping[str, Any],
    hosts: Collection[str],
    results: Mapping[str, Any],
    records: Optional[Mapping[str, Any]] = None,
) -> list[str]:
    """Why a job must not be done; AnsibleFilterError says what is wrong with what is given."""
    # Here, since Ansible imports every filter file of the collection to find one filter by its name
    from ansible_collections.senet.firewall.plugins.plugin_utils._ipsec_order import change, refusals

    try:
        changes = {host: change(result, (records or {}).get(host) or {}) for host, result in results.items()}
        return refusals(flows, groups, hosts, changes)
    except SenetError as error:
        raise AnsibleFilterError(f"ipsec_order: {error}") from error


class FilterModule:
    """The filter of this file, by its name."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"ipsec_order": ipsec_order}
