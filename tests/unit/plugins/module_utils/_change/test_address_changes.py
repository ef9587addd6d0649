# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A change of addresses alone: the rules change, the policy does not."""

import re

import pytest
from hypothesis import given, settings

from ansible_collections.senet.firewall.plugins.module_utils._change import change, confirm, drift, engine, repair
from ansible_collections.senet.firewall.plugins.module_utils._compile import cil
from ansible_collections.senet.firewall.plugins.module_utils._values import requests
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import (
    FlowSet,
    flow_set,
    same_but_for_addresses,
)
from tests.unit.flows import PEERS, PLACED, SEVERAL, flow, flow_sets
from tests.unit.scripted_host import Killed, ScriptedHost

UNGUARDED = change.Options(0, "t0")
GUARDED = change.Options(30, "t1")
ONE = flow_set([flow(source_addresses=["192.0.2.7"]), flow("cache", ports=[6379])])
OTHER = flow_set([flow(source_addresses=["192.0.2.9", "2001:db8::9"]), flow("cache", ports=[6379])])
MAIL = requests.Merge((flow("mail", ports=[25]),))
REBUILDS = ("install policy", "remove policy")


def make(host: ScriptedHost, request: requests.Request, options: change.Options = UNGUARDED) -> engine.Outcome:
    host.writes.clear()
    return engine.run(host.host(), request, options, check_mode=False)


def moved() -> ScriptedHost:
    """A host whose flow has got other addresses since the module was installed."""
    host = ScriptedHost()
    make(host, requests.Replace(ONE))
    make(host, requests.Replace(OTHER))
    assert "192.0.2.9" not in (host.policy or "")
    return host


def addresses(outcome: engine.Outcome, name: str = "web_db") -> list[str]:
    [found] = [one for one in outcome.flows.flows if one.name == name]
    return [str(network) for network in found.source_addresses]


def test_other_addresses_change_the_rules_and_the_record_alone() -> None:
    host = ScriptedHost()
    make(host, requests.Replace(ONE))
    policy = host.policy
    outcome = make(host, requests.Replace(OTHER))
    assert outcome.changed
    assert host.writes == ["restore ipv4", "restore ipv6", "write intent"]
    assert host.policy == policy
    assert "policy module senet_firewall" not in [diff["after_header"] for diff in outcome.diffs]
    assert "192.0.2.9" in host.families["ipv4"].save()
    assert "2001:db8::9" in host.families["ipv6"].save()
    assert not make(host, requests.Replace(OTHER)).changed
    assert drift.report(host.host())["drift"] == []


@pytest.mark.parametrize("ends", [confirm.confirm, lambda host, token: confirm.abort(host, token, "why")])
def test_a_guarded_change_of_addresses_is_confirmed_or_undone_without_a_rebuild(ends) -> None:  # type: ignore[no-untyped-def]
    host = ScriptedHost()
    make(host, requests.Replace(ONE))
    before = (host.policy, host.families["ipv4"].save(), host.families["ipv6"].save(), host.service.text)
    make(host, requests.Replace(OTHER), GUARDED)
    undone = ends(host.host(), "t1")["rolled_back"]
    assert not set(REBUILDS).intersection(host.writes)
    after = (host.policy, host.families["ipv4"].save(), host.families["ipv6"].save(), host.service.text)
    assert (after == before) == undone


@pytest.mark.parametrize(
    "second", [flow_set([flow(), *ONE.flows[:1]]), flow_set([flow(source_addresses=["192.0.2.7"], source=["redis_t"])])]
)
def test_what_the_policy_depends_on_is_a_rebuild(second: FlowSet) -> None:
    host = moved()
    make(host, requests.Replace(second))
    assert "install policy" in host.writes
    assert cil.parse_policy(host.policy or "") == second


def test_other_flows_are_added_to_the_addresses_of_now() -> None:
    host = moved()
    assert addresses(make(host, MAIL)) == ["192.0.2.9/32", "2001:db8::9/128"]
    host = moved()
    assert addresses(make(host, requests.Remove(("cache",)))) == ["192.0.2.9/32", "2001:db8::9/128"]
    assert '"192.0.2.9"' in (host.policy or "")


def test_a_rebuild_that_is_undone_leaves_the_addresses_of_before() -> None:
    host = moved()
    make(host, MAIL, GUARDED)
    confirm.abort(host.host(), "t1", "why")
    assert not make(host, requests.Replace(OTHER)).changed


def test_a_run_that_died_in_a_rebuild_counts_as_asked_for_by_what_it_installed() -> None:
    host = moved()
    last = flow_set([*OTHER.flows, flow("names", source_addresses=["198.51.100.1"], protocol="udp", ports=[53])])
    host.writes.clear()
    host.die_at = host.touches + 2
    with pytest.raises(Killed):
        make(host, requests.Replace(last))
    host.die_at = 0
    assert host.writes == ["install policy"]
    outcome = make(host, MAIL)
    assert addresses(outcome, "names") == ["198.51.100.1/32"]
    assert addresses(outcome) == ["192.0.2.9/32", "2001:db8::9/128"]


def test_without_a_record_old_addresses_let_nobody_in() -> None:
    host = moved()
    host.service.text = None
    for request in (MAIL, requests.Remove(("cache",)), requests.Alter(lambda flows: flows)):
        with pytest.raises(SenetError, match=r"flows\.json is missing.*'web_db'.*purge=true"):
            make(host, request)
        assert host.writes == []
    # Named, or removed, it is nothing to be known
    given = requests.Merge((flow(source_addresses=["192.0.2.8"]),))
    assert addresses(make(host, given)) == ["192.0.2.8/32"]
    host.service.text = None
    assert [one.name for one in make(host, requests.Remove(("web_db",))).flows.flows] == ["cache"]


def test_a_policy_that_was_taken_away_comes_back_for_the_flows_of_now() -> None:
    host = moved()
    for text in (host.policy, None):
        host.policy = text
        repair.bring_policy_back(host.host())
        assert not make(host, requests.Replace(OTHER)).changed


@settings(max_examples=40)
@given(flow_sets())
def test_modules_are_alike_where_their_statements_and_flows_are(flows: FlowSet) -> None:
    """Held against the text itself, less the comment that has the flows."""
    statements = re.compile(r"^; flows: .*$", re.MULTILINE)
    text = cil.compile_policy(flows)
    for other in (flows, SEVERAL, PLACED, PEERS):
        theirs = cil.compile_policy(other)
        same = statements.sub("", text) == statements.sub("", theirs) and same_but_for_addresses(flows, other)
        assert cil.alike(text, theirs) == same
        assert cil.alike(cil.with_retired(text, theirs, other.packet_types), text)
    assert not cil.alike(text, None)
    assert not cil.alike(None, text)
    assert cil.alike(None, None)


def test_addresses_that_peer_labels_tell_by_are_a_rebuild_where_their_types_change() -> None:
    def verified(first: str, second: str) -> FlowSet:
        return flow_set(
            [
                flow(verify_source="address", source_addresses=[first]),
                flow("cache", ports=[6379], source_addresses=[second], verify_source="address"),
            ]
        )

    apart = cil.compile_policy(verified("192.0.2.7", "192.0.2.8"))
    assert cil.alike(apart, cil.compile_policy(verified("192.0.2.7", "192.0.2.9")))
    # The same peer then has the type of both flows
    assert not cil.alike(apart, cil.compile_policy(verified("192.0.2.7", "192.0.2.7")))
