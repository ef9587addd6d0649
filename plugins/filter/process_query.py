# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
name: process_query
short_description: Query the result of process_context_info with a JMESPath expression
version_added: 0.1.0
description:
  - Evaluates a JMESPath expression over the processes, or the whole result, of
    M(senet.firewall.process_context_info).
  - In addition to the functions of JMESPath there is C(unique(array)), which keeps the first of equal items. Prefork
    servers and their workers share sockets, so most questions about ports need it.
  - An error names the expression and, where it has a mistake, the position.
author:
  - senet.firewall contributors (@senet)
positional: expression
options:
  _input:
    description: The list RV(senet.firewall.process_context_info#module:processes), the whole result, or any
      part of it.
    type: raw
    required: true
  expression:
    description:
      - The JMESPath expression. Put numbers and words that are values in backticks or single quotes, see
        U(https://jmespath.org).
    type: str
    required: true
requirements:
  - jmespath on the controller
seealso:
  - module: senet.firewall.process_context_info
"""

EXAMPLES = r"""
# All examples follow this task.
- name: Read the processes
  senet.firewall.process_context_info:
    details: true
  register: host

- name: Ports on which one domain listens
  ansible.builtin.debug:
    msg: "{{ host | senet.firewall.process_query('unique(domains.httpd_t.listening[].port)') }}"
    # [80, 443]

- name: Ports on which each domain listens
  ansible.builtin.debug:
    msg: "{{ host.domains | dict2items | senet.firewall.process_query(ports_by_domain) }}"
    # [{"domain": "httpd_t", "ports": [80, 443]}, {"domain": "postgresql_t", "ports": [5432]}]
  vars:
    ports_by_domain: "[].{domain: key, ports: unique(value.listening[].port)}"

- name: Domains that are connected to a PostgreSQL server
  ansible.builtin.debug:
    msg: "{{ host.processes | senet.firewall.process_query(clients) }}"
    # ["httpd_t"]
  vars:
    clients: "unique([?connected[?remote_port==`5432`]].context.type)"

- name: Units that listen on all addresses
  ansible.builtin.debug:
    msg: "{{ host.processes | senet.firewall.process_query(everywhere) }}"
    # ["apache2.service"]
  vars:
    everywhere: "unique([?listening[?address=='0.0.0.0' || address=='::']].unit)"

- name: Programs of root that run unconfined and have a connection
  ansible.builtin.debug:
    msg: "{{ host.processes | senet.firewall.process_query(unconfined) }}"
    # [{"pid": 812, "executable": "/usr/bin/python3.11"}]
  vars:
    unconfined: "[?uid==`0` && context.type=='unconfined_t' && connected].{pid: pid, executable: executable}"
"""

RETURN = r"""
_value:
  description: What the expression selects; null where it selects nothing.
  type: raw
"""

from collections.abc import Callable
from typing import Any


def process_query(data: Any, expression: Any) -> Any:
    """What the JMESPath expression selects of `data`; AnsibleFilterError says what is wrong with either."""
    # Here, since Ansible imports every filter file of the collection to find one filter by its name
    from ansible_collections.senet.firewall.plugins.plugin_utils._process_query import select

    return select(data, expression)


class FilterModule:
    """The filter of this file, by its name."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"process_query": process_query}
