# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a JMESPath expression selects of the processes of a host."""

from __future__ import annotations

import json
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


def select(data: Any, expression: Any) -> Any:
    """What a JMESPath expression selects of `data`; AnsibleFilterError says what is wrong with either.

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
