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
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import FlowSet, flow_set
from ansible_collections.senet.firewall.plugins.module_utils._values.sockets import Socket
from ansible_collections.senet.firewall.plugins.modules import flow_suggestion_info as plugin
from tests.unit.flows import flow
from tests.unit.module_run import assert_documented, run_module
from tests.unit.records import auditd, avc
from tests.unit.scripted_host import ScriptedHost, connected, listens, process

Run = Callable[..., dict[str, Any]]
OWN, OTHER = "192.0.2.1", "198.51.100.7"


def talks(local: tuple[str, int], remote: tuple[str, int], protocol: str = "tcp", state: str = "established") -> Socket:
    family = "ipv6" if ":" in remote[0] else "ipv4"
    return Socket(protocol, family, *local, *remote, state)


@pytest.fixture
def host() -> ScriptedHost:
    return ScriptedHost(process(1, "init_t"))


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "audit.log"
    path.write_text("")
    monkeypatch.setattr(audit, "audit_logs", lambda: [str(path)])
    monkeypatch.setattr(audit, "read_kernel_log", lambda: iter(()))
    monkeypatch.setattr(plugin.denial_records, "find_command", lambda name: None)
    return path


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], host: ScriptedHost, log: Path) -> Run:
    def call(*processes: Any, **arguments: Any) -> dict[str, Any]:
        host.running.extend(processes)
        before = list(host.writes)
        result = run_module(monkeypatch, capsys, plugin, host, arguments, check_mode=True)
        if not result.get("failed"):
            assert_documented(plugin, result)
        assert host.writes == before
        return result

    return call


def suggested(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["flow"]["name"]: one["flow"] for one in result["suggestions"]}


def enforce(host: ScriptedHost, flows: FlowSet) -> None:
    engine.run(host.host(), requests.Replace(flows), change.Options(0, "t1"), check_mode=False)


def test_a_host_where_nobody_talks(run: Run) -> None:
    result = run()
    assert (result["suggestions"], result["not_suggested"]) == ([], [])
    assert result["addresses"] == ["10.77.0.2", OWN, "2001:db8::1"]


def test_a_pair_of_the_catalogue_on_one_host(run: Run) -> None:
    result = run(
        process(2, "httpd_t", connected(40000, 5432)),
        process(3, "postgresql_t", listens(5432), connected(5432, 40000)),
    )
    assert suggested(result) == {
        "httpd_to_postgresql": {
            "name": "httpd_to_postgresql", "source": ["httpd_t"], "destination": ["postgresql_t"], "protocol": "tcp",
            "ports": ["5432"],
        }
    }  # fmt: skip
    (one,) = result["suggestions"]
    assert (one["pair"], one["connections"], one["records"], one["changes"]) == ("httpd_to_postgresql", 1, 0, False)
    assert one["cut"] == []
    assert one["notes"] == [
        "Clients on other hosts are not limited, since none was seen: add source_addresses to limit them."
    ]


def test_an_idle_pair_is_suggested_since_its_client_runs(run: Run) -> None:
    result = run(process(2, "httpd_t"), process(3, "redis_t", listens(6379)))
    assert suggested(result)["httpd_to_redis"]["source"] == ["httpd_t"]
    assert result["suggestions"][0]["connections"] == 0


def test_an_unconfined_client_is_left_out_and_told_that_it_would_be_cut(run: Run) -> None:
    result = run(
        process(2, "httpd_t", connected(40000, 5432)),
        process(3, "postgresql_t", listens(5432)),
        process(4, "unconfined_t", connected(40001, 5432), command="psql"),
    )
    (one,) = result["suggestions"]
    assert one["flow"]["source"] == ["httpd_t"]
    assert [(cut["domain"], cut["command"]) for cut in one["cut"]] == [("unconfined_t", "psql")]
    assert "'unconfined_t' were seen and are left out" in one["notes"][0]


def test_a_service_that_only_unconfined_clients_use_is_skipped(run: Run) -> None:
    result = run(process(3, "postgresql_t", listens(5432)), process(4, "unconfined_t", connected(40001, 5432)))
    assert result["suggestions"] == []
    assert [(one["port"], one["domains"]) for one in result["not_suggested"]] == [(5432, ["unconfined_t"])]


def test_a_server_in_a_domain_of_many_is_noted(run: Run) -> None:
    result = run(
        process(2, "httpd_t", connected(40000, 7000), connected(40001, 7001)),
        process(3, "unconfined_t", listens(7000)),
        process(4, "init_t", listens(7001)),
    )
    notes = {one["flow"]["ports"][0]: one["notes"][0] for one in result["suggestions"]}
    assert "every program of an unconfined user may answer" in notes["7000"]
    assert "'init_t' is the domain of every service that has none of its own" in notes["7001"]


def test_clients_of_other_hosts_are_named_by_address(run: Run) -> None:
    result = run(process(3, "postgresql_t", listens(5432), talks((OWN, 5432), (OTHER, 40000))))
    (found,) = suggested(result).values()
    assert (found["source"], found["destination"]) == (["domain"], ["postgresql_t"])
    assert found["source_addresses"] == [OTHER]


def test_local_and_other_clients_keep_loopback(run: Run) -> None:
    result = run(
        process(2, "httpd_t", talks((OWN, 40000), (OWN, 5432))),
        process(3, "postgresql_t", listens(5432), talks((OWN, 5432), (OTHER, 40000))),
    )
    found = suggested(result)["httpd_to_postgresql"]
    assert set(found["source_addresses"]) == {"127.0.0.0/8", "::1", OWN, OTHER}
    assert result["suggestions"][0]["cut"] == []


def test_services_of_other_hosts_by_their_clients(run: Run) -> None:
    far = "2001:db8::9"
    result = run(
        process(2, "httpd_t", talks((OWN, 40000), (OTHER, 5432))),
        process(3, "redis_t", talks(("2001:db8::1", 40001), (far, 5432)), connected(40003, 5432)),
        process(4, "postgresql_t", listens(5432)),
    )
    found = suggested(result)
    assert found["httpd_to_postgresql"]["destination_addresses"] == [OTHER]
    assert found["redis_to_domain_5432"]["destination_addresses"] == [far]
    here = found["redis_to_postgresql_5432"]
    assert set(here["destination_addresses"]) == {"127.0.0.0/8", "::1", OWN, "10.77.0.2", "2001:db8::1"}
    enforced = flow_set([flow(**each) for each in found.values()])
    assert len(enforced.flows) == 3


def test_what_anybody_may_use_stays_open_to_everybody(run: Run) -> None:
    result = run(process(2, "httpd_t", listens(80), talks((OWN, 80), (OTHER, 40000))))
    (found,) = suggested(result).values()
    assert (found["source"], found["destination"]) == (["domain"], ["httpd_t"])
    assert "source_addresses" not in found


def test_login_attempts_and_other_namespaces_are_left_out(run: Run) -> None:
    result = run(
        process(2, "sshd_t", listens(22), talks((OWN, 22), (OTHER, 40000))),
        process(3, "httpd_t", talks((OWN, 40001), (OTHER, 5432), state="syn_sent")),
        process(4, "httpd_t", talks((OWN, 40002), (OTHER, 3306)))._replace(network_namespace=2),
    )
    assert result["suggestions"] == []
    assert [one["port"] for one in result["not_suggested"]] == [22]


def test_a_redirected_port_is_skipped(run: Run) -> None:
    result = run(process(2, "httpd_t", connected(40000, 15432)))
    assert "Nobody listens here" in result["not_suggested"][0]["text"]


def test_what_the_flows_have_is_not_suggested_and_what_they_lack_is_added(run: Run, host: ScriptedHost) -> None:
    enforce(host, flow_set([flow(mode="observe"), flow("cache", destination=["redis_t"], ports=[6379])]))
    result = run(
        process(2, "httpd_t", connected(40000, 5432), connected(40001, 6379)),
        process(3, "postgresql_t", listens(5432)),
        process(4, "redis_t", listens(6379), connected(40002, 5432)),
    )
    (one,) = result["suggestions"]
    assert one["changes"] is True
    assert one["flow"] == flow(source=["httpd_t", "redis_t"], mode="observe").as_dict()
    assert result["not_suggested"] == []


def test_an_enforced_flow_is_never_widened(run: Run, host: ScriptedHost) -> None:
    enforce(host, flow_set([flow()]))
    result = run(process(3, "postgresql_t", listens(5432)), process(4, "redis_t", connected(40002, 5432)))
    assert result["suggestions"] == []
    assert "claims some of these packets" in result["not_suggested"][0]["text"]


def test_records_of_an_observing_flow_are_taken_in(run: Run, host: ScriptedHost, log: Path) -> None:
    enforce(host, flow_set([flow(mode="observe")]))
    host.running.append(process(9, "auditd_t", command="auditd"))
    log.write_text("".join(auditd(avc(verdict="granted", domain=each), n) + "\n"
                           for n, each in enumerate(["redis_t", "unconfined_t", "redis_t"])))  # fmt: skip
    (one,) = run()["suggestions"]
    assert (one["flow"]["source"], one["records"]) == (["httpd_t", "redis_t"], 3)
    assert run(since="1h")["suggestions"] == []


def test_without_selinux_nothing_is_suggested(run: Run, host: ScriptedHost) -> None:
    host.mode = "disabled"
    result = run(process(2, "httpd_t", connected(40000, 5432))._replace(context=None))
    assert (result["suggestions"], result["selinux"]) == ([], "disabled")
    assert "there is nothing to suggest" in result["warnings"][-1]


def test_six_pairs_that_run_fit_into_one_set_which_cuts_none_of_them(run: Run, host: ScriptedHost) -> None:
    services = {"postgresql_t": 5432, "redis_t": 6379, "mysqld_t": 3306, "memcached_t": 11211, "slapd_t": 389}
    clients = [connected(40000 + port, port) for port in (*services.values(), 9000)]
    result = run(
        process(2, "httpd_t", *clients, listens(9000)),
        *(process(10 + n, domain, listens(port)) for n, (domain, port) in enumerate(services.items())),
    )
    assert sorted(suggested(result)) == [
        "httpd_to_memcached", "httpd_to_mysqld", "httpd_to_php_fpm", "httpd_to_postgresql", "httpd_to_redis",
        "httpd_to_slapd",
    ]  # fmt: skip
    flows = flow_set(flow(**one) for one in suggested(result).values())
    assert plugin.suggestions.find_cuts(flows, host.running, 1) == []
