# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The addresses at which others reach a host of the inventory, from a variable or from its facts."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import Any

from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.plugin_utils._host_flows import Addresses, network

_FACTS = ("all_ipv4_addresses", "all_ipv6_addresses")


def host_addresses(
    hostvars: Mapping[str, Any], variable: str, facts: bool = False, resolve: bool | None = None
) -> Addresses:
    """How to get the addresses of a host by its name; SenetError says what is wrong with them. ``resolve`` is None for
    who has no such option."""
    known = _known(hostvars, variable, facts, resolve)

    def addresses(name: str) -> list[str]:
        if name not in known:
            if facts:
                known[name] = _from_facts(name, hostvars[name].get("ansible_facts") or {})
            else:
                known[name] = _from_variable(name, variable, hostvars[name].get(variable), resolve)
        return known[name]

    return addresses


def _known(hostvars: Mapping[str, Any], *how: Any) -> dict[str, list[str]]:
    """The addresses that this task has looked up already. Ansible takes a millisecond or more for the variables of a
    host, and a task asks for its flows several times. It is a process of its own, so that nothing outlives it."""
    asked = (os.getpid(), *how)
    if _last.hostvars is not hostvars or _last.how != asked:
        _last.hostvars, _last.how, _last.addresses = hostvars, asked, {}
    return _last.addresses


class _Last:
    """What was asked for last, and what was found for it."""

    hostvars: Any = None
    how: tuple[Any, ...] = ()

    def __init__(self) -> None:
        self.addresses: dict[str, list[str]] = {}


_last = _Last()


def _from_facts(host: str, facts: Mapping[str, Any]) -> list[str]:
    found = [str(text) for key in _FACTS for text in facts.get(key) or ()]
    kept = [text for text in found if _reachable(text) and not _link_local(text)]
    if not kept:
        raise SenetError(
            f"There are no facts with addresses of the host '{host}'; gather the facts of all hosts before, or have "
            "them cached."
        )
    return kept


def _from_variable(host: str, variable: str, value: Any, resolve: bool | None) -> list[str]:
    if value is None and variable == "ansible_host":
        value = host
    texts = [value] if isinstance(value, str) else list(value or ())
    if not texts:
        raise SenetError(f"The host '{host}' has no {variable}; give it an address there.")
    found = [address for text in texts for address in (_resolved(host, str(text)) if resolve else [str(text)])]
    for text in found:
        parsed = network(text)
        if parsed is None:
            advice = "name another variable" if resolve is None else "let names be resolved with resolve=true"
            raise SenetError(f"The {variable} {text!r} of the host '{host}' is not an address; give one, or {advice}.")
        if parsed.num_addresses > 1:
            # As a client it would let in whoever else is in that network
            raise SenetError(
                f"The {variable} {text} of the host '{host}' is a network; give the addresses of the host alone, or "
                "name the network itself as a side of the flow."
            )
        if not _reachable(text):
            raise SenetError(
                f"The {variable} {text} of the host '{host}' is not an address at which others reach it; give one that "
                "is, or name another variable that has it."
            )
    return found


def _resolved(host: str, text: str) -> list[str]:
    if network(text) is not None:
        return [text]
    try:
        return sorted({str(found[4][0]) for found in socket.getaddrinfo(text, None, type=socket.SOCK_STREAM)})
    except OSError as error:
        raise SenetError(
            f"The name {text!r} of the host '{host}' cannot be resolved here ({error}); correct it, or give an address."
        ) from error


def _reachable(text: str) -> bool:
    """Whether an address can be that of another host."""
    found = network(text)
    return found is not None and not (found.is_loopback or found.is_unspecified or found.is_multicast)


def _link_local(text: str) -> bool:
    found = network(text)
    return found is not None and found.is_link_local
