# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module's run from the installed code, without Ansible on the host: the controller has checked the options."""

import json
import syslog
from typing import Any, Dict, List

from ansible_collections.senet.firewall.plugins.module_utils._agent.this_host import this_host
from ansible_collections.senet.firewall.plugins.module_utils._change.modules import CALLS


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


def run(call: Dict[str, Any]) -> str:
    """The result in JSON of the call ``name`` of :mod:`_change.modules` with ``params``, in ``check_mode`` or not; it
    is logged to the ``facility`` of syslog, if any, as Ansible does."""
    if call["facility"]:
        syslog.openlog("ansible-senet.firewall." + call["name"], 0, getattr(syslog, call["facility"]))
        given = " ".join("{0}={1}".format(*item) for item in sorted(call["params"].items()))
        syslog.syslog(syslog.LOG_INFO, "Invoked with " + given)
    module = _Module(call["params"], call["check_mode"])
    result = _result(call["name"], module)
    result["invocation"] = {"module_args": call["params"]}
    if module.warnings:
        result["warnings"] = module.warnings
    return json.dumps(result)


def _result(name: str, module: _Module) -> Dict[str, Any]:
    try:
        CALLS[name](module, this_host)
    except _Ended as ended:
        return ended.result
    raise RuntimeError("The module {0} ended without a result.".format(name))
