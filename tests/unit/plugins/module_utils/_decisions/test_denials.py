# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines of logs, grouped by who tried what."""

from __future__ import annotations

import gzip
import json
import tempfile
import tracemalloc
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.senet.firewall.plugins.module_utils._decisions.advice import Known
from ansible_collections.senet.firewall.plugins.module_utils._decisions.denial_rows import rows
from ansible_collections.senet.firewall.plugins.module_utils._decisions.denials import (
    EACH,
    GROUPS,
    PORTS,
    Collector,
    Group,
    Wish,
)
from ansible_collections.senet.firewall.plugins.module_utils._host import connecting
from ansible_collections.senet.firewall.plugins.module_utils._host.audit import read_audit_log
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import FlowSet
from ansible_collections.senet.firewall.plugins.module_utils._values.records import AUDITD, JOURNALD, KERNEL, Line
from tests.unit import records
from tests.unit.flows import PEERS, PLACED, SEVERAL, WEB_DB
from tests.unit.plugins.module_utils._values.test_records import mutated
from tests.unit.records import SECONDS, auditd, avc, journald, kernel


def collect(*lines: str | Line, flows: FlowSet = WEB_DB, named: tuple[str, ...] = (), **wish: Any) -> Collector:
    collector = Collector(flows, Wish(flows=frozenset(named), **wish))
    for line in lines:
        collector.feed(line if isinstance(line, Line) else Line(AUDITD, line))
    return collector


def only(collector: Collector) -> Group:
    (group,) = collector.groups
    return group


def test_what_one_domain_tries_again_is_one_group() -> None:
    lines = [auditd(avc(src=str(40000 + n)), n, SECONDS + n) for n in range(5)]
    group = only(collect(*lines, auditd(avc(saddr="::1", daddr="::1"), 9, SECONDS + 9)))
    assert (group.count, group.first, group.last) == (6, SECONDS + 0.58, SECONDS + 9.58)
    assert (group.key.who, group.key.flow, group.key.side, group.key.port) == ("redis_t", "web_db", "client", 5432)
    assert (group.clients, group.servers) == ({"127.0.0.1", "::1"}, {"127.0.0.1", "::1"})
    assert not group.reliable


@pytest.mark.parametrize(
    ("change", "side", "outward"),
    [
        ({}, "client", True),
        ({"permission": "recv", "src": "5432", "dest": "40000"}, "client", False),
        ({"permission": "recv", "type": "senet_web_db_server_packet_t"}, "server", False),
        ({"src": "5432", "dest": "40000", "type": "senet_web_db_server_packet_t"}, "server", True),
        # In another network namespace a server receives what its client's host has labelled
        ({"permission": "recv"}, "server", False),
        # No port is the flow's any more
        ({"src": "40000", "dest": "6000"}, "client", True),
    ],
)
def test_the_side_and_the_service(change: dict[str, str], side: str, outward: bool) -> None:
    key = only(collect(auditd(avc(**change)))).key
    port = 6000 if change.get("dest") == "6000" else 5432
    assert (key.flow, key.side, key.outward, key.port) == ("web_db", side, outward, port)


def test_a_connect_joins_the_packets_of_its_domain_and_port_with_user_and_address() -> None:
    group = only(
        collect(
            auditd(records.CONNECT, 900),
            auditd(avc(domain="httpd_t"), 901),
            auditd(records.SYSCALL + records.ENRICHED, 900, kind="SYSCALL"),
            # Of another event, whoever it is of
            auditd(records.SYSCALL.replace("uid=33", "uid=0"), 902, kind="SYSCALL"),
            auditd(records.SOCKADDR, 900, kind="SOCKADDR"),
        )
    )
    assert (group.key.who, group.key.flow, group.count) == ("httpd_t", "web_db", 2)
    assert (group.uids, group.servers) == ({33}, {"127.0.0.1", "192.0.2.9"})
    assert group.types == {"postgresql_port_t", "senet_web_db_client_packet_t"}
    assert group.processes == {(901, "nginx: worker"), (587, "redis-server")}
    assert not group.reliable


def test_interleaved_connects_keep_their_own_users() -> None:
    other = records.CONNECT.replace("5432", "6379")
    collector = collect(
        auditd(records.CONNECT, 1),
        auditd(other, 2),
        auditd(records.SYSCALL.replace("uid=33", "uid=99"), 2, kind="SYSCALL"),
        auditd(records.SYSCALL, 1, kind="SYSCALL"),
    )
    assert {group.key.port: group.uids for group in collector.groups} == {5432: {33}, 6379: {99}}
    assert all(group.reliable for group in collector.groups)


def test_the_types_of_every_flow_also_of_one_that_is_gone() -> None:
    names = {"refused", "client_midstream", "server_midstream", "client", "server"}
    for end in names:
        assert only(collect(auditd(avc(type=f"senet_old_one_{end}_packet_t")))).key.flow == "old_one"
    for other in ("senet_default_packet_t", "postgresql_client_packet_t", "unlabeled_t"):
        assert only(collect(auditd(avc(type=other)))).key.flow == ""


@pytest.mark.parametrize(
    ("change", "side", "port"),
    [
        ({"dest": "443"}, "client", 443),
        ({"permission": "recv", "dest": "80", "src": "50000"}, "server", 80),
        # The answer of a server, and to a client
        ({"src": "80", "dest": "50000"}, "server", 80),
        ({"permission": "recv", "src": "443", "dest": "50000"}, "client", 443),
        ({"permission": "recv", "src": "123", "dest": "123"}, "server", 123),
    ],
)
def test_the_service_of_packets_of_no_flow(change: dict[str, str], side: str, port: int) -> None:
    key = only(collect(auditd(avc(domain="httpd_t", type="senet_default_packet_t", **change)))).key
    assert (key.side, key.port) == (side, port)


def test_other_classes_have_a_group_a_type() -> None:
    other = records.PEER.replace("senet_default_peer_t", "httpd_t")
    collector = collect(*(auditd(text) for text in (records.PEER, other, records.NETIF)))
    assert {group.key.what for group in collector.groups} == {
        ("peer", "senet_default_peer_t"), ("peer", "httpd_t"), ("netif", "partner_iface_t"),
    }  # fmt: skip


def test_lines_of_the_layer_owner_have_a_group_a_user() -> None:
    kernels = [Line(KERNEL, records.OWNER.replace("UID=1000", f"UID={uid}"), SECONDS) for uid in (1000, 1000, 0)]
    collector = collect(*kernels)
    assert [(group.key.who, group.key.flow, group.count) for group in collector.groups] == [
        ("1000", "web_db", 2), ("0", "web_db", 1),
    ]  # fmt: skip
    # The prefix has room for a part of the name alone
    cut = Line(KERNEL, records.OWNER.replace("refuse web_db ", "refuse web_ "), SECONDS)
    assert only(collect(cut)).key.flow == "web_db"
    assert only(collect(cut, flows=FlowSet(()))).key.flow == "web_"


def test_the_journal_has_a_record_twice_and_auditds_log_may_have_it_too() -> None:
    copies = [Line(KERNEL, kernel(records.SEND), 0), Line(JOURNALD, journald(records.SEND), SECONDS + 0.58, 187)]
    assert only(collect(*copies)).count == 1
    assert only(collect(auditd(records.SEND), *copies)).count == 1
    later = Line(JOURNALD, journald(records.SEND), SECONDS + 60.58, 188)
    assert only(collect(auditd(records.SEND), *copies, later)).count == 2
    # One event can have the same record for two packets, and auditd's log has all of them
    assert only(collect(auditd(records.SEND), auditd(records.SEND))).count == 2


def test_the_collections_own_questions_are_nobodys_attempts() -> None:
    question = records.CONNECT.replace("6E67696E783A20776F726B6572", f'"{connecting.COMMAND}"')
    collector = collect(auditd(question), auditd(records.SEND.replace("senet-probe", connecting.COMMAND)))
    # Whose name a record of a packet has says nothing
    assert (collector.questions, collector.records) == (1, 1)


def test_filters() -> None:
    lines = [auditd(avc(domain=domain), n, SECONDS + n) for n, domain in enumerate(["redis_t", "named_t", "sshd_t"])]
    assert collect(*lines, since=SECONDS + 1).records == 2
    assert collect(*lines, until=SECONDS + 1).records == 1
    assert only(collect(*lines, domains=frozenset(["named_t"]))).key.who == "named_t"
    assert collect(*lines, named=("cache",)).records == 0
    assert collect(*lines, named=("web_db",)).records == 3


def test_a_scan_of_ports_fills_one_group_and_leaves_room_for_others() -> None:
    change = {"domain": "httpd_t", "type": "senet_default_packet_t"}
    scan = [auditd(avc(dest=str(port), **change), port) for port in range(1, 3000)]
    collector = collect(*scan, auditd(records.SEND))
    assert len(collector.groups) == PORTS + 2
    assert [group.count for group in collector.groups if group.key.port is None] == [2999 - PORTS]
    assert collector.left_out == 0


def test_groups_have_a_bound_and_what_is_left_out_is_counted() -> None:
    lines = [auditd(avc(domain=f"d{n}_t", saddr=f"10.0.{n // 250}.{n % 250}"), n) for n in range(GROUPS + 7)]
    collector = collect(*lines, *lines)
    assert (len(collector.groups), collector.records, collector.left_out) == (GROUPS, 2 * (GROUPS + 7), 14)


def test_a_group_has_a_bound() -> None:
    lines = [auditd(avc(saddr=f"10.0.0.{n}").replace("pid=587", f"pid={n}"), n) for n in range(50)]
    group = only(collect(*lines))
    assert (len(group.clients), len(group.processes), group.count) == (EACH, EACH, 50)


def test_what_is_cut_short_and_what_was_dropped_is_said() -> None:
    collector = collect(auditd(records.SEND[:100]), Line(KERNEL, "audit: audit_lost=3 audit_rate_limit=0", 0))
    assert (collector.unreadable, collector.lost, collector.records) == (1, True, 0)


@pytest.mark.long
def test_memory_is_bounded() -> None:
    def line(number: int) -> str:
        change = {"domain": f"d{number % 700}_t", "saddr": f"10.{number % 251}.1.1", "dest": str(number % 60000 + 1)}
        return auditd(avc(type="senet_default_packet_t", **change), number)

    collector = Collector(WEB_DB, Wish())
    tracemalloc.start()
    try:
        peaks = []
        for turn in range(2):
            for number in range(turn * 6000, turn * 6000 + 6000):
                collector.feed(Line(AUDITD, line(number)))
            peaks.append(tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0] < 24_000_000


@given(st.lists(st.tuples(st.sampled_from([AUDITD, JOURNALD, KERNEL]), mutated() | st.text()), max_size=20))
def test_mutated_logs_end_in_rows(lines: list[tuple[str, str]]) -> None:
    for flows in (SEVERAL, PLACED, PEERS):
        collector = Collector(flows, Wish())
        for origin, text in lines:
            collector.feed(Line(origin, text, 1.0, 1))
        found = rows(collector, Known(flows), [])
        assert sum(row["count"] for row in found) + collector.left_out == collector.records <= len(lines)
        assert all(row["advice"] for row in found)


@given(
    st.lists(mutated(), max_size=8),
    st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=20)), max_size=6),
    st.booleans(),
)
def test_a_log_of_any_bytes_is_read_to_an_end(
    lines: list[str], changes: list[tuple[float, bytes]], compressed: bool
) -> None:
    content = "".join(line + "\n" for line in lines).encode("utf-8", "surrogatepass")
    content = gzip.compress(content) if compressed else content
    for place, part in changes:
        at = int(place * len(content))
        content = content[:at] + part + content[at + len(part) // 2 :]
    collector = Collector(SEVERAL, Wish())
    with tempfile.NamedTemporaryFile() as log:
        log.write(content)
        log.flush()
        with suppress(SenetError):
            for line in read_audit_log(log.name, None):
                collector.feed(line)
    found = rows(collector, Known(SEVERAL), [])
    assert sum(row["count"] for row in found) + collector.left_out == collector.records
    json.dumps(found).encode()


def test_what_is_remembered_of_odd_records_is_short() -> None:
    """Whoever can write long nonsense into a log is not to fill the memory."""
    long = "x" * 60000
    collector = Collector(WEB_DB, Wish())
    tracemalloc.start()
    try:
        for number in range(300):
            change = {"saddr": f"{number}{long}", "domain": f"d{number}_t:s0:{long}"}
            collector.feed(Line(JOURNALD, journald(avc(**change)), 2.0, number))
        assert tracemalloc.get_traced_memory()[0] < 4_000_000
    finally:
        tracemalloc.stop()
    assert collector.records == 300
