# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules that change flows have in common: their options, and what they return."""

from typing import Any, Callable, Dict, Mapping, Optional

from ansible_collections.senet.firewall.plugins.module_utils import _engine, _survey
from ansible_collections.senet.firewall.plugins.module_utils._host.host import Host
from ansible_collections.senet.firewall.plugins.module_utils._model import (
    MODES,
    PROTOCOLS,
    VERIFY,
    SenetError,
    parse_token,
)

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
    "verify_source": {"type": "str", "choices": list(VERIFY)},
}  # type: Dict[str, Dict[str, Any]]
# Of every change that is guarded
GUARD_OPTIONS = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "confirm_timeout": {"type": "int", "default": 30},
    "health_checks": {"type": "list", "elements": "str", "default": []},
    "health_commands": {"type": "list", "elements": "str", "default": []},
    "token": {"type": "str", "no_log": False},
}  # type: Dict[str, Dict[str, Any]]
OPTIONS = {
    "mode": {"type": "str", "choices": list(MODES), "default": "enforce"},
    "layer": {"type": "str", "choices": ["selinux"], "default": "selinux"},
    "backend": {"type": "str", "choices": ["auto", "iptables", "nftables"], "default": "auto"},
}  # type: Dict[str, Dict[str, Any]]


def run(
    module: Any,
    open_host: Callable[[Any], Host],
    request: Callable[[Mapping[str, Any]], _survey.Request],
    returned: Optional[Callable[[_engine.Outcome, Mapping[str, Any]], Dict[str, Any]]] = None,
) -> None:
    """Bring the host to what the module's options ask for, and end the module.

    ``returned`` makes the result, that of the modules for flows if it is not given.
    """
    params = dict(module.params)
    try:
        params["token"] = parse_token(params["token"])
        options = _engine.Options(params["confirm_timeout"], params["token"], params.get("backend", "auto"))
        outcome = _engine.run(open_host(module), request(params), options, module.check_mode)
    except SenetError as exc:
        module.fail_json(msg=str(exc))
    for warning in outcome.warnings:
        module.warn(warning)
    result = (returned or _flows_returned)(outcome, params)
    result.update(changed=outcome.changed, steps=list(outcome.steps), selinux=outcome.selinux, diff=outcome.diffs)
    result["cut"] = [cut.as_dict() for cut in outcome.cuts]
    if outcome.pending:
        result["guard"] = {"token": params["token"], "confirmed": False}
    module.exit_json(**result)


def _flows_returned(outcome: _engine.Outcome, params: Mapping[str, Any]) -> Dict[str, Any]:
    return {
        "flows": [flow.as_dict() for flow in outcome.flows.flows],
        "access": [row.as_dict() for row in outcome.access if not row.empty],
        "asked": sorted({row.domain for row in outcome.access}),
        "confined": [row.as_dict() for row in outcome.confined],
        "peers": [row.as_dict() for row in outcome.peers],
        "layer": params["layer"],
        "backend": outcome.backend.backend,
        "backend_reason": outcome.backend.reason,
    }
