# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Optional

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.senet.firewall.plugins.module_utils._host import guard as guard_module
from ansible_collections.senet.firewall.plugins.module_utils._host.guard import Guard, Pending, boot_id, clock
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from tests.unit.commands import Commands
from tests.unit.owner import pretend_owner

STATE = {"policy": "é", "rules": {"ipv4": ["-A"], "ipv6": None}, "intent": None}
PENDING = Pending("t1", "b", True, "wait", 12.5, {**STATE, "policy": None}, STATE)
LAUNCHER = ("/usr/bin/python3", "-IB", "/var/lib/senet-firewall/code/senet-firewall")
HOLDS = """
import sys
from ansible_collections.senet.firewall.plugins.module_utils._host import guard
guard._LOCK = sys.argv[1]
with guard.Guard(None, None, False, None).lock(0):
    print("locked", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The guard's files below a directory of the test's own."""
    pretend_owner(monkeypatch, 0)
    for name in ("pending", "outcome"):
        monkeypatch.setattr(guard_module, f"_{name.upper()}", str(tmp_path / "state" / f"{name}.json"))
    for name in ("repairs", "lock"):
        monkeypatch.setattr(guard_module, f"_{name.upper()}", str(tmp_path / name))
    return tmp_path


def make(
    commands: Optional[Commands] = None, systemd: bool = True, command: tuple[str, ...] = LAUNCHER
) -> Guard:
    commands = commands or Commands("systemctl", "systemd-run")
    return Guard(commands.run, commands.find, systemd, lambda: command)


@contextmanager
def another_run(lock: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process that holds the lock."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(lock)],
        env={**os.environ, "PYTHONPATH": os.environ["ANSIBLE_COLLECTIONS_PATH"]},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        try:
            yield process
        finally:
            process.stdin.close()


def test_of_two_runs_one_is_refused_with_the_pid_of_the_other(paths: Path) -> None:
    with another_run(paths / "lock") as other:
        started = time.monotonic()
        message = rf"Another run .*\(pid {other.pid}\); nothing was changed"
        with pytest.raises(SenetError, match=message), make().lock(0.3):
            pass
        assert 0.3 <= time.monotonic() - started < 10
        assert other.poll() is None
    with make().lock(0):
        assert (paths / "lock").read_text() == str(os.getpid())


def test_a_run_that_waits_gets_the_lock_when_the_other_ends(paths: Path) -> None:
    with another_run(paths / "lock") as other:
        assert other.stdin is not None
        other.stdin.close()
        with make().lock(60):
            assert other.wait(10) == 0


def test_a_killed_run_leaves_no_lock(paths: Path) -> None:
    with another_run(paths / "lock") as other:
        other.kill()
        assert other.wait() == -signal.SIGKILL
        with make().lock(0):
            pass


def test_the_lock_is_free_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), make().lock(0):
        raise ZeroDivisionError
    with make().lock(0), pytest.raises(SenetError, match=f"pid {os.getpid()}"), make().lock(0):
        pass


def test_the_record_comes_back_as_it_was_written(paths: Path) -> None:
    guard = make()
    assert guard.pending() is None
    guard.write(PENDING)
    assert guard.pending() == PENDING
    assert (paths / "state" / "pending.json").stat().st_mode & 0o777 == 0o600


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text() | st.sampled_from(["[]", "null", "{}", '{"token": "t1"}', '{"token": 1, "more": 2}']))
def test_a_damaged_record_is_told(paths: Path, text: str) -> None:
    guard = make()
    guard.write(PENDING)
    (paths / "state" / "pending.json").write_text(text)
    with pytest.raises(SenetError, match="The record .*pending.json of an unconfirmed .* is damaged .*move it away"):
        guard.pending()


@pytest.mark.parametrize(
    "change",
    [
        {"after": {}},
        {"before": {"policy": None, "rules": [], "intent": None}},
        {"after": {**PENDING.after, "intent": 1}},
        {"deadline": "soon"},
        {"complete": "no"},
        {"token": None},
    ],
)
def test_a_record_that_lacks_a_part_is_damaged(paths: Path, change: dict[str, Any]) -> None:
    guard = make()
    guard.write(PENDING)
    (paths / "state" / "pending.json").write_text(json.dumps({**PENDING._asdict(), **change}))
    with pytest.raises(SenetError, match="is damaged"):
        guard.pending()


def test_a_change_that_is_over_leaves_its_outcome_and_no_record() -> None:
    commands = Commands("systemctl")
    guard = make(commands)
    assert guard.outcome() is None
    guard.write(PENDING)
    outcome = {"token": "t1", "rolled_back": True, "reason": "why"}
    guard.forget(outcome)
    assert (guard.pending(), guard.outcome()) == (None, outcome)
    # the timers only: a service may be what runs this
    assert commands.lines == [
        "/sbin/systemctl stop senet-firewall-apply-t1.timer", "/sbin/systemctl stop senet-firewall-confirm-t1.timer"
    ]  # fmt: skip


def test_the_outcome_is_there_before_the_record_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    guard = make()
    guard.write(PENDING)

    def dies(path: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(guard_module, "remove", dies)
    with pytest.raises(KeyboardInterrupt):
        guard.forget({"token": "t1"})
    assert guard.outcome() == {"token": "t1"}
    assert guard.pending() == PENDING


def test_the_timer_is_a_unit_of_systemd() -> None:
    commands = Commands("systemd-run")
    make(commands).arm("t1", "confirm", 30)
    assert commands.calls[0].args == (
        "/sbin/systemd-run",
        "--quiet",
        "--unit=senet-firewall-confirm-t1",
        "--description=Undo the unconfirmed change t1 of senet.firewall",
        "--on-active=30",
        "--timer-property=AccuracySec=100ms",
        # not for an exit code: it ends with one only where nothing is left to undo
        "--property=Restart=on-abnormal",
        "--property=RestartSec=30",
        "--",
        *LAUNCHER,
        "rollback",
        "t1",
    )


def test_the_launcher_is_tried_as_the_timer_will_run_it_and_its_answer_awaited() -> None:
    commands = Commands("systemd-run")
    make(commands).prove("t1")
    words = commands.calls[0].args
    assert words[:4] == ("/sbin/systemd-run", "--quiet", "--wait", "--collect")
    assert words[words.index("--") + 1:] == (*LAUNCHER, "check", "t1")
    assert any(word.startswith("--property=RuntimeMaxSec=") for word in words)
    without = Commands()
    make(without, systemd=False).prove("t1")
    assert without.calls[0].args == (*LAUNCHER, "check", "t1")


@pytest.mark.parametrize("systemd", [True, False])
def test_a_launcher_that_cannot_be_run_is_told_with_what_to_look_at(systemd: bool) -> None:
    commands = Commands("systemd-run")
    commands.answers["/sbin/systemd-run"] = commands.answers["/usr/bin/python3"] = (203, "", "")
    message = r"trial run .*-IB \S+ check t1' ended with 203.*could not undo.*'journalctl -u senet-firewall-check-t1'"
    with pytest.raises(SenetError, match=message):
        make(commands, systemd).prove("t1")


@pytest.mark.parametrize(
    ("complete", "boot", "now", "overdue"),
    [
        (True, "b", 12.5, False),
        (True, "b", 12.6, True),
        (False, "b", 99999.0, False),
        (True, "another", 0.0, True),
        (False, "another", 0.0, True),
    ],
)
def test_a_change_is_overdue_when_its_time_is_over_or_its_boot(
    complete: bool, boot: str, now: float, overdue: bool
) -> None:
    assert PENDING._replace(complete=complete).overdue(boot, now) == overdue


def test_a_timer_that_cannot_be_started_is_told() -> None:
    commands = Commands("systemd-run")
    commands.answers["/sbin/systemd-run"] = (1, "", "Failed to start transient timer unit:\nread-only\n")
    with pytest.raises(SenetError, match="systemd-run cannot start .*unit: read-only.; nothing was changed, repair"):
        make(commands).arm("t1", "apply", 330)


def test_without_systemd_the_timer_is_a_process_that_is_no_child_of_ours(
    paths: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = paths / "answer"
    os.mkfifo(answer)
    reader = os.open(answer, os.O_RDONLY | os.O_NONBLOCK)
    script = "import os, sys; open(sys.argv[1], 'w').write(' '.join([*sys.argv[2:], str(os.getsid(0)), os.getcwd()]))"
    guard = make(systemd=False, command=(sys.executable, "-c", script, str(answer)))
    started = time.monotonic()
    with guard.lock(0):
        guard.arm("t1", "apply", 1)
        assert time.monotonic() - started < 1
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)
    # The process does not hold on to the lock that the run has given back, once it has got round to closing it.
    with guard.lock(0.5):
        pass
    assert time.monotonic() - started < 1
    assert select.select([reader], [], [], 60)[0]
    assert time.monotonic() - started >= 1
    state, token, session, directory = os.read(reader, 4096).decode().split()
    os.close(reader)
    assert (state, token, directory) == ("rollback", "t1", "/")
    assert int(session) != os.getsid(0)


def test_repairs_are_noted_until_the_next_change() -> None:
    guard = make()
    assert guard.repairs() is None
    guard.repaired("ipv4")
    guard.repaired("ipv4 and ipv6")
    last = guard.repairs()
    assert last is not None
    assert last.endswith(" ipv4 and ipv6")
    assert time.strptime(last.split(" ")[0], "%Y-%m-%dT%H:%M:%S%z")
    guard.forget_repairs()
    assert guard.repairs() is None


def test_a_boot_has_a_name_and_a_clock_that_only_rises() -> None:
    assert boot_id() == boot_id()
    assert len(boot_id()) == 36
    first = clock()
    assert clock() >= first > 0


@pytest.mark.parametrize("name", ["_LOCK", "_REPAIRS"])
def test_a_link_in_the_place_of_a_file_in_run_is_not_followed(tmp_path: Path, name: str) -> None:
    elsewhere = tmp_path / "flows.json"
    elsewhere.write_text("theirs")
    Path(getattr(guard_module, name)).symlink_to(elsewhere)
    guard = Guard(Commands().run, Commands().find, False, lambda: LAUNCHER)
    with guard.lock(0):
        guard.repaired("a rule was missing")
    assert elsewhere.read_text() == "theirs"
    assert (guard.repairs() or "").endswith("a rule was missing")
