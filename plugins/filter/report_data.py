# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
name: report_data
short_description: Combine what many hosts return about their flows
version_added: 0.1.0
description:
  - The playbook C(senet.firewall.report) uses it. The result is the report's JSON, which C(docs/report.schema.json)
    describes, and the input of P(senet.firewall.report_page#filter).
  - A host that did not answer is in the result, in the state C(unknown).
author:
  - senet.firewall contributors (@senet)
positional: access, denials, made, since
options:
  _input:
    description: The results of M(senet.firewall.flows_info), by host.
    type: dict
    required: true
  access:
    description: The results of M(senet.firewall.packet_access_info), by host.
    type: dict
    required: true
  denials:
    description: The results of M(senet.firewall.packet_denial_info), by host.
    type: dict
    required: true
  made:
    description: The time of the report, in UTC.
    type: str
    required: true
  since:
    description: The value of O(senet.firewall.packet_denial_info#module:since) that was used.
    type: str
    required: true
seealso:
  - plugin: senet.firewall.report_page
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Name the hosts that do not enforce their flows
  ansible.builtin.debug:
    msg: "{{ data.hosts | rejectattr('state', 'equalto', 'enforced') | map(attribute='name') }}"
  vars:
    data: "{{ records | senet.firewall.report_data(access, denials, '2026-11-22T00:10:00Z', '1d') }}"
"""

RETURN = r"""
_value:
  description: The data of the report.
  type: dict
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible.utils.unsafe_proxy import wrap_var


def report_data(
    flows: Any, access: Mapping[str, Any], denials: Mapping[str, Any], made: str, since: str
) -> dict[str, Any]:
    """The data of a report; what hosts say is marked as not to be templated."""
    # Here, since Ansible imports every filter file of the collection to find one filter by its name
    from ansible_collections.senet.firewall.plugins.plugin_utils._report_model import Results, model

    if not isinstance(flows, Mapping):
        raise AnsibleFilterError("report_data: give the results of flows_info by host, as a dictionary.")
    results = {
        str(host): Results(result, access.get(host) or {}, denials.get(host) or {}) for host, result in flows.items()
    }
    data: dict[str, Any] = wrap_var(model(results, str.__str__(made), str.__str__(since)))
    return data


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"report_data": report_data}
