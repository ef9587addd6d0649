#!/usr/bin/python
# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: guard
short_description: Confirm or undo a change of flows that waits to be confirmed
version_added: 0.1.0
description:
  - A timer on the host undoes a change of M(senet.firewall.flows) or a related module unless it is confirmed. The
    action plugin of that module confirms it, except with C(confirm=manual). This module confirms or undoes changes with
    C(confirm=manual), and changes whose play was interrupted.
  - While a change waits, every other change on the host is refused.
requirements:
  - Root on the target
extends_documentation_fragment:
  - senet.firewall.attributes
attributes:
  check_mode:
    support: none
  diff_mode:
    support: N/A
    details:
      - The result of the module that made the change describes it.
options:
  token:
    description: The name of the change. It is C(guard.token) in the result of the task that made the change, and
      C(pending.token) in that of M(senet.firewall.flows_info). The error that refuses another change has it too.
    type: str
    required: true
  state:
    description: Whether the change is to stay, or to be undone now. Confirming a change that the host has undone is an
      error.
    type: str
    choices: [confirmed, aborted]
    required: true
seealso:
  - module: senet.firewall.flows
  - module: senet.firewall.flows_info
author:
  - senet.firewall contributors (@senet)
"""

EXAMPLES = r"""
- name: Keep the change that waits
  senet.firewall.guard:
    token: 4f0c9be21a77
    state: confirmed

- name: Undo it without waiting for the timer
  senet.firewall.guard:
    token: 4f0c9be21a77
    state: aborted
"""

RETURN = r"""
token:
  description: The name of the change.
  returned: success
  type: str
  sample: 4f0c9be21a77
rolled_back:
  description: Whether the host is back in its previous state. With O(state=aborted) it is false if the change had been
    confirmed before. With O(state=confirmed) the task fails if it is true, since the timer has undone the change
    already.
  returned: success
  type: bool
  sample: false
reason:
  description: Why the change was undone; empty if it was not.
  returned: success
  type: str
  sample: it was not confirmed in time
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.senet.firewall.plugins.module_utils._agent.packed import this_host
from ansible_collections.senet.firewall.plugins.module_utils._change import modules
from ansible_collections.senet.firewall.plugins.module_utils._values import options


def main() -> None:
    modules.guard(AnsibleModule(**options.GUARD), this_host)


if __name__ == "__main__":
    main()
