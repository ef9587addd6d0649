# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.senet.firewall.plugins.module_utils._change import change, engine
from ansible_collections.senet.firewall.plugins.module_utils._host import audit
from ansible_collections.senet.firewall.plugins.module_utils._values import requests
from ansible_collections.senet.firewall.plugins.modules import packet_denial_info as plugin
from tests.unit import records
from tests.unit.flows import WEB_DB
from tests.unit.module_run import assert_documented, run_module
from tests.unit.records import SECONDS, auditd, avc, kernel
from tests.unit.scripted_host import ScriptedHost, process

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def host() -> ScriptedHost:
    """A host with WEB_DB, where auditd runs."""
    made = ScriptedHost(process(1, "init_t"), process(7, "redis_t", command="redis-server"))
    engine.run(made.host(), requests.Replace(WEB_DB), change.Options(0, "t1"), check_mode=False)
    made.running.append(process(9, "auditd_t", command="auditd"))
    return made


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """auditd's log; the kernel's own has nothing."""
    path = tmp_path / "audit.log"
    path.write_text("")
    monkeypatch.setattr(audit, "audit_logs", lambda: [str(path)])
    monkeypatch.setattr(audit, "read_kernel_log", lambda: iter(()))
    monkeypatch.setattr(plugin.denial_records, "find_command", lambda name: None)
    return path


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], host: ScriptedHost, log: Path) -> Run:
    def call(check_mode: bool = True, **arguments: Any) -> dict[str, Any]:
        before = list(host.writes)
        result = run_module(monkeypatch, capsys, plugin, host, arguments, check_mode=check_mode)
        if not result.get("failed"):
            assert_documented(plugin, result)
        assert host.writes == before
        return result

    return call


def test_nothing_was_refused(run: Run, log: Path) -> None:
    result = run()
    assert (result["groups"], result["records"], result["lost"], result["changed"]) == ([], 0, False, False)
    assert result["sources"] == [str(log)]


def test_who_was_refused_what_and_what_to_do(run: Run, log: Path) -> None:
    lines = [auditd(avc(), 1), auditd(avc(src="40001"), 2, SECONDS + 60), "garbage", auditd(records.SEND[:90], 3)]
    log.write_text("".join(line + "\n" for line in lines))
    result = run()
    (group,) = result["groups"]
    assert {key: group[key] for key in ("verdict", "domain", "flow", "side", "direction", "protocol", "port")} == {
        "verdict": "refused", "domain": "redis_t", "flow": "web_db", "side": "client", "direction": "out",
        "protocol": "tcp", "port": 5432,
    }  # fmt: skip
    assert (group["count"], group["first"], group["last"]) == (2, "2026-11-21T00:11:38Z", "2026-11-21T00:12:38Z")
    assert (group["clients"], group["servers"], group["interfaces"]) == (["127.0.0.1"], ["127.0.0.1"], ["lo"])
    assert group["processes"] == [{"pid": 587, "command": "redis-server"}]
    assert group["processes_reliable"] is False
    assert group["running"] == [{"user": "root", "unit": None, "command": "redis-server"}]
    assert group["advice"][0]["kind"] == "as_asked"
    assert group["advice"][0]["flow"]["source"] == ["httpd_t", "redis_t"]
    assert (result["records"], result["unreadable"], result["left_out"]) == (2, 1, 0)


def test_check_mode_says_the_same(run: Run, log: Path) -> None:
    caller = records.SYSCALL.replace(" uid=33", " uid=0")
    log.write_text(auditd(records.CONNECT) + "\n" + auditd(caller, kind="SYSCALL") + "\n")
    assert run(check_mode=False) == run(check_mode=True)
    (group,) = run()["groups"]
    assert (group["users"], group["processes_reliable"]) == (["root"], True)


def test_filters(run: Run, log: Path) -> None:
    log.write_text("".join(auditd(avc(domain=each), n) + "\n" for n, each in enumerate(["redis_t", "named_t"])))
    assert [group["domain"] for group in run(domains=["named_t"])["groups"]] == ["named_t"]
    assert run(flows=["web_db"])["records"] == 2
    assert run(until="2026-11-21T00:11")["records"] == run(since="2026-11-21T00:12")["records"] == 0
    assert run(since="2026-11-21T00:11", until="2026-11-21T01:12:00+01:00")["records"] == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"since": "yesterday"}, "The option since is 'yesterday', which is not a time"),
        ({"domains": []}, "The option domains is given and empty"),
        ({"until": ""}, "The option until is given and empty"),
    ],
)
def test_options_that_say_nothing_are_errors(run: Run, arguments: dict[str, Any], says: str) -> None:
    result = run(**arguments)
    assert result["failed"] is True
    assert says in result["msg"]


def test_a_log_that_cannot_be_read_is_a_warning(run: Run, log: Path) -> None:
    log.write_bytes(b"\x1f\x8b" + b"damaged" * 9)
    result = run()
    assert result["sources"] == []
    assert "cannot be read to its end" in result["warnings"][0]


def test_without_auditd_the_kernels_log_tells(
    run: Run, host: ScriptedHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.running.pop()
    line = audit.Line(audit.KERNEL, kernel(records.SEND))
    monkeypatch.setattr(audit, "read_kernel_log", lambda: iter([line]))
    result = run()
    assert [group["domain"] for group in result["groups"]] == ["unconfined_t"]
    assert result["sources"][-1] == "/dev/kmsg"


def test_a_host_without_flows_and_without_selinux(run: Run, host: ScriptedHost, log: Path) -> None:
    host.service.text = None
    host.mode = "disabled"
    log.write_text(auditd(avc()) + "\n")
    (group,) = run()["groups"]
    assert (group["flow"], group["advice"][0]["kind"]) == ("web_db", "look")
