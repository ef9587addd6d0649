# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
import copy
import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.playbook.task import Task
from ansible.plugins.connection import ConnectionBase

from ansible_collections.senet.firewall.plugins.action import flow, flows, interface_context, peer_label
from ansible_collections.senet.firewall.plugins.plugin_utils import _guarded as action

LOST = AnsibleConnectionFailure("no route to host")
APPLIED = {"changed": True, "steps": ["x"], "guard": {"token": "t1", "confirmed": False}}
KEPT = {"changed": True, "token": "t1", "rolled_back": False, "reason": ""}
UNDONE = {"changed": True, "token": "t1", "rolled_back": True, "reason": "it was not confirmed in time"}
LATE = {**UNDONE, "failed": True, "changed": False, "msg": "The change t1 cannot be confirmed."}


class Clock:
    """A time that passes only while somebody waits."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Connection:
    """A connection that counts how often it was dropped."""

    def __init__(self) -> None:
        self._shell = SimpleNamespace(tmpdir=None)
        self.transport = "ssh"
        self.resets = 0
        self.fail = False

    def reset(self) -> None:
        self.resets += 1
        if self.fail:
            raise LOST

    def close(self) -> None:
        self.resets += 100


class Target:
    """The far end: what each module call and command answers, in order, the last one again and again."""

    def __init__(self, clock: Clock, **answers: list[Any]) -> None:
        self.clock = clock
        self.answers = answers
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.connection = Connection()
        self.seconds = 0.0
        self.down = False
        self.drops_at_call: list[int] = []

    def answer(self, what: str, arguments: dict[str, Any]) -> Any:
        self.calls.append((what, arguments))
        self.drops_at_call.append(self.connection.resets)
        self.clock.now += self.seconds
        script = self.answers[what]
        said = script.pop(0) if len(script) > 1 else script[0]
        if isinstance(said, Exception):
            raise said
        return copy.deepcopy(said)

    def names(self) -> list[str]:
        return [name for name, dummy in self.calls]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(action, "time", made)
    return made


def plugin_for(target: Target, task: Task) -> flows.ActionModule:
    """The action plugin with the far end in place of what ActionBase does there."""

    class Plugin(flows.ActionModule):
        def _execute_module(self, module_name: str, module_args: Any, task_vars: Any) -> Any:  # type: ignore[override]
            name = module_name.removeprefix("senet.firewall.")
            return target.answer(module_args["state"] if name == "guard" else name, dict(module_args))

        def _is_pipelining_enabled(self, module_style: str, wrap_async: bool = False) -> bool:
            return False

        def _low_level_execute_command(self, cmd: str, sudoable: bool = True) -> Any:  # type: ignore[override]
            if cmd == ":":
                assert not sudoable
                if target.down:
                    raise LOST
                return {"rc": 0}
            return target.answer("command", {"cmd": cmd})

    others: list[Any] = [target.connection, SimpleNamespace(), None, None, None]
    return Plugin(task, *others)


def run(target: Target, check_mode: bool = False, **arguments: Any) -> dict[str, Any]:
    """What the action plugin returns, which is never unreachable."""
    task = Task()
    task.args = {"flows": [{"pair": "httpd_to_redis"}], "token": "t1", **arguments}
    task.check_mode = check_mode
    result = plugin_for(target, task).run(task_vars={})
    assert "unreachable" not in result
    return result


@pytest.fixture
def open_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def closed_port() -> Iterator[int]:
    # bound and not listening: nobody else gets it meanwhile
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def test_a_change_is_confirmed_over_a_new_connection(clock: Clock) -> None:
    target = Target(clock, flows=[APPLIED], confirmed=[KEPT])
    result = run(target)
    assert result == {**APPLIED, "guard": {"token": "t1", "confirmed": True}}
    assert target.names() == ["flows", "confirmed"]
    assert target.drops_at_call == [0, 1]
    assert target.calls[1][1] == {"token": "t1", "state": "confirmed"}


def test_a_token_is_made_up_and_is_the_same_for_both_modules(clock: Clock) -> None:
    target = Target(clock, flows=[APPLIED], confirmed=[KEPT])
    run(target, token="abc1")
    assert [arguments["token"] for dummy, arguments in target.calls] == ["abc1", "abc1"]
    task = Task()
    task.args = {"state": "absent"}
    target = Target(clock, flows=[APPLIED], confirmed=[KEPT])
    plugin_for(target, task).run(task_vars={})
    made = [arguments["token"] for dummy, arguments in target.calls]
    assert made[0] == made[1]
    assert len(made[0]) == 12
    assert task.args == {"state": "absent"}


WAITS = {**APPLIED, "guard": {"token": "t1", "confirmed": False, "confirm_by": 28}}


def test_a_change_that_others_confirm_is_checked_and_left_to_them(clock: Clock) -> None:
    target = Target(clock, flows=[WAITS], command=[{"rc": 0, "stderr": ""}])
    target.seconds = 2.5
    result = run(target, confirm="manual", health_commands=["one", "two"])
    assert target.names() == ["flows", "command", "command"]
    # The next task has to connect anew, and the checks have taken five seconds
    assert target.connection.resets == 1
    assert result == {**APPLIED, "guard": {"token": "t1", "confirmed": False, "confirm_by": 23}}


def test_a_change_that_others_confirm_says_no_time_that_has_passed(clock: Clock) -> None:
    target = Target(clock, flows=[WAITS], command=[{"rc": 0, "stderr": ""}])
    target.seconds = 29
    assert run(target, confirm="manual", health_commands=["one"])["guard"]["confirm_by"] == 0


def test_a_change_that_others_confirm_is_undone_where_a_check_fails(clock: Clock) -> None:
    target = Target(clock, flows=[WAITS], command=[{"rc": 7, "stdout": ""}], aborted=[UNDONE])
    result = run(target, confirm="manual", health_commands=["one"])
    assert (result["failed"], result["rolled_back"]) == (True, True)
    target = Target(clock, flows=[LOST], aborted=[UNDONE])
    assert run(target, confirm="manual")["rolled_back"]


@pytest.mark.parametrize("said", [{"failed": True, "msg": "refused"}, {"changed": False}])
def test_nothing_is_left_to_confirm_where_nothing_waits(clock: Clock, said: dict[str, Any]) -> None:
    assert run(Target(clock, flows=[said]), confirm="manual") == said


@pytest.mark.parametrize("arguments", [{"check_mode": True}, {"confirm_timeout": 0}, {"confirm_timeout": "0"}])
def test_without_a_guard_the_module_runs_and_no_more(clock: Clock, arguments: dict[str, Any]) -> None:
    target = Target(clock, flows=[APPLIED])
    assert run(target, **arguments) == APPLIED
    assert target.names() == ["flows"]
    assert target.connection.resets == 0


@pytest.mark.parametrize("checks", [{"health_checks": ["www.example.com:443"]}, {"health_commands": ["true"]}])
@pytest.mark.parametrize("check_mode", [True, False])
def test_checks_that_nobody_would_make_are_an_error(
    clock: Clock, checks: dict[str, list[str]], check_mode: bool
) -> None:
    target = Target(clock, flows=[APPLIED])
    with pytest.raises(AnsibleActionFail, match="so no health check would run"):
        run(target, check_mode, confirm_timeout=0, **checks)
    assert target.calls == []


@pytest.mark.parametrize(("transport", "told"), [("local", True), ("containers.podman.podman", True), ("ssh", False)])
def test_a_new_connection_that_proves_nothing_is_told(
    clock: Clock, transport: str, told: bool, open_port: int
) -> None:
    target = Target(clock, flows=[APPLIED], confirmed=[KEPT])
    target.connection.transport = transport
    result = run(target)
    assert result["guard"]["confirmed"]
    assert [one for one in result.get("warnings", []) if "does not come over the network" in one] == (
        result["warnings"] if told else []
    )
    assert bool(result.get("warnings")) == told
    # What the controller itself connects to does prove something.
    assert "warnings" not in run(target, health_checks=[f"127.0.0.1:{open_port}"])


@pytest.mark.parametrize("said", [{"failed": True, "msg": "refused"}, {"changed": False}])
def test_nothing_is_confirmed_where_nothing_was_changed(clock: Clock, said: dict[str, Any]) -> None:
    target = Target(clock, flows=[said])
    assert run(target) == said
    assert target.names() == ["flows"]


def test_a_guard_that_was_faster_is_told(clock: Clock) -> None:
    result = run(Target(clock, flows=[APPLIED], confirmed=[LATE]))
    assert (result["failed"], result["changed"], result["rolled_back"]) == (True, False, True)
    assert result["msg"] == "The host has undone the change: it was not confirmed in time."


def test_a_host_that_is_down_is_a_failure_before_anything_is_changed(clock: Clock) -> None:
    target = Target(clock)
    target.down = True
    result = run(target)
    assert (result["failed"], result["changed"]) == (True, False)
    assert result["msg"] == "The host cannot be reached, and nothing was changed: no route to host"
    assert target.calls == []


def test_a_connection_lost_while_the_change_is_made_leads_to_its_undoing(clock: Clock) -> None:
    target = Target(clock, flows=[LOST], aborted=[LOST, LOST, UNDONE])
    result = run(target)
    assert target.names() == ["flows", "aborted", "aborted", "aborted"]
    assert target.drops_at_call == [0, 1, 2, 3]
    assert (result["failed"], result["changed"], result["rolled_back"]) == (True, False, True)
    assert "connection was lost while the change was made: no route to host" in result["msg"]
    assert "The host is back in its previous state." in result["msg"]


def test_a_host_that_is_cut_is_asked_again_until_the_guards_time_and_comes_back_undone(clock: Clock) -> None:
    target = Target(clock, flows=[APPLIED], confirmed=[LOST], aborted=[LOST] * 20 + [UNDONE])
    result = run(target, confirm_timeout=5)
    assert 5 <= target.names().count("confirmed") <= 8
    assert (result["failed"], result["changed"], result["rolled_back"]) == (True, False, True)
    assert "could not be reached over a new connection: no route to host" in result["msg"]
    assert result["steps"] == ["x"]
    assert not result["guard"]["confirmed"]


def test_a_host_that_comes_back_in_time_is_confirmed(clock: Clock) -> None:
    target = Target(clock, flows=[APPLIED], confirmed=[LOST, LOST, KEPT])
    assert run(target)["guard"]["confirmed"]
    assert target.drops_at_call == [0, 1, 2, 3]


def test_a_host_that_never_comes_back_is_a_failure_and_still_not_unreachable(clock: Clock) -> None:
    started = clock.now
    result = run(Target(clock, flows=[APPLIED], confirmed=[LOST], aborted=[LOST]), confirm_timeout=5)
    assert (result["failed"], result["changed"], result["rolled_back"]) == (True, False, False)
    assert "It is still unreachable" in result["msg"]
    assert 305 <= clock.now - started <= 330


def test_an_answer_of_the_guard_that_is_an_error_is_told(clock: Clock) -> None:
    refused = {"failed": True, "msg": "Could not write."}
    result = run(Target(clock, flows=[APPLIED], confirmed=[refused], aborted=[UNDONE]))
    assert (result["failed"], result["rolled_back"]) == (True, True)
    assert result["msg"].startswith("The change could not be confirmed: Could not write.")
    result = run(Target(clock, flows=[LOST], aborted=[{"failed": True, "msg": "No such change."}]))
    assert (result["failed"], result["changed"], result["rolled_back"]) == (True, False, False)
    assert result["msg"].endswith("No such change.")


def test_a_change_that_was_confirmed_before_it_could_be_undone_is_called_in_place(clock: Clock) -> None:
    result = run(Target(clock, flows=[LOST], aborted=[KEPT]))
    assert (result["failed"], result["changed"], result["rolled_back"]) == (True, True, False)
    assert "The change is still in place." in result["msg"]


def test_health_checks_are_connections_from_the_controller(clock: Clock, open_port: int, closed_port: int) -> None:
    good = f"127.0.0.1:{open_port}"
    assert run(Target(clock, flows=[APPLIED], confirmed=[KEPT]), health_checks=[good])["guard"]["confirmed"]
    for checks in ([good, f"127.0.0.1:{closed_port}"], f"{good}, 127.0.0.1:{closed_port}"):
        target = Target(clock, flows=[APPLIED], aborted=[UNDONE])
        result = run(target, health_checks=checks)
        assert target.names() == ["flows", "aborted"]
        assert (result["failed"], result["rolled_back"]) == (True, True)
        assert f"The health check 127.0.0.1 port {closed_port} failed from the controller" in result["msg"]


def test_health_commands_run_over_the_new_connection_and_must_succeed(clock: Clock) -> None:
    target = Target(clock, flows=[APPLIED], command=[{"rc": 0, "stderr": ""}], confirmed=[KEPT])
    assert run(target, health_commands=["one", "two"])["guard"]["confirmed"]
    assert target.names() == ["flows", "command", "command", "confirmed"]
    assert target.drops_at_call[1] == 1
    target = Target(clock, flows=[APPLIED], command=[{"rc": 7, "stdout": "", "stderr": ""}], aborted=[UNDONE])
    result = run(target, health_commands="curl a,b")
    assert target.names() == ["flows", "command", "aborted"]
    assert target.calls[1][1] == {"cmd": "exec 2>&1\ncurl a,b"}
    assert "The health command 'curl a,b' failed with return code 7." in result["msg"]
    assert result["rolled_back"]


@pytest.mark.parametrize(("said", "told"), [("refused\n", "return code 7: refused."), ("", "return code 7.")])
def test_what_a_health_command_said_is_told_without_what_ssh_says(clock: Clock, said: str, told: str) -> None:
    answer = {"rc": 7, "stdout": said, "stderr": "Shared connection to web closed.\n"}
    result = run(Target(clock, flows=[APPLIED], command=[answer], aborted=[UNDONE]), health_commands="curl")
    assert result["msg"].startswith(f"The health command 'curl' failed with {told} ")


def test_a_health_command_over_a_lost_connection_undoes_the_change(clock: Clock) -> None:
    result = run(Target(clock, flows=[APPLIED], command=[LOST], aborted=[UNDONE]), health_commands=["one"])
    assert "could not be reached over a new connection" in result["msg"]
    assert result["rolled_back"]


def test_a_health_command_that_takes_too_long_undoes_the_change(clock: Clock) -> None:
    target = Target(clock, flows=[APPLIED], command=[{"rc": 0, "stderr": ""}], aborted=[UNDONE])
    target.seconds = 20
    assert "'two' took longer than confirm_timeout" in run(target, health_commands=["one", "two"])["msg"]


@pytest.mark.parametrize(
    "text", ["www.example.com", ":443", "www.example.com:", "a:0", "a:65536", "a:http", "a:-1", "a:²", "[]:443"]
)
def test_a_health_check_that_is_no_endpoint_is_refused_before_anything_runs(clock: Clock, text: str) -> None:
    target = Target(clock, flows=[APPLIED])
    with pytest.raises(AnsibleActionFail, match="is not of the form HOST:PORT; write for example"):
        run(target, health_checks=[text])
    assert target.calls == []


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [("www.example.com:443", ("www.example.com", 443)), ("[2001:db8::1]:80", ("2001:db8::1", 80)), ("a:1", ("a", 1))],
)
def test_an_endpoint_is_a_host_and_a_port(text: str, endpoint: tuple[str, int]) -> None:
    assert action._endpoint(text) == endpoint


@pytest.mark.parametrize("nothing", [None, "", []])
def test_an_option_that_is_given_and_empty_is_refused_before_anything_runs(clock: Clock, nothing: Any) -> None:
    target = Target(clock, flows=[APPLIED])
    with pytest.raises(AnsibleActionFail, match=r"health_checks is given and empty; leave it out if nothing has to"):
        run(target, health_checks=nothing)
    with pytest.raises(
        AnsibleActionFail, match=r"source_addresses of the flow 'a' is given and empty; leave it out if any"
    ):
        run(target, flows=[{"name": "a", "source_addresses": nothing}])
    assert target.calls == []


@pytest.mark.parametrize(
    "flow",
    [
        '{"pair": "httpd_to_redis", "source_addresses": null}',
        "{'pair': 'httpd_to_redis', 'source_addresses': None}",
        {"pair": "httpd_to_redis", "source_addresses": [None]},
    ],
)
def test_a_null_in_the_text_of_a_flow_or_in_a_list_is_refused(clock: Clock, flow: Any) -> None:
    with pytest.raises(AnsibleActionFail, match="source_addresses of the flow 'httpd_to_redis' is given and empty"):
        run(Target(clock), flows=[{"name": "other"}, flow])


def test_a_timeout_that_is_no_number_is_refused(clock: Clock) -> None:
    with pytest.raises(AnsibleActionFail, match="confirm_timeout is 'soon'; give a number of seconds"):
        run(Target(clock, flows=[APPLIED]), confirm_timeout="soon")


def test_a_connection_is_closed_where_it_cannot_be_reset(clock: Clock) -> None:
    target = Target(clock, flows=[APPLIED], confirmed=[KEPT])
    target.connection.fail = True
    run(target)
    assert target.connection.resets == 101

    class Plain(Connection):
        reset = ConnectionBase.reset

    target = Target(clock, flows=[APPLIED], confirmed=[KEPT])
    target.connection = Plain()
    run(target)
    assert target.connection.resets == 100


def test_each_module_has_the_same_guard_around_itself() -> None:
    plugins = (flow, flows, interface_context, peer_label)
    assert all(issubclass(plugin.ActionModule, action.GuardedAction) for plugin in plugins)
    assert [plugin.ActionModule.module_name for plugin in plugins] == [
        "senet.firewall.flow", "senet.firewall.flows", "senet.firewall.interface_context", "senet.firewall.peer_label",
    ]  # fmt: skip
