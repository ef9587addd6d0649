# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.moments import moment_text, parse_moment
from ansible_collections.senet.firewall.plugins.module_utils._values.records import (
    Detail,
    Record,
    Stamp,
    decoded,
    is_lost,
    journald_text,
    parse_avc,
    parse_detail,
    parse_owner,
    parse_stamp,
)
from tests.unit import records
from tests.unit.records import SECONDS, auditd, journald, kernel


def test_a_refused_packet() -> None:
    assert parse_avc(records.SEND, 1.5) == Record(
        time=1.5, verdict="refused", tclass="packet", permissions=frozenset(["send"]), subject="unconfined_t",
        object="senet_web_db_client_packet_t", pid=587, command="senet-probe", source="::1", source_port=44784,
        destination="::1", destination_port=5432, interface="lo",
    )  # fmt: skip


def test_what_is_granted_is_observed_and_what_a_permissive_domain_does_is_not_refused() -> None:
    for text, verdict in ((records.GRANTED, "observed"), (records.avc(permissive="1"), "permissive")):
        record = parse_avc(text, 0)
        assert record is not None
        assert record.verdict == verdict


def test_a_connect_names_its_process_and_a_packet_does_not() -> None:
    connect, packet = parse_avc(records.CONNECT, 0), parse_avc(records.SEND, 0)
    assert connect is not None
    assert packet is not None
    assert (connect.command, connect.protocol, connect.destination_port) == ("nginx: worker", "tcp", 5432)
    assert (connect.names_process, packet.names_process) == (True, False)
    assert (connect.outward, connect.destination) == (True, "")


def test_the_stamp_in_each_log() -> None:
    stamp = Stamp(SECONDS + 0.58, 187)
    for line in (auditd(records.SEND), "node=web1 " + auditd(records.SEND), kernel(records.SEND)):
        assert parse_stamp(line) == ("AVC", stamp, records.SEND)
    enriched = auditd(records.SYSCALL + records.ENRICHED, kind="SYSCALL")
    assert parse_stamp(enriched) == ("SYSCALL", stamp, records.SYSCALL)
    assert journald_text(journald(records.SEND)) == records.SEND
    for line in ("", "type=AVC", "a " + auditd(records.SEND), "type=AVC msg=audit(99999999999.123:1): avc:"):
        assert parse_stamp(line) is None


def test_what_a_connects_event_adds() -> None:
    assert parse_detail("SYSCALL", records.SYSCALL) == Detail(uid=33)
    assert parse_detail("SOCKADDR", records.SOCKADDR) == Detail(address="192.0.2.9")
    six = "saddr=0A0015380000000020010DB800000000000000000000000900000000"
    assert parse_detail("SOCKADDR", six) == Detail(address="2001:db8::9")
    mapped = "saddr=0A0015380000000000000000000000000000FFFFC000020900000000"
    assert parse_detail("SOCKADDR", mapped) == Detail(address="192.0.2.9")
    # A Unix socket, and a big-endian host
    assert parse_detail("SOCKADDR", "saddr=01002F72756E2F6100") == Detail()
    assert parse_detail("SOCKADDR", "saddr=00021538C00002090000000000000000") == Detail(address="192.0.2.9")
    assert parse_detail("PROCTITLE", "proctitle=6E67") is None


def test_a_line_of_the_layer_owner() -> None:
    record = parse_owner(records.OWNER, 3.0)
    assert record is not None
    assert (record.by_owner, record.flow, record.uid, record.verdict) == (True, "web_db", 1000, "observed")
    assert (record.protocol, record.destination_port, record.interface) == ("tcp", 5432, "lo")
    assert parse_owner("kernel: " + records.OWNER, 3.0) is None
    sctp = parse_owner("senet would refuse a IN=eth0 OUT= SRC=192.0.2.1 DST=192.0.2.2 PROTO=132", 0)
    assert sctp is not None
    assert (sctp.protocol, sctp.outward, sctp.interface) == ("sctp", False, "eth0")


def test_other_classes_are_none_of_ours_and_what_is_cut_short_is_said() -> None:
    assert parse_avc(records.avc(tclass="file", permission="read"), 0) is None
    assert parse_avc(records.avc(tclass="tcp_socket", permission="name_bind"), 0) is None
    assert parse_avc("avc:  received setenforce notice (enforcing=1)", 0) is None
    for end in ("tclass=", "scontext="):
        with pytest.raises(ValueError, match="no c"):
            parse_avc(records.SEND[: records.SEND.index(end)], 0)


def test_strings_in_hexadecimal_digits_are_made_harmless() -> None:
    assert decoded('"abc"') == "abc"
    assert decoded("612062") == "a b"
    assert decoded("1B5B316D") == "\\x1b[1m"
    assert decoded("FF0061") == "\\xff"
    assert decoded("(null)") == "(null)"


def test_a_command_cannot_pose_as_a_field() -> None:
    # The kernel writes a command with a quote or a blank in it in hexadecimal digits
    forged = b'x" scontext=system_u:system_r:httpd_t:s0'.hex().upper()
    record = parse_avc(records.SEND.replace('"senet-probe"', forged), 0)
    assert record is not None
    assert record.subject == "unconfined_t"


@pytest.mark.parametrize(
    "line", ["audit: audit_lost=12 audit_rate_limit=0", "kauditd_printk_skb: 9 callbacks suppressed"]
)
def test_dropped_records(line: str) -> None:
    assert is_lost(line)
    assert not is_lost("usb 1-1: " + line)


LINES = [
    auditd(records.SEND), auditd(records.PEER), auditd(records.CONNECT), kernel(records.NETIF),
    journald(records.GRANTED), auditd(records.SYSCALL + records.ENRICHED, kind="SYSCALL"),
    auditd(records.SOCKADDR, kind="SOCKADDR"), records.OWNER,
]  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A record with parts taken out, doubled, exchanged with another's or written over."""
    line = draw(st.sampled_from(LINES))
    for dummy in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(line)))
        end = draw(st.integers(start, min(len(line), start + 40)))
        other = draw(st.sampled_from(LINES))
        part = draw(st.text(max_size=12) | st.just("") | st.just(line[start:end] * 2) | st.just(other[start:end]))
        line = line[:start] + part + line[end:]
    return line


@given(mutated() | st.text())
def test_a_mutated_line_is_a_record_or_none(line: str) -> None:
    found = parse_stamp(line)
    text = found[2] if found else line
    for kind in ("AVC", "SYSCALL", "SOCKADDR"):
        with suppress(ValueError):
            parse_detail(kind, text)
    parse_owner(line, 0)
    is_lost(line)
    journald_text(line)
    with suppress(ValueError):
        record = parse_avc(text, 0)
        if record is not None:
            assert record.subject
            assert record.object
            assert all(port is None or 0 <= port <= 65535 for port in (record.source_port, record.destination_port))


NOW = 1795219898.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30m", NOW - 1800), ("1d", NOW - 86400), ("1970-01-02", 86400.0), ("1970-01-02T00:01", 86460.0),
        ("1970-01-02 00:00:01Z", 86401.0), ("1970-01-02T01:00:00.5+01:00", 86400.0), ("1970-01-01T23:00-0100", 86400.0),
    ],
)  # fmt: skip
def test_moments(text: str, seconds: float) -> None:
    assert parse_moment("since", text, NOW) == seconds


@pytest.mark.parametrize("text", ["yesterday", "", "2026-13-01", "10", "5w", "2026-11-21T25:00", "-1d"])
def test_what_is_no_moment_is_an_error(text: str) -> None:
    with pytest.raises(SenetError, match="since is .* not a time"):
        parse_moment("since", text, NOW)


def test_the_text_of_a_moment() -> None:
    assert moment_text(SECONDS + 0.58) == "2026-11-21T00:11:38Z"
    assert parse_moment("since", moment_text(SECONDS), NOW) == SECONDS
