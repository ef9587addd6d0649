# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each pair with its real services, all at once: the client gets its service, and a process of its user does not."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from ansible_collections.senet.firewall.plugins.module_utils._values.flows import flow_set
from ansible_collections.senet.firewall.plugins.module_utils._values.pairs import PAIRS, expand
from ansible_collections.senet.firewall.plugins.module_utils._values.parsing import parse_flow
from tests.lab.controller import Controller
from tests.lab.lab import Lab
from tests.lab.vm import Host
from tests.vm.pairs import COMPILED_ONLY, FLOWS, SCENARIOS, Hosts, Scenario, booleans, rival_succeeds, set_up, works

each_pair = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.pair)


def wanted(scenario: Scenario) -> tuple[str, ...]:
    """The booleans that the catalogue says the client's connect needs on Debian."""
    names: tuple[str, ...] = PAIRS[scenario.pair].booleans.get("Debian", ())
    return names


WITH_BOOLEANS = [scenario for scenario in SCENARIOS if wanted(scenario)]


def on_both(hosts: Hosts, work: Callable[[Host], Any]) -> list[Any]:
    """The same on both hosts at the same time."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(work, hosts.values()))


def refusals(hosts: Hosts) -> list[tuple[str, str]]:
    """Which domain was refused which packet type, by the audit logs of both hosts."""
    command = "ausearch --input-logs --message AVC </dev/null | grep tclass=packet"
    logs = "".join(host.run(command, check=False).stdout for host in hosts.values())
    return re.findall(r"denied .* scontext=\S+?:\S+?:(\w+):\S* tcontext=\S+?:\S+?:(\w+):", logs)


def apply(hosts: Hosts) -> list[dict[str, Any]]:
    def flows(host: Host) -> dict[str, Any]:
        with Controller(host) as controller:
            return controller.module(host, "senet.firewall.flows", flows=FLOWS)

    return on_both(hosts, flows)


@pytest.fixture(scope="module")
def services(lab: Lab) -> Iterator[Hosts]:
    """Two hosts with the services, before there is a flow."""
    with lab.start("web", link=True) as web, lab.start("db", link=True) as db:
        hosts = {"web": web, "db": db}
        on_both(hosts, set_up)
        # It asks its server for work once, and then an hour later
        web.run("systemctl start zabbix-agent")
        yield hosts


@pytest.fixture(scope="module")
def enforced(services: Hosts) -> Hosts:
    """The same with every pair's flow in force."""
    for result in apply(services):
        assert result.get("changed"), result
    return services


def test_every_pair_has_a_scenario_or_is_listed_as_compiled_only() -> None:
    assert sorted([scenario.pair for scenario in SCENARIOS] + list(COMPILED_ONLY)) == sorted(PAIRS)
    whole = flow_set(parse_flow(flow) for scenario in SCENARIOS for flow in expand(scenario.flow, "Debian"))
    assert len(whole.flows) >= len(SCENARIOS)


@pytest.mark.parametrize("pair", COMPILED_ONLY)
def test_a_pair_whose_domain_the_policy_lacks_says_so_by_name(services: Hosts, pair: str) -> None:
    with Controller(services["web"]) as controller:
        result = controller.module(services["web"], "senet.firewall.flows", flows=[{"pair": pair}])
    assert result["failed"], result
    assert COMPILED_ONLY[pair] in result["msg"], result


@each_pair
def test_before_the_flow_the_client_and_its_rival_get_through(services: Hosts, scenario: Scenario) -> None:
    with booleans(services["web"], wanted(scenario), "on"):
        assert works(services, scenario)
    assert rival_succeeds(services, scenario)


@pytest.mark.parametrize("scenario", WITH_BOOLEANS, ids=lambda scenario: scenario.pair)
def test_without_the_catalogue_s_boolean_the_policy_refuses_the_connect(services: Hosts, scenario: Scenario) -> None:
    with booleans(services["web"], wanted(scenario), "off"):
        assert not works(services, scenario, 0)


@each_pair
def test_with_the_flow_the_client_alone_gets_through(enforced: Hosts, scenario: Scenario) -> None:
    with booleans(enforced["web"], wanted(scenario), "on"):
        assert works(enforced, scenario)
    assert not rival_succeeds(enforced, scenario)
    types = rf"senet_{scenario.pair}(_tcp|_udp)?_(client|server|refused)_packet_t"
    assert [domain for domain, kind in refusals(enforced) if re.fullmatch(types, kind)], "nobody was refused a packet"


def test_nobody_but_the_rivals_was_refused_a_packet(enforced: Hosts) -> None:
    assert {domain for domain, dummy in refusals(enforced)} == {"unconfined_t"}


def test_a_second_run_changes_nothing(enforced: Hosts) -> None:
    assert [result.get("changed") for result in apply(enforced)] == [False, False]
