# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules that change flows do with their options. Each gets an AnsibleModule, or what stands in for it."""

from typing import Any, Callable, Dict, Mapping, Optional

from ansible_collections.senet.firewall.plugins.module_utils._change import (
    confirm,
    engine,
    module_run,
    names,
    observation,
)
from ansible_collections.senet.firewall.plugins.module_utils._host.host import Host
from ansible_collections.senet.firewall.plugins.module_utils._values import pairs, requests
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.fields import parse_confined, parse_interface_name
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import FlowSet, flow_set
from ansible_collections.senet.firewall.plugins.module_utils._values.interface import parse_context
from ansible_collections.senet.firewall.plugins.module_utils._values.options import (
    FLOW_OPTIONS,
    OPTIONS,
    REVERTED,
)
from ansible_collections.senet.firewall.plugins.module_utils._values.parsing import (
    parse_flow,
    parse_loopback_domains,
    parse_name,
    parse_peer_label,
    parse_peer_type,
    parse_token,
)

OpenHost = Callable[[], Host]


def flow(module: Any, open_host: OpenHost) -> None:
    """One flow, leaving the others alone."""
    module_run.run(module, open_host, _flow_request)


def flows(module: Any, open_host: OpenHost) -> None:
    """The host's whole set of flows, or some of them."""
    module_run.run(module, open_host, _flows_request)


def interface_context(module: Any, open_host: OpenHost) -> None:
    """The context of an interface."""
    module_run.run_guarded(
        module,
        open_host,
        lambda host, params: _change_context(host, params, module.check_mode),
        lambda outcome: _context_returned(outcome, module.params),
    )


def peer_label(module: Any, open_host: OpenHost) -> None:
    """Labels of peers."""
    module_run.run_guarded(
        module, open_host, lambda host, params: _change_labels(host, params, module.check_mode), _labels_returned
    )


def guard(module: Any, open_host: OpenHost) -> None:
    """Confirm or undo a change that waits."""
    host = open_host()
    try:
        token = parse_token(module.params["token"])
        pending = host.guard.pending()
        if module.params["state"] == "confirmed":
            outcome = confirm.confirm(host, token)
        else:
            outcome = confirm.abort(host, token, "it was aborted")
    except SenetError as exc:
        module.fail_json(msg=str(exc))
    if module.params["state"] == "confirmed" and outcome["rolled_back"]:
        # Else a play goes on as if the flows were in force
        module.fail_json(
            msg="The change {0} cannot be confirmed, since the host has undone it: {1}.".format(
                token, outcome["reason"]
            ),
            **outcome
        )
    module.exit_json(changed=pending is not None and pending.token == token, **outcome)


def _flow_request(params: Mapping[str, Any], distribution: Optional[str]) -> requests.Request:
    raw = {key: params[key] for key in FLOW_OPTIONS}
    if params["state"] == "absent":
        return requests.Remove(tuple(parse_name(name) for name in pairs.names(raw)))
    flows = pairs.expand(raw, distribution)
    return requests.Merge(tuple(parse_flow(dict(flow, mode=params["mode"])) for flow in flows))


def _flows_request(params: Mapping[str, Any], distribution: Optional[str]) -> requests.Asked:
    if params["state"] == REVERTED:
        _refuse_beside_reverted(params)
        return requests.Revert(params["revert_to"])
    if params["revert_to"] is not None:
        raise SenetError("The option revert_to is for state=reverted; set that, or leave revert_to out.")
    given = params["flows"] or ()
    if params["state"] == "absent":
        if params["flows"] is None and params["confine"] is None:
            _refuse_beside_nothing(params)
            return requests.Replace(flow_set(()))
        gone = tuple(parse_name(name) for raw in given for name in pairs.names(raw))
        return requests.Remove(gone, parse_confined(params["confine"]))
    flows = tuple(
        parse_flow(dict(flow, mode=flow.get("mode") or params["mode"]))
        for raw in given
        for flow in pairs.expand(raw, distribution)
    )
    asked = (params["flows"], params["confine"], params["metrics_directory"])
    if asked == (None, None, None) and module_run.leaves_choice(params):
        raise SenetError(
            "state=present needs flows or confine, or a backend, layers or metrics_directory for the flows that the "
            "host has; give one of them."
        )
    confine = tuple((domain, params["mode"]) for domain in parse_confined(params["confine"]))
    return requests.Replace(flow_set(flows, confine)) if params["purge"] else requests.Merge(flows, confine)


def _refuse_beside_nothing(params: Mapping[str, Any]) -> None:
    """Raise for what says how flows are to be, where all of them would be removed."""
    given = [option for option in ("backend", "layers") if params[option] != OPTIONS[option]["default"]]
    given += ["metrics_directory"] if params["metrics_directory"] is not None else []
    if given:
        raise SenetError(
            "state=absent without flows removes every flow of the host, so {0} would have no effect; use state=present "
            "to keep the flows, name those that are to be removed, or leave {1} out.".format(
                " and ".join(given), "it" if len(given) == 1 else "them"
            )
        )


def _refuse_beside_reverted(params: Mapping[str, Any]) -> None:
    """Raise for what would be asked for and not had: the earlier set has flows, domains, modes, layers and backend."""
    given = [option for option in ("confine", "flows") if params[option] is not None]
    given += ["purge"] if params["purge"] else []
    given += [option for option, spec in sorted(OPTIONS.items()) if params[option] != spec["default"]]
    if given:
        raise SenetError(
            "With state=reverted all is as it was, so {0} cannot be chosen; leave {1} out.".format(
                " and ".join(given), "it" if len(given) == 1 else "them"
            )
        )


def _change_context(host: Host, params: Mapping[str, Any], check_mode: bool) -> engine.Outcome:
    name = parse_interface_name(params["interface"])
    if params["state"] == "absent" and host.selinux.status() == "disabled":
        return engine.nothing_done(host, FlowSet(()))._replace(interfaces={name: (None, None)})
    level = params["level"] if host.selinux.has_levels() else ""
    wanted = parse_context(name, params["type"], level) if params["state"] == "present" else None
    request = names.interface_request(host, name, wanted, params["create_type"])
    return engine.run(host, request, engine.Options(params["confirm_timeout"], params["token"]), check_mode)


def _context_returned(outcome: engine.Outcome, params: Mapping[str, Any]) -> Dict[str, Any]:
    [(name, (before, after))] = outcome.interfaces.items()
    types = list(outcome.flows.interface_types)
    return {
        "interface": name,
        "context": after,
        "previous": before,
        "created_types": types if params["create_type"] else None,
    }


def _change_labels(host: Host, params: Mapping[str, Any], check_mode: bool) -> engine.Outcome:
    options = engine.Options(params["confirm_timeout"], params["token"])
    request = _labels_request(params)
    if params["state"] == "absent" and host.selinux.status() == "disabled":
        intent = observation.stored_intent(host)
        flows = intent.flows if intent is not None else FlowSet(())
        if request.change(flows) == flows:
            return engine.nothing_done(host, flows)
    return engine.run(host, request, options, check_mode)


def _labels_request(params: Mapping[str, Any]) -> requests.Alter:
    domains = parse_loopback_domains(params["loopback_domains"])
    if params["state"] == "absent":
        types = () if params["type"] is None else (parse_peer_type(params["type"]),)
        return requests.Alter(lambda current: current.without_peers(types, domains))
    labels = () if params["type"] is None else (parse_peer_label(params),)
    return requests.Alter(lambda current: current.with_peers(labels, domains), True)


def _labels_returned(outcome: engine.Outcome) -> Dict[str, Any]:
    received_by = {row.label.type: sorted(row.received_by) for row in outcome.answers.peer_labels}
    return {
        "labels": [
            dict(
                {"receivers": [], "interface_type": None},
                received_by=received_by.get(label.type, []),
                **label.as_dict(),
            )
            for label in outcome.flows.peers
        ],
        "loopback_domains": list(outcome.flows.loopback_domains),
    }


CALLS = {
    "flow": flow,
    "flows": flows,
    "guard": guard,
    "interface_context": interface_context,
    "peer_label": peer_label,
}  # type: Dict[str, Callable[[Any, OpenHost], None]]
