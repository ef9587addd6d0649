# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module's run from the installed code, without Ansible on the host: the controller has checked the options."""

import json
import syslog
from typing import Any, Callable, Dict, List

from ansible_collections.senet.firewall.plugins.module_utils._agent.this_host import this_host
from ansible_collections.senet.firewall.plugins.module_utils._agent.unchanged import Look
from ansible_collections.senet.firewall.plugins.module_utils._host.host import Host


class _Ended(Exception):
    def __init__(self, result: Dict[str, Any]) -> None:
        super().__init__()
        self.result = result


class _Module:
    """As much of AnsibleModule as :mod:`_change.modules` uses."""

    def __init__(self, params: Dict[str, Any], check_mode: bool) -> None:
        self.params = params
        self.check_mode = check_mode
        self.warnings = []  # type: List[str]

    def warn(self, warning: str) -> None:
        self.warnings.append(warning)

    def exit_json(self, **result: Any) -> None:
        raise _Ended(result)

    def fail_json(self, msg: str, **result: Any) -> None:
        raise _Ended(dict(result, failed=True, msg=msg))


def run(call: Dict[str, Any], digest: str) -> str:
    """The result in JSON of the call ``name`` of :mod:`_change.modules` with ``params``, in ``check_mode`` or not; it
    is logged to the ``facility`` of syslog, if any, as Ansible does. With ``keep`` a look that finds nothing to do is
    kept for the next one. ``digest`` is that of this code."""
    if call["facility"]:
        syslog.openlog("ansible-senet.firewall." + call["name"], 0, getattr(syslog, call["facility"]))
        given = " ".join("{0}={1}".format(*item) for item in sorted(call["params"].items()))
        syslog.syslog(syslog.LOG_INFO, "Invoked with " + given)
    result = _look(call, digest) if call["check_mode"] else _result(call, this_host)
    result["invocation"] = {"module_args": call["params"]}
    return json.dumps(result)


def _look(call: Dict[str, Any], digest: str) -> Dict[str, Any]:
    look = Look(this_host(), digest, call["name"], call["params"])
    result = look.recall()
    if result is None:
        result = _result(call, look.watched)
        if call["keep"]:
            look.keep(result)
    return result


def _result(call: Dict[str, Any], open_host: Callable[[], Host]) -> Dict[str, Any]:
    # Most of the code, which a look that is recalled does without
    from ansible_collections.senet.firewall.plugins.module_utils._change.modules import CALLS

    module = _Module(call["params"], call["check_mode"])
    try:
        CALLS[call["name"]](module, open_host)
    except _Ended as ended:
        if module.warnings:
            ended.result["warnings"] = module.warnings
        return ended.result
    raise RuntimeError("The module {0} ended without a result.".format(call["name"]))
