# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
name: flows_from_iptables
short_description: Turn rules of iptables with a match on SELinux domains into flows
version_added: 0.1.0
description:
  - Articles on SELinux and firewalls show rules with C(-m selinux --selinux-source httpd_t), a match that no released
    kernel has. This filter reads such rules and returns the O(senet.firewall.flows#module:flows) and
    O(senet.firewall.flows#module:confine) that have the same effect.
  - It reads commands as people type them and what C(iptables-save) prints, of the chains C(INPUT) and C(OUTPUT) of the
    table C(filter).
  - A rule that flows cannot express is an error that names the line and the option in it. So is an option without a
    value, such as C(-s "").
  - The policy C(DROP) of a chain becomes a note, since flows leave open what they do not name.
author:
  - senet.firewall contributors (@senet)
options:
  _input:
    description: The rules, as one text or as a list of lines.
    type: raw
    required: true
seealso:
  - module: senet.firewall.flows
"""

EXAMPLES = r"""
- name: What the rules of an article mean
  ansible.builtin.debug:
    msg: "{{ lookup('ansible.builtin.file', 'article.rules') | senet.firewall.flows_from_iptables }}"

- name: Enforce it
  senet.firewall.flows:
    flows: "{{ meaning.flows }}"
    confine: "{{ meaning.confine }}"
  vars:
    meaning: "{{ lookup('ansible.builtin.file', 'article.rules') | senet.firewall.flows_from_iptables }}"
"""

RETURN = r"""
_value:
  description: What the rules mean.
  type: dict
  contains:
    flows:
      description: Flows, for O(senet.firewall.flows#module:flows).
      type: list
      elements: dict
      sample:
        - name: httpd_to_postgresql_5432
          source: [httpd_t]
          destination: [postgresql_t]
          protocol: tcp
          ports: ["5432"]
    confine:
      description: Confined domains, for O(senet.firewall.flows#module:confine).
      type: list
      elements: str
      sample: [httpd_t]
    notes:
      description: A sentence on each line that became no flow, or that says what it cannot.
      type: list
      elements: str
      sample: ["Line 4: nothing is needed, since labels follow the connection both ways."]
"""

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError


def flows_from_iptables(rules: Any) -> dict[str, Any]:
    """What rules mean: a text or a list of lines into flows, confined domains and notes."""
    # Here, since Ansible imports every filter file of the collection to find one filter by its name
    from ansible_collections.senet.firewall.plugins.plugin_utils._iptables_meaning import mean
    from ansible_collections.senet.firewall.plugins.plugin_utils._iptables_rules import parse

    lines = rules.splitlines() if isinstance(rules, str) else rules
    if not isinstance(lines, (list, tuple)) or not all(isinstance(line, str) for line in lines):
        raise AnsibleFilterError("flows_from_iptables: the rules are not text; give one text or a list of lines.")
    try:
        return mean(*parse(lines))._asdict()
    except SenetError as error:
        raise AnsibleFilterError(f"flows_from_iptables: {error}") from error


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"flows_from_iptables": flows_from_iptables}
