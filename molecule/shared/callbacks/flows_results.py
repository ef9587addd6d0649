# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes down each result of module flows, which roles keep to themselves: a line of JSON each, for the verifier."""

import json
import os
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: flows_results
type: aggregate
short_description: Writes down the results of module flows
description: Appends them to results.jsonl in Molecule's directory of the scenario, check_mode beside each.
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "flows_results"
    CALLBACK_NEEDS_ENABLED = True

    def v2_runner_on_ok(self, result: Any) -> None:
        self._write(result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._write(result)

    def _write(self, result: Any) -> None:
        if result.task.action == "senet.firewall.flows":
            line = json.dumps({"check_mode": result.task.check_mode, **result.result}, default=str)
            with Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"], "results.jsonl").open("a") as results:
                results.write(line + "\n")
