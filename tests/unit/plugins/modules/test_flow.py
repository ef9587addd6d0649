# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from ansible_collections.senet.firewall.plugins.modules import flow as plugin
from tests.unit.module_run import assert_documented, run_module
from tests.unit.scripted_host import ScriptedHost

# As an ad-hoc call gives them: every value a string
WEB_DB = {"name": "web_db", "source": "httpd_t", "destination": "postgresql_t", "ports": "5432"}
CACHE = {"name": "cache", "source": "httpd_t,named_t", "destination": "redis_t", "ports": "6379,7000-7005"}

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def host() -> ScriptedHost:
    return ScriptedHost()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], host: ScriptedHost) -> Run:
    """The module without a guard, unless it is told otherwise."""

    def call(check_mode: bool = False, **arguments: Any) -> dict[str, Any]:
        return run_module(monkeypatch, capsys, plugin, host, {"confirm_timeout": 0, **arguments}, check_mode)

    return call


def names(result: dict[str, Any]) -> list[str]:
    return [flow["name"] for flow in result["flows"]]


def test_one_flow_comes_changes_and_goes_and_the_others_stay(run: Run) -> None:
    results = [
        run(**WEB_DB, check_mode=True),
        run(**WEB_DB),
        run(**WEB_DB),
        run(**CACHE),
        run(**{**WEB_DB, "ports": "5433"}),
        run(name="web_db", state="absent"),
        run(name="web_db", state="absent"),
    ]
    for result in results:
        assert_documented(plugin, result)
    assert [result["changed"] for result in results] == [True, True, False, True, True, True, False]
    assert [names(result) for result in results[3:6]] == [["cache", "web_db"], ["cache", "web_db"], ["cache"]]
    assert results[4]["flows"][1]["ports"] == ["5433"]
    assert results[3]["flows"][0]["source"] == ["httpd_t", "named_t"]


def test_a_confined_domain_stays_confined(run: Run, host: ScriptedHost) -> None:
    run(**WEB_DB)
    assert host.policy is not None
    host.policy = host.policy.replace('{"flows"', '{"confine":{"httpd_t":"observe"},"flows"', 1)
    assert run(**CACHE)["confined"][0]["domain"] == "httpd_t"


def test_addresses_and_the_mode_are_the_flows(run: Run) -> None:
    result = run(**WEB_DB, source_addresses="192.0.2.7,2001:db8::/64", interfaces="eth0", mode="observe")
    assert result["flows"] == [
        {
            "name": "web_db", "source": ["httpd_t"], "destination": ["postgresql_t"], "protocol": "tcp",
            "ports": ["5432"], "mode": "observe", "source_addresses": ["192.0.2.7", "2001:db8::/64"],
            "interfaces": ["eth0"],
        }
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"source": "httpd_t"}, "one of the following is required: name, pair"),
        ({"name": "web_db"}, "'web_db' has no source"),
        ({**WEB_DB, "ports": "http"}, "'http' of the flow 'web_db'"),
        ({**WEB_DB, "interfaces": "eth*"}, "without wildcards"),
        ({"name": "Web", "state": "absent"}, "'Web' cannot become part of a type name"),
        ({"pair": "no_pair"}, "'no_pair' is not in the catalogue"),
    ],
)
def test_what_cannot_be_is_told_and_nothing_written(
    run: Run, host: ScriptedHost, arguments: dict[str, Any], message: str
) -> None:
    result = run(**arguments)
    assert result["failed"]
    assert message in result["msg"]
    assert host.writes == []


@pytest.mark.parametrize("task", yaml.safe_load(plugin.EXAMPLES), ids=lambda task: task["name"])
def test_the_examples_work(run: Run, task: dict[str, Any]) -> None:
    result = run(**task["senet.firewall.flow"])
    assert not result.get("failed"), result
