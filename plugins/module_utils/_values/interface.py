# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The context of a network interface in the policy store. No I/O."""

import re
from typing import Mapping, NamedTuple, Optional

from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.fields import TYPE_NAME
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import FlowSet

# s0, s0-s0:c0.c1023, s0:c1,c3; or none
_ONE_LEVEL = r"[a-z][a-z0-9]{0,7}(?::c[0-9]{1,4}(?:[.,]c[0-9]{1,4})*)?"
_LEVEL = re.compile("(?:" + _ONE_LEVEL + "(?:-" + _ONE_LEVEL + ")?)?")


class IfContext(NamedTuple):
    """A context as the policy store has it for an interface; ``level`` is empty where the policy has no levels."""

    user: str
    role: str
    type: str
    level: str

    def __str__(self) -> str:
        return ":".join(part for part in self if part)


def parse_context(interface: str, setype: str, level: str) -> IfContext:
    """The context that semanage gives an interface with this type and level.

    :raises SenetError: one of them is malformed.
    """
    if not TYPE_NAME.fullmatch(setype):
        raise SenetError(
            "The type {0!r} of the interface '{1}' is not the name of an SELinux type; give the type alone, such as "
            "netif_t.".format(setype, interface)
        )
    if not _LEVEL.fullmatch(level):
        raise SenetError(
            "The level {0!r} of the interface '{1}' is not an SELinux level; write for example s0 or "
            "s0-s0:c0.c1023.".format(level, interface)
        )
    return IfContext("system_u", "object_r", setype, level)


def altered_types(
    flows: FlowSet, given: Mapping[str, str], interface: str, context: Optional[IfContext], new: bool, tidy: bool
) -> FlowSet:
    """The set with the type of an interface's new context declared if that is ``new``; with ``tidy``, without those
    that were declared and that no interface and no peer label has any longer. ``given`` are the contexts of now."""
    after = {name: text.split(":")[2] for name, text in given.items() if name != interface}
    if context is not None:
        after[interface] = context.type
    used = set(after.values()).union(label.interface_type or "" for label in flows.peers)
    created = [context.type] if context is not None and new else []
    return flows.with_interface_types(created, set(flows.interface_types) - used if tidy else ())
