# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A list of flows as a module takes it: each item is a dictionary, or the text of one."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.common.validation import check_type_dict, check_type_list


def flow_items(value: Any) -> list[dict[str, Any]]:
    """The items that are dictionaries; of any other the module says what is wrong."""
    found = []
    for item in _checked(check_type_list, value):
        # A dictionary of Ansible's own type stays what it is
        found.append(item if isinstance(item, dict) else _checked(check_type_dict, item))
    return [item for item in found if item]


def _checked(check: Any, value: Any) -> Any:
    try:
        return check(value)
    except (TypeError, ValueError, SyntaxError):
        return {}
