# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the change on the host, comes back over a new connection, and only then confirms it."""

from __future__ import annotations

import math
import socket
import time
import uuid
from typing import Any

from ansible import constants
from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.plugins.connection import ConnectionBase

from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.fields import refuse_empty
from ansible_collections.senet.firewall.plugins.module_utils._values.options import GUARD_OPTIONS, MANUAL
from ansible_collections.senet.firewall.plugins.plugin_utils import _installed_call
from ansible_collections.senet.firewall.plugins.plugin_utils._flow_items import flow_items

_GUARD = "senet.firewall.guard"
_DEFAULT_TIMEOUT = GUARD_OPTIONS["confirm_timeout"]["default"]
# How long the host may need to bring its old policy back once the timer fires.
_UNDO_SECONDS = 300
_RETRY_SECONDS = 1
_HEALTH_SECONDS = 10
# Connection plugins that reach a host from within itself
_NOT_REMOTE = ("local", "chroot", "jail", "lxc", "lxd", "zone", "buildah", "docker", "docker_api", "podman", "nsenter")
_LOCAL = (
    "The connection to this host does not come over the network, so a new one does not show that the host can still be "
    "reached; name a port of it that must answer in health_checks, or run over SSH."
)


class GuardedAction(ActionBase):
    """Apply, new connection, health checks, confirm unless that is left to others; or wait for the guard and tell what
    it did.

    `module_name` is the module that makes the change.
    """

    module_name: str

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        self._task_vars = task_vars
        arguments = dict(self._task.args)
        for options in [arguments, *flow_items(arguments.get("flows"))]:
            _refuse_null(options)
        # In an ad-hoc call a list is one string with commas.
        texts = ",".join(_listed(arguments.get("health_checks")))
        checks = [_endpoint(text.strip()) for text in texts.split(",") if text]
        commands = _listed(arguments.get("health_commands"))
        timeout = _seconds(arguments.get("confirm_timeout", _DEFAULT_TIMEOUT))
        if timeout <= 0 and (checks or commands):
            raise AnsibleActionFail(
                "With confirm_timeout=0 there is no guard, so no health check would run; set confirm_timeout to some "
                "seconds, or leave health_checks and health_commands out."
            )
        try:
            # A host that is down is known before it is changed, and where there is nothing to do this is all.
            seen = self._call_installed(self.module_name, arguments, check_mode=True)
            if seen is None:
                self._low_level_execute_command(":", sudoable=False)
        except AnsibleConnectionFailure as error:
            message = f"The host cannot be reached, and nothing was changed: {error}"
            return {"failed": True, "changed": False, "msg": message}
        if seen is not None and (self._task.check_mode or not (seen.get("failed") or seen["changed"])):
            return seen
        if self._task.check_mode or timeout <= 0:
            return self._call(self.module_name, arguments, installed=seen is not None)
        token = arguments.setdefault("token", uuid.uuid4().hex[:12])
        try:
            result = self._call(self.module_name, arguments, installed=seen is not None)
        except AnsibleConnectionFailure as error:
            return self._recover({}, token, timeout, f"The connection was lost while the change was made: {error}")
        if result.get("failed") or "guard" not in result:
            return result
        deadline = time.monotonic() + timeout
        begun = time.monotonic()
        reason = self._health(checks, commands, deadline)
        if reason:
            return self._recover(result, token, timeout, reason)
        if arguments.get("confirm") == MANUAL:
            # The next task has a new connection, so that confirming shows that the host can be reached
            left = result["guard"]["confirm_by"] - math.ceil(time.monotonic() - begun)
            result["guard"]["confirm_by"] = max(0, left)
            return result
        confirmed = self._confirm(result, token, timeout, deadline)
        if self._is_local() and not checks and not confirmed.get("failed"):
            confirmed["warnings"] = [*confirmed.get("warnings", []), _LOCAL]
        return confirmed

    def _is_local(self) -> bool:
        """Whether the connection does not come over the network."""
        return str(getattr(self._connection, "transport", "")).rpartition(".")[2] in _NOT_REMOTE

    def _health(self, checks: list[tuple[str, int]], commands: list[str], deadline: float) -> str:
        """Why the change must not be confirmed; empty if nothing speaks against it."""
        self._renew_connection()
        for host, port in checks:
            try:
                socket.create_connection((host, port), timeout=_HEALTH_SECONDS).close()
            except OSError as error:
                return f"The health check {host} port {port} failed from the controller: {error}."
        for command in commands:
            try:
                # Both its streams in one, since the other has ssh's own lines too
                done = self._low_level_execute_command(f"exec 2>&1\n{command}")
            except AnsibleConnectionFailure as error:
                return f"The host could not be reached over a new connection: {error}"
            if done["rc"] != 0:
                said = ": ".join(part for part in (str(done["rc"]), done["stdout"].strip()) if part)
                return f"The health command '{command}' failed with return code {said}."
            if time.monotonic() > deadline:
                return f"The health command '{command}' took longer than confirm_timeout allows."
        return ""

    def _confirm(self, result: dict[str, Any], token: str, timeout: int, deadline: float) -> dict[str, Any]:
        lost = ""
        while True:
            try:
                answer = self._guard(token, "confirmed")
                break
            except AnsibleConnectionFailure as error:
                lost = f"The host could not be reached over a new connection: {error} "
                if time.monotonic() > deadline:
                    return self._recover(result, token, timeout, lost.strip())
                time.sleep(_RETRY_SECONDS)
                self._renew_connection()
        if answer.get("rolled_back"):
            message = f"{lost}The host has undone the change: {answer['reason']}."
            return {**result, "failed": True, "changed": False, "rolled_back": True, "msg": message}
        if answer.get("failed"):
            return self._recover(result, token, timeout, f"The change could not be confirmed: {answer.get('msg')}")
        result["guard"]["confirmed"] = True
        return result

    def _recover(self, result: dict[str, Any], token: str, timeout: int, reason: str) -> dict[str, Any]:
        """Come back to the host, at the latest when its guard has fired, and have the change undone."""
        deadline = time.monotonic() + timeout + _UNDO_SECONDS
        failure = {**result, "failed": True, "changed": False}
        while True:
            try:
                self._renew_connection()
                answer = self._guard(token, "aborted")
                break
            except AnsibleConnectionFailure as error:
                if time.monotonic() > deadline:
                    message = f"It is still unreachable, although its guard should have undone the change: {error}"
                    return {**failure, "rolled_back": False, "msg": f"{reason} {message}"}
                time.sleep(_RETRY_SECONDS)
        if answer.get("failed"):
            return {**failure, "rolled_back": False, "msg": f"{reason} {answer.get('msg', '')}"}
        undone = bool(answer.get("rolled_back"))
        said = "The host is back in its previous state." if undone else "The change is still in place."
        return {**failure, "rolled_back": undone, "changed": not undone, "msg": f"{reason} {said}"}

    def _guard(self, token: str, state: str) -> dict[str, Any]:
        # A change has installed it
        return self._call(_GUARD, {"token": token, "state": state}, installed=True)

    def _call(self, module_name: str, arguments: dict[str, Any], installed: bool) -> dict[str, Any]:
        """What a module returns, from the code that is installed on the host where that may be our own."""
        result = self._call_installed(module_name, arguments, self._task.check_mode) if installed else None
        if result is None:
            result = self._execute_module(module_name=module_name, module_args=arguments, task_vars=self._task_vars)
        return result

    def _call_installed(
        self, module_name: str, arguments: dict[str, Any], check_mode: bool
    ) -> dict[str, Any] | None:
        # A program on standard input is what pipelining permits; what the environment means is Ansible's to know
        if any(self._task.environment or ()) or not self._is_pipelining_enabled("new", False):
            return None
        quiet = self._task.no_log or constants.config.get_config_value("DEFAULT_NO_TARGET_SYSLOG")
        facility = None if quiet else constants.config.get_config_value("DEFAULT_SYSLOG_FACILITY")
        name = module_name.rpartition(".")[2]
        program = _installed_call.program(name, arguments, check_mode, not self._task.check_mode, facility)
        if program is None:
            return None
        return _installed_call.result(
            self._low_level_execute_command(_installed_call.command(self._interpreter()), in_data=program.encode())
        )

    def _interpreter(self) -> Any:
        """The interpreter that Ansible uses for this host, as far as that is known."""
        asked = constants.config.get_config_value("INTERPRETER_PYTHON", variables=self._task_vars)
        asked = self._templar.template(asked)
        if not str(asked).startswith("auto"):
            return asked
        return (self._task_vars or {}).get("ansible_facts", {}).get("discovered_interpreter_python")

    def _renew_connection(self) -> None:
        """Drop what is open, so that the next command has to connect anew."""
        connection = self._connection
        if type(connection).reset is ConnectionBase.reset:
            connection.close()
        else:
            try:
                connection.reset()
            except AnsibleConnectionFailure:
                connection.close()


def _refuse_null(options: dict[str, Any]) -> None:
    """A module takes a null for an option that was left out."""
    try:
        refuse_empty({**options, **{option: "" for option, value in options.items() if _is_null(value)}})
    except SenetError as error:
        raise AnsibleActionFail(str(error)) from error


def _is_null(value: Any) -> bool:
    return value is None or (isinstance(value, list) and None in value)


def _listed(value: Any) -> list[str]:
    if not value:
        return []
    return [str(part) for part in value] if isinstance(value, list) else [str(value)]


def _seconds(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError) as error:
        raise AnsibleActionFail(f"confirm_timeout is {value!r}; give a number of seconds.") from error


def _endpoint(text: str) -> tuple[str, int]:
    host, dummy, port = text.rpartition(":")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise AnsibleActionFail(
            f"The health check {text!r} is not of the form HOST:PORT; write for example www.example.com:443 or "
            "[2001:db8::1]:443."
        )
    return host, int(port)
