# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks under ansible-runner: who is changed, in which order, what stops it, and what the events say."""

from pathlib import Path
from typing import Any

import pytest

from tests.fleet.job import Job
from tests.unit.playbooks.fleet import Fleet

pytestmark = pytest.mark.long

CONFIRMED = "confirmed: over a new connection"
UNCHANGED = "unchanged: the host has these flows"


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


def touched(fleet: Fleet) -> dict[str, int]:
    return {host: fleet.changes(host) for host in [*fleet.webservers, "db1"] if fleet.changes(host)}


def refused(job: Job, why: str) -> None:
    assert (job.status, job.batches) == ("failed", []), job.output
    assert why in " ".join(job.output.split())


def test_the_canary_goes_first_then_batches_of_the_sizes_that_were_asked_for(fleet: Fleet) -> None:
    job = fleet.run("rollout", senet_canary="databases", senet_batches="1, 3")
    assert job.status == "successful", job.output
    assert job.batches == [["db1"], ["web1"], ["web2", "web3", "web4"], ["web5"]]
    assert job.verdicts == dict.fromkeys([*fleet.webservers, "db1"], CONFIRMED)
    assert fleet.has("web1")[0]["destination_addresses"] == ["192.0.2.6"]
    assert fleet.has("db1")[0]["source_addresses"] == ["192.0.2.1", "192.0.2.2/31", "192.0.2.4/31"]

    again = fleet.run("rollout")
    assert (again.status, again.batches) == ("successful", []), again.output
    assert again.verdicts == dict.fromkeys([*fleet.webservers, "db1"], UNCHANGED)


def test_a_canary_that_fails_stops_all_and_is_back_in_its_previous_state(fleet: Fleet) -> None:
    for host in [*fleet.webservers, "db1"]:
        fleet.does(host, "roll back")
    job = fleet.run("rollout")
    assert job.status == "failed"
    assert job.batches == [["web1"]]
    assert job.verdicts["web1"] == "rolled_back: The host has undone the change: it was not confirmed in time."
    assert touched(fleet) == {"web1": 1}
    assert fleet.has("web1") == []
    # The others were looked at, and nothing more
    assert job.verdicts["web2"] == "to be changed: restore the ipv4 rules"


def test_a_host_that_fails_in_a_batch_ends_the_rollout_with_that_batch(fleet: Fleet) -> None:
    fleet.does("web3", "break")
    job = fleet.run("rollout", senet_batches=2)
    assert job.status == "failed"
    assert job.batches == [["web1"], ["web2", "web3"]]
    assert job.verdicts["web3"] == "refused: It would cut sshd_t; name it in a flow."
    assert job.verdicts["web2"] == CONFIRMED
    assert touched(fleet) == {"web1": 1, "web2": 1}


def test_a_host_that_is_lost_in_a_batch_ends_the_rollout_as_well(fleet: Fleet) -> None:
    fleet.loses("web3")
    job = fleet.run("rollout", senet_batches=2)
    assert job.status == "failed"
    assert job.batches == [["web1"], ["web2", "web3"]]
    assert "web3 did not answer, so the rollout stops." in job.output
    assert touched(fleet) == {"web1": 1, "web2": 1}


def test_a_host_that_is_down_or_refuses_is_found_before_any_is_changed(fleet: Fleet) -> None:
    fleet.down("web4")
    fleet.does("web5", "refuse")
    job = fleet.run("rollout")
    assert (job.status, touched(fleet)) == ("failed", {})
    assert job.verdicts["web4"].startswith("refused: The host cannot be reached, and nothing was changed")
    assert job.verdicts["web5"] == "refused: It would cut sshd_t; name it in a flow."


def test_canaries_and_fleet_are_two_jobs_by_tags_and_a_limit_leaves_the_groups_whole(fleet: Fleet) -> None:
    assert fleet.run("rollout", "--tags", "canary").batches == [["web1"]]
    assert fleet.run("rollout", "--tags", "fleet", "--limit", "web1,db1").batches == [["db1"]]
    assert len(fleet.has("db1")[0]["source_addresses"]) == 3
    assert fleet.run("rollout", "--tags", "fleet", senet_batches="100%").batches == [["web2", "web3", "web4", "web5"]]


def test_no_host_is_a_canary_that_was_not_asked_for(fleet: Fleet) -> None:
    for batches in ([["web2"]], []):
        job = fleet.run("rollout", "--tags", "canary", senet_canary="web2")
        assert (job.status, job.batches) == ("successful", batches), job.output
    assert "no canary: web2 has these flows already, or is not among the hosts of this job" in job.output
    job = fleet.run("rollout", "--limit", "web3,web4", senet_canary="web2", senet_batches=1)
    assert job.batches == [["web3"], ["web4"]]
    assert "no canary: web2 has these flows already" in job.output


def test_what_a_change_opens_is_said_before_it_and_after(fleet: Fleet) -> None:
    fleet.does("web1", "open")
    seen = fleet.run("rollout", "--check", "--limit", "web1")
    assert "to be changed: restore the ipv4 rules; tcp/5432 is open to everybody." in seen.output
    job = fleet.run("rollout", "--limit", "web1,web2")
    assert job.verdicts == {"web1": f"{CONFIRMED}; tcp/5432 is open to everybody.", "web2": CONFIRMED}


def test_a_change_without_a_guard_says_why_it_has_none(fleet: Fleet) -> None:
    fleet.does("web1", "need no guard")
    job = fleet.run("rollout", "--limit", "web1")
    assert job.verdicts["web1"] == "changed: what no guard is needed for, such as the directory for metrics"
    fleet.set(senet_firewall_confirm_timeout=0)
    job = fleet.run("rollout", "--limit", "web2")
    assert job.verdicts["web2"] == "changed: without a guard, since confirm_timeout is 0"


def test_check_mode_changes_nobody(fleet: Fleet) -> None:
    job = fleet.run("rollout", "--check")
    assert (job.status, touched(fleet)) == ("successful", {}), job.output


@pytest.mark.parametrize(
    ("extra", "inventory", "why"),
    [
        ({"awx_workflow_job_name": "roll out", "awx_job_template_name": "roll out"}, {}, "This is one slice of a job"),
        ({"senet_batches": "0"}, {}, "senet_batches is neither a number of hosts nor a percentage"),
        ({"senet_canary": "nobody"}, {}, "senet_canary is nobody, and nobody names no host"),
        ({"senet_canary": "web1,wbe2"}, {}, "senet_canary is web1,wbe2, and wbe2 names no host"),
        ({}, {"senet_hosts": "web1", "senet_batches": "1"}, "senet_hosts or senet_batches stands in the inventory"),
        ({}, {"httpd_to_postgresql_ports": ["5433"]}, "and this playbook does not read it"),
        ({"senet_batch": "1"}, {}, "'senet_batch' is none of the playbooks of senet.firewall"),
    ],
)
def test_what_would_not_do_what_it_seems_to_is_refused(
    fleet: Fleet, extra: dict[str, Any], inventory: dict[str, Any], why: str
) -> None:
    fleet.set(**inventory)
    refused(fleet.run("rollout", **extra), why)
    assert touched(fleet) == {}


@pytest.mark.parametrize("playbook", ["rollout", "observe", "audit", "rollback", "report"])
def test_hosts_that_the_inventory_does_not_have_are_refused(fleet: Fleet, playbook: str) -> None:
    job = fleet.run(playbook, "--limit", "web2,db1", senet_hosts="webservers:databasses")
    refused(job, "senet_hosts is webservers:databasses, and databasses names no host and no group of the inventory")
    assert touched(fleet) == {}


@pytest.mark.parametrize(
    ("pattern", "unknown"),
    [
        ("webservrs", "webservrs"),
        ("webservers,databasses, wbe1", "databasses, wbe1"),
        (["webservers", "wbe1"], "wbe1"),
        ("webservers:!wbe1", "wbe1"),
        ("all:&webservrs", "webservrs"),
        ("wbe*", "wbe*"),
        ("~wbe[0-9]", "~wbe[0-9]"),
        # Nobody is in both
        ("webservers:&databases", "webservers:&databases"),
        ("webservers[1:2]:databasses[0]", "databasses[0]"),
    ],
)
def test_each_part_of_a_pattern_is_looked_up(fleet: Fleet, pattern: Any, unknown: str) -> None:
    refused(fleet.run("audit", senet_hosts=pattern), f"and {unknown} names no host and no group")


@pytest.mark.parametrize(
    "pattern",
    ["webservers:!web1:&all", "web*,db?", "~(web|db)[0-9]+", "webservers[0:1]:db1", "web1, db1", ["web1", "db1"], ""],
)
def test_patterns_of_hosts_that_there_are_are_taken(fleet: Fleet, pattern: Any) -> None:
    job = fleet.run("audit", "--limit", "web2,db1", senet_hosts=pattern)
    assert job.status == "successful", job.output


def test_observing_refuses_a_host_that_enforces(fleet: Fleet) -> None:
    assert fleet.run("observe", "--limit", "web1").status == "successful"
    assert fleet.has("web1")[0]["mode"] == "observe"
    assert fleet.run("rollout", "--limit", "web1").batches == [["web1"]]
    refused(fleet.run("observe"), "refused: web_db is enforced here, and would be open to everybody")
    assert touched(fleet) == {"web1": 2}


PLAIN = {"name": "web_db", "pair": "httpd_to_postgresql", "clients": "webservers", "servers": "databases"}
IPSEC = {**PLAIN, "verify_source": "ipsec"}


def test_a_fleet_goes_over_to_ipsec_by_observing_and_comes_back_by_observing(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, webservers=2)
    hosts = [*fleet.webservers, "db1"]
    fleet.set(senet_flows=[IPSEC])
    early = fleet.run("rollout", "--check", senet_canary="db1")
    refused(early, "db1 would enforce the flow 'web_db' with verify_source=ipsec, and db1, web1 and web2 do not have")
    assert [fleet.reads(host) for host in hosts] == [0, 0, 0]

    fleet.set(senet_flows=[{**IPSEC, "mode": "observe"}])
    assert fleet.run("rollout", senet_batches="100%").status == "successful"
    fleet.set(senet_flows=[IPSEC])
    refused(fleet.run("rollout", "--limit", "web1,db1"), "and web2 is not among the hosts of this job, so nobody knows")
    done = fleet.run("rollout", senet_canary="db1", senet_batches="100%")
    assert (done.status, done.batches) == ("successful", [["db1"], ["web1", "web2"]]), done.output

    fleet.set(senet_flows=[PLAIN])
    fleet.does("web1", "confine in two modes")
    refused(
        fleet.run("rollout"), "web1 and web2 would lose verify_source=ipsec of the flow 'web_db', which db1 enforces"
    )
    assert [fleet.reads(host) for host in hosts] == [1, 0, 0]
    fleet.does("web1", "")
    fleet.set(senet_flows=[{**IPSEC, "mode": "observe"}])
    assert fleet.run("rollout", senet_batches="100%").status == "successful"
    fleet.set(senet_flows=[PLAIN])
    assert fleet.run("rollout", senet_batches="100%").status == "successful"


def test_a_rollback_puts_no_server_back_to_ipsec_that_its_clients_have_not(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, webservers=1)
    enforced = {"name": "web_db", "mode": "enforce", "verify_source": "ipsec"}
    fleet.had("web1", [{**enforced, "destination_addresses": ["192.0.2.2"]}])
    fleet.had("db1", [{**enforced, "source_addresses": ["192.0.2.1"]}])
    job = fleet.run("rollback", senet_revert_to=TIME)
    refused(job, "db1 would enforce the flow 'web_db' with verify_source=ipsec, and db1 and web1 do not have this flow")


def test_a_host_that_no_flow_names_any_more_loses_its_flows_with_purge_alone(fleet: Fleet) -> None:
    assert fleet.run("rollout", "--limit", "web1,web2").status == "successful"
    only = {"name": "web_db", "pair": "httpd_to_postgresql", "clients": "web1", "servers": "databases"}
    fleet.set(senet_flows=[only], senet_confine=["httpd_t"])
    kept = fleet.run("rollout", "--limit", "web2")
    assert (kept.status, kept.batches) == ("successful", []), kept.output
    assert kept.verdicts["web2"] == "unchanged: no flow names this host, so senet_confine does not apply to it"
    fleet.set(senet_purge=True)
    gone = fleet.run("rollout", "--limit", "web2")
    assert (gone.status, gone.batches) == ("successful", [["web2"]]), gone.output
    assert fleet.has("web2") == []


def test_an_audit_changes_nobody_and_says_what_is_wrong_where(fleet: Fleet) -> None:
    fleet.down("web2")
    fleet.does("web3", "drift")
    fleet.does("web4", "wait")
    job = fleet.run("audit", "--limit", "webservers")
    assert (job.status, touched(fleet)) == ("failed", {})
    assert job.verdicts.pop("web2").startswith("refused: The host cannot be reached")
    assert job.verdicts["web3"] == "drift: restore the ipv6 rules"
    assert job.verdicts["web4"] == "pending: the change 4f0c waits to be confirmed"
    assert job.verdicts["web1"] == "to be changed: restore the ipv4 rules"


def test_a_rollback_undoes_what_waits(fleet: Fleet) -> None:
    fleet.does("web4", "wait")
    job = fleet.run("rollback", "--limit", "web4,web5")
    assert job.status == "successful", job.output
    assert job.verdicts == {
        "web4": "rolled_back: it was not confirmed in time",
        "web5": "unchanged: no change waits here, and senet_revert_to was not given",
    }
    assert (job.batches, touched(fleet)) == ([], {})


def test_in_check_mode_a_rollback_says_what_waits(fleet: Fleet) -> None:
    fleet.does("web4", "wait")
    job = fleet.run("rollback", "--check", "--limit", "web4,web5")
    assert job.status == "successful", job.output
    assert job.verdicts == {
        "web4": "to be rolled back: 4f0c",
        "web5": "unchanged: no change waits here, and senet_revert_to was not given",
    }


TIME = "2026-11-21T14:30"


def test_a_rollback_to_a_time_goes_in_batches_and_leaves_those_that_were_never_changed(fleet: Fleet) -> None:
    fleet.run("rollout", "--limit", "web1,web2,web3")
    fleet.does("web4", "wait")
    job = fleet.run("rollback", senet_canary="web2", senet_batches=1, senet_revert_to=TIME)
    assert job.status == "successful", job.output
    assert job.batches == [["web2"], ["web1"], ["web3"]]
    assert job.verdicts == {
        **dict.fromkeys(["web1", "web2", "web3"], CONFIRMED),
        "web4": "unchanged: the host never had any flows",
        "web5": "unchanged: the host never had any flows",
        "db1": "unchanged: the host never had any flows",
    }
    assert "rolled_back: it was not confirmed in time" in job.output
    assert (fleet.has("web1"), fleet.asked("web1")) == ([], TIME)
    assert touched(fleet) == {"web1": 2, "web2": 2, "web3": 2}


def test_a_rollback_stops_like_a_rollout(fleet: Fleet) -> None:
    fleet.run("rollout", "--limit", "web1,web2,web3")
    fleet.does("web2", "roll back")
    job = fleet.run("rollback", senet_batches=1, senet_revert_to=TIME)
    assert (job.status, job.batches) == ("failed", [["web1"], ["web2"]]), job.output
    assert job.verdicts["web1"] == CONFIRMED
    assert job.verdicts["web2"] == "rolled_back: The host has undone the change: it was not confirmed in time."
    assert job.verdicts["web3"] == "to be changed: restore the ipv4 rules"
    fleet.does("web2", "")
    again = fleet.run("rollback", senet_batches=1, senet_revert_to=TIME)
    assert (again.status, again.batches) == ("successful", [["web2"], ["web3"]]), again.output


def test_no_host_goes_back_where_one_is_down_or_refuses_or_the_time_is_a_span(fleet: Fleet) -> None:
    fleet.run("rollout", "--limit", "web1,web2,web3")
    refused(fleet.run("rollback", senet_revert=TIME), "'senet_revert' is none of the playbooks of senet.firewall")
    refused(fleet.run("rollback", senet_revert_to="2h"), "senet_revert_to is not a time; give one such as 2026")
    fleet.does("web2", "refuse")
    job = fleet.run("rollback", senet_revert_to=TIME)
    refused(job, "refused: It would cut sshd_t")
    fleet.does("web2", "")
    fleet.down("web5")
    refused(fleet.run("rollback", senet_revert_to=TIME), "refused: web5 did not answer.")
    assert touched(fleet) == {"web1": 1, "web2": 1, "web3": 1}
