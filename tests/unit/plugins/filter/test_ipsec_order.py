# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.senet.firewall.plugins.filter.flows_for_host import flows_for_host
from ansible_collections.senet.firewall.plugins.filter.ipsec_order import ipsec_order

PLAIN = {"name": "web_db", "pair": "httpd_to_postgresql", "clients": "webservers", "servers": "databases"}
IPSEC = {**PLAIN, "verify_source": "ipsec"}
GROUPS = {
    "all": ["web1", "web2", "db1", "db2", "other"],
    "webservers": ["web1", "web2"],
    "databases": ["db1"],
    "both": ["web1", "db1"],
}
HOSTVARS = {host: {"ansible_host": f"192.0.2.{number}"} for number, host in enumerate(GROUPS["all"], 1)}
HOSTS = ["web1", "web2", "db1"]

State = dict[str, list[dict[str, Any]]]


def has(*flows: dict[str, Any], hosts: list[str] | None = None, mode: str = "enforce") -> State:
    """What the hosts have after a rollout of these flows."""
    found = {host: flows_for_host(list(flows), host, GROUPS, HOSTVARS) if flows else [] for host in hosts or HOSTS}
    return {host: [{"mode": mode, **flow} for flow in own] for host, own in found.items()}


def order(before: State, after: State, *flows: dict[str, Any], hosts: list[str] | None = None) -> list[str]:
    results = {}
    for host in hosts or HOSTS:
        had, own = before.get(host, []), after.get(host, [])
        results[host] = {"flows": own, "changed": had != own}
        if had != own:
            results[host]["previous_flows"] = {"flows": had, "purge": True} if had else {"state": "absent"}
    return ipsec_order(list(flows), GROUPS, hosts or HOSTS, results)


OBSERVED = has(IPSEC, mode="observe")
ENFORCED = has(IPSEC)
NOTHING = has()


def test_a_flow_that_was_observed_everywhere_is_enforced() -> None:
    assert order(NOTHING, OBSERVED, IPSEC) == []
    assert order(OBSERVED, ENFORCED, IPSEC) == []
    assert order(ENFORCED, ENFORCED, IPSEC) == []


@pytest.mark.parametrize("before", [NOTHING, has(PLAIN), has({**PLAIN, "verify_source": "address"}, mode="observe")])
def test_none_is_enforced_before_its_hosts_have_it(before: State) -> None:
    (said,) = order(before, ENFORCED, IPSEC)
    assert said == (
        "db1 would enforce the flow 'web_db' with verify_source=ipsec, and db1, web1 and web2 do not have this flow "
        "with verify_source=ipsec yet, so permitted clients would be refused. First roll the flow out to these hosts "
        "with mode=observe, then set up IPsec there with the role labelled_ipsec, then roll out with mode=enforce "
        "(docs/labelled-ipsec.md)."
    )


@pytest.mark.parametrize("lacking", ["web2", "db1"])
def test_the_host_that_lacks_it_is_named(lacking: str) -> None:
    (said,) = order({**OBSERVED, lacking: has(PLAIN)[lacking]}, ENFORCED, IPSEC)
    assert f"and {lacking} does not have this flow with verify_source=ipsec yet" in said


def test_the_mode_of_a_clients_host_does_not_count() -> None:
    assert order({**ENFORCED, "db1": OBSERVED["db1"]}, ENFORCED, IPSEC) == []


def test_a_client_that_the_job_does_not_have_is_named() -> None:
    for hosts in (["db1"], ["web1", "db1"]):
        (said,) = order(OBSERVED, ENFORCED, IPSEC, hosts=hosts)
        assert "web2 is not among the hosts" in said or "web1 and web2 are not among the hosts of this job" in said
        assert "so nobody knows whether" in said
        assert said.endswith("Widen senet_hosts or the limit of the job.")


def test_both_reasons_are_said() -> None:
    first, second = order(NOTHING, ENFORCED, IPSEC, hosts=["web1", "db1"])
    assert "and db1 and web1 do not have this flow" in first
    assert "and web2 is not among the hosts of this job" in second


def test_a_new_client_of_an_enforced_flow_passes() -> None:
    assert order({**ENFORCED, "web2": []}, ENFORCED, IPSEC) == []
    # Its server need not be in the job
    assert order({}, ENFORCED, IPSEC, hosts=["web2"]) == []


def test_a_server_that_joins_an_enforced_flow_observes_it_first() -> None:
    wider = {**IPSEC, "servers": ["databases", "db2"]}
    hosts = [*HOSTS, "db2"]
    after = has(wider, hosts=hosts)
    (said,) = order(ENFORCED, after, wider, hosts=hosts)
    assert said.startswith("db2 would enforce the flow")
    assert "and db2 does not have" in said
    assert order({**ENFORCED, "db2": has(wider, hosts=["db2"], mode="observe")["db2"]}, after, wider, hosts=hosts) == []


def test_a_host_needs_no_ipsec_with_itself() -> None:
    alone = {**IPSEC, "clients": "db1"}
    assert order(NOTHING, has(alone), alone) == []
    assert len(order(NOTHING, has(alone), {**alone, "clients": ["db1", "198.51.100.7"]})) == 1
    mesh = {**IPSEC, "clients": "both", "servers": "both"}
    (said,) = order({"web1": has(mesh, mode="observe")["web1"]}, has(mesh), mesh)
    assert said.startswith("db1 and web1 would enforce")
    assert "and db1 does not have" in said


def test_an_observed_flow_and_those_without_ipsec_pass() -> None:
    assert order(NOTHING, has({**IPSEC, "mode": "observe"}), {**IPSEC, "mode": "observe"}) == []
    assert order(NOTHING, has(PLAIN), PLAIN) == []


def test_both_flows_of_a_pair_with_two_protocols_are_checked() -> None:
    names = {**IPSEC, "name": "names", "pair": "domain_to_named", "source": ["httpd_t"]}
    after = {
        host: [{**flow, "name": f"names_{protocol}"} for flow in own for protocol in ("tcp", "udp")]
        for host, own in has(names).items()
    }
    tcp, udp = order(NOTHING, after, names)
    assert ("'names_tcp'" in tcp, "'names_udp'" in udp) == (True, True)


def test_many_hosts_are_counted() -> None:
    clients = [f"web{number:02}" for number in range(1, 14)]
    groups = {"all": [*clients, "db1"], "webservers": clients, "databases": ["db1"]}
    results = {"db1": {"flows": ENFORCED["db1"], "changed": True, "previous_flows": {"state": "absent"}}}
    (said,) = ipsec_order([IPSEC], groups, groups["all"], results)
    assert "and db1, web01, web02, web03, web04, web05, web06, web07, web08, web09 and 4 others do not have" in said


def test_ipsec_is_not_taken_from_a_client_whose_server_enforces_it() -> None:
    (said,) = order(ENFORCED, has(PLAIN), PLAIN)
    assert said == (
        "web1 and web2 would lose verify_source=ipsec of the flow 'web_db', which db1 enforces, so permitted clients "
        "would be refused. First roll the flow out with verify_source=ipsec and mode=observe, then take IPsec away "
        "with labelled_ipsec_state=absent, then do this (docs/labelled-ipsec.md)."
    )
    assert order(OBSERVED, has(PLAIN), PLAIN) == []
    # As after the first step of the way back, which may leave the clients' hosts as they are
    assert order({**ENFORCED, "db1": OBSERVED["db1"]}, has(PLAIN), PLAIN) == []


def test_a_server_that_the_job_does_not_have_is_named() -> None:
    (said,) = order(ENFORCED, has(PLAIN), PLAIN, hosts=["web1", "web2"])
    assert said == (
        "web1 and web2 would lose verify_source=ipsec of the flow 'web_db', and db1 is not among the hosts of this "
        "job, so nobody knows whether it is enforced there. Widen senet_hosts or the limit of the job."
    )


def test_a_server_that_takes_it_from_itself_is_left_to_the_host() -> None:
    assert order({"db1": ENFORCED["db1"]}, has(PLAIN), PLAIN, hosts=["db1"]) == []


def test_a_flow_that_is_removed_everywhere_is_observed_first() -> None:
    other = {**PLAIN, "name": "other", "ports": ["5433"]}
    (said,) = order(ENFORCED, has(other), other)
    assert said.startswith("web1 and web2 would lose verify_source=ipsec of the flow 'web_db', which db1 enforces")
    assert order(OBSERVED, has(other), other) == []


def test_a_client_that_the_flow_does_not_name_any_more_may_lose_it() -> None:
    fewer = {**IPSEC, "clients": "web1"}
    assert order(ENFORCED, has(fewer), fewer) == []
    # As a rollback does, without a definition
    assert order(ENFORCED, has(fewer)) == []


def test_without_a_definition_the_sides_are_those_of_the_hosts() -> None:
    (early,) = order(has(PLAIN), ENFORCED)
    assert "and db1, web1 and web2 do not have this flow" in early
    (late,) = order(ENFORCED, has(PLAIN))
    assert late.startswith("web1 and web2 would lose verify_source=ipsec of the flow 'web_db', which db1 enforces")
    assert order(OBSERVED, ENFORCED) == order(ENFORCED, OBSERVED) == []
    mesh = {**IPSEC, "clients": "both", "servers": "both"}
    (said,) = order(NOTHING, has(mesh))
    assert said.startswith("db1 and web1 would enforce")


def test_an_observed_flow_with_an_enforced_destination_is_enforced_too() -> None:
    # Peer labels know domains and no flows
    copy = {**IPSEC, "name": "copy", "ports": ["5433"], "clients": "other", "mode": "observe"}
    hosts = [*HOSTS, "other"]

    def both(web_db: State, copies: State) -> State:
        named = {"destination": ["postgresql_t"]}
        return {
            host: [{**flow, **named} for state in (web_db, copies) for flow in state.get(host, [])] for host in hosts
        }

    copied = has(copy, hosts=hosts)
    (said,) = order(both(OBSERVED, {"db1": copied["db1"]}), both(ENFORCED, copied), IPSEC, copy, hosts=hosts)
    assert said.startswith(
        "db1 would enforce the flow 'copy' with verify_source=ipsec, since an enforced flow has the same destination, "
        "and other does not have this flow with verify_source=ipsec yet"
    )
    assert "First roll the flow and that one out to these hosts with mode=observe" in said
    assert order(both(OBSERVED, copied), both(ENFORCED, copied), IPSEC, copy, hosts=hosts) == []
    # It refused them before
    assert order(both(ENFORCED, {}), both(ENFORCED, copied), IPSEC, copy, hosts=hosts) == []
    plain = has({**copy, "verify_source": "none"}, hosts=["other"])
    (late,) = order(both(ENFORCED, copied), both(ENFORCED, {**copied, **plain}), hosts=hosts)
    assert late.startswith("other would lose verify_source=ipsec of the flow 'copy', which db1 enforces")


def test_a_rollback_to_clients_without_it_and_a_server_that_enforces_it_is_refused() -> None:
    (said,) = order(OBSERVED, {**has(PLAIN), "db1": ENFORCED["db1"]})
    assert said.startswith("web1 and web2 would lose verify_source=ipsec of the flow 'web_db', which db1 enforces")


def test_without_a_definition_a_client_whose_own_addresses_its_flow_has_is_a_client() -> None:
    # The pair needs source_addresses on both sides
    exporter = {**IPSEC, "pair": "domain_to_node_exporter", "source": ["httpd_t"]}
    (early,) = order({"db1": has(exporter, mode="observe")["db1"]}, has(exporter))
    assert "and web1 and web2 do not have this flow" in early
    (late,) = order(has(exporter), has({**exporter, "verify_source": "address"}))
    assert "web1 and web2 would lose verify_source=ipsec" in late


def test_what_one_task_could_not_bring_back_is_taken_from_the_record() -> None:
    results = {host: {"flows": own, "changed": True, "previous_flows": None} for host, own in ENFORCED.items()}
    records = {host: {"flows": own} for host, own in OBSERVED.items()}
    assert ipsec_order([IPSEC], GROUPS, HOSTS, results, records) == []
    with pytest.raises(AnsibleFilterError, match="ipsec_order: What a host of the job had is not known"):
        ipsec_order([IPSEC], GROUPS, HOSTS, results, {"db1": {"skipped": True}})


def test_a_definition_that_is_wrong_is_an_error() -> None:
    with pytest.raises(AnsibleFilterError, match="ipsec_order: 'nobody' of the clients of the flow 'web_db'"):
        order(NOTHING, ENFORCED, {**IPSEC, "clients": "nobody"})
