# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
name: flows_from_suggestions
short_description: Merge the flows that were suggested on many hosts
version_added: 0.1.0
description:
  - A host knows the domains of its own processes, and of the other end of a connection only the address. This filter
    finds the host at the other end among the others, so that a client's flow gets the server's domains and a server's
    flow the clients'. A flow whose other end is not among them stays as it was suggested.
  - The result is for a person to review.
author:
  - senet.firewall contributors (@senet)
options:
  _input:
    description: The results of M(senet.firewall.flow_suggestion_info), by host.
    type: dict
    required: true
seealso:
  - module: senet.firewall.flow_suggestion_info
"""

EXAMPLES = r"""
- name: Suggest flows on each host
  senet.firewall.flow_suggestion_info:
  register: suggested

- name: Keep them in a file, by host, for a person to review
  ansible.builtin.copy:
    content: "{{ {'reviewed_flows': results | senet.firewall.flows_from_suggestions} | to_nice_yaml }}"
    dest: group_vars/all/flows.yml
    mode: "0600"
  vars:
    results: "{{ dict(ansible_play_hosts | zip(ansible_play_hosts | map('extract', hostvars, 'suggested'))) }}"
  run_once: true
  delegate_to: localhost
  become: false

# After the review, flow_set_flows: "{{ reviewed_flows[inventory_hostname] }}"
"""

RETURN = r"""
_value:
  description: By host, its flows, for O(senet.firewall.flows#module:flows) or C(flow_set_flows).
  type: dict
  sample:
    web1:
      - name: httpd_to_postgresql
        source: [httpd_t]
        destination: [postgresql_t]
        protocol: tcp
        ports: ["5432"]
        destination_addresses: [192.0.2.2]
    db1:
      - name: httpd_to_postgresql
        source: [httpd_t]
        destination: [postgresql_t]
        protocol: tcp
        ports: ["5432"]
        source_addresses: [192.0.2.1]
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError


def flows_from_suggestions(results: Any) -> dict[str, list[dict[str, Any]]]:
    """The flows of each host; AnsibleFilterError says what is wrong with the results."""
    # Here, since Ansible imports every filter file of the collection to find one filter by its name
    from ansible_collections.senet.firewall.plugins.plugin_utils._suggested_flows import merge

    if not isinstance(results, Mapping) or not results:
        raise AnsibleFilterError(
            "flows_from_suggestions: give the results of flow_suggestion_info by host, as a dictionary."
        )
    try:
        return merge(results)
    except SenetError as error:
        raise AnsibleFilterError(f"flows_from_suggestions: {error}") from error


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"flows_from_suggestions": flows_from_suggestions}
