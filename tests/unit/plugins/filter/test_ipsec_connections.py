# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

import re
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.senet.firewall.plugins.filter.ipsec_connections import ipsec_connections

WEB_DB = {
    "name": "web_db",
    "pair": "httpd_to_postgresql",
    "clients": "webservers",
    "servers": "databases",
    "verify_source": "ipsec",
}
HOSTVARS: dict[str, dict[str, Any]] = {
    "web1": {"addresses": ["192.0.2.10", "2001:db8::10"]},
    "web2": {"addresses": ["192.0.2.11"]},
    "db1": {"addresses": ["192.0.2.20", "2001:DB8:0::20"]},
    "other": {"addresses": "192.0.2.30"},
    "six": {"addresses": "2001:db8::66"},
}
GROUPS = {"all": list(HOSTVARS), "webservers": ["web1", "web2"], "databases": ["db1"]}


def connections(host: str, *flows: dict[str, Any], **options: Any) -> list[dict[str, Any]]:
    return ipsec_connections(list(flows) or [WEB_DB], host, GROUPS, HOSTVARS, variable="addresses", **options)


def titles(host: str, *flows: dict[str, Any]) -> list[str]:
    return [one["title"] for one in connections(host, *flows)]


def said(host: str, *flows: dict[str, Any], **options: Any) -> str:
    with pytest.raises(AnsibleFilterError) as caught:
        connections(host, *flows, **options)
    text = str(caught.value)
    assert text.startswith("ipsec_connections: ")
    return text


def item(**changes: Any) -> dict[str, Any]:
    return {**WEB_DB, **changes}


def test_each_pair_of_addresses_of_one_family_is_a_connection() -> None:
    assert titles("web1") == [
        "web_db: 192.0.2.10 -> 192.0.2.20, tcp 5432",
        "web_db: 2001:db8::10 -> 2001:db8::20, tcp 5432",
    ]
    assert titles("web2") == ["web_db: 192.0.2.11 -> 192.0.2.20, tcp 5432"]
    assert sorted(titles("db1")) == sorted(titles("web1") + titles("web2"))
    assert titles("other") == []


def test_the_two_ends_of_a_connection_are_mirror_images() -> None:
    (client,) = connections("web2")
    (server,) = (one for one in connections("db1") if one["remote"] == "192.0.2.11")
    mirrored = {"left": "right", "leftid": "rightid", "leftprotoport": "rightprotoport"}
    swap = {**mirrored, **{there: here for here, there in mirrored.items()}}
    assert dict(client["options"]) == {swap.get(key, key): value for key, value in server["options"]}
    assert dict(client["options"])["rightprotoport"] == "6/5432"


def test_every_connection_is_of_a_port_and_has_the_type_that_only_the_flows_domains_match() -> None:
    for one in connections("db1", item(), item(name="ask", protocol="udp", ports=["53-54", 60])):
        options = dict(one["options"])
        assert options["policy-label"] == "system_u:object_r:senet_ipsec_spd_t:s0"
        assert options["type"] == "transport"
        assert sorted(options[end].partition("/")[2] != "0" for end in ("leftprotoport", "rightprotoport")) == [0, 1]


def test_ports_and_protocols_are_those_of_the_flow_or_of_its_pair() -> None:
    flow = item(name="ask", ports=["5000-5002", 5010], protocol="udp")
    assert [title.rpartition(", ")[2] for title in titles("web2", flow)] == [
        "udp 5000", "udp 5001", "udp 5002", "udp 5010",
    ]  # fmt: skip
    # As Ansible takes what is given for a list
    for given in (5433, "5433", "5433, 5433"):
        assert titles("web2", item(ports=given)) == titles("web2", item(ports=["5433"]))
    names = {"name": "names", "pair": "domain_to_named"}
    found = titles("web2", item(**names))
    assert [title.partition(":")[0] for title in found] == ["names_tcp", "names_udp"]


def test_flows_that_are_not_verified_by_ipsec_are_passed_over() -> None:
    plain = {key: value for key, value in WEB_DB.items() if key != "verify_source"}
    assert titles("web2", item(name="other"), plain) == ["other: 192.0.2.11 -> 192.0.2.20, tcp 5432"]
    assert "No flow of the fleet has verify_source=ipsec" in said("web2", plain)


def test_a_host_on_both_sides_has_both_ends_with_others_and_none_with_itself() -> None:
    both = item(clients=["db1", "web2"], servers=["db1", "web2"])
    assert sorted(titles("web2", both)) == [
        "web_db: 192.0.2.11 -> 192.0.2.20, tcp 5432",
        "web_db: 192.0.2.20 -> 192.0.2.11, tcp 5432",
    ]


def test_what_stands_for_the_host_itself_gets_no_connection() -> None:
    own = ["192.0.2.20", "2001:db8::20", "127.0.0.1", "127.0.0.0/8", "::1"]
    assert titles("db1", item(clients=["web2", *own])) == ["web_db: 192.0.2.11 -> 192.0.2.20, tcp 5432"]


def test_a_name_in_place_of_an_address_cannot_be_resolved_here() -> None:
    hostvars = {**HOSTVARS, "db1": {"addresses": "db1.example.com"}}
    with pytest.raises(AnsibleFilterError, match="'db1.example.com' .*; give one, or name another variable"):
        ipsec_connections([WEB_DB], "web2", GROUPS, hostvars, variable="addresses")


def test_two_hosts_with_one_address_are_an_error_that_says_so() -> None:
    hostvars = {**HOSTVARS, "db1": {"addresses": "192.0.2.11"}}
    with pytest.raises(
        AnsibleFilterError, match="'web2' and 'db1' of the flow 'web_db' have the same address 192.0.2.11; give each"
    ):
        ipsec_connections([WEB_DB], "web2", GROUPS, hostvars, variable="addresses")


def test_an_address_can_be_the_other_host() -> None:
    assert titles("db1", item(clients=["198.51.100.7"])) == ["web_db: 198.51.100.7 -> 192.0.2.20, tcp 5432"]


def test_the_name_of_a_connection_changes_with_its_content() -> None:
    certificate = {"certificate": "web2"}
    renewed = ({**certificate, "version": "1"}, {**certificate, "version": "2"})
    given: tuple[dict[str, str], ...] = ({}, {"version": "none"}, certificate, *renewed)
    first, same, *others = (connections("web2", **more)[0]["name"] for more in given)
    assert first == same
    assert len({first, *others}) == 4
    assert re.fullmatch(r"senet-web_db-[0-9a-f]{16}", first)
    names = [one["name"] for one in connections("db1", item(ports=["5432-5440"]))]
    assert len(set(names)) == len(names) == 27


def test_a_certificate_takes_the_place_of_the_key() -> None:
    (keyed,), (certified,) = connections("web2"), connections("web2", certificate="web2")
    assert ["authby", "secret"] in keyed["options"]
    # A blank outside of quotes is a syntax error
    assert ["leftcert", '"web2"'] in certified["options"]
    assert "authby" not in dict(certified["options"])


@pytest.mark.parametrize(
    ("host", "flow", "text"),
    [
        ("db1", item(clients=["192.0.2.0/24"]), "names the network 192.0.2.0/24, and labelled IPsec is set up"),
        ("web2", item(servers=["six"]), "'web2' and 'six' of the flow 'web_db' have no address of the same family"),
        ("web2", item(ports=[22]), "has port 22, on which this host is managed by SSH"),
        ("web2", item(ports=["20-25"]), "has port 22, on which this host is managed by SSH"),
        ("web2", item(ports=["1000-1064"]), "has 65 ports, and libreswan needs a connection for each"),
        ("web2", item(protocol="icmp"), "has the protocol 'icmp'"),
        ("web2", item(clients="webserver"), "'webserver' of the clients of the flow 'web_db' is not a group"),
    ],
)
def test_what_cannot_be_set_up_is_named(host: str, flow: dict[str, Any], text: str) -> None:
    assert text in said(host, flow)


def test_no_other_port_of_ssh_is_taken_either() -> None:
    assert "has port 2222, on which" in said("web2", item(ports=[2222]), ssh_ports=[22, "2222"])
    # SSH is TCP
    assert connections("web2", item(ports=[22], protocol="udp"))
