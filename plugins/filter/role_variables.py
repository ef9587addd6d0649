# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
name: role_variables
short_description: Find a role's variables among those of a host, and refuse misspelt ones
version_added: 0.1.0
description:
  - The roles of this collection use it. Ansible ignores a variable that no role has, so a misspelt one would leave open
    what it was meant to close.
  - A variable whose name begins with the role's must be one of its options, and one whose name begins with
    C(senet_firewall_) must be one of those that hold for all roles. The error names the nearest one.
author:
  - senet.firewall contributors (@senet)
positional: role, options, roles, owner
options:
  _input:
    description: Names of variables, as P(ansible.builtin.varnames#lookup) returns them.
    type: list
    elements: str
    required: true
  role:
    description: The role, which is the prefix of its variables. Its registered result, with C(_result), is passed over.
    type: str
    required: true
  options:
    description: The names of the role's variables, as in its C(argument_specs.yml).
    type: list
    elements: str
    required: true
  roles:
    description: Other roles, whose variables are passed over although the name of this one may begin theirs.
    type: list
    elements: str
    default: []
  owner:
    description: Whose variables they are, for the error. The role's, if not given.
    type: str
"""

EXAMPLES = r"""
- name: What is set of this role
  ansible.builtin.debug:
    msg: "{{ names | senet.firewall.role_variables('httpd_to_redis', ['httpd_to_redis_mode']) }}"
    # {"mode": "httpd_to_redis_mode"}
  vars:
    names: "{{ query('ansible.builtin.varnames', '^(senet_firewall|httpd_to_redis)_') }}"
"""

RETURN = r"""
_value:
  description: The variables of the role that are set, by what follows the prefix.
  type: dict
"""

import difflib
from collections.abc import Callable, Iterable
from typing import Any

from ansible.errors import AnsibleFilterError

# What every role reads where its own variable is not set
SHARED = (
    "mode",
    "backend",
    "layers",
    "confirm_timeout",
    "health_checks",
    "health_commands",
    "metrics_directory",
)
_COLLECTION = "senet_firewall"


def role_variables(
    names: Iterable[str], role: str, options: Iterable[str], roles: Iterable[str] = (), owner: str = ""
) -> dict[str, str]:
    """The set variables of a role by option; AnsibleFilterError names one that there is not."""
    known = list(options)
    others = [other for other in roles if other.startswith(f"{role}_")]
    found = {}
    for name in names:
        if name.startswith(f"{_COLLECTION}_"):
            _check(name, [f"{_COLLECTION}_{option}" for option in SHARED], "the collection senet.firewall")
        elif _belongs(name, role) and name != f"{role}_result" and not any(_belongs(name, other) for other in others):
            _check(name, known, owner or f"the role {role}")
            found[name.removeprefix(f"{role}_")] = name
    return found


def _belongs(name: str, role: str) -> bool:
    return name.startswith(f"{role}_")


def _check(name: str, known: list[str], owner: str) -> None:
    if name not in known:
        nearest = difflib.get_close_matches(name, known, n=1, cutoff=0)[0]
        raise AnsibleFilterError(
            f"The variable '{name}' is none of {owner}, so it would be ignored; write '{nearest}' if you mean that, or "
            "give a variable of your own another prefix."
        )


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"role_variables": role_variables}
