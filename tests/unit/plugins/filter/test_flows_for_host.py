# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
import json
import socket
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.senet.firewall.plugins.filter.flows_for_host import flows_for_host
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import flow_set
from ansible_collections.senet.firewall.plugins.module_utils._values.pairs import expand
from ansible_collections.senet.firewall.plugins.module_utils._values.parsing import parse_flow

WEB_DB = {"name": "web_db", "pair": "httpd_to_postgresql", "clients": "webservers", "servers": "databases"}
HOSTVARS: dict[str, dict[str, Any]] = {
    "web1": {"ansible_host": "192.0.2.10"},
    "web2": {"ansible_host": "192.0.2.11", "addresses": ["192.0.2.11", "2001:db8::11"]},
    "db1": {"ansible_host": "192.0.2.20", "addresses": ["192.0.2.20", "2001:db8::20"]},
    "192.0.2.30": {},
}
GROUPS = {
    "all": list(HOSTVARS),
    "ungrouped": ["192.0.2.30"],
    "webservers": ["web1", "web2"],
    "databases": ["db1"],
    "empty": [],
}


def flows(host: str, *items: dict[str, Any], **options: Any) -> list[dict[str, Any]]:
    return flows_for_host(list(items) or [WEB_DB], host, GROUPS, HOSTVARS, **options)


def item(**changes: Any) -> dict[str, Any]:
    return {**WEB_DB, **changes}


def said(host: str = "web1", *items: Any, **options: Any) -> str:
    with pytest.raises(AnsibleFilterError) as caught:
        flows(host, *items, **options)
    text = str(caught.value)
    assert text.startswith("flows_for_host: ")
    return text


def test_a_client_has_the_servers_addresses_and_a_server_the_clients() -> None:
    both = {"name": "web_db", "pair": "httpd_to_postgresql"}
    assert flows("web1") == [{**both, "destination_addresses": ["192.0.2.20"]}]
    assert flows("db1") == [{**both, "source_addresses": ["192.0.2.10/31"]}]
    assert flows("192.0.2.30") == []


def test_a_host_on_both_sides_holds_every_address_of_its_own_and_reaches_itself_over_loopback() -> None:
    (flow,) = flows("web1", item(servers=["databases", "web1"]))
    assert flow["source_addresses"] == ["127.0.0.0/8", "192.0.2.10/31", "::1"]
    assert "destination_addresses" not in flow


def test_sides_are_groups_hosts_or_addresses() -> None:
    mixed = item(clients=["webservers", "192.0.2.30", "198.51.100.0/24", "2001:db8:1::/64"])
    (flow,) = flows("db1", mixed)
    assert flow["source_addresses"] == ["192.0.2.10/31", "192.0.2.30", "198.51.100.0/24", "2001:db8:1::/64"]
    # A host of the inventory whose name is its address
    assert flows("192.0.2.30", mixed) == flows("web1", mixed)


def test_what_a_flow_says_beside_its_sides_stays() -> None:
    extra = {"mode": "observe", "ports": [5433], "users": ["www-data"]}
    (flow,) = flows("web1", item(**extra))
    assert {key: flow[key] for key in extra} == extra


def test_all_addresses_of_a_variable_count() -> None:
    hostvars = {**HOSTVARS, "web1": {"addresses": "192.0.2.10"}}
    (flow,) = flows_for_host([WEB_DB], "web1", GROUPS, hostvars, variable="addresses")
    assert flow["destination_addresses"] == ["192.0.2.20", "2001:db8::20"]
    (flow,) = flows_for_host([WEB_DB], "db1", GROUPS, hostvars, variable="addresses")
    assert flow["source_addresses"] == ["192.0.2.10/31", "2001:db8::11"]


def test_a_host_is_looked_up_once_however_many_flows_it_has() -> None:
    asked = []

    class Asked(dict[str, Any]):
        def __getitem__(self, name: str) -> Any:
            asked.append(name)
            return super().__getitem__(name)

    flows_for_host([WEB_DB, {**WEB_DB, "name": "other", "ports": [5433]}], "db1", GROUPS, Asked(HOSTVARS))
    assert sorted(asked) == ["web1", "web2"]


def test_addresses_of_facts_are_those_that_others_reach() -> None:
    facts = {
        "all_ipv4_addresses": ["192.0.2.20", "169.254.1.1", "127.0.0.1"],
        "all_ipv6_addresses": ["fe80::1", "2001:db8::20"],
    }
    hostvars = {**HOSTVARS, "db1": {"ansible_facts": facts}}
    (flow,) = flows_for_host([WEB_DB], "web1", GROUPS, hostvars, facts=True)
    assert flow["destination_addresses"] == ["192.0.2.20", "2001:db8::20"]
    assert "no facts with addresses of the host 'db1'; gather the facts of all hosts before" in said(facts=True)


@pytest.mark.parametrize("text", ["192.0.2.0/24", "2001:db8::/64", "0.0.0.0/0"])
def test_a_network_is_not_the_address_of_a_host(text: str) -> None:
    hostvars = {**HOSTVARS, "web1": {"addresses": ["192.0.2.10", text]}, "web2": {"addresses": ["192.0.2.11/32"]}}
    with pytest.raises(AnsibleFilterError, match=f"The addresses {text} of the host 'web1' is a network; give the"):
        flows_for_host([WEB_DB], "db1", GROUPS, hostvars, variable="addresses")


def test_a_name_is_resolved_on_request_only(monkeypatch: pytest.MonkeyPatch) -> None:
    hostvars = {**HOSTVARS, "db1": {"ansible_host": "db1.example.com"}}
    with pytest.raises(AnsibleFilterError, match="'db1.example.com' of the host 'db1' is not an address.*resolve=true"):
        flows_for_host([WEB_DB], "web1", GROUPS, hostvars)
    found = [(socket.AF_INET6, 1, 6, "", (address, 0, 0, 0)) for address in ("2001:db8::20", "2001:db8::2")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: found)
    (flow,) = flows_for_host([WEB_DB], "web1", GROUPS, hostvars, resolve=True)
    assert flow["destination_addresses"] == ["2001:db8::2", "2001:db8::20"]


def test_a_name_that_cannot_be_resolved_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: Any, **_options: Any) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    hostvars = {**HOSTVARS, "db1": {"ansible_host": "db1.example.com"}}
    with pytest.raises(AnsibleFilterError, match="of the host 'db1' cannot be resolved here .Name or"):
        flows_for_host([WEB_DB], "web1", GROUPS, hostvars, resolve=True)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "0.0.0.0", "224.0.0.1"])
def test_an_address_that_no_other_host_reaches_is_refused(address: str) -> None:
    hostvars = {**HOSTVARS, "db1": {"ansible_host": address}}
    with pytest.raises(AnsibleFilterError, match="of the host 'db1' is not an address at which others reach it"):
        flows_for_host([WEB_DB], "web1", GROUPS, hostvars)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (item(clients="websevers"), "'websevers' of the clients of the flow 'web_db' is not a group, host or address"),
        (item(clients=["empty"]), "group 'empty' of the clients of the flow 'web_db' has no hosts"),
        (item(servers=[]), "flow 'web_db' has no servers; name groups"),
        (item(servers=[5]), "'5' of the servers of the flow 'web_db' is not a group"),
        (item(servers=["databases", ""]), "option servers of the flow 'web_db' is given and empty"),
        (item(clients="192.0.2.1", servers="192.0.2.2"), "'web_db' names no host of the inventory"),
        (item(source_addresses=["192.0.2.1"]), "has source_addresses, which its clients say"),
        (item(sevrers="databases"), "unknown option 'sevrers'; write 'servers'"),
        ({"clients": "webservers", "servers": "databases"}, "has neither name nor pair"),
        ("web_db", "'web_db' is not a dictionary"),
    ],
)
def test_what_names_nobody_or_is_unknown_is_an_error(wrong: Any, message: str) -> None:
    assert message in said("web1", wrong)


def test_flows_that_are_not_a_list_or_listed_twice_are_errors() -> None:
    assert "listed twice" in said("web1", WEB_DB, WEB_DB)
    wrong: tuple[Any, ...] = ([], {}, None, "web_db")
    for nothing in wrong:
        with pytest.raises(AnsibleFilterError, match="not a list, or an empty one"):
            flows_for_host(nothing, "web1", GROUPS, HOSTVARS)


def test_a_host_that_is_not_in_the_inventory_is_an_error() -> None:
    assert "host 'web3' is not in the inventory" in said("web3")


def test_a_name_that_is_a_host_and_a_group_is_an_error() -> None:
    with pytest.raises(AnsibleFilterError, match="'web1' of the clients .* is a host and a group"):
        flows_for_host([item(clients="web1")], "db1", {**GROUPS, "web1": ["web2"]}, HOSTVARS)


@pytest.mark.parametrize(
    ("pair", "side", "options"),
    [
        ("domain_to_sshd", "web1", {"source_addresses": ["192.0.2.10"], "destination_addresses": ["192.0.2.20"]}),
        ("named_to_named", "db1", {"source_addresses": ["192.0.2.10/31"], "destination_addresses": ["192.0.2.20"]}),
    ],
)
def test_a_pair_that_needs_addresses_has_this_hosts_own(pair: str, side: str, options: dict[str, Any]) -> None:
    (flow,) = flows(side, item(pair=pair))
    assert {option: flow.get(option) for option in options} == options


def test_two_flows_of_one_server_are_told_apart_by_their_clients() -> None:
    other = item(name="app_db", clients="192.0.2.30")
    given = flows("db1", WEB_DB, other)
    assert len(flow_set(parse_flow(one) for raw in given for one in expand(raw, "Debian")).flows) == 2


ADDRESSES = st.one_of(
    st.integers(0x0A000000, 0x0A0001FF).map(lambda number: str(ip_address(number))),
    st.integers(1, 64).map(lambda number: str(ip_address((0x20010DB8 << 96) + number))),
)


@st.composite
def fleets(draw: st.DrawFn) -> tuple[dict[str, list[str]], dict[str, dict[str, Any]]]:
    hosts = [f"host{number}" for number in range(draw(st.integers(2, 12)))]
    hostvars = {host: {"ansible_host": draw(st.lists(ADDRESSES, min_size=1, max_size=3))} for host in hosts}
    some = st.lists(st.sampled_from(hosts), min_size=1, unique=True)
    return {"all": hosts, "webservers": draw(some), "databases": draw(some)}, hostvars


@given(fleets(), st.randoms())
def test_an_inventory_in_any_order_gives_the_same_bytes_and_exactly_its_addresses(fleet: Any, random: Any) -> None:
    groups, hostvars = fleet
    shuffled = {group: random.sample(hosts, len(hosts)) for group, hosts in groups.items()}
    for host in groups["all"]:
        given_flows = flows_for_host([WEB_DB], host, groups, hostvars)
        assert json.dumps(given_flows) == json.dumps(flows_for_host([WEB_DB], host, shuffled, hostvars))
        is_client, is_server = host in groups["webservers"], host in groups["databases"]
        assert bool(given_flows) == (is_client or is_server)
        for flow in given_flows:
            parse_flow(expand(flow, "Debian")[0])
            side = "webservers" if is_server else "databases"
            option = "source_addresses" if is_server else "destination_addresses"
            networks = [ip_network(text) for text in flow[option] if not ip_network(text).is_loopback]
            wanted = {address for name in groups[side] for address in hostvars[name]["ansible_host"]}
            assert sum(found.num_addresses for found in networks) == len(wanted)
            assert all(any(ip_address(address) in found for found in networks) for address in wanted)


@given(fleets())
def test_a_new_client_changes_only_itself_and_the_servers(fleet: Any) -> None:
    groups, hostvars = fleet
    more = {**groups, "all": [*groups["all"], "new"], "webservers": [*groups["webservers"], "new"]}
    with_new = {**hostvars, "new": {"ansible_host": "198.51.100.7"}}
    for host in groups["all"]:
        before, after = (flows_for_host([WEB_DB], host, *one) for one in ((groups, hostvars), (more, with_new)))
        assert (before != after) == (host in groups["databases"])
    assert flows_for_host([WEB_DB], "new", more, with_new)[0]["destination_addresses"]


def test_a_thousand_clients_side_by_side_are_a_few_prefixes() -> None:
    hosts = {f"web{number}": {"ansible_host": str(ip_address(0x0A000000 + number))} for number in range(1024)}
    groups = {"all": [*hosts, "db1"], "webservers": list(hosts), "databases": ["db1"]}
    (flow,) = flows_for_host([WEB_DB], "db1", groups, {**hosts, "db1": HOSTVARS["db1"]})
    assert flow["source_addresses"] == ["10.0.0.0/22"]
