# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the modules that change flows, as AnsibleModule takes them. The controller reads them as well."""

from typing import Any, Dict

from ansible_collections.senet.firewall.plugins.module_utils._values import layers
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import MODES, PROTOCOLS, VERIFY

# Of one flow, less its mode, which has a default where a module takes one flow only
FLOW_OPTIONS = {
    "name": {"type": "str"},
    "pair": {"type": "str"},
    "source": {"type": "list", "elements": "str"},
    "destination": {"type": "list", "elements": "str"},
    "protocol": {"type": "str", "choices": list(PROTOCOLS)},
    "ports": {"type": "list", "elements": "str"},
    "source_addresses": {"type": "list", "elements": "str"},
    "destination_addresses": {"type": "list", "elements": "str"},
    "interfaces": {"type": "list", "elements": "str"},
    "users": {"type": "list", "elements": "str"},
    "units": {"type": "list", "elements": "str"},
    "verify_source": {"type": "str", "choices": list(VERIFY)},
}  # type: Dict[str, Dict[str, Any]]
PRESENT = "present"
ABSENT = "absent"
REVERTED = "reverted"
AUTO_CONFIRM = "auto"
MANUAL = "manual"
# Of every change that is guarded
GUARD_OPTIONS = {
    "state": {"type": "str", "choices": [PRESENT, ABSENT], "default": PRESENT},
    "confirm_timeout": {"type": "int", "default": 30},
    "health_checks": {"type": "list", "elements": "str"},
    "health_commands": {"type": "list", "elements": "str"},
    "token": {"type": "str", "no_log": False},
}  # type: Dict[str, Dict[str, Any]]
OPTIONS = {
    "mode": {"type": "str", "choices": list(MODES), "default": "enforce"},
    "layers": {"type": "list", "elements": "str", "choices": list(layers.CHOICES), "default": [layers.AUTO]},
    "backend": {"type": "str", "choices": ["auto", "iptables", "nftables"], "default": "auto"},
}  # type: Dict[str, Dict[str, Any]]

FLOW = {
    "argument_spec": dict(FLOW_OPTIONS, **GUARD_OPTIONS, **OPTIONS),
    "required_one_of": [("name", "pair")],
}  # type: Dict[str, Any]
FLOWS = {
    "argument_spec": dict(
        OPTIONS,
        **dict(GUARD_OPTIONS, state={"type": "str", "choices": [PRESENT, ABSENT, REVERTED], "default": PRESENT}),
        flows={
            "type": "list",
            "elements": "dict",
            "options": dict(FLOW_OPTIONS, mode={"type": "str", "choices": list(MODES)}),
            "required_one_of": [("name", "pair")],
        },
        purge={"type": "bool", "default": False},
        confirm={"type": "str", "choices": [AUTO_CONFIRM, MANUAL], "default": AUTO_CONFIRM},
        confine={"type": "list", "elements": "str"},
        revert_to={"type": "str"},
        metrics_directory={"type": "str"},
    ),
    "required_if": [("purge", True, ["flows"])],
}  # type: Dict[str, Any]
INTERFACE_CONTEXT = {
    "argument_spec": dict(
        GUARD_OPTIONS,
        interface={"type": "str", "required": True},
        type={"type": "str"},
        create_type={"type": "bool", "default": False},
        level={"type": "str", "default": "s0", "aliases": ["serange"]},
    ),
    "required_if": [("state", "present", ["type"])],
}  # type: Dict[str, Any]
PEER_LABEL = {
    "argument_spec": dict(
        GUARD_OPTIONS,
        type={"type": "str"},
        addresses={"type": "list", "elements": "str"},
        receivers={"type": "list", "elements": "str"},
        interface_type={"type": "str"},
        loopback_domains={"type": "list", "elements": "str"},
    ),
    "required_one_of": [("type", "loopback_domains")],
    "required_by": {"addresses": ("type",), "receivers": ("type",), "interface_type": ("type",)},
}  # type: Dict[str, Any]
GUARD = {
    "argument_spec": {
        "token": {"type": "str", "required": True, "no_log": False},
        "state": {"type": "str", "choices": ["confirmed", "aborted"], "required": True},
    },
}  # type: Dict[str, Any]
MODULES = {
    "flow": FLOW,
    "flows": FLOWS,
    "guard": GUARD,
    "interface_context": INTERFACE_CONTEXT,
    "peer_label": PEER_LABEL,
}
