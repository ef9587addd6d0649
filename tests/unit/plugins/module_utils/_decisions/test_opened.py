# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a change of flows opens: against the promise, point by point, and as sentences."""

from collections.abc import Iterator
from ipaddress import ip_address
from itertools import product
from typing import Any

import pytest
from hypothesis import assume, event, given
from hypothesis import strategies as st

from ansible_collections.senet.firewall.plugins.module_utils._decisions.opened import opened
from ansible_collections.senet.firewall.plugins.module_utils._values import regions
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import FlowSet, flow_set
from tests.oracle.promise import End, Seen, Wish, Word, promise
from tests.oracle.promise import Flow as Promised
from tests.unit.flows import WEB_DB, flow

NETWORKS = ["192.0.2.7", "192.0.2.0/24", "0.0.0.0/0", "2001:db8::7"]
# One of each network, inside and beside the others
ADDRESSES = ["192.0.2.7", "192.0.2.8", "198.51.100.1", "2001:db8::7", "::1"]
NAMES = {"web": ("httpd_t", "postgresql_t"), "cache": ("httpd_t", "redis_t"), "any": ("domain", "redis_t")}
DOMAINS = ["httpd_t", "postgresql_t", "redis_t", "other_t"]
PORTS = [5432, 5440, "5432-5440"]


def limits() -> st.SearchStrategy[dict[str, Any]]:
    networks = st.lists(st.sampled_from(NETWORKS), max_size=2, unique=True)
    return st.fixed_dictionaries(
        {
            "ports": st.lists(st.sampled_from(PORTS), min_size=1, max_size=2),
            "mode": st.sampled_from(["enforce", "enforce", "observe"]),
            "source_addresses": networks,
            "destination_addresses": st.just([]) | networks,
            "interfaces": st.just([]) | st.lists(st.sampled_from(["lo", "eth0"]), max_size=2, unique=True),
            "protocol": st.sampled_from(["tcp", "tcp", "tcp", "udp"]),
        }
    )


def made(named: dict[str, dict[str, Any]]) -> FlowSet:
    try:
        return flow_set(
            [flow(name, source=[NAMES[name][0]], destination=[NAMES[name][1]], **own) for name, own in named.items()]
        )
    except SenetError:
        assume(False)
        raise


def points() -> Iterator[tuple[str, str, str, str, int]]:
    for client, server in product(ADDRESSES, ADDRESSES):
        if ip_address(client).version == ip_address(server).version:
            for interface, protocol, port in product(("lo", "eth0", "eth1"), ("tcp", "udp"), (5432, 5433, 5440)):
                yield client, server, interface, protocol, port


def reached(flows: FlowSet) -> set[tuple[Any, ...]]:
    """The connections that the promise permits at both ends."""
    wish = Wish(
        tuple(
            Promised(
                one.name,
                one.source,
                one.destination,
                one.protocol,
                tuple((ports.low, ports.high) for ports in one.ports),
                one.mode == "observe",
                tuple(map(str, one.source_addresses)),
                tuple(map(str, one.destination_addresses)),
                one.interfaces,
            )
            for one in flows.flows
        )
    )
    found: set[tuple[Any, ...]] = set()
    for client, server, interface, protocol, port in points():
        seen = Seen(protocol, interface, End(client, 40000), End(server, port), True, True, True)
        callers = [domain for domain in DOMAINS if promise(wish, seen, domain, True) is Word.YES]
        called = [domain for domain in DOMAINS if promise(wish, seen, domain, False) is Word.YES]
        found.update(product(callers, called, [(client, server, interface, protocol, port)]))
    return found


@st.composite
def changes(draw: st.DrawFn) -> tuple[FlowSet, FlowSet]:
    """Two sets of the same names; some flows are the same in both."""
    names = draw(st.lists(st.sampled_from(sorted(NAMES)), min_size=1, max_size=2, unique=True))
    before = {name: draw(limits()) for name in names}
    after = {}
    for name in names:
        other = draw(limits())
        kept = draw(st.sets(st.sampled_from(sorted(other))))
        after[name] = {key: before[name][key] if key in kept else value for key, value in other.items()}
    return made(before), made(after)


@given(changes())
def test_something_is_opened_if_the_promise_permits_what_it_refused(change: tuple[FlowSet, FlowSet]) -> None:
    before, after = change
    new = reached(after) - reached(before)
    told = opened(before, after)
    event(f"opened: {bool(told)}")
    assert bool(told) == bool(new), (before, after, told, sorted(new)[:3])


@given(changes())
def test_what_is_told_of_is_a_flow_that_was_changed_by_its_options(change: tuple[FlowSet, FlowSet]) -> None:
    before, after = change
    old = {one.name: one for one in before.flows}
    new = {one.name: one for one in after.flows}
    found = opened(before, after)
    assert len({one.flow for one in found}) == len(found)
    for one in found:
        assert one.flow is not None
        assert one.options
        for option in one.options:
            assert getattr(old[one.flow], option) != getattr(new[one.flow], option), one
    assert opened(before, before) == ()


SPANS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)).map(lambda ends: (min(ends), max(ends)))).map(
    regions.span
)


def members(span: regions.Span) -> set[int]:
    return {number for low, high in span for number in range(low, high + 1)}


@given(SPANS, SPANS)
def test_spans_are_sets_of_numbers(one: regions.Span, other: regions.Span) -> None:
    assert members(regions.common(one, other)) == members(one) & members(other)
    assert members(regions.less(one, other)) == members(one) - members(other)
    assert regions.less(one, other) == regions.span(regions.less(one, other))


@given(st.lists(st.tuples(SPANS, SPANS), max_size=3), st.lists(st.tuples(SPANS, SPANS), max_size=3))
def test_boxes_are_sets_of_points(some: list[regions.Box], others: list[regions.Box]) -> None:
    def inside(boxes: list[regions.Box]) -> set[tuple[int, ...]]:
        return {point for box in boxes for point in product(*map(members, box))}

    assert inside(regions.boxes_less(some, others)) == inside(some) - inside(others)
    assert inside(regions.boxes_common(some, others)) == inside(some) & inside(others)


CLIENTS = flow(source_addresses=["192.0.2.7"])
OTHER = flow("other", source=["named_t"], ports=[5432], source_addresses=["192.0.2.8"])


@pytest.mark.parametrize(
    ("before", "after", "options", "sentence"),
    [
        pytest.param(
            [flow()],
            [flow(ports=[5433])],
            ["ports"],
            "The change of the flow 'web_db' opens what was closed: tcp/5432 is open to everybody. If the earlier "
            "ports are meant as well, give these a flow of another name.",
            id="another port",
        ),
        pytest.param(
            [CLIENTS],
            [flow()],
            ["source_addresses"],
            "The change of the flow 'web_db' opens what was closed: httpd_t at every address but 192.0.2.7 may use "
            "tcp/5432 of postgresql_t.",
            id="addresses gone",
        ),
        pytest.param(
            [CLIENTS],
            [flow(source_addresses=["192.0.2.0/31", "192.0.2.6/31"])],
            ["source_addresses"],
            "The change of the flow 'web_db' opens what was closed: httpd_t at 192.0.2.0/31, 192.0.2.6 may use "
            "tcp/5432 of postgresql_t.",
            id="more addresses",
        ),
        pytest.param(
            [flow()],
            [flow(mode="observe")],
            ["mode"],
            "The flow 'web_db', which is only observed now, opens what was closed: tcp/5432 is open to everybody.",
            id="observed",
        ),
        pytest.param(
            [flow()],
            [flow(interfaces=["lo"], destination_addresses=["127.0.0.1"])],
            ["destination_addresses", "interfaces"],
            "The change of the flow 'web_db' opens what was closed: tcp/5432 is open to everybody where the server is "
            "at every address but 127.0.0.1; tcp/5432 is open to everybody where the server is at 127.0.0.1 through "
            "every interface but lo.",
            id="elsewhere",
        ),
        pytest.param(
            [flow(interfaces=["eth0", "eth1"])],
            [flow(interfaces=["eth1", "lo"])],
            ["interfaces"],
            "The change of the flow 'web_db' opens what was closed: tcp/5432 is open to everybody through eth0.",
            id="another interface",
        ),
        pytest.param(
            [flow()],
            [flow(protocol="udp")],
            ["protocol"],
            "The change of the flow 'web_db' opens what was closed: tcp/5432 is open to everybody. If the earlier "
            "ports are meant as well, give these a flow of another name.",
            id="another protocol",
        ),
        pytest.param(
            [flow()],
            [flow(source=["domain"])],
            ["source"],
            "The change of the flow 'web_db' opens what was closed: every domain at every address may use tcp/5432 of "
            "postgresql_t.",
            id="every domain",
        ),
        pytest.param(
            [CLIENTS, OTHER],
            [flow(source_addresses=["192.0.2.7"], mode="observe"), OTHER],
            ["mode"],
            "The flow 'web_db', which is only observed now, opens what was closed: tcp/5432 is open to everybody at "
            "192.0.2.7.",
            id="observed beside another",
        ),
        pytest.param(
            [flow(verify_source="loopback")],
            [flow()],
            ["verify_source"],
            "The change of the flow 'web_db' opens what was closed: the domain of clients on the same host is not "
            "verified.",
            id="not verified on loopback",
        ),
        pytest.param(
            [flow(verify_source="ipsec")],
            [flow()],
            ["verify_source"],
            "The change of the flow 'web_db' opens what was closed: the address of clients on other hosts is not "
            "verified; the domain of clients on other hosts is not verified.",
            id="not verified by ipsec",
        ),
        pytest.param(
            [flow(verify_source="loopback")],
            [flow(verify_source="loopback", mode="observe", ports=[9]), flow("new")],
            ["mode"],
            "The flow 'web_db', which is only observed now, opens what was closed: the domain of clients on the same "
            "host is not verified for postgresql_t, on any port.",
            id="observed elsewhere, not verified",
        ),
        pytest.param(
            [flow(verify_source="address", source_addresses=["192.0.2.7"])],
            [flow(verify_source="address", source_addresses=["192.0.2.7"], mode="observe")],
            ["mode"],
            "The flow 'web_db', which is only observed now, opens what was closed: tcp/5432 is open to everybody; the "
            "address of clients on other hosts is not verified for postgresql_t, on any port.",
            id="observed, not verified",
        ),
        pytest.param(
            [flow(verify_source="ipsec", destination=["postgresql_t", "redis_t"])],
            [flow(verify_source="loopback", destination=["redis_t"]), flow("b", ports=[1], verify_source="address")],
            ["verify_source", "destination"],
            "The change of the flow 'web_db' opens what was closed: the address of clients on other hosts is not "
            "verified; the domain of clients on other hosts is not verified; the domain of clients on other hosts is "
            "not verified for postgresql_t, on any port.",
            id="another destination",
        ),
    ],
)
def test_one_sentence_a_flow_says_what_is_open_and_to_whom(
    before: list[Any], after: list[Any], options: list[str], sentence: str
) -> None:
    [found] = opened(flow_set(before), flow_set(after))
    assert found.message == sentence
    assert found.as_dict() == {"flow": "web_db", "domain": None, "options": options, "message": sentence}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param([flow()], [flow(ports=[5432, 5433])], id="one port more"),
        pytest.param([flow()], [CLIENTS], id="addresses"),
        pytest.param([flow(mode="observe")], [flow(ports=[5433])], id="nobody was refused"),
        pytest.param([flow(source=["domain"])], [flow()], id="fewer domains"),
        pytest.param([flow()], [flow(source=["httpd_t", "init_t"])], id="a domain that is named"),
        pytest.param([flow()], [flow(users=["www-data"])], id="users"),
        pytest.param([flow()], [flow(ports=[5433]), flow("new")], id="covered by another flow"),
        pytest.param([flow(interfaces=["lo"])], [flow()], id="everywhere"),
        pytest.param([flow(verify_source="address", source_addresses=["192.0.2.7"])],
                     [flow(verify_source="ipsec", source_addresses=["192.0.2.7"])], id="verified by more"),
        pytest.param([flow(verify_source="loopback"), flow("b", ports=[1], verify_source="loopback")],
                     [flow(), flow("b", ports=[1], verify_source="loopback")], id="verified for another flow"),
        pytest.param([flow(verify_source="loopback"), flow("b", ports=[1], verify_source="loopback")],
                     [flow(verify_source="loopback", destination=["redis_t"]),
                      flow("b", ports=[1], verify_source="loopback")],
                     id="another destination, verified for another flow"),
        pytest.param([flow()], [flow(destination=["redis_t"])], id="another destination that nobody verified"),
        # The result has them as removed
        pytest.param([flow(), OTHER._replace(ports=flow(ports=[99]).ports)], [flow()], id="removed"),
    ],
)  # fmt: skip
def test_what_narrows_or_is_covered_is_not_told(before: list[Any], after: list[Any]) -> None:
    assert opened(flow_set(before), flow_set(after)) == ()


def test_users_and_units_that_are_not_checked_any_more_are_told_where_a_layer_checks_them() -> None:
    before = flow_set([flow(users=["www-data"], units=["apache2.service"])])
    after = flow_set([flow(users=["www-data"])])
    [found] = opened(before, after, owners=True)
    assert found.options == ("units",)
    assert "opens what was closed: the units of its clients are not checked." in found.message
    assert opened(before, flow_set([flow()]), owners=True)[0].options == ("users", "units")
    # Others, which the task names, and what nobody checks
    assert opened(before, flow_set([flow(users=["reports"], units=["reports.service"])]), owners=True) == ()
    assert opened(after, before, owners=True) == ()
    assert opened(before, after) == ()


def test_confined_domains_that_are_free_again_are_told() -> None:
    confined = flow_set(WEB_DB.flows, [("httpd_t", "enforce"), ("redis_t", "enforce"), ("named_t", "observe")])
    observed, free = opened(confined, flow_set(WEB_DB.flows, [("httpd_t", "observe")]))
    assert (observed.domain, observed.options) == ("httpd_t", ("mode",))
    assert "was confined, and is only observed now" in observed.message
    assert (free.domain, free.options, free.flow) == ("redis_t", ("confine",), None)
    assert "is no longer confined" in free.message
    assert opened(flow_set(WEB_DB.flows), confined) == ()


def test_a_destination_whose_same_host_clients_were_verified_on_behalf_of_others_is_told() -> None:
    by_ipsec = flow("b", destination=["redis_t"], ports=[1], verify_source="ipsec")
    told, found = opened(flow_set([flow(verify_source="loopback"), by_ipsec]), flow_set([flow(), by_ipsec]))
    assert told.flow == "web_db"
    assert found.as_dict() == {
        "flow": None,
        "domain": "redis_t",
        "options": ["verify_source"],
        "message": "No flow and no loopback_domains verify clients on the same host any more, so the domain of clients "
        "on the same host is not verified for redis_t, on any port.",
    }
    alone = flow_set([by_ipsec])
    [found] = opened(alone._replace(loopback_domains=("httpd_t",)), alone)
    assert found.domain == "redis_t"
    # The flow itself says it, or somebody verifies them still
    assert len(opened(flow_set([flow(verify_source="loopback")]), flow_set([flow(verify_source="ipsec")]))) == 1
    assert opened(alone._replace(loopback_domains=("httpd_t",)), alone._replace(loopback_domains=("init_t",))) == ()


def test_a_sentence_stays_readable() -> None:
    many = [f"192.0.2.{number}" for number in range(1, 40, 2)]
    [found] = opened(flow_set([CLIENTS]), flow_set([flow(source_addresses=many)]))
    assert "192.0.2.1, 192.0.2.3, 192.0.2.5, 192.0.2.9, 192.0.2.11 and 14 more may use" in found.message
