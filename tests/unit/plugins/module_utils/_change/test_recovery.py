# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
import copy
import io
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr
from typing import Any, Optional

import pytest
from hypothesis import given, settings

from ansible_collections.senet.firewall.plugins.module_utils._agent import commands
from ansible_collections.senet.firewall.plugins.module_utils._change import change, confirm, engine, expire, load
from ansible_collections.senet.firewall.plugins.module_utils._change.undo import undo_pending
from ansible_collections.senet.firewall.plugins.module_utils._compile import cil, iptables
from ansible_collections.senet.firewall.plugins.module_utils._compile.rule_sets import RULE_SETS
from ansible_collections.senet.firewall.plugins.module_utils._host.guard import clock
from ansible_collections.senet.firewall.plugins.module_utils._values import requests
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import FlowSet, flow_set
from tests.unit.flows import SEVERAL, WEB_DB, flow, flow_sets
from tests.unit.scripted_host import Killed, ScriptedHost, before_call

TOKEN = "t1"
GUARDED = change.Options(30, TOKEN)
UNGUARDED = change.Options(0, "t2")
NOTHING = FlowSet(())


def make(host: ScriptedHost, flows: FlowSet, options: change.Options = UNGUARDED) -> engine.Outcome:
    return engine.run(host.host(), requests.Replace(flows), options, check_mode=False)


def host_with(flows: FlowSet, pending: Optional[FlowSet] = None) -> ScriptedHost:
    """A host with flows in place for good, and perhaps a change of them that waits."""
    host = ScriptedHost()
    make(host, flows)
    if pending is not None:
        make(host, pending, GUARDED)
    host.writes.clear()
    return host


def view(host: ScriptedHost) -> tuple[object, ...]:
    """What a host enforces and keeps, whatever the order of its chains, whether an empty table stayed behind, and
    which types are retired."""
    tables = [RULE_SETS["ipv4"].parse(table.save()) for table in host.families.values()]
    rules = [(table.rules, table.jumps) for table in tables]
    return (cil.live(host.policy), rules, host.service.text, host.service.installed)


def is_in_force(host: ScriptedHost, flows: FlowSet) -> bool:
    rules = iptables.compile_rules(flows)
    return all(RULE_SETS["ipv4"].parse(host.save(family)).installed(rules) for family in ("ipv4", "ipv6"))


def abort(host: ScriptedHost) -> dict[str, Any]:
    return confirm.abort(host.host(), TOKEN, "it was not confirmed in time")


def test_a_confirmed_change_is_made_permanent_and_its_units_start_after_the_lock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    host = host_with(NOTHING, pending=WEB_DB)
    assert host.service.text is None
    locked_at_start: list[bool] = []
    before_call(monkeypatch, host.service, "start", lambda: locked_at_start.append(host.guard.locked))
    outcome = confirm.confirm(host.host(), TOKEN)
    assert outcome == {"token": TOKEN, "rolled_back": False, "reason": ""}
    assert host.writes == ["write intent", "start service"]
    assert locked_at_start == [False]
    assert (host.guard.record, host.guard.last) == (None, outcome)
    assert not make(host, WEB_DB).changed
    # asked again, it says the same and writes nothing
    assert confirm.confirm(host.host(), TOKEN) == outcome
    assert host.writes == ["write intent", "start service"]


def test_a_confirmed_removal_keeps_the_units_until_the_guard_needs_them_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    host = host_with(WEB_DB, pending=NOTHING)
    records: list[object] = []
    before_call(monkeypatch, host.service, "uninstall", lambda: records.append(host.guard.record))
    confirm.confirm(host.host(), TOKEN)
    assert host.writes == ["remove intent", "uninstall service"]
    assert records == [None]
    assert view(host) == view(ScriptedHost())


@pytest.mark.parametrize("end", [confirm.confirm, lambda host, token: confirm.abort(host, token, "why")])
def test_a_change_that_is_not_there_can_be_neither_confirmed_nor_undone(end: Callable[..., object]) -> None:
    host = host_with(NOTHING, pending=WEB_DB)
    before = view(host)
    with pytest.raises(SenetError, match="no change t9 to confirm or undo; the module flows_info shows the change"):
        end(host.host(), "t9")
    assert host.writes == []
    assert view(host) == before
    assert host.guard.record is not None


def test_a_confirmation_that_comes_while_the_guard_undoes_says_so() -> None:
    host = ScriptedHost()
    engine.run(host.host(), requests.Replace(WEB_DB), change.Options(30, "t1"), False)
    assert host.guard.record is not None
    host.guard.locked = True
    with pytest.raises(SenetError, match="Another run is changing the flows"):
        confirm.confirm(host.host(), "t1")
    host.guard.record = host.guard.record._replace(deadline=0.0)
    with pytest.raises(SenetError, match="The change t1 was not confirmed in time.*longer confirm_timeout"):
        confirm.confirm(host.host(), "t1")


def test_a_change_that_is_not_whole_is_not_confirmed() -> None:
    host = host_with(NOTHING)
    host.die_at = host.touches + 5
    with pytest.raises(Killed):
        make(host, WEB_DB, GUARDED)
    writes = list(host.writes)
    with pytest.raises(SenetError, match="t1 is incomplete: its run ended at the step '.*state=aborted"):
        confirm.confirm(host.host(), TOKEN)
    assert host.writes == writes
    assert host.guard.record is not None


@pytest.mark.parametrize("first", [NOTHING, SEVERAL])
def test_a_change_that_cannot_be_made_permanent_is_undone(first: FlowSet) -> None:
    host = host_with(first)
    before = view(host)
    make(host, WEB_DB, GUARDED)
    host.fail = "write intent"
    with pytest.raises(SenetError, match=r"^Could not write intent\. The change was undone\.$"):
        confirm.confirm(host.host(), TOKEN)
    assert view(host) == before
    assert host.guard.last == {"token": TOKEN, "rolled_back": True, "reason": "Could not write intent."}


# What undoing does first: the old rules, or none at all where they need the policy of before.
RULES = ["restore ipv4", "restore ipv6"]
UNDOES = [
    pytest.param(SEVERAL, WEB_DB, [*RULES, "install policy"], id="removed"),
    pytest.param(WEB_DB, flow_set([flow("webdb")]), [*RULES, "install policy"], id="renamed"),
    pytest.param(WEB_DB, flow_set([flow(ports=[5433])]), [*RULES, "install policy"], id="other-ports"),
    pytest.param(WEB_DB, flow_set([flow(source=["redis_t"])]), [*RULES, "install policy", *RULES], id="other-domains"),
    pytest.param(WEB_DB, flow_set([flow(mode="observe")]), [*RULES, "install policy", *RULES], id="observed"),
    pytest.param(
        WEB_DB, flow_set([flow()], {"httpd_t": "enforce"}.items()), [*RULES, "install policy", *RULES], id="confined"
    ),
]


@pytest.mark.parametrize(("first", "second", "writes"), UNDOES)
@pytest.mark.parametrize("aborted", [True, False])
def test_undoing_takes_effect_at_once_and_opens_nothing_where_the_old_rules_are_right_under_the_new_policy(
    first: FlowSet, second: FlowSet, writes: list[str], aborted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = host_with(first)
    before = view(host)
    make(host, second, GUARDED)
    host.writes.clear()
    rules_then: list[bool] = []
    before_call(monkeypatch, host, "install", lambda: rules_then.append(is_in_force(host, first)))
    if aborted:
        assert abort(host) == {"token": TOKEN, "rolled_back": True, "reason": "it was not confirmed in time"}
    else:
        assert host.guard.record is not None
        with host.guard.lock(0):
            undo_pending(host.host(), host.guard.record, "it died")
    assert host.writes == writes
    assert rules_then == [writes[-1] == "install policy"]
    assert view(host) == before


def test_undoing_lets_traffic_through_where_the_old_rules_cannot_be_loaded() -> None:
    host = host_with(SEVERAL)
    make(host, WEB_DB, GUARDED)
    host.writes.clear()
    host.fail = "restore ipv6"
    assert abort(host)["rolled_back"]
    assert host.writes == ["restore ipv4", "restore ipv4", "restore ipv6", "restore ipv4", "restore ipv6",
                           "install policy"]  # fmt: skip


class Slow:
    """A run that holds the lock when its time is over, and then ends: how, ``end`` does to the host."""

    def __init__(self, host: ScriptedHost, end: Callable[[], object]) -> None:
        self.host = host
        self.end = end
        self.waited = 0.0
        self.lock = host.guard.lock

    def __call__(self, wait: float) -> Any:
        self.host.guard.lock = self.lock  # type: ignore[method-assign]
        self.waited = wait
        assert self.host.writes == [], "traffic was let through beside a run that was at work"
        self.end()
        return self.lock(wait)


def incomplete(host: ScriptedHost) -> None:
    """As if the run that made the host's change were still at it."""
    make(host, WEB_DB, GUARDED)
    assert host.guard.record is not None
    host.guard.record = host.guard.record._replace(complete=False)
    host.writes.clear()


def timer_fires(host: ScriptedHost) -> dict[str, Any]:
    return expire.expire(host.host(), TOKEN, "it was not confirmed in time")


def test_a_run_that_is_slow_and_ends_well_is_left_to_its_confirmation() -> None:
    host = ScriptedHost()
    incomplete(host)
    record = host.guard.record
    assert record is not None

    def complete() -> None:
        host.guard.record = record._replace(complete=True)

    slow = host.guard.lock = Slow(host, complete)  # type: ignore[method-assign]
    assert timer_fires(host) == {"token": TOKEN, "rolled_back": False, "reason": ""}
    assert (host.writes, host.guard.record is not None) == ([], True)
    assert slow.waited > 300


def test_a_run_that_is_slow_and_dies_is_undone() -> None:
    host = ScriptedHost()
    before = view(host)
    incomplete(host)
    host.guard.lock = Slow(host, lambda: None)  # type: ignore[method-assign]
    assert timer_fires(host) == {"token": TOKEN, "rolled_back": True, "reason": "it was not confirmed in time"}
    assert view(host) == before


def test_a_run_that_is_slow_and_undoes_its_change_has_said_what_became_of_it() -> None:
    host = ScriptedHost()
    incomplete(host)

    def undo() -> None:
        host.guard.record, host.guard.last = None, {"token": TOKEN, "rolled_back": True, "reason": "a step failed"}

    host.guard.lock = Slow(host, undo)  # type: ignore[method-assign]
    assert timer_fires(host)["reason"] == "a step failed"


def test_beside_a_run_that_is_stuck_traffic_is_let_through_in_the_end() -> None:
    host = ScriptedHost()
    incomplete(host)
    host.guard.locked = True
    with pytest.raises(SenetError, match="Another run"):
        timer_fires(host)
    assert host.writes == ["restore ipv4", "restore ipv6"]


def run_out(host: ScriptedHost) -> None:
    """Let the time of the change that waits be over."""
    assert host.guard.record is not None
    host.guard.record = host.guard.record._replace(deadline=0.0)


def test_the_timer_of_a_slow_run_leaves_its_change_the_time_to_be_confirmed() -> None:
    host = ScriptedHost()
    make(host, WEB_DB, GUARDED)
    host.writes.clear()
    assert timer_fires(host) == {"token": TOKEN, "rolled_back": False, "reason": ""}
    assert (host.writes, host.guard.record is not None) == ([], True)
    run_out(host)
    assert timer_fires(host)["rolled_back"]


def test_a_run_that_ends_when_the_time_to_confirm_is_over_too_is_undone() -> None:
    host = ScriptedHost()
    incomplete(host)
    record = host.guard.record
    assert record is not None

    def complete() -> None:
        host.guard.record = record._replace(complete=True, deadline=0.0)

    host.guard.lock = Slow(host, complete)  # type: ignore[method-assign]
    assert timer_fires(host)["rolled_back"]


def test_the_timer_of_the_confirmation_does_not_come_before_its_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    host = ScriptedHost()
    armed: list[float] = []
    arm = host.guard.arm

    def late(token: str, phase: str, seconds: int) -> None:
        armed.append(clock() + seconds)
        arm(token, phase, seconds)

    monkeypatch.setattr(host.guard, "arm", late)
    make(host, WEB_DB, GUARDED)
    assert host.guard.record is not None
    assert host.guard.record.deadline < armed[-1]
    # Whoever reads a whole change can rely on a timer
    assert host.guard.stages[-2].complete is False


def test_a_change_that_nobody_confirmed_is_undone_without_waiting() -> None:
    host = ScriptedHost()
    make(host, WEB_DB, GUARDED)
    run_out(host)
    host.writes.clear()
    host.guard.locked = True
    with pytest.raises(SenetError, match="Another run"):
        timer_fires(host)
    assert host.writes == ["restore ipv4", "restore ipv6"]


def test_undoing_takes_the_units_away_last_when_the_record_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    host = host_with(NOTHING, pending=WEB_DB)
    records: list[object] = []
    # At boot one of the units is what runs this, and dies of it.
    before_call(monkeypatch, host.service, "uninstall", lambda: records.append(host.guard.record))
    assert abort(host)["rolled_back"]
    assert records == [None]
    assert host.writes == [
        "restore ipv4", "restore ipv6", "restore ipv4", "drop ipv4", "restore ipv6", "drop ipv6", "remove policy",
        "uninstall service",
    ]  # fmt: skip
    assert view(host) == view(ScriptedHost())


def test_traffic_goes_through_before_the_lock_is_waited_for() -> None:
    host = host_with(NOTHING, pending=WEB_DB)
    host.guard.locked = True
    with pytest.raises(SenetError, match="Another run"):
        abort(host)
    assert host.writes == ["restore ipv4", "restore ipv6"]
    assert not any("SECMARK" in table.rules("SENET_INPUT", "SENET_OUTPUT") for table in host.families.values())


def unreadable(*args: object) -> str:
    raise SenetError("It cannot be read.")


@pytest.mark.parametrize("what", ["module", "service", "ipv6"])
def test_traffic_goes_through_whatever_else_cannot_be_read(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    host = host_with(NOTHING, pending=WEB_DB)
    if what == "module":
        monkeypatch.setattr(host, "module", unreadable)
    elif what == "service":
        monkeypatch.setattr(host.service, "intent", unreadable)
    else:
        monkeypatch.setattr(host.families["ipv6"], "save", unreadable)
    with pytest.raises(SenetError, match="It cannot be read"):
        abort(host)
    assert "SECMARK" not in host.families["ipv4"].rules("SENET_INPUT", "SENET_OUTPUT")
    assert ("SECMARK" in host.families["ipv6"].rules("SENET_INPUT", "SENET_OUTPUT")) == (what == "ipv6")


def test_a_run_undoes_its_change_though_the_record_cannot_be_read_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    host = host_with(WEB_DB)
    before = view(host)
    host.fail = "arm confirm"
    before_call(monkeypatch, host.guard, "arm", lambda: monkeypatch.setattr(host.guard, "pending", unreadable))
    with pytest.raises(SenetError, match="What had been done was undone"):
        make(host, SEVERAL, GUARDED)
    assert view(host) == before


def test_stopping_the_unit_lets_traffic_through_though_the_file_is_damaged() -> None:
    host = host_with(WEB_DB)
    host.service.text = "{"
    with redirect_stderr(io.StringIO()):
        assert commands._clear(host.host()) == 0
    assert not any("SECMARK" in host.families[name].rules("SENET_INPUT", "SENET_OUTPUT") for name in ("ipv4", "ipv6"))


def test_stopping_the_unit_lets_through_what_a_change_that_waits_would_refuse() -> None:
    host = host_with(WEB_DB)
    make(host, WEB_DB, GUARDED._replace(backend="nftables", layers=("selinux", "owner")))
    assert "secmark" in host.families["inet"].save()
    with redirect_stderr(io.StringIO()):
        assert commands._clear(host.host()) == 0
    assert "secmark" not in host.families["inet"].save()
    assert "reject" not in host.families["owner_inet"].save()


def test_an_abort_after_the_guard_tells_what_the_guard_did() -> None:
    host = host_with(NOTHING, pending=WEB_DB)
    abort(host)
    host.writes.clear()
    assert confirm.abort(host.host(), TOKEN, "too late")["reason"] == "it was not confirmed in time"
    assert confirm.confirm(host.host(), TOKEN)["rolled_back"]
    assert host.writes == []


def test_a_change_whose_time_is_over_is_not_confirmed_any_more() -> None:
    host = host_with(NOTHING, pending=WEB_DB)
    assert host.guard.record is not None
    # Undoing has let traffic through, and came no further.
    host.fail = "remove policy"
    with pytest.raises(SenetError, match="Could not remove policy"):
        abort(host)
    host.guard.record = host.guard.record._replace(deadline=0.0)
    with pytest.raises(SenetError, match="t1 was not confirmed in time"):
        confirm.confirm(host.host(), TOKEN)
    assert host.service.text is None
    assert abort(host)["rolled_back"]
    assert view(host) == view(ScriptedHost())


class Slept(list[float]):
    """The pauses that were made, none of which takes any time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        monkeypatch.setattr(commands.time, "sleep", self.append)


def test_the_timers_rollback_tries_until_it_works_with_ever_longer_pauses(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    host = host_with(NOTHING, pending=WEB_DB)
    run_out(host)
    slept = Slept(monkeypatch)
    failures = ["remove policy"] * 9

    def fail_again() -> None:
        host.fail = failures.pop() if failures else ""

    before_call(monkeypatch, host, "remove", fail_again)
    assert commands._rollback(host.host(), TOKEN) == 0
    assert slept == [5, 10, 20, 40, 80, 160, 300, 300, 300]
    assert view(host) == view(ScriptedHost())
    said = capsys.readouterr().err
    assert "Could not remove policy. Undoing the change t1 is tried again in 5 seconds." in said
    assert "The change t1 was undone: it was not confirmed in time." in said


def test_the_timers_rollback_ends_when_somebody_else_has_ended_the_change(monkeypatch: pytest.MonkeyPatch) -> None:
    host = host_with(NOTHING, pending=WEB_DB)
    run_out(host)
    slept = Slept(monkeypatch)
    host.guard.locked = True

    def undone_meanwhile(seconds: float) -> None:
        slept.append(seconds)
        host.guard.locked = False
        abort(host)

    monkeypatch.setattr(commands.time, "sleep", undone_meanwhile)
    with redirect_stderr(io.StringIO()):
        assert commands._rollback(host.host(), TOKEN) == 0
    assert slept == [5]
    host.writes.clear()
    with pytest.raises(SenetError, match="no change t9"):
        commands._rollback(host.host(), "t9")
    assert host.writes == []


class EndOfWatch(BaseException):
    """Ends the watch, which no error does."""


def watch(host: ScriptedHost, monkeypatch: pytest.MonkeyPatch, rounds: int) -> str:
    """What the watch says in some rounds of ten seconds each."""
    now = [1000.0]

    class Rounds:
        def wait(self, seconds: float) -> None:
            now[0] += seconds
            if now[0] >= 1000 + rounds * seconds:
                raise EndOfWatch

    monkeypatch.setattr(commands, "_Events", Rounds)
    monkeypatch.setattr(commands, "clock", lambda: now[0])
    with redirect_stderr(io.StringIO()) as said, pytest.raises(EndOfWatch):
        commands._watch(host.host())
    return said.getvalue()


@pytest.mark.parametrize("restarted", [True, False])
def test_the_watch_undoes_what_timer_or_boot_could_not(monkeypatch: pytest.MonkeyPatch, restarted: bool) -> None:
    host = host_with(SEVERAL, pending=WEB_DB)
    assert host.guard.record is not None
    before = view(host_with(SEVERAL))
    host.guard.record = host.guard.record._replace(**({"boot": "an earlier one"} if restarted else {"deadline": 900.0}))
    attempts = []

    def fail_twice() -> None:
        attempts.append(1)
        host.fail = "install policy" if len(attempts) < 3 else ""

    before_call(monkeypatch, host, "install", fail_twice)
    said = watch(host, monkeypatch, 6)
    assert len(attempts) == 3
    assert said.count("Could not install policy") == 1
    assert "The change t1 was undone" in said
    assert view(host) == before


def test_the_watch_leaves_a_change_alone_that_may_yet_be_confirmed_or_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    host = host_with(SEVERAL, pending=WEB_DB)
    assert host.guard.record is not None
    for record in (
        host.guard.record._replace(deadline=1100.0),
        # Its timer has just fired.
        host.guard.record._replace(deadline=1000.0),
        host.guard.record._replace(complete=False, deadline=0.0),
    ):
        host.guard.record = record
        assert watch(host, monkeypatch, 3) == ""
    assert host.writes == []


@pytest.mark.parametrize(("token", "code"), [(TOKEN, 0), ("t9", 1)])
def test_the_trial_run_succeeds_where_it_finds_the_record(token: str, code: int) -> None:
    host = host_with(NOTHING, pending=WEB_DB)
    with redirect_stderr(io.StringIO()):
        assert commands._check(host.host(), token) == code
    assert host.writes == []


def test_an_abort_that_a_confirmation_overtakes_puts_the_labels_back() -> None:
    host = host_with(NOTHING, pending=WEB_DB)
    lock = host.guard.lock
    answers: list[object] = []

    def overtaken(wait: float) -> Any:
        if not answers:
            host.guard.lock = lock  # type: ignore[method-assign]
            assert not is_in_force(host, WEB_DB)
            answers.append(confirm.confirm(host.host(), TOKEN))
        return lock(wait)

    host.guard.lock = overtaken  # type: ignore[method-assign]
    assert not abort(host)["rolled_back"]
    assert is_in_force(host, WEB_DB)
    assert not make(host, WEB_DB).changed


def deaths(host: ScriptedHost, action: Callable[[ScriptedHost], object]) -> Iterator[ScriptedHost]:
    """The host after the action was killed before its first write, before its second, and so on."""
    number = 0
    while True:
        number += 1
        victim = copy.deepcopy(host)
        victim.die_at = victim.touches + number
        try:
            action(victim)
        except Killed:
            victim.die_at = 0
            assert not victim.guard.locked
            yield victim
        else:
            assert number > 1 or victim.touches == host.touches
            return


def after(host: ScriptedHost, action: Callable[[ScriptedHost], object]) -> ScriptedHost:
    result = copy.deepcopy(host)
    action(result)
    return result


def restart(host: ScriptedHost) -> None:
    """A power cut, and what the boot unit then does if it is there."""
    host.reboot()
    if host.service.installed:
        with redirect_stderr(io.StringIO()):
            assert commands._load(host.host()) == 0


@pytest.mark.long
@settings(max_examples=6)
@given(flow_sets(), flow_sets())
def test_a_run_killed_at_any_write_is_undone_by_guard_boot_and_next_run(first: FlowSet, second: FlowSet) -> None:
    host = host_with(first)
    goal = view(after(host, lambda it: make(it, second)))
    booted = view(after(host, restart))
    for victim in deaths(host, lambda it: make(it, second, GUARDED)):
        record = victim.guard.record
        changed = view(victim)[:2] != view(host)[:2]
        assert not changed or (record is not None and victim.guard.timers and victim.service.installed)
        assert view(after(victim, restart)) == booted
        if record is None:
            continue
        assert view(after(victim, abort)) == view(host)
        if record.complete:
            with pytest.raises(SenetError, match="waits to be confirmed"):
                make(victim, second)
            abort(victim)
        make(victim, second)
        assert view(victim) == goal
        assert not make(victim, second).changed


@pytest.mark.long
@settings(max_examples=6)
@given(flow_sets(), flow_sets())
def test_an_unguarded_run_killed_at_any_write_converges(first: FlowSet, second: FlowSet) -> None:
    host = host_with(first)
    goal = view(after(host, lambda it: make(it, second)))
    for victim in deaths(host, lambda it: make(it, second)):
        make(victim, second)
        assert view(victim) == goal
        assert not make(victim, second).changed


@pytest.mark.long
@settings(max_examples=6)
@given(flow_sets(), flow_sets())
def test_a_confirmation_killed_at_any_write_is_undone_or_holds(first: FlowSet, second: FlowSet) -> None:
    host = host_with(first)
    goal = view(after(host, lambda it: make(it, second)))
    pending = after(host, lambda it: make(it, second, GUARDED))
    if pending.guard.record is None:
        return
    for victim in deaths(pending, lambda it: confirm.confirm(it.host(), TOKEN)):
        if victim.guard.record is not None:
            # Without its code on the host the guard's timer would come to nothing.
            assert victim.service.installed
            assert view(after(victim, abort)) == view(host)
            assert view(after(victim, restart)) == view(after(host, restart))
        else:
            make(victim, second)
            assert view(victim) == goal


@pytest.mark.long
@settings(max_examples=6)
@given(flow_sets(), flow_sets())
def test_undoing_killed_at_any_write_is_taken_up_again(first: FlowSet, second: FlowSet) -> None:
    host = host_with(first)
    pending = after(host, lambda it: make(it, second, GUARDED))
    if pending.guard.record is None:
        return
    for victim in deaths(pending, abort):
        assert abort(victim)["rolled_back"]
        make(victim, first)
        # Units that were never started may stay behind a record that is gone; without flows they load nothing.
        assert view(victim)[:3] == view(host)[:3]


def test_loading_puts_back_what_is_missing_and_writes_nothing_otherwise() -> None:
    host = host_with(SEVERAL)
    assert load.load(host.host())[:2] == ([], [])
    assert host.writes == []
    host.families["ipv6"].tables.clear()
    assert load.load(host.host())[:2] == (["ipv6"], [])
    assert host.writes == ["restore ipv6"]
    assert is_in_force(host, SEVERAL)


@pytest.mark.parametrize("fail", ["restore ipv4", "restore ipv6"])
def test_a_family_that_cannot_be_loaded_leaves_no_other_open(fail: str) -> None:
    host = host_with(SEVERAL)
    host.reboot()
    host.fail = fail
    with pytest.raises(SenetError, match=f"^Could not {fail}"):
        load.load(host.host())
    assert host.writes == [{"restore ipv4": "restore ipv6", "restore ipv6": "restore ipv4"}[fail]]
    # only that one is left to do
    assert load.load(host.host()).sets == [fail.split()[1]]


def test_packets_are_labelled_where_the_tool_for_peers_has_gone() -> None:
    flows = flow_set([flow(verify_source="loopback")])
    host = host_with(flows)
    host.reboot()
    host.netlabel.tool = False
    assert not load.standing(host.host()).complete
    with pytest.raises(SenetError, match="netlabelctl"):
        load.load(host.host())
    assert is_in_force(host, flows)
    with pytest.raises(SenetError, match="netlabelctl"):
        load.standing(host.host())


def test_loading_leaves_out_flows_that_the_policy_does_not_know_and_names_them() -> None:
    host = host_with(SEVERAL)
    host.reboot()
    assert host.policy is not None
    host.policy = host.policy.replace("(type senet_cache_server_packet_t)\n", "")
    assert load.load(host.host())[:2] == (["ipv4", "ipv6"], ["the flow 'cache'"])
    for table in (host.families["ipv4"], host.families["ipv6"]):
        rules = table.rules("SENET_INPUT", "SENET_OUTPUT")
        assert "senet_cache_server_packet_t" not in rules
        assert "senet_cache_client_packet_t" in rules
        assert "senet_web_db_server_packet_t" in rules


def test_without_the_policy_module_nothing_is_loaded_and_every_flow_named() -> None:
    host = host_with(SEVERAL)
    host.reboot()
    host.policy = None
    assert load.load(host.host())[:2] == ([], [f"the flow '{name}'" for name in ("cache", "dns", "web_db")])
    assert host.writes == []


def test_without_a_file_nothing_is_loaded() -> None:
    host = ScriptedHost()
    assert load.load(host.host())[:2] == ([], [])
    assert host.reads == []


def test_a_damaged_file_is_told_and_nothing_is_loaded() -> None:
    host = host_with(WEB_DB)
    host.reboot()
    host.service.text = "{"
    with pytest.raises(SenetError, match="/etc/senet/flows.json is damaged"):
        load.load(host.host())
    assert host.writes == []


def loaded(host: ScriptedHost) -> tuple[int, str]:
    """The exit code of the unit that loads the rules at boot, and what it says."""
    said = io.StringIO()
    with redirect_stderr(said):
        return commands._load(host.host()), said.getvalue()


def test_a_boot_without_the_record_of_flows_fails() -> None:
    host = host_with(WEB_DB)
    host.reboot()
    host.service.text = None
    assert loaded(host) == (
        1,
        "<1>The file /etc/senet/flows.json is missing, so NO flow of this host is put in force; run the play again "
        "with the whole set of flows and purge=true.\n",
    )


def test_a_boot_with_a_damaged_record_of_flows_fails_as_loudly() -> None:
    host = host_with(WEB_DB)
    host.reboot()
    host.service.text = "{"
    with pytest.raises(SenetError, match=r"^<1>The file .* is damaged .* NO flow of this host is put in force"):
        loaded(host)
    assert host.writes == []


def test_a_boot_with_a_damaged_record_of_a_change_loads_what_was_confirmed(monkeypatch: pytest.MonkeyPatch) -> None:
    host = host_with(WEB_DB)
    host.reboot()

    def damaged() -> None:
        raise SenetError("The file pending.json is damaged.")

    monkeypatch.setattr(host.guard, "pending", damaged)
    code, said = loaded(host)
    assert code == 1
    assert said == "The file pending.json is damaged.\nRules loaded for ipv4 and ipv6.\n"
    assert is_in_force(host, WEB_DB)
    host.service.text = None
    assert "damaged.\n<1>The file /etc/senet/flows.json is missing, so NO flow" in loaded(host)[1]
