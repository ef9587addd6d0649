# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.senet.firewall.plugins.module_utils._model import (
    PROTOCOLS,
    PortRange,
    SenetError,
    flow_set,
    parse_flow,
)

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
        }
    )
)
def test_no_input_yields_anything_but_identifiers_and_ports(raw: dict[str, object]) -> None:
    try:
        flow = parse_flow(raw)
    except SenetError:
        return
    words = [flow.name, flow.protocol, *flow.domains, *map(str, flow.ports), flow.client_type, flow.server_type]
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+", word, re.ASCII) for word in words)
    assert parse_flow(flow.as_dict()) == flow


@given(st.lists(st.tuples(st.integers(1, 300), st.integers(0, 20)), min_size=1, max_size=8))
def test_joined_ranges_hold_the_same_ports(pairs: list[tuple[int, int]]) -> None:
    given_ports = {port for low, more in pairs for port in range(low, low + more + 1)}
    flow = parse_flow({**RAW, "ports": [f"{low}-{low + more}" for low, more in pairs]})
    assert {port for port in range(1, 400) if flow.has_port(port)} == given_ports
    assert all(first.high + 1 < second.low for first, second in zip(flow.ports, flow.ports[1:], strict=False))
    assert all(isinstance(ports, PortRange) for ports in flow.ports)
