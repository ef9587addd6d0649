# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks as AWX runs them, by ansible-runner, on hosts that are directories of this machine.

The modules are stubs: each host has a file that says what it does with a change, and one that keeps its flows.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.collection_tree import link
from tests.fleet.job import Job, read_job

_BIN = Path(sys.executable).parent
# The host knows itself by its interpreter
_INTERPRETER = '#!/bin/sh\nSENET_HOST={host} exec {python} "$@"\n'
# Ansible packs and compiles AnsibleModule anew for each call of a module that imports it: most of a job's time
_MODULE = """#!/usr/bin/python
# WANT_JSON
import sys
sys.path[:0] = [{collections!r}, {directory!r}]
import stubs
stubs.{name}()
"""
_STUBS = """
import json, os, pathlib, sys
from ansible.module_utils import basic
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.senet.firewall.plugins.module_utils._values import options
host = pathlib.Path({hosts!r}) / os.environ["SENET_HOST"]
kept = host / "flows.json"
earlier = host / "earlier.json"
does = (host / "does").read_text() if (host / "does").exists() else ""
had = json.loads(kept.read_text()) if kept.exists() else []
arguments = json.loads(pathlib.Path(sys.argv[1]).read_text())
basic._ANSIBLE_ARGS = json.dumps({{"ANSIBLE_MODULE_ARGS": arguments}}).encode()
basic._ANSIBLE_PROFILE = "legacy"

def flows():
    module = AnsibleModule(supports_check_mode=True, **options.FLOWS)
    asked = module.params["flows"] or []
    back = module.params["state"] == "reverted"
    if back:
        (host / "asked").write_text(module.params["revert_to"])
        asked = json.loads(earlier.read_text()) if earlier.exists() else had
    given = [{{key: value for key, value in flow.items() if value is not None}} for flow in asked]
    for flow in given:
        flow.setdefault("mode", module.params["mode"])
        flow.setdefault("name", flow.get("pair"))
    if does == ("refuse" if module.check_mode else "break"):
        module.fail_json(msg="It would cut sshd_t; name it in a flow.")
    changed = given != had
    result = {{"flows": given, "steps": ["restore the ipv4 rules"] if changed else [], "changed": changed}}
    if changed:
        untold = does == "confine in two modes"
        result["previous_flows"] = None if untold else {{"flows": had, "purge": True}} if had else {{"state": "absent"}}
    if does == "open":
        result["opened"] = [{{"message": "tcp/5432 is open to everybody."}}]
    if changed and not module.check_mode:
        with open(host / "changes", "a") as log:
            log.write(json.dumps(given) + "\\n")
        if does != "roll back":
            earlier.unlink() if back else earlier.write_text(json.dumps(had))
            kept.write_text(json.dumps(given))
        if does != "need no guard" and module.params["confirm_timeout"] > 0:
            result["guard"] = {{"token": module.params["token"], "confirmed": False}}
    module.exit_json(**result)

def guard():
    module = AnsibleModule(**options.GUARD)
    undone = does == "roll back" or module.params["state"] == "aborted"
    module.exit_json(changed=undone, rolled_back=undone, reason="it was not confirmed in time" if undone else "")

def flows_info():
    module = AnsibleModule(argument_spec={{}}, supports_check_mode=True)
    waits = {{"token": "4f0c", "complete": True}} if does == "wait" else None
    drift = ["restore the ipv6 rules"] if does == "drift" else []
    history = [{{"flows": []}}] if earlier.exists() else []
    with open(host / "read", "a") as log:
        log.write("flows_info\\n")
    module.exit_json(flows=had, confine={{}}, history=history, pending=waits, drift=None if waits else drift)
"""
# A host that is lost between the look and the change, as the action plugin would tell of none
_FLAPPING = """
from ansible.errors import AnsibleConnectionFailure
from ansible_collections.senet.firewall.plugins.plugin_utils._guarded import GuardedAction

class ActionModule(GuardedAction):
    module_name = "senet.firewall.flows"

    def run(self, tmp=None, task_vars=None):
        if task_vars["inventory_hostname"] in {lost!r} and not self._task.check_mode:
            raise AnsibleConnectionFailure("No route to host")
        return super().run(tmp, task_vars)
"""


class Fleet:
    """Hosts of one inventory; web1, web2, ... are clients of db1."""

    def __init__(self, directory: Path, webservers: int = 5) -> None:
        self._directory = directory
        self._hosts = directory / "hosts"
        self.webservers = [f"web{number}" for number in range(1, webservers + 1)]
        names = [*self.webservers, "db1"]
        self._collections = directory / "collections"
        shutil.copytree(link(), self._collections, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("flows", "flows_info", "guard"):
            module = _MODULE.format(collections=str(self._collections), directory=str(directory), name=name)
            self._plugin("modules", name).write_text(module)
        (directory / "stubs.py").write_text(_STUBS.format(hosts=str(self._hosts)))
        for host in names:
            (self._hosts / host).mkdir(parents=True)
            interpreter = self._hosts / host / "python"
            interpreter.write_text(_INTERPRETER.format(host=host, python=sys.executable))
            interpreter.chmod(0o755)
        self._variables: dict[str, Any] = {
            "senet_flows": [
                {"name": "web_db", "pair": "httpd_to_postgresql", "clients": "webservers", "servers": "databases"}
            ]
        }
        self._hostvars = {
            host: {
                "ansible_host": f"192.0.2.{number}",
                "ansible_python_interpreter": str(self._hosts / host / "python"),
            }
            for number, host in enumerate(names, 1)
        }

    def set(self, **variables: Any) -> None:
        """Variables of the inventory."""
        self._variables.update(variables)

    def does(self, host: str, what: str) -> None:
        (self._hosts / host / "does").write_text(what)

    def down(self, host: str) -> None:
        """Nobody answers there."""
        self._hostvars[host].update(ansible_connection="ssh", ansible_ssh_common_args="-o ProxyCommand=false")

    def loses(self, *hosts: str) -> None:
        self._plugin("action", "flows").write_text(_FLAPPING.format(lost=hosts))

    def changes(self, host: str) -> int:
        """How often it was changed."""
        written = self._hosts / host / "changes"
        return len(written.read_text().splitlines()) if written.exists() else 0

    def reads(self, host: str) -> int:
        """How often flows_info read it."""
        written = self._hosts / host / "read"
        return len(written.read_text().splitlines()) if written.exists() else 0

    def has(self, host: str) -> list[dict[str, Any]]:
        kept = self._hosts / host / "flows.json"
        return json.loads(kept.read_text()) if kept.exists() else []

    def had(self, host: str, flows: list[dict[str, Any]]) -> None:
        """It goes back to these flows."""
        self._write(self._hosts / host / "earlier.json", flows)

    def asked(self, host: str) -> str:
        """The moment to which it was to go back."""
        return (self._hosts / host / "asked").read_text()

    def run(self, playbook: str, *arguments: str, **extra: Any) -> Job:
        place = self._directory / "job"
        shutil.rmtree(place, ignore_errors=True)
        self._write(place / "env" / "extravars", extra)
        self._write(place / "env" / "envvars", self._environment())
        (place / "env" / "cmdline").write_text(" ".join(arguments))
        self._write(place / "inventory" / "hosts.json", self._inventory())
        (place / "project").mkdir()
        runner = [sys.executable, "-m", "ansible_runner", "run", str(place), "-i", "job"]
        done = subprocess.run(
            [*runner, "-p", f"senet.firewall.{playbook}"],
            env={**os.environ, "PATH": f"{_BIN}:{os.environ['PATH']}"},
            text=True, stdin=subprocess.DEVNULL, capture_output=True, check=False,
        )  # fmt: skip
        return read_job(place / "artifacts" / "job", done.stdout + done.stderr)

    def _plugin(self, kind: str, name: str) -> Path:
        return self._collections / "ansible_collections/senet/firewall/plugins" / kind / f"{name}.py"

    def _write(self, path: Path, content: Any) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))

    def _environment(self) -> dict[str, str]:
        return {
            "ANSIBLE_COLLECTIONS_PATH": str(self._collections),
            "ANSIBLE_COLLECTIONS_SCAN_SYS_PATH": "false",
            "ANSIBLE_LOCAL_TEMP": str(self._directory / "tmp"),
            "ANSIBLE_REMOTE_TEMP": str(self._directory / "tmp"),
            "ANSIBLE_PIPELINING": "true",
            "ANSIBLE_SSH_RETRIES": "0",
        }

    def _inventory(self) -> dict[str, Any]:
        return {
            "all": {
                "vars": {"ansible_connection": "local", "ansible_become": False, **self._variables},
                "children": {
                    "webservers": {"hosts": {host: self._hostvars[host] for host in self.webservers}},
                    "databases": {"hosts": {"db1": self._hostvars["db1"]}},
                },
            }
        }
