# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The watch, where flows are not enforced any more although their rules are in place."""

import io
import itertools
import os
import re
import socket
import time
from contextlib import redirect_stderr
from copy import deepcopy
from pathlib import Path
from typing import Optional

import pytest

from ansible_collections.senet.firewall.plugins.module_utils._agent import commands as commands_module
from ansible_collections.senet.firewall.plugins.module_utils._agent import foreign, measures
from ansible_collections.senet.firewall.plugins.module_utils._agent.commands import _Events, _watch
from ansible_collections.senet.firewall.plugins.module_utils._change import change, confirm, engine, load
from ansible_collections.senet.firewall.plugins.module_utils._compile import iptables
from ansible_collections.senet.firewall.plugins.module_utils._compile.rule_sets import RULE_SETS
from ansible_collections.senet.firewall.plugins.module_utils._host import service
from ansible_collections.senet.firewall.plugins.module_utils._values import requests
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import FlowSet, flow_set
from ansible_collections.senet.firewall.plugins.module_utils._values.records import AUDITD, Line
from tests.unit import records
from tests.unit.commands import Commands
from tests.unit.flows import SEVERAL, WEB_DB, flow
from tests.unit.netlabel_kernel import NetLabelKernel
from tests.unit.records import auditd
from tests.unit.scripted_host import ScriptedHost, before_call, empty_families

LABEL = "-A OUTPUT -j SECMARK --selctx system_u:object_r:http_server_packet_t:s0"


STOCK = NetLabelKernel().lists()


class EndOfWatch(BaseException):
    """Ends the watch, which no error does."""


def host_with(flows: FlowSet) -> ScriptedHost:
    host = ScriptedHost()
    engine.run(host.host(), requests.Replace(flows), change.Options(0, "t0"), False)
    host.writes.clear()
    return host


def watch(host: ScriptedHost, monkeypatch: pytest.MonkeyPatch, rounds: int = 1, changes: bool = False) -> str:
    """What the watch says in some rounds of ten seconds each, with or without a change of netfilter's in each."""
    now = [1000.0]

    class Rounds:
        def wait(self, seconds: float) -> bool:
            now[0] += seconds
            if now[0] >= 1000 + rounds * seconds:
                raise EndOfWatch
            return changes

    monkeypatch.setattr(commands_module, "_Events", Rounds)
    for module in (commands_module, foreign, load):
        monkeypatch.setattr(module, "clock", lambda: now[0])
    with redirect_stderr(io.StringIO()) as said, pytest.raises(EndOfWatch):
        _watch(host.host())
    return said.getvalue()


def labels(host: ScriptedHost) -> bool:
    return any("SECMARK" in host.families[family].save() for family in ("ipv4", "ipv6"))


def test_a_module_removed_by_hand_comes_back_with_nobody_cut_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    host = host_with(SEVERAL)
    policy = host.policy
    host.policy = None
    labelled: list[bool] = []
    before_call(monkeypatch, host, "install", lambda: labelled.append(labels(host)))
    said = watch(host, monkeypatch)
    assert labelled == [False]
    assert host.writes == ["restore ipv4", "restore ipv6", "install policy", "restore ipv4", "restore ipv6"]
    assert host.policy == policy
    rules = iptables.compile_rules(SEVERAL)
    assert all(RULE_SETS["ipv4"].parse(host.families[name].save()).installed(rules) for name in ("ipv4", "ipv6"))
    assert "NOT enforced" in said
    assert "was missing and has been put back" in said
    assert host.service.shown == [True]
    # The next run says so, too, and has nothing to do.
    outcome = engine.run(host.host(), requests.Replace(SEVERAL), change.Options(0, "t0"), False)
    assert not outcome.changed
    assert any("removed labels or policy" in warning for warning in outcome.warnings)


def test_a_module_that_the_store_does_not_take_fails_the_unit_and_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    host = host_with(SEVERAL)
    host.policy = None
    attempts: list[int] = []

    def fail_once() -> None:
        attempts.append(1)
        host.fail = "install policy" if len(attempts) == 1 else ""

    before_call(monkeypatch, host, "install", fail_once)
    said = watch(host, monkeypatch, 3)
    assert len(attempts) == 2
    assert said.count("could not be put back (Could not install policy.)") == 1
    assert "semodule -lfull" in said
    assert host.service.shown == [False, True]


def test_types_that_some_flows_lack_open_no_other_flow(monkeypatch: pytest.MonkeyPatch) -> None:
    host = host_with(SEVERAL)
    assert host.policy is not None
    host.policy = host.policy.replace("(type senet_cache_server_packet_t)\n", "")
    at_install: list[str] = []
    before_call(monkeypatch, host, "install", lambda: at_install.append(host.families["ipv4"].save()))
    watch(host, monkeypatch)
    assert "senet_web_db_server_packet_t" in at_install[0]
    assert "senet_cache_server_packet_t" not in at_install[0]
    assert "senet_cache_server_packet_t" in host.families["ipv4"].save()


@pytest.mark.parametrize("why", ["a change waits", "a run goes on"])
def test_a_run_that_removes_the_module_is_left_alone(monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    host = host_with(WEB_DB)
    if why == "a change waits":
        engine.run(host.host(), requests.Replace(FlowSet(())), change.Options(30, "t1"), False)
    host.policy = None
    host.guard.locked = why == "a run goes on"
    host.writes.clear()
    watch(host, monkeypatch, 3)
    assert host.writes == []
    assert host.service.shown == []


@pytest.mark.parametrize("seconds", [3000, -1])
def test_rules_of_a_change_that_waits_are_put_back_until_its_time_is_over(
    monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    host = host_with(WEB_DB)
    engine.run(host.host(), requests.Replace(SEVERAL), change.Options(30, "t1"), False)
    pending = host.guard.pending()
    assert pending is not None
    host.guard.record = pending._replace(deadline=1000 + seconds)
    host.families["ipv4"] = empty_families()["ipv4"]
    host.writes.clear()
    said = watch(host, monkeypatch, 3)
    if seconds == 3000:
        assert host.writes == ["restore ipv4"]
        assert "Rules were missing for ipv4" in said
        assert RULE_SETS["ipv4"].parse(host.families["ipv4"].save()).installed(iptables.compile_rules(SEVERAL))
    else:
        assert host.writes == []


@pytest.mark.parametrize("end", ["aborted", "not made permanent"])
def test_a_change_whose_undoing_failed_is_not_put_back_or_confirmed_but_undone(
    monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    host = host_with(WEB_DB)
    engine.run(host.host(), requests.Replace(SEVERAL), change.Options(3000, "t1"), False)
    ways = {"aborted": lambda: confirm.abort(host.host(), "t1", "why")}
    host.fail = "write intent"
    with monkeypatch.context() as patched:
        before_call(patched, host, "install", lambda: setattr(host, "fail", "install policy"))
        with pytest.raises(SenetError, match="Could not install policy"):
            ways.get(end, lambda: confirm.confirm(host.host(), "t1"))()
    host.fail = ""
    host.writes.clear()
    assert commands_module._refresh(host.host()) == 0
    with pytest.raises(SenetError, match="t1 was not confirmed in time, or undoing it was asked for"):
        confirm.confirm(host.host(), "t1")
    assert host.writes == []
    assert "The change t1 was undone: undoing it had been begun before." in watch(host, monkeypatch, 3)
    assert not any(RULE_SETS["ipv4"].parse(host.families[name].save()).installed(iptables.compile_rules(SEVERAL))
                   for name in ("ipv4", "ipv6"))  # fmt: skip
    assert not engine.run(host.host(), requests.Replace(WEB_DB), change.Options(0, "t2"), False).changed


def test_labels_of_others_are_told_once_when_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    host = host_with(WEB_DB)
    assert watch(host, monkeypatch, 4, changes=True) == ""
    host.legacy["ipv6"] = f"*mangle\n{LABEL}\nCOMMIT\n"
    said = watch(host, monkeypatch, 4, changes=True)
    assert said.count(f"may NOT be enforced: 'ip6tables-legacy mangle: {LABEL}'") == 1
    assert said.startswith("<1>")


def test_rules_of_the_other_backend_that_come_back_are_taken_away_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    host = host_with(SEVERAL)
    rules = {name: deepcopy(host.families[name]) for name in ("ipv4", "ipv6")}
    engine.run(host.host(), requests.Replace(WEB_DB), change.Options(0, "t1", "nftables"), False)
    assert watch(host, monkeypatch, 2) == ""
    host.families.update(rules)
    said = watch(host, monkeypatch, 4, changes=True)
    assert said.count("not on record were in force for ipv4 and ipv6, and have been taken away") == 1
    assert "may NOT be enforced" not in said
    assert not any(host.families[name].save() for name in rules)


def test_a_table_that_is_put_to_sleep_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    host = host_with(WEB_DB)
    host.asleep = ["ip filter", "ip6 security"]
    said = watch(host, monkeypatch, 4, changes=True)
    assert said.count("<1>The table 'ip6 security' is dormant") == 1
    assert "ip filter" not in said
    # nft lists the flag of its own table, so the labels are put back there
    engine.run(host.host(), requests.Replace(WEB_DB), change.Options(0, "t1", "nftables"), False)
    assert "dormant" not in watch(host, monkeypatch, 4, changes=True)


def test_labels_of_peers_by_others_are_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    host = host_with(flow_set([flow(verify_source="address", source_addresses=["192.0.2.7"])]))
    assert watch(host, monkeypatch, 2) == ""
    # Of an interface with labels the kernel looks at no others, so the rest of its peers have none
    host.netlabel.kernel.command("unlbl add interface:eth0 address:10.0.0.0/8 label:system_u:object_r:netif_t:s0")
    said = watch(host, monkeypatch, 4, changes=True)
    assert said.count("may NOT be verified: 'netlabelctl unlbl interface:eth0,address:10.0.0.0/8,") == 1
    assert said.startswith("<1>")
    # Who verifies nothing lets others label peers
    plain = host_with(WEB_DB)
    plain.netlabel = host.netlabel
    assert watch(plain, monkeypatch, 2) == ""


def test_without_a_change_labels_of_others_are_looked_for_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    host = host_with(WEB_DB)
    host.reads.clear()
    watch(host, monkeypatch, 40)
    assert host.reads.count("ruleset") == 2


@pytest.mark.parametrize(("enforced", "state", "verb"), [(False, "is-active", "restart"), (True, "is-failed", "start")])
@pytest.mark.parametrize("is_so", [True, False])
def test_the_unit_shows_once_whether_flows_are_enforced(
    enforced: bool, state: str, verb: str, is_so: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service.Service, "systemd", True)
    commands = Commands("systemctl")
    commands.answers[f"/sbin/systemctl {state}"] = (0 if is_so else 3, "", "")
    service.Service(commands.run, commands.find, dict).show(enforced)
    asked = f"/sbin/systemctl {state} --quiet senet-firewall.service"
    assert commands.lines == [asked] + [f"/sbin/systemctl --no-block {verb} senet-firewall.service"] * is_so


def test_a_loaded_policy_is_an_event_and_so_is_a_change_of_the_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nft").write_text("#!/bin/sh\necho a change\nexec sleep 60\n")
    (tmp_path / "nft").chmod(0o755)
    policies, kernel = os.pipe()

    class Netlink:
        def __init__(self, *kind: int) -> None:
            assert kind == (socket.AF_NETLINK, socket.SOCK_RAW, 7)

        def bind(self, address: tuple[int, int]) -> None:
            assert address == (0, 1)

        def fileno(self) -> int:
            return policies

    monkeypatch.setattr(commands_module, "find_command", lambda name: str(tmp_path / name))
    monkeypatch.setattr(commands_module, "_SETTLE_SECONDS", 0)
    with monkeypatch.context() as patched:
        patched.setattr(commands_module.socket, "socket", Netlink)
        made = _Events()
    assert made._monitor is not None
    assert made._monitor.stdout is not None
    with made._monitor, os.fdopen(policies, "rb"), os.fdopen(kernel, "wb", buffering=0) as policy:
        assert made.wait(60)
        assert not made.wait(0.01)
        policy.write(b"loaded")
        assert made.wait(60)
        assert not made.wait(0.01)
        # Without its monitor it goes on by policies and the time.
        made._monitor.kill()
        assert made.wait(60)
        assert not made.wait(0.01)
        policy.write(b"loaded")
        assert made.wait(60)


DIRECTORY = "/var/lib/metrics"


class Followed:
    """The kernel's records in place of those of the machine that runs the test."""

    gaps = 0
    readable = True

    def lines(self) -> list[Line]:
        return [Line(AUDITD, auditd(records.SEND))]


def measured(monkeypatch: pytest.MonkeyPatch, directory: Optional[str] = DIRECTORY) -> ScriptedHost:
    monkeypatch.setattr(measures, "Follower", Followed)
    host = ScriptedHost()
    options = change.Options(0, "t0", metrics_directory=directory)
    engine.run(host.host(), requests.Replace(SEVERAL), options, False)
    host.writes.clear()
    return host


def figure(host: ScriptedHost, name: str) -> Optional[float]:
    found = re.search(rf"^senet_firewall_{re.escape(name)} (.*)$", host.metrics.files[DIRECTORY], re.MULTILINE)
    return None if found is None else float(found.group(1))


def test_the_watch_writes_its_figures_where_the_record_says(monkeypatch: pytest.MonkeyPatch) -> None:
    host = measured(monkeypatch)
    assert watch(host, monkeypatch, rounds=2) == ""
    assert figure(host, "flows_enforced") == figure(host, 'flows{mode="enforce"}') == 2
    assert figure(host, 'refusals_total{flow="web_db"}') == 2
    assert figure(host, 'refusals_total{flow="cache"}') == 0
    assert figure(host, "repairs_total") == 0
    assert abs((figure(host, "last_look_timestamp_seconds") or 0) - time.time()) < 100


@pytest.mark.long
def test_records_that_never_end_do_not_keep_the_watch_from_its_work(monkeypatch: pytest.MonkeyPatch) -> None:
    host = measured(monkeypatch)
    refusals = itertools.repeat(Line(AUDITD, auditd(records.SEND)), 10**6)
    monkeypatch.setattr(Followed, "lines", lambda self: refusals)
    watch(host, monkeypatch, rounds=2)
    counted = figure(host, 'refusals_total{flow="web_db"}')
    assert counted == 2 * measures.LINES < 10**6


def test_without_a_directory_the_watch_writes_and_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    host = measured(monkeypatch, None)
    monkeypatch.delattr(measures, "Follower")
    assert watch(host, monkeypatch) == ""
    assert not host.metrics.files


def test_figures_tell_of_a_repair(monkeypatch: pytest.MonkeyPatch) -> None:
    host = measured(monkeypatch)
    host.families["ipv4"].tables.clear()
    assert "put back" in watch(host, monkeypatch, rounds=2)
    assert (figure(host, "repairs_total"), figure(host, "flows_enforced")) == (1, 2)
    host.policy = None
    watch(host, monkeypatch, rounds=2)
    assert (figure(host, "repairs_total"), figure(host, "flows_enforced")) == (1, 2)


@pytest.mark.parametrize("trouble", ["permissive", "foreign", "taken away again"])
def test_figures_tell_that_nothing_is_enforced(monkeypatch: pytest.MonkeyPatch, trouble: str) -> None:
    host = measured(monkeypatch)
    if trouble == "taken away again":
        host.families["ipv4"].tables.clear()
        monkeypatch.setattr(host.families["ipv4"], "restore", lambda text: None)
    elif trouble == "foreign":
        host.families["ipv4"].tables["security"]["OUTPUT"].append(LABEL.removeprefix("-A OUTPUT "))
    else:
        host.mode = trouble
    watch(host, monkeypatch)
    assert figure(host, "flows_enforced") == 0
    assert figure(host, 'selinux_mode{mode="enforcing"}') == (trouble != "permissive")


def test_figures_tell_of_a_change_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    host = measured(monkeypatch)
    engine.run(host.host(), requests.Replace(WEB_DB), change.Options(3000, "t1"), False)
    watch(host, monkeypatch)
    assert figure(host, "change_pending") == 1
    assert figure(host, "flows_enforced") is None


def test_a_look_that_fails_leaves_the_figures_of_before(monkeypatch: pytest.MonkeyPatch) -> None:
    host = measured(monkeypatch)
    host.metrics.files[DIRECTORY] = "old"

    def fail(family: str) -> str:
        raise SenetError("iptables-save failed.")

    monkeypatch.setattr(host, "save", fail)
    assert "iptables-save failed." in watch(host, monkeypatch)
    assert host.metrics.files[DIRECTORY] == "old"


def test_a_directory_that_has_gone_is_told_once_and_the_watch_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    host = measured(monkeypatch)
    host.metrics.directories.clear()
    host.families["ipv4"].tables.clear()
    said = watch(host, monkeypatch, rounds=4)
    assert said.count("cannot be used. Enforcement goes on without metrics.") == 1
    assert labels(host)
    host.metrics.directories.add(DIRECTORY)
    watch(host, monkeypatch)
    assert figure(host, "flows_enforced") == 2


def test_a_directory_that_is_left_while_the_watch_writes_keeps_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    host = measured(monkeypatch)

    def leave() -> None:
        engine.run(host.host(), requests.Merge(()), change.Options(0, "t1", metrics_directory="none"), False)

    before_call(monkeypatch, host.metrics, "write", leave)
    watch(host, monkeypatch)
    assert not host.metrics.files


def test_a_record_of_flows_that_has_gone_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    host = host_with(WEB_DB)
    host.service.text = None
    said = watch(host, monkeypatch, rounds=3)
    assert said.count("<1>The file /etc/senet/flows.json is missing, so NO flow of this host is put in force") == 1


def test_a_damaged_record_of_flows_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    host = host_with(WEB_DB)
    host.service.text = "{"
    said = watch(host, monkeypatch, rounds=3)
    assert said.count("<1>The file /etc/senet/flows.json is damaged") == 1


def test_a_damaged_record_of_a_change_is_told_once_and_what_was_confirmed_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    host = host_with(WEB_DB)

    def damaged() -> None:
        raise SenetError("The file pending.json is damaged.")

    monkeypatch.setattr(host.guard, "pending", damaged)
    host.families.update(empty_families())
    said = watch(host, monkeypatch, rounds=3)
    assert said.count("The file pending.json is damaged. Until that is mended, the flows that were confirmed last") == 1
    assert labels(host)
    policy, host.policy = host.policy, None
    watch(host, monkeypatch)
    assert host.policy == policy
    assert labels(host)


@pytest.mark.parametrize("by", ["the watch", "the boot unit"])
def test_with_a_damaged_record_the_policy_of_a_change_that_nobody_confirmed_goes_too(
    monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    # Whose types are all in the other policy as well
    observed = flow_set([flow(mode="observe"), flow("cache", destination=["redis_t"], ports=[6379])])
    host = host_with(WEB_DB)
    policy = host.policy
    engine.run(host.host(), requests.Replace(observed), change.Options(3000, "t1"), False)
    assert host.policy != policy
    host.writes.clear()

    def damaged() -> None:
        raise SenetError("The file pending.json is damaged.")

    monkeypatch.setattr(host.guard, "pending", damaged)
    at_install: list[str] = []
    before_call(monkeypatch, host, "install", lambda: at_install.append(host.families["ipv4"].save()))
    if by == "the watch":
        assert "The policy module was not that of the flows that were confirmed last" in watch(host, monkeypatch, 3)
    else:
        assert commands_module._load(host.host()) == 1
    assert host.policy == policy
    # Labels of types that the policy is about to lose are gone before
    assert len(at_install) == 1
    assert "senet_cache" not in at_install[0]
    assert host.writes.count("install policy") == 1


def test_without_any_record_that_can_be_read_it_is_told_that_nothing_is_in_force(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    host = host_with(WEB_DB)
    host.service.text = None

    def damaged() -> None:
        raise SenetError("The file pending.json is damaged.")

    monkeypatch.setattr(host.guard, "pending", damaged)
    said = watch(host, monkeypatch, rounds=3)
    assert said.count("<1>The file /etc/senet/flows.json is missing, so NO flow of this host is put in force") == 1
    assert said.count("The file pending.json is damaged.") == 1
    assert "kept in force" not in said


@pytest.mark.parametrize("by", ["the watch", "stopping"])
def test_peer_labels_of_a_change_whose_record_is_damaged_go_before_their_policy(
    monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    host = host_with(WEB_DB)
    verified = flow_set([flow(verify_source="loopback")])
    engine.run(host.host(), requests.Replace(verified), change.Options(3000, "t1"), False)
    assert "senet_loopback_peer_t" in host.netlabel.kernel.lists()

    def damaged() -> None:
        raise SenetError("The file pending.json is damaged.")

    monkeypatch.setattr(host.guard, "pending", damaged)
    at_install: list[str] = []
    before_call(monkeypatch, host, "install", lambda: at_install.append(host.netlabel.kernel.lists()))
    if by == "the watch":
        watch(host, monkeypatch, 2)
        assert at_install == [STOCK]
        assert labels(host)
    else:
        commands_module._clear(host.host())
        assert not labels(host)
    assert host.netlabel.kernel.lists() == STOCK


def test_a_record_that_goes_with_the_last_flow_is_no_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    host = host_with(WEB_DB)
    host.service.text = None
    host.guard.locked = True
    assert "missing" not in watch(host, monkeypatch)
