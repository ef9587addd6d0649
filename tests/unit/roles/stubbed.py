# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ansible-playbook on this machine, with a copy of the collection whose modules write down what they are given."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from tests import warm_ansible
from tests.collection_tree import link

# In place of the change
_CALLS = {
    name: f"modules.{name}(AnsibleModule(supports_check_mode=True, **options.{name.upper()}), this_host)"
    for name in ("flow", "flows")
}
_WRITES = """
    import json, os
    module = AnsibleModule(supports_check_mode=True, **options.{options})
    with open(os.environ["SENET_STUB"], "a") as written:
        written.write(json.dumps(module.params) + "\\n")
    module.exit_json(changed=True, removed=[])
"""
_OTHER = """
import json, os
from ansible.module_utils.basic import AnsibleModule
module = AnsibleModule(argument_spec={spec})
with open(os.environ["SENET_STUB"], "a") as written:
    written.write(json.dumps(module.params) + "\\n")
module.exit_json(changed=True)
"""


class Done(NamedTuple):
    """A play that ended: what each call was given, without what was left out, and what it printed."""

    rc: int
    calls: list[dict[str, Any]]
    output: str
    tasks: list[str]


class Stubbed:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._collections = directory / "collections"
        shutil.copytree(link(), self._collections, ignore=shutil.ignore_patterns("__pycache__"))
        modules = self._collections / "ansible_collections/senet/firewall/plugins/modules"
        for name, call in _CALLS.items():
            path = modules / f"{name}.py"
            text = path.read_text()
            assert call in text
            path.write_text(text.replace(f"    {call}\n", _WRITES.replace("{options}", name.upper())))

    def add_modules(self, options: dict[str, list[str]]) -> None:
        """Modules of other collections, by full name, that write down the options that they have."""
        for name, own in options.items():
            namespace, collection, module = name.split(".")
            path = self._collections / "ansible_collections" / namespace / collection / "plugins/modules"
            path.mkdir(parents=True)
            (path / f"{module}.py").write_text(_OTHER.format(spec={option: {"type": "raw"} for option in own}))

    def play(self, *plays: dict[str, Any], flags: tuple[str, ...] = ()) -> Done:
        """Plays on this machine."""
        written = self._directory / "written"
        written.unlink(missing_ok=True)
        book = [{"hosts": "localhost", "gather_facts": False, **play} for play in plays]
        (self._directory / "play.yml").write_text(yaml.safe_dump(book))
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")},
            "ANSIBLE_COLLECTIONS_PATH": str(self._collections),
            # Nor those of the package ansible
            "ANSIBLE_COLLECTIONS_SCAN_SYS_PATH": "false",
            "ANSIBLE_LOCAL_TEMP": str(self._directory / "tmp"),
            "ANSIBLE_REMOTE_TEMP": str(self._directory / "tmp"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_PIPELINING": "true",
            "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
            "SENET_STUB": str(written),
        }
        command = ["ansible-playbook", "-i", "localhost,", "-c", "local", "play.yml", *flags]
        done = warm_ansible.run(command, environment, self._directory)
        lines = written.read_text().splitlines() if written.exists() else []
        tasks = [line for line in done.stdout.splitlines() if line.startswith("TASK ")]
        return Done(done.returncode, [_given(json.loads(line)) for line in lines], done.stdout + done.stderr, tasks)


def _given(params: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in params.items() if value is not None and key != "token"}
    if "flows" in kept:
        kept["flows"] = [_given(flow) for flow in kept["flows"]]
    return kept
