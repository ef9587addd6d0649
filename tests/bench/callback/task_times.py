# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the seconds of each task on each host, a line of JSON each, to the file that TASK_TIMES names."""

from __future__ import annotations

import json
import os
import time
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: task_times
type: aggregate
short_description: Seconds of each task
description: Writes them to the file that the environment variable TASK_TIMES names.
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "task_times"
    CALLBACK_NEEDS_ENABLED = True

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        self._start = time.monotonic()

    def v2_runner_on_ok(self, result: Any) -> None:
        line = {"task": result._task.get_name(), "seconds": time.monotonic() - self._start}
        with open(os.environ["TASK_TIMES"], "a", encoding="utf-8") as times:
            times.write(json.dumps(line) + "\n")
