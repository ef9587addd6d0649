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

import json
from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible.module_utils.common.collections import Mapping, is_sequence
from ansible.utils.unsafe_proxy import wrap_var

try:
    import jmespath
    from jmespath.exceptions import (
        ArityError,
        IncompleteExpressionError,
        JMESPathError,
        JMESPathTypeError,
        LexerError,
        ParseError,
    )
    from jmespath.functions import Functions, signature
except ImportError:
    HAS_JMESPATH = False
else:
    HAS_JMESPATH = True

    class _Functions(Functions):
        @signature({"types": ["array"]})
        def _func_unique(self, array: Any) -> Any:
            kept: dict[str, Any] = {}
            for item in array:
                kept.setdefault(json.dumps(item, sort_keys=True), item)
            return list(kept.values())


def process_query(data: Any, expression: Any) -> Any:
    """Evaluate the JMESPath expression over `data`; AnsibleFilterError says what is wrong with either.

    The values come from the host, where anyone may name a process, so the result is marked as not to be templated.
    """
    if not HAS_JMESPATH:
        raise AnsibleFilterError(
            "The filter process_query needs the Python library jmespath on the controller: pip install jmespath."
        )
    if not isinstance(expression, str):
        raise AnsibleFilterError(
            f"The expression {expression!r} of the filter process_query is not a string: give a JMESPath expression."
        )
    if not isinstance(data, Mapping) and not is_sequence(data):
        raise AnsibleFilterError(
            f"The input of the filter process_query is of type {type(data).__name__}: give the result of "
            "process_context_info or its list of processes."
        )
    options = jmespath.Options(custom_functions=_Functions())
    try:
        return wrap_var(jmespath.search(str.__str__(expression), _plain(data), options=options))
    except JMESPathError as exc:
        raise AnsibleFilterError(
            f"The expression {str.__str__(expression)!r} of the filter process_query {_explain(exc)}."
        ) from None


def _plain(value: Any) -> Any:
    """The value in Python's own types: jmespath tells types by their names, and Ansible's strings have others."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, Mapping):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if is_sequence(value):
        return [_plain(item) for item in value]
    return value


def _explain(error: "JMESPathError") -> str:
    if isinstance(error, JMESPathTypeError):
        expected = " or ".join(error.expected_types)
        return f"gives the function {error.function_name}() a value of type {error.actual_type}: give it {expected}"
    if not isinstance(error, ParseError) or isinstance(error, ArityError):
        return f"is wrong ({str(error).rstrip('.')}): correct it"
    if isinstance(error, IncompleteExpressionError):
        return f"ends too early, at position {error.lex_position}: complete it"
    if error.token_type == "NUMBER":
        return f"is wrong at position {error.lex_position}: write the number in backticks, `{error.token_value}`"
    problem = error.message if isinstance(error, LexerError) else error.msg
    return f"is wrong at position {error.lex_position} ({problem}): correct it there"


class FilterModule:
    """The filter of this file, by its name."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"process_query": process_query}
