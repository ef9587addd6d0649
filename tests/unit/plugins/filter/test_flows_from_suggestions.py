# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.senet.firewall.plugins.filter.flows_from_suggestions import (
    FilterModule,
    flows_from_suggestions,
)

WEB, WEB2, DB = "192.0.2.1", "2001:db8::1", "192.0.2.2"


def suggestion(name: str, source: str, destination: str, pair: str | None = None, **more: Any) -> dict[str, Any]:
    flow = {
        "name": name, "source": [source], "destination": [destination], "protocol": "tcp", "ports": ["5432"], **more
    }  # fmt: skip
    rest = {"changes": "mode" in more, "connections": 1, "records": 0, "notes": [], "cut": []}
    return {"flow": flow, "pair": pair, **rest}


def result(addresses: list[str], *suggestions: dict[str, Any]) -> dict[str, Any]:
    return {"suggestions": list(suggestions), "not_suggested": [], "addresses": addresses, "selinux": "enforcing"}


CLIENT = suggestion(
    "httpd_to_postgresql", "httpd_t", "postgresql_t", "httpd_to_postgresql", destination_addresses=[DB]
)
SERVER = suggestion("domain_to_postgresql_5432", "domain", "postgresql_t", source_addresses=[WEB])


def test_the_filter_has_its_name() -> None:
    assert FilterModule().filters() == {"flows_from_suggestions": flows_from_suggestions}


def test_a_server_learns_its_clients_domains_and_the_pairs_name() -> None:
    merged = flows_from_suggestions({"web1": result([WEB, WEB2], CLIENT), "db1": result([DB], SERVER)})
    assert merged["web1"] == [CLIENT["flow"]]
    assert merged["db1"] == [
        {
            "name": "httpd_to_postgresql", "source": ["httpd_t"], "destination": ["postgresql_t"], "protocol": "tcp",
            "ports": ["5432"], "source_addresses": [WEB],
        }
    ]  # fmt: skip


def test_a_client_learns_its_servers_domains() -> None:
    client = suggestion("my_app_to_domain_5432", "my_app_t", "domain", destination_addresses=[DB])
    merged = flows_from_suggestions({"web1": result([WEB], client), "db1": result([DB], SERVER)})
    at_web, at_db = merged["web1"][0], merged["db1"][0]
    assert (at_web["name"], at_web["destination"]) == ("my_app_to_postgresql_5432", ["postgresql_t"])
    assert (at_db["name"], at_db["source"]) == ("my_app_to_postgresql_5432", ["my_app_t"])


def test_a_server_that_is_a_client_of_another_one_is_found_as_well() -> None:
    here = suggestion(
        "domain_to_postgresql_5432", "domain", "postgresql_t", source_addresses=[WEB],
        destination_addresses=["127.0.0.0/8", "::1", DB],
    )  # fmt: skip
    replica = suggestion("postgresql_to_domain_5432", "postgresql_t", "domain", destination_addresses=["203.0.113.9"])
    client = suggestion("my_app_to_domain_5432", "my_app_t", "domain", destination_addresses=[DB])
    merged = flows_from_suggestions({"web1": result([WEB], client), "db1": result([DB], here, replica)})
    assert merged["web1"][0]["destination"] == ["postgresql_t"]
    assert {flow["name"]: flow["source"] for flow in merged["db1"]} == {
        "my_app_to_postgresql_5432": ["my_app_t"], "postgresql_to_domain_5432": ["postgresql_t"],
    }  # fmt: skip


def test_what_is_not_among_the_hosts_stays_as_suggested() -> None:
    stranger = suggestion("domain_to_postgresql_5432", "domain", "postgresql_t", source_addresses=[WEB, "203.0.113.9"])
    merged = flows_from_suggestions({"web1": result([WEB], CLIENT), "db1": result([DB], stranger)})
    assert merged["db1"] == [stranger["flow"]]
    assert flows_from_suggestions({"db1": result([DB], SERVER)}) == {"db1": [SERVER["flow"]]}


def test_an_address_of_several_hosts_says_nothing() -> None:
    bridge = "172.17.0.1"
    server = suggestion("domain_to_postgresql_5432", "domain", "postgresql_t", source_addresses=[bridge])
    hosts = {"web1": result([WEB, bridge], CLIENT), "db1": result([DB, bridge], server)}
    assert flows_from_suggestions(hosts)["db1"] == [server["flow"]]


def test_a_flow_that_the_host_has_keeps_its_name_and_mode() -> None:
    own = suggestion("db", "domain", "postgresql_t", source_addresses=[WEB], mode="observe")
    (flow,) = flows_from_suggestions({"web1": result([WEB], CLIENT), "db1": result([DB], own)})["db1"]
    assert (flow["name"], flow["mode"], flow["source"]) == ("db", "observe", ["httpd_t"])


def test_two_flows_that_get_one_name_stay_apart() -> None:
    replica = suggestion(
        "httpd_to_postgresql_2", "httpd_t", "postgresql_t", "httpd_to_postgresql", destination_addresses=["192.0.2.9"]
    )
    names = [flow["name"] for flow in flows_from_suggestions({"web1": result([WEB], CLIENT, replica)})["web1"]]
    assert len(set(names)) == 2


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ([], "give the results of flow_suggestion_info by host"),
        ({}, "give the results of flow_suggestion_info by host"),
        ({"web1": {"msg": "failed"}}, "What is given for the host 'web1' is not a result"),
        ({"web1": {"unreachable": True, "suggestions": []}}, "What is given for the host 'web1' is not a result"),
        (
            {"web1": result([WEB], suggestion("a", "httpd_t", "domain"), suggestion("b", "redis_t", "domain"))},
            "The suggestions of the host 'web1' do not fit together",
        ),
    ],
)
def test_what_is_no_result_is_an_error(given: Any, says: str) -> None:
    with pytest.raises(AnsibleFilterError, match=says):
        flows_from_suggestions(given)
