#!/usr/bin/python
# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: guard
short_description: Confirm or undo a change of flows that the guard watches
version_added: 0.1.0
description:
  - A change that M(senet.firewall.flows) has made is undone by a timer on the host unless it is confirmed. The action
    plugin of that module confirms it by itself, unless it is told to leave that to this module with C(confirm=manual).
    This module is for these changes, and for those whose play was interrupted.
  - Nothing else can be changed on the host while a change waits.
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
    description: The name of the change. The result of the module that made it has it as C(guard.token), the error that
      refuses another change names it, and M(senet.firewall.flows_info) returns it.
    type: str
    required: true
  state:
    description: Whether the change is to stay or to be undone now. To confirm what the host has undone is an error.
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
  description: Whether the host is back in its previous state. It may be false with O(state=aborted), if the change had
    been confirmed. With O(state=confirmed) the task fails where it is true, since the timer was faster.
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
