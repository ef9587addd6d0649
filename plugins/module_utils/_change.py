# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules that change flows have in common: their options, and what they return."""

from typing import Any, Callable, Dict, Mapping, Optional

from ansible_collections.senet.firewall.plugins.module_utils import _catalogue, _engine, _layers, _survey
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
    "users": {"type": "list", "elements": "str"},
    "units": {"type": "list", "elements": "str"},
    "verify_source": {"type": "str", "choices": list(VERIFY)},
}  # type: Dict[str, Dict[str, Any]]
OPTIONS = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "mode": {"type": "str", "choices": list(MODES), "default": "enforce"},
    "confirm_timeout": {"type": "int", "default": 30},
    "health_checks": {"type": "list", "elements": "str", "default": []},
    "health_commands": {"type": "list", "elements": "str", "default": []},
    "token": {"type": "str", "no_log": False},
    "layers": {"type": "list", "elements": "str", "choices": list(_layers.CHOICES), "default": [_layers.AUTO]},
    "backend": {"type": "str", "choices": ["auto", "iptables", "nftables"], "default": "auto"},
}  # type: Dict[str, Dict[str, Any]]


def run(
    module: Any,
    open_host: Callable[[Any], Host],
    request: Callable[[Mapping[str, Any], Optional[str]], _survey.Request],
) -> None:
    """Bring the host to what the module's options ask for, and end the module. The request depends on the options and
    on the host's distribution family."""
    params = dict(module.params)
    try:
        params["token"] = parse_token(params["token"])
        host = open_host(module)
        flows = params.get("flows", [params])
        family = host.accounts.family()
        owners = _catalogue.owners(flows or [], family)
        layers = tuple(params["layers"])
        options = _engine.Options(params["confirm_timeout"], params["token"], params["backend"], layers, owners)
        outcome = _engine.run(host, request(params, family), options, module.check_mode)
    except SenetError as exc:
        module.fail_json(msg=str(exc))
    for warning in outcome.warnings:
        module.warn(warning)
    module.exit_json(**_returned(outcome, params))


def _returned(outcome: _engine.Outcome, params: Mapping[str, Any]) -> Dict[str, Any]:
    result = {
        "changed": outcome.changed,
        "flows": [flow.as_dict() for flow in outcome.flows.flows],
        "steps": list(outcome.steps),
        "access": [row.as_dict() for row in outcome.access if not row.empty],
        "asked": sorted({row.domain for row in outcome.access}),
        "confined": [row.as_dict() for row in outcome.confined],
        "peers": [row.as_dict() for row in outcome.peers],
        "cut": [cut.as_dict() for cut in outcome.cuts],
        "owners": [dict(row._asdict()) for row in outcome.owners],
        "layers": list(outcome.layers),
        "backend": outcome.backend.backend,
        "backend_reason": outcome.backend.reason,
        "selinux": outcome.selinux,
        "diff": outcome.diffs,
    }
    if outcome.pending:
        result["guard"] = {"token": params["token"], "confirmed": False}
    return result
