# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.fields import (
    PortRange,
    address_text,
    parse_confined,
)
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import PROTOCOLS, flow_set
from ansible_collections.senet.firewall.plugins.module_utils._values.parsing import parse_flow, parse_flow_set

RAW = {"name": "web_db", "source": ["httpd_t"], "destination": ["postgresql_t"], "ports": [5432]}


def test_a_flow_says_what_was_given_in_one_form() -> None:
    flow = parse_flow(
        {
            "name": "web",
            "source": ["squid_t", "haproxy_t", "squid_t"],
            "destination": ["httpd_t"],
            "ports": ["8010-8020", 443, "8000-8010", 80, 8021],
        }
    )
    assert flow.as_dict() == {
        "name": "web",
        "source": ["haproxy_t", "squid_t"],
        "destination": ["httpd_t"],
        "protocol": "tcp",
        "ports": ["80", "443", "8000-8021"],
        "mode": "enforce",
    }


def test_every_option_is_said_as_it_was_given() -> None:
    given = {
        "source_addresses": ["2001:db8::/32", "192.0.2.7", "192.0.2.7/32", "198.51.100.0/25", "198.51.100.128/25"],
        "destination_addresses": ["::ffff:192.0.2.1"],
        "interfaces": ["lo", "eth0", "lo"],
        "users": ["www-data", 33],
        "units": ["apache2.service"],
        "verify_source": "address",
    }
    said = parse_flow({**RAW, **given}).as_dict()
    assert {key: said[key] for key in given} == {
        "source_addresses": ["192.0.2.7", "198.51.100.0/24", "2001:db8::/32"],
        "destination_addresses": ["192.0.2.1"],
        "interfaces": ["eth0", "lo"],
        "users": ["33", "www-data"],
        "units": ["apache2.service"],
        "verify_source": "address",
    }


def test_every_domain_stands_for_the_others() -> None:
    flow = parse_flow({**RAW, "source": ["httpd_t", "domain"]})
    assert (flow.source, flow.domains) == (("domain",), ("postgresql_t",))
    assert flow.is_source("sshd_t")
    assert not flow.is_destination("sshd_t")


@pytest.mark.parametrize(
    ("first", "second", "apart"),
    [
        ({}, {"source_addresses": ["192.0.2.1"]}, False),
        ({"source_addresses": ["192.0.2.0/24"]}, {"source_addresses": ["192.0.2.1"]}, False),
        ({"source_addresses": ["192.0.2.0/24"]}, {"source_addresses": ["192.0.3.1"]}, True),
        ({"source_addresses": ["192.0.2.0/24"]}, {"source_addresses": ["2001:db8::/32"]}, True),
        ({"source_addresses": ["192.0.2.1"]}, {"destination_addresses": ["192.0.3.1"]}, False),
        ({"destination_addresses": ["192.0.2.1"]}, {"destination_addresses": ["192.0.3.1", "192.0.2.1"]}, False),
        ({"destination_addresses": ["192.0.2.1"]}, {"destination_addresses": ["192.0.3.1"]}, True),
        ({"interfaces": ["eth0"]}, {"interfaces": ["lo", "eth0"]}, False),
        ({"interfaces": ["eth0"]}, {"interfaces": ["lo"]}, True),
        ({"interfaces": ["eth0"]}, {}, False),
    ],
)
def test_flows_on_one_port_must_be_disjoint(
    first: dict[str, object], second: dict[str, object], apart: bool
) -> None:
    flows = [parse_flow({**RAW, **first}), parse_flow({**RAW, **second, "name": "other", "ports": ["5400-5500"]})]
    if apart:
        assert len(flow_set(flows).flows) == 2
    else:
        with pytest.raises(SenetError, match=r"both claim tcp/5432.*to other addresses or interfaces"):
            flow_set(flows)


def test_a_wide_range_is_held_against_every_flow_inside_it() -> None:
    wide = parse_flow({**RAW, "ports": ["1000-9000"], "interfaces": ["lo"]})
    inside = [parse_flow({**RAW, "name": f"f{port}", "ports": [port], "interfaces": ["eth0"]}) for port in (2000, 3000)]
    flow_set([wide, *inside])
    with pytest.raises(SenetError, match=r"'web_db' and 'late' both claim tcp/8000"):
        flow_set([wide, *inside, parse_flow({**RAW, "name": "late", "ports": [8000]})])


@pytest.mark.parametrize(
    ("confine", "said"),
    [(["httpd_t)"], "'httpd_t\\)' of confine is not an SELinux type"), (["domain"], "'domain' cannot be confined"),
     (["kernel_t"], "'kernel_t' cannot be confined")],
)  # fmt: skip
def test_what_cannot_be_confined_is_told(confine: list[str], said: str) -> None:
    with pytest.raises(SenetError, match=said):
        parse_confined(confine)


def test_confined_domains_are_added_and_freed() -> None:
    flows = flow_set([parse_flow(RAW)], [("httpd_t", "observe")])
    more = flows.with_flows([], [("httpd_t", "enforce"), ("redis_t", "observe")])
    assert more.confine == (("httpd_t", "enforce"), ("redis_t", "observe"))
    assert more.domains == ("httpd_t", "postgresql_t", "redis_t")
    assert more.without([], ["httpd_t", "sshd_t"]).confine == (("redis_t", "observe"),)
    assert not more.without(["web_db"]).empty
    assert parse_flow_set(more.as_dict()) == more


def test_a_type_inside_a_cil_block_is_a_domain() -> None:
    assert parse_flow({**RAW, "source": ["my_app.process"]}).source == ("my_app.process",)


@pytest.mark.parametrize(
    ("change", "names", "remedy"),
    [
        ({"name": "Web"}, "'Web'", "lower-case letter"),
        ({"name": "1web"}, "'1web'", "lower-case letter"),
        ({"name": "w" * 32}, "w" * 32, "up to 30"),
        ({"name": "web\n"}, "'web\\n'", "lower-case letter"),
        ({"name": None}, "None", "lower-case letter"),
        ({"source": []}, "'web_db' has no source", "name at least one"),
        ({"destination": None}, "'web_db' has no destination", "name at least one"),
        ({"source": ["system_u:system_r:httpd_t:s0"]}, "system_u:system_r:httpd_t:s0", "give the type alone"),
        ({"source": ["httpd_t postgresql_t"]}, "'httpd_t postgresql_t'", "give the type alone"),
        ({"destination": ["httpd_t)(allow"]}, "'httpd_t)(allow'", "give the type alone"),
        ({"protocol": "icmp"}, "'icmp'", "use one of tcp, udp, sctp, dccp"),
        ({"mode": "complain"}, "'complain'", "use one of enforce, observe"),
        ({"ports": []}, "'web_db' has no ports", "list at least one"),
        ({"ports": ["postgresql"]}, "'postgresql'", "a number from 1 to 65535"),
        ({"ports": ["0"]}, "'0'", "a number from 1 to 65535"),
        ({"ports": ["65536"]}, "'65536'", "a number from 1 to 65535"),
        ({"ports": ["20-10"]}, "'20-10'", "the lower one first"),
        ({"ports": ["5432\n"]}, "'5432\\n'", "a number from 1 to 65535"),
        ({"ports": ["٥"]}, "'٥'", "a number from 1 to 65535"),
        ({"source_addresses": ["host.example"]}, "'host.example' in source_addresses", "192.0.2.0/24"),
        ({"source_addresses": ["192.0.2.1/24"]}, "'192.0.2.1/24'", "no bits set beyond the prefix"),
        ({"source_addresses": [1]}, "1 in source_addresses", "neither an address nor a network"),
        ({"destination_addresses": ["fe80::1%eth0"]}, "'fe80::1%eth0' in destination_addresses", "2001:db8::/64"),
        ({"interfaces": ["eth*"]}, "The interface 'eth*'", "without wildcards"),
        ({"interfaces": ["eth0 -j ACCEPT"]}, "'eth0 -j ACCEPT'", "write for example eth0"),
        ({"interfaces": ["eth0:1"]}, "The interface 'eth0:1'", "without wildcards, ':' and '@'"),
        ({"interfaces": ["eth0@if7"]}, "The interface 'eth0@if7'", "without wildcards, ':' and '@'"),
        ({"users": ["www data"]}, "The user 'www data'", "www-data or 33"),
        ({"users": ["4294967295"]}, "The user '4294967295'", "www-data or 33"),
        ({"units": ["apache2"]}, "The unit 'apache2'", "apache2.service"),
        ({"verify_source": "always"}, "verify_source 'always'", "use one of none, loopback, address, ipsec"),
    ],
)
def test_bad_input_is_named_with_its_remedy(change: dict[str, object], names: str, remedy: str) -> None:
    with pytest.raises(SenetError) as caught:
        parse_flow({**RAW, **change})
    assert names in str(caught.value)
    assert remedy in str(caught.value)


def test_two_flows_on_one_port_are_refused() -> None:
    first = parse_flow(RAW)
    second = parse_flow({**RAW, "name": "other", "ports": ["5000-6000"]})
    with pytest.raises(SenetError, match=r"'other' and 'web_db' both claim tcp/5432"):
        flow_set([first, second])


def test_one_port_of_two_protocols_is_two_services() -> None:
    flows = flow_set([parse_flow(RAW), parse_flow({**RAW, "name": "other", "protocol": "udp"})])
    assert [flow.name for flow in flows.flows] == ["other", "web_db"]


def test_a_flow_listed_twice_is_refused() -> None:
    with pytest.raises(SenetError, match="'web_db' is listed twice"):
        flow_set([parse_flow(RAW), parse_flow({**RAW, "ports": [80]})])


def test_a_set_is_changed_flow_by_flow() -> None:
    flows = flow_set([parse_flow(RAW)])
    moved = flows.with_flows([parse_flow({**RAW, "ports": [5433]})])
    assert [str(flow.ports[0]) for flow in moved.flows] == ["5433"]
    assert moved.without(["web_db", "unknown"]).flows == ()


@given(
    st.fixed_dictionaries(
        {
            "name": st.text() | st.from_regex(r"[a-z_0-9]{1,8}"),
            "source": st.lists(st.text() | st.just("httpd_t"), max_size=3),
            "destination": st.lists(st.text() | st.just("postgresql_t"), max_size=3),
            "protocol": st.text() | st.sampled_from(PROTOCOLS),
            "ports": st.lists(st.text() | st.integers().map(str) | st.from_regex(r"[0-9]{1,5}-[0-9]{1,5}"), max_size=3),
            "source_addresses": st.lists(st.text() | st.ip_addresses().map(str), max_size=3),
            "destination_addresses": st.lists(st.text() | st.ip_addresses().map(str), max_size=3),
            "interfaces": st.lists(st.text() | st.from_regex(r"[a-z]{1,4}[0-9]?"), max_size=3),
            "users": st.lists(st.text() | st.from_regex(r"[a-z]{1,4}[0-9]?"), max_size=3),
            "units": st.lists(st.text() | st.from_regex(r"[a-z@.]{1,9}\.service"), max_size=3),
        }
    )
)
def test_no_input_yields_anything_but_identifiers_and_ports(raw: dict[str, object]) -> None:
    try:
        flow = parse_flow(raw)
    except SenetError:
        return
    words = [flow.name, flow.protocol, *flow.domains, *map(str, flow.ports), flow.client_type, flow.server_type]
    words += [*flow.interfaces, *flow.users, *flow.units, *map(address_text, flow.source_addresses)]
    words += map(address_text, flow.destination_addresses)
    assert all(re.fullmatch(r"[A-Za-z0-9_.:@/-]+", word, re.ASCII) for word in words)
    assert parse_flow(flow.as_dict()) == flow


@given(st.lists(st.tuples(st.integers(1, 300), st.integers(0, 20)), min_size=1, max_size=8))
def test_joined_ranges_hold_the_same_ports(pairs: list[tuple[int, int]]) -> None:
    given_ports = {port for low, more in pairs for port in range(low, low + more + 1)}
    flow = parse_flow({**RAW, "ports": [f"{low}-{low + more}" for low, more in pairs]})
    assert {port for port in range(1, 400) if flow.has_port(port)} == given_ports
    assert all(first.high + 1 < second.low for first, second in zip(flow.ports, flow.ports[1:], strict=False))
    assert all(isinstance(ports, PortRange) for ports in flow.ports)
