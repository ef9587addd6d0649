# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes a change on a lab host and confirms it, stopping after each step until told to go on.

    stepper.py CODE WORK FLOWS_JSON

CODE holds the collection. In WORK: `pid`, this process; `steps`, what the engine says in check mode; `point`, the step
that was just taken; `go`, written by the test, the step to go on from; `end`, why the change ended early.
"""

import json
import os
import sys
import time
from typing import Any

code, work, flows_json = sys.argv[1:]
sys.path.insert(0, code)

from ansible_collections.senet.firewall.plugins.module_utils._agent.this_host import sources  # noqa: E402
from ansible_collections.senet.firewall.plugins.module_utils._change import change, confirm, engine  # noqa: E402
from ansible_collections.senet.firewall.plugins.module_utils._host.commands import (  # noqa: E402
    find_command,
    run_command,
)
from ansible_collections.senet.firewall.plugins.module_utils._host.guard import Guard, Pending  # noqa: E402
from ansible_collections.senet.firewall.plugins.module_utils._host.host import open_host  # noqa: E402
from ansible_collections.senet.firewall.plugins.module_utils._values import requests  # noqa: E402
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import flow_set  # noqa: E402
from ansible_collections.senet.firewall.plugins.module_utils._values.parsing import parse_flow  # noqa: E402

TOKEN = "crash"
# Longer than the whole test: what comes back must come back by the next run or boot, not by the timer.
CONFIRM_SECONDS = 3600


def put(name: str, text: str) -> None:
    path = os.path.join(work, name)
    with open(path + ".new", "w", encoding="utf-8") as content:
        content.write(text)
    os.rename(path + ".new", path)


def read(name: str) -> str:
    try:
        with open(os.path.join(work, name), encoding="utf-8") as content:
            return content.read()
    except FileNotFoundError:
        return ""


def stop(step: str) -> None:
    """Say which step has been taken, and wait to be killed or told to go on."""
    put("point", step)
    while read("go") != step:
        time.sleep(0.05)


class SteppingGuard(Guard):
    """The engine writes the record before each step, so the step before that has then been taken."""

    step = ""

    def write(self, pending: Pending) -> None:
        if self.step and self.step != pending.step:
            stop(self.step)
        self.step = pending.step
        super().write(pending)

    def forget(self, outcome: dict[str, Any]) -> None:
        stop(self.step)
        super().forget(outcome)


def main() -> None:
    put("pid", str(os.getpid()))
    host = open_host(run_command, find_command, sources)
    guard = SteppingGuard(run_command, find_command, host.service.systemd, host.service.command)
    host = host._replace(guard=guard)
    request = requests.Replace(flow_set([parse_flow(flow) for flow in json.loads(flows_json)]))
    options = change.Options(CONFIRM_SECONDS, TOKEN)
    steps = engine.run(host, request, options, check_mode=True).steps
    put("steps", json.dumps(steps))
    engine.run(host, request, options, check_mode=False)
    stop(guard.step)
    guard.step = steps[-1]
    confirm.confirm(host, TOKEN)


if __name__ == "__main__":
    try:
        main()
    except Exception as error:
        put("end", repr(error))
        raise
