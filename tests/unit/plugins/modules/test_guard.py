# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from ansible_collections.senet.firewall.plugins.module_utils._change import change, engine
from ansible_collections.senet.firewall.plugins.module_utils._values import requests
from ansible_collections.senet.firewall.plugins.modules import guard as plugin
from tests.unit.flows import SEVERAL, WEB_DB
from tests.unit.module_run import assert_documented, run_module
from tests.unit.scripted_host import ScriptedHost

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def host() -> ScriptedHost:
    """A host with a change t1 that waits."""
    made = ScriptedHost()
    engine.run(made.host(), requests.Replace(WEB_DB), change.Options(30, "t1"), check_mode=False)
    return made


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], host: ScriptedHost) -> Run:
    return lambda **arguments: run_module(monkeypatch, capsys, plugin, host, arguments)


def told(result: dict[str, Any]) -> tuple[Any, ...]:
    return (result["changed"], result["token"], result["rolled_back"], result["reason"])


def test_a_change_is_confirmed_once_and_can_then_not_be_undone(run: Run, host: ScriptedHost) -> None:
    result = run(token="t1", state="confirmed")
    assert_documented(plugin, result)
    assert told(result) == (True, "t1", False, "")
    assert host.service.running
    assert told(run(token="t1", state="confirmed")) == (False, "t1", False, "")
    assert told(run(token="t1", state="aborted")) == (False, "t1", False, "")
    assert host.policy is not None


def test_a_change_is_undone_once_and_can_then_not_be_confirmed(run: Run, host: ScriptedHost) -> None:
    result = run(token="t1", state="aborted")
    assert_documented(plugin, result)
    assert told(result) == (True, "t1", True, "it was aborted")
    assert host.policy is None
    assert told(run(token="t1", state="aborted")) == (False, "t1", True, "it was aborted")
    late = run(token="t1", state="confirmed")
    assert late["failed"]
    assert late["msg"] == "The change t1 cannot be confirmed, since the host has undone it: it was aborted."
    assert (late["token"], late["rolled_back"], late["reason"]) == ("t1", True, "it was aborted")


def test_an_ended_change_is_not_reported_as_changed_while_another_waits(run: Run, host: ScriptedHost) -> None:
    run(token="t1", state="confirmed")
    engine.run(host.host(), requests.Replace(SEVERAL), change.Options(30, "t2"), check_mode=False)
    assert told(run(token="t1", state="confirmed")) == (False, "t1", False, "")
    assert host.guard.record is not None


@pytest.mark.parametrize("state", ["confirmed", "aborted"])
@pytest.mark.parametrize(
    ("token", "message"),
    [("t2", "no change t2 to confirm or undo"), ("T1", "cannot name a change"), ("", "cannot name a change")],
)
def test_another_token_is_refused_and_the_change_still_waits(
    run: Run, host: ScriptedHost, state: str, token: str, message: str
) -> None:
    result = run(token=token, state=state)
    assert result["failed"]
    assert message in result["msg"]
    assert host.guard.record is not None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"token": "t1"}, "missing required arguments: state"),
        ({"state": "aborted"}, "missing required arguments: token"),
        ({"token": "t1", "state": "kept"}, "value of state must be one of: confirmed, aborted"),
    ],
)
def test_both_options_are_needed(run: Run, arguments: dict[str, str], message: str) -> None:
    assert message in run(**arguments)["msg"]


def test_the_examples_name_options_that_there_are(run: Run) -> None:
    for task in yaml.safe_load(plugin.EXAMPLES):
        assert "no change 4f0c9be21a77 to confirm or undo" in run(**task["senet.firewall.guard"])["msg"]
