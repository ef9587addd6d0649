# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
name: refuse_pair_variables
short_description: Hand flows on, and refuse variables of their pairs that would be ignored
version_added: 0.1.0
description:
  - The roles and playbooks of this collection use it. A variable such as C(httpd_to_postgresql_source_addresses) is
    that of the role C(httpd_to_postgresql). What puts the flow of this pair in force by other means does not read it,
    and would leave open what it was meant to close.
  - A variable whose prefix is only similar to the name of a pair, and that ends like one of its variables, gets a
    warning, since it may be that of another role.
author:
  - senet.firewall contributors (@senet)
positional: names, reader, advice, roles
options:
  _input:
    description: The flows. Those without a pair are handed on.
    type: list
    elements: dict
    required: true
  names:
    description: Names of variables, as P(ansible.builtin.varnames#lookup) returns them.
    type: list
    elements: str
    required: true
  reader:
    description: What puts the flows in force, for the error.
    type: str
    required: true
  advice:
    description: What to do instead, for the error. C({option}) stands for the variable less its prefix.
    type: str
    required: true
  roles:
    description: The roles of the play, which read their own variables.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Refuse httpd_to_redis_source_addresses
  ansible.builtin.debug:
    msg: "{{ [{'pair': 'httpd_to_redis'}] | senet.firewall.refuse_pair_variables(names, 'this task', advice) }}"
  vars:
    names: "{{ query('ansible.builtin.varnames', '_to_') }}"
    advice: put {option} in the item of the pair
"""

RETURN = r"""
_value:
  description: The flows, as they were given.
  type: list
  elements: dict
"""

import difflib
from collections.abc import Callable, Iterable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible.utils.display import Display

from ansible_collections.senet.firewall.plugins.module_utils._values.options import FLOW_OPTIONS
from ansible_collections.senet.firewall.plugins.module_utils._values.pairs import PAIRS
from ansible_collections.senet.firewall.plugins.plugin_utils._flow_items import flow_items

_COLLECTION = "senet.firewall."
# What would be open, or stay in force, if it were ignored
_OPTIONS = (*FLOW_OPTIONS, "flow_name", "mode", "state", "layers", "backend")
# Of names like httpd_to_postgres and httpd_to_postgresql
_SIMILAR = 0.85


def refuse_pair_variables(flows: Any, names: Iterable[str], reader: str, advice: str, roles: Iterable[str] = ()) -> Any:
    """The flows as they are; AnsibleFilterError names a variable of one of their pairs."""
    known = list(names)
    run = {role.removeprefix(_COLLECTION) for role in roles}
    for pair in sorted({str(flow.get("pair")) for flow in flow_items(flows)}.intersection(PAIRS)):
        for name in known:
            if _pair_of(name) == pair and pair not in run and name != f"{pair}_result":
                option = name.removeprefix(f"{pair}_")
                raise AnsibleFilterError(
                    f"The variable '{name}' is one of the role {pair}, and {reader} does not read it, so it would be "
                    f"ignored; {advice.format(option=option)}, or remove the variable."
                )
            _warn_if_misspelt(name, pair, run)
    return flows


def _pair_of(name: str) -> str:
    """The pair whose role would have this variable."""
    return max((pair for pair in PAIRS if name.startswith(f"{pair}_")), key=len, default="")


def _warn_if_misspelt(name: str, pair: str, run: set[str]) -> None:
    option = max((option for option in _OPTIONS if name.endswith(f"_{option}")), key=len, default="")
    prefix = name.removesuffix(f"_{option}")
    if not option or "_to_" not in prefix or _pair_of(name) or prefix in run:
        return
    if difflib.SequenceMatcher(None, prefix, pair).ratio() >= _SIMILAR:
        Display().warning(
            f"The variable '{name}' is ignored here, since there is no pair '{prefix}'. If it is meant for the pair "
            f"'{pair}', nothing is limited by it."
        )


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"refuse_pair_variables": refuse_pair_variables}
