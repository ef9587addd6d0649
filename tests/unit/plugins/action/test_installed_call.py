# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When the action plugins have the host run what it has installed, and when they send the module."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible.playbook.task import Task

from ansible_collections.senet.firewall.plugins.action import flow, flows, interface_context, peer_label
from ansible_collections.senet.firewall.plugins.module_utils._agent.this_host import sources
from ansible_collections.senet.firewall.plugins.module_utils._host import installed, service
from ansible_collections.senet.firewall.plugins.module_utils._values import options
from ansible_collections.senet.firewall.plugins.plugin_utils import _installed_call as installed_call
from ansible_collections.senet.firewall.plugins.plugin_utils._guarded import GuardedAction
from tests.unit.commands import Commands

SENT = {"changed": False, "sent": True}
KEPT = {"changed": True, "rolled_back": False, "reason": ""}
PLUGINS: dict[str, type[GuardedAction]] = {
    "flow": flow.ActionModule, "flows": flows.ActionModule, "peer_label": peer_label.ActionModule,
    "interface_context": interface_context.ActionModule,
}  # fmt: skip
ARGUMENTS: dict[str, dict[str, Any]] = {
    "flow": {"pair": "httpd_to_redis", "confirm_timeout": "0"},
    "flows": {"flows": [{"pair": "httpd_to_redis", "ports": [6379]}], "confirm_timeout": 0},
    "interface_context": {"interface": "eth1", "type": "public_if_t", "confirm_timeout": 0},
    "peer_label": {"loopback_domains": "httpd_t", "confirm_timeout": 0},
}


def answers(result: dict[str, Any]) -> str:
    return f"welcome\n\n{installed.BEGUN}\n\n{installed.RESULT}{json.dumps(result)}\n"


class Connection:
    """A connection that can be dropped."""

    _shell = SimpleNamespace(tmpdir=None)

    def reset(self) -> None:
        """Drop it."""


class Host:
    """The far end: what its interpreter prints for each program, in order; and what it was given."""

    def __init__(self, *prints: str | Exception, rc: int = 0) -> None:
        self.prints = list(prints)
        self.rc = rc
        self.programs: list[str] = []
        self.commands: list[str] = []
        self.sent: list[str] = []
        self.connection = Connection()

    def calls(self) -> list[dict[str, Any]]:
        """The calls of the programs."""
        found: list[dict[str, Any]] = []
        for program in self.programs:
            scope: dict[str, Any] = {"__name__": "__main__"}
            text, dummy, last = program.rpartition("\nmain(")
            exec(text, scope)
            scope["main"] = lambda digest, call: found.append(call)
            exec("main(" + last, scope)
        return found


def run(host: Host, name: str = "flows", pipelining: bool = True, task_vars: Any = None, **about: Any) -> Any:
    base: Any = PLUGINS[name]

    class Plugin(base):
        def _is_pipelining_enabled(self, module_style: str, wrap_async: bool) -> bool:
            assert (module_style, wrap_async) == ("new", False)
            return pipelining

        def _execute_module(self, module_name: str, module_args: Any, task_vars: Any) -> Any:
            host.sent.append(module_name)
            return dict(SENT)

        def _low_level_execute_command(self, cmd: str, sudoable: bool = True, in_data: bytes = b"") -> Any:
            if cmd == ":":
                return {"rc": 0}
            host.commands.append(cmd)
            host.programs.append(in_data.decode())
            printed = host.prints.pop(0)
            if isinstance(printed, Exception):
                raise printed
            return {"rc": host.rc, "stdout": printed, "stderr": "what went wrong"}

    task = Task()
    task.args = about.pop("args", ARGUMENTS[name])
    task.check_mode = False
    for key, value in about.items():
        setattr(task, key, value)
    templar: Any = SimpleNamespace(template=lambda value: value)
    others: list[Any] = [host.connection, SimpleNamespace(), None, templar, None]
    return Plugin(task, *others).run(task_vars=task_vars or {})


@pytest.mark.parametrize("check_mode", [False, True])
@pytest.mark.parametrize("name", list(PLUGINS))
def test_a_host_with_our_code_runs_it(name: str, check_mode: bool) -> None:
    host = Host(answers({"changed": False, "steps": []}))
    assert run(host, name, check_mode=check_mode) == {"changed": False, "steps": []}
    assert not host.sent
    (call,) = host.calls()
    # Nothing to do: that is known without a run that could change anything, should the connection be lost
    assert (call["name"], call["check_mode"], call["facility"]) == (name, True, "LOG_USER")
    # As AnsibleModule hands them out: with their types, and defaults for what is not given
    assert set(call["params"]) == set(options.MODULES[name]["argument_spec"])
    assert call["params"]["confirm_timeout"] == 0
    if name == "flows":
        assert call["params"]["flows"][0]["ports"] == ["6379"]
        assert call["params"]["flows"][0]["source"] is None


APPLIED = {"changed": True, "guard": {"token": "t1", "confirmed": False}}
GUARDED = {**ARGUMENTS["flows"], "confirm_timeout": 30, "token": "t1"}


def test_a_first_change_is_confirmed_by_the_code_that_it_has_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(f"\n{installed.REFUSED}it cannot be read\n", answers(KEPT))
    monkeypatch.setitem(SENT, "guard", {"token": "t1", "confirmed": False})
    assert run(host, args=GUARDED)["guard"]["confirmed"]
    assert host.sent == ["senet.firewall.flows"]
    assert [call["name"] for call in host.calls()] == ["flows", "guard"]
    assert host.calls()[1]["params"] == {"token": "t1", "state": "confirmed"}


@pytest.mark.parametrize("seen", [{"changed": True}, {"failed": True, "msg": "an earlier run ended"}])
def test_what_may_change_something_is_seen_first_and_then_done(seen: dict[str, Any]) -> None:
    host = Host(answers(seen), answers(APPLIED), answers(KEPT))
    assert run(host, args=GUARDED)["guard"]["confirmed"]
    assert not host.sent
    assert [(call["name"], call["check_mode"]) for call in host.calls()] == [
        ("flows", True), ("flows", False), ("guard", False),
    ]  # fmt: skip


@pytest.mark.parametrize("seen", [{"changed": True}, {"failed": True, "msg": "no such domain"}])
def test_check_mode_is_one_call(seen: dict[str, Any]) -> None:
    host = Host(answers(seen))
    assert run(host, args=GUARDED, check_mode=True) == seen
    assert len(host.programs) == 1
    assert not host.sent


def test_a_host_that_is_down_is_known_by_the_first_call() -> None:
    host = Host(AnsibleConnectionFailure("no route to host"))
    result = run(host, args=GUARDED)
    assert result["failed"]
    assert "nothing was changed: no route to host" in result["msg"]
    assert len(host.programs) == 1


@pytest.mark.parametrize(
    "printed",
    [
        f"\n{installed.REFUSED}it is damaged\n",
        "",
        "sh: 1: /usr/bin/python3: not found\n",
        f"{installed.RESULT}{{}}\n",
        f"I say {installed.BEGUN}\n",
    ],
)
def test_what_was_not_begun_is_sent(printed: str) -> None:
    host = Host(printed, rc=1)
    assert run(host) == SENT
    assert host.sent == ["senet.firewall.flows"]
    assert len(host.programs) == 1


def test_what_was_begun_is_not_run_twice() -> None:
    host = Host(answers({"changed": True}), f"\n{installed.BEGUN}\n", rc=-9)
    result = run(host)
    assert result["failed"]
    assert (result["rc"], result["module_stderr"]) == (-9, "what went wrong")
    assert not host.sent


@pytest.mark.parametrize(
    ("about", "tried"),
    [
        ({"pipelining": False}, False),
        ({"environment": [{"LANG": "fr_FR"}]}, False),
        ({"environment": [{}]}, True),
        # the module itself says what is wrong
        ({"args": {"flows": [{"pair": "httpd_to_redis", "port": 1}], "confirm_timeout": 0}}, False),
        ({"args": {"flows": [{}], "confirm_timeout": 0}}, False),
        ({"args": {"purge": True, "confirm_timeout": 0}}, False),
        ({"args": {"state": "absent", "confirm_timeout": 0}}, True),
    ],
)
def test_the_module_is_sent_where_the_host_could_not_do_the_same(about: dict[str, Any], tried: bool) -> None:
    host = Host(answers({"changed": False}))
    run(host, **about)
    assert (bool(host.programs), bool(host.sent)) == (tried, not tried)


def test_nothing_is_logged_that_shall_not_be() -> None:
    host = Host(answers({"changed": False}))
    run(host, no_log=True)
    assert host.calls()[0]["facility"] is None


@pytest.mark.parametrize(
    ("task_vars", "interpreter"),
    [
        ({"ansible_python_interpreter": "/opt/py/bin/python3.12"}, "/opt/py/bin/python3.12"),
        ({"ansible_facts": {"discovered_interpreter_python": "/usr/bin/python3.9"}}, "/usr/bin/python3.9"),
        ({"ansible_python_interpreter": "auto_silent"}, installed_call._SYSTEM),
        ({"ansible_python_interpreter": "/usr/bin/python3; reboot"}, installed_call._SYSTEM),
        ({}, installed_call._SYSTEM),
    ],
)
def test_the_interpreter_is_the_one_that_ansible_uses_where_that_is_known(task_vars: Any, interpreter: str) -> None:
    host = Host(answers({"changed": False}))
    run(host, task_vars=task_vars)
    assert host.commands == [f"{interpreter} -IBS -"]


def test_the_program_runs_what_the_service_installs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From end to end, but for the directory: the controller's digest is that of what the host compiles."""
    monkeypatch.setattr(service, "RUNTIME_DIRECTORY", str(tmp_path / "code"))
    monkeypatch.setattr(service, "LAUNCHER", str(tmp_path / "code" / "senet-firewall"))
    monkeypatch.setattr(service, "UNIT_DIRECTORY", str(tmp_path))
    monkeypatch.setattr(service.Service, "systemd", False)
    commands = Commands()
    service.Service(commands.run, commands.find, sources).install()
    arguments = {"flows": [{"name": "No", "source": "x_t", "destination": "y_t", "ports": 1}], "confirm_timeout": 0}
    program = installed_call.program("flows", arguments, True, False, None)
    assert program is not None
    text, dummy, last = program.rpartition("\nmain(")
    text += "\nread = lambda path: open(path, 'rb').read()\n"
    text += "main(" + last.rstrip()[:-1] + f", {str(tmp_path / 'code')!r})\n"
    done = subprocess.run([sys.executable, "-IBS", "-"], input=text, check=False, capture_output=True, text=True)
    result = installed_call.result({"rc": done.returncode, "stdout": done.stdout, "stderr": done.stderr})
    assert result is not None, done
    assert result["failed"]
    assert "'No'" in result["msg"]
    assert result["invocation"]["module_args"]["purge"] is False
