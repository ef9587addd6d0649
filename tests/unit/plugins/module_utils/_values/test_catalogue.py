# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
import re
from typing import Any

import pytest

from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.fields import (
    EVERY_DOMAIN,
    parse_units,
    parse_users,
)
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import flow_set
from ansible_collections.senet.firewall.plugins.module_utils._values.pairs import PAIRS, expand, names, owners
from ansible_collections.senet.firewall.plugins.module_utils._values.parsing import parse_flow
from ansible_collections.senet.firewall.plugins.module_utils._values.services import DISTRIBUTIONS

PAIR = "httpd_to_postgresql"
RESOLVER = "domain_to_unbound"
ADDRESSES = {"source_addresses": ["192.0.2.0/24"], "destination_addresses": ["198.51.100.1"]}


def needed(name: str) -> dict[str, Any]:
    return {option: ADDRESSES[option] for option in PAIRS[name].needs}


@pytest.mark.parametrize("family", DISTRIBUTIONS)
@pytest.mark.parametrize("name", sorted(PAIRS))
def test_a_pair_alone_is_a_flow_for_each_of_its_protocols(name: str, family: str) -> None:
    pair = PAIRS[name]
    flows = flow_set(parse_flow(raw) for raw in expand({"pair": name, **needed(name)}, family)).flows
    assert [flow.protocol for flow in flows] == list(pair.protocols)
    for flow in flows:
        assert set(flow.source) == set(pair.client[family].domains)
        assert set(flow.destination) == set(pair.server[family].domains)
        assert tuple(map(str, flow.ports)) == tuple(sorted(pair.ports, key=int))
    assert [flow.name for flow in flows] == names({"pair": name})


@pytest.mark.parametrize("name", sorted(PAIRS))
def test_what_a_pair_says_of_each_family_is_fit_for_a_flow(name: str) -> None:
    pair = PAIRS[name]
    assert re.fullmatch("[a-z0-9]+(_[a-z0-9]+)*_to_[a-z0-9]+(_[a-z0-9]+)*", name)
    assert set(pair.client) == set(pair.server) == set(DISTRIBUTIONS)
    assert set(pair.booleans) in ({*DISTRIBUTIONS}, set())
    assert re.fullmatch("([a-z_]+_port_t)?", pair.port_type)
    for service in (*pair.client.values(), *pair.server.values()):
        assert service.units == () or parse_units(name, service.units)
        assert service.users == () or parse_users(name, service.users)
        assert service.domains == (EVERY_DOMAIN,) or all(domain.endswith("_t") for domain in service.domains)


def test_no_two_names_of_flows_are_the_same() -> None:
    every = [name for pair in PAIRS for name in names({"pair": pair})]
    assert len(every) == len(set(every))


def test_what_is_given_goes_before_what_the_pair_knows_and_nothing_is_no_gift() -> None:
    (flow,) = expand({"pair": PAIR, "name": "reports", "ports": ["5433"], "source": [], "mode": None}, "Debian")
    known = {"source": ("httpd_t",), "destination": ("postgresql_t",), "protocol": "tcp"}
    assert flow == {**known, "name": "reports", "ports": ["5433"]}


def test_a_family_may_have_domains_of_its_own() -> None:
    sources = {family: expand({"pair": "haproxy_to_httpd"}, family)[0]["source"] for family in DISTRIBUTIONS}
    assert sources == {"Debian": ("initrc_t",), "RedHat": ("haproxy_t",)}


def test_a_pair_of_two_protocols_is_two_flows_that_go_together() -> None:
    raw = {"pair": RESOLVER, "name": "dns"}
    flows = expand(raw, "RedHat")
    assert [(flow["name"], flow["protocol"]) for flow in flows] == [("dns_tcp", "tcp"), ("dns_udp", "udp")]
    assert names(raw) == ["dns_tcp", "dns_udp"]


def test_one_protocol_of_two_has_the_name_that_it_has_among_both() -> None:
    raw = {"pair": RESOLVER, "protocol": "udp"}
    assert [flow["name"] for flow in expand(raw, "RedHat")] == names(raw) == [f"{RESOLVER}_udp"]


def test_a_flow_without_a_pair_is_left_as_it_is() -> None:
    raw = {"name": "web_db", "pair": None, "ports": ["1"], "mode": None}
    assert expand(raw, None) == [{"name": "web_db", "ports": ["1"]}]
    assert names(raw) == ["web_db"]


def test_other_distributions_have_the_pairs_whose_domains_are_the_same_everywhere() -> None:
    assert expand({"pair": PAIR}, None) == expand({"pair": PAIR}, "Debian")
    with pytest.raises(SenetError, match="'haproxy_to_httpd' is known on hosts of the Debian and RHEL families"):
        expand({"pair": "haproxy_to_httpd"}, None)
    assert expand({"pair": "haproxy_to_httpd", "source": ["x_t"]}, None)[0]["source"] == ["x_t"]


@pytest.mark.parametrize("function", [lambda raw: expand(raw, "Debian"), names, lambda raw: owners([raw], "Debian")])
def test_a_pair_that_is_not_there_is_told_with_those_that_are(function: Any) -> None:
    with pytest.raises(SenetError, match=f"'httpd_to_x' is not in the catalogue; use one of .*{PAIR}"):
        function({"pair": "httpd_to_x"})


@pytest.mark.parametrize("name", [name for name in sorted(PAIRS) if PAIRS[name].needs])
def test_what_a_pair_needs_is_asked_for_before_it_comes_and_not_when_it_goes(name: str) -> None:
    (option,) = PAIRS[name].needs
    with pytest.raises(SenetError, match=f"The pair '{name}' needs {option}"):
        expand({"pair": name, option: []}, "Debian")
    assert names({"pair": name})


def test_the_client_has_the_users_and_units_of_its_family() -> None:
    raw = [{"pair": "chronyd_to_ntp"}, {"pair": RESOLVER, "name": "dns"}, {"name": "own"}]
    found = owners(raw, "Debian")
    assert set(found) == {"chronyd_to_ntp", "dns_tcp", "dns_udp"}
    assert (found["chronyd_to_ntp"].users, found["chronyd_to_ntp"].units) == (("_chrony",), ("chrony.service",))
    elsewhere = {"pair": "chronyd_to_ntp", "source": ["ntpd_t"]}
    assert owners([elsewhere], "Debian") == {}
    assert owners([{**elsewhere, "source": ["chronyd_t"]}], "Debian")
    unknown = owners(raw, None)["chronyd_to_ntp"]
    assert (unknown.users, unknown.units) == (("_chrony", "chrony"), ("chrony.service", "chronyd.service"))
