# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules that change flows have in common: how they run, and what they return."""

from typing import Any, Callable, Dict, Mapping, Optional

from ansible_collections.senet.firewall.plugins.module_utils._change import engine
from ansible_collections.senet.firewall.plugins.module_utils._host.guard import boot_id, clock, new_token
from ansible_collections.senet.firewall.plugins.module_utils._host.host import Host
from ansible_collections.senet.firewall.plugins.module_utils._values import pairs, requests
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.fields import refuse_empty
from ansible_collections.senet.firewall.plugins.module_utils._values.options import MANUAL, OPTIONS
from ansible_collections.senet.firewall.plugins.module_utils._values.parsing import parse_token


def leaves_choice(params: Mapping[str, Any]) -> bool:
    """Whether neither a backend nor a layer is asked for."""
    return params["backend"] == OPTIONS["backend"]["default"] and params["layers"] == OPTIONS["layers"]["default"]


def run(
    module: Any,
    open_host: Callable[[], Host],
    request: Callable[[Mapping[str, Any], Optional[str]], requests.Asked],
) -> None:
    """Bring the host to what the module's options ask for, and end the module. The request depends on the options and
    on the host's distribution."""

    def change(host: Host, params: Mapping[str, Any]) -> engine.Outcome:
        flows = params.get("flows", [params])
        distribution = host.accounts.distribution()
        owners = pairs.owners(flows or [], distribution)
        layers = tuple(params["layers"])
        metrics = params.get("metrics_directory")
        options = engine.Options(params["confirm_timeout"], params["token"], params["backend"], layers, owners, metrics)
        return engine.run(host, request(params, distribution), options, module.check_mode)

    run_guarded(module, open_host, change, _flows_returned)


def run_guarded(
    module: Any,
    open_host: Callable[[], Host],
    change: Callable[[Host, Mapping[str, Any]], engine.Outcome],
    returned: Callable[[engine.Outcome], Dict[str, Any]],
) -> None:
    """Make a change that the guard may have to undo, and end the module with what it returns beside what every such
    module does."""
    params = dict(module.params)
    try:
        params["token"] = new_token() if params["token"] is None else parse_token(params["token"])
        for options in [params] + list(params.get("flows") or ()):
            refuse_empty(options)
        manual = params.get("confirm") == MANUAL
        if manual and params["confirm_timeout"] <= 0:
            raise SenetError(
                "With confirm_timeout=0 no change waits to be confirmed; give it some seconds, or leave confirm out."
            )
        host = open_host()
        outcome = change(host, params)
    except SenetError as exc:
        module.fail_json(msg=str(exc))
    for warning in outcome.warnings:
        module.warn(warning)
    result = returned(outcome)
    result.update(changed=outcome.changed, steps=list(outcome.steps), selinux=outcome.selinux, diff=list(outcome.diffs))
    result["cut"] = [cut.as_dict() for cut in outcome.cuts]
    if outcome.pending:
        result["guard"] = {"token": params["token"], "confirmed": False}
        if manual:
            result["guard"]["confirm_by"] = _seconds_left(host)
    module.exit_json(**result)


def _seconds_left(host: Host) -> int:
    """How long the change that was just made waits; none where the guard was faster."""
    pending = host.guard.pending()
    return (pending.seconds_left(boot_id(), clock()) or 0) if pending is not None else 0


def _flows_returned(outcome: engine.Outcome) -> Dict[str, Any]:
    result = {
        "flows": [flow.as_dict() for flow in outcome.flows.flows],
        "removed": list(outcome.removed),
        "opened": [one.as_dict() for one in outcome.opened],
        "access": [row.as_dict() for row in outcome.answers.access if not row.empty],
        "asked": sorted({row.domain for row in outcome.answers.access}),
        "confined": [row.as_dict() for row in outcome.answers.confined],
        "peers": [row.as_dict() for row in outcome.answers.receivers],
        "owners": [dict(row._asdict()) for row in outcome.owners],
        "layers": list(outcome.layers),
        "backend": outcome.backend.backend,
        "backend_reason": outcome.backend.reason,
    }  # type: Dict[str, Any]
    if outcome.changed:
        result["previous_flows"] = outcome.previous
    return result
