# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading auditd's log and its rotations, the journal by a command that prints it, and the kernel's own log."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.senet.firewall.plugins.module_utils._host import audit
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.records import AUDITD, JOURNALD, KERNEL, Line
from tests.unit import records
from tests.unit.records import auditd, journald, kernel


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """auditd's configuration, whose log is in the same directory."""
    path = tmp_path / "auditd.conf"
    path.write_text(f"#\nlocal_events = yes\nlog_file = {tmp_path}/audit.log\nlog_format = ENRICHED\n")
    return path


def write(path: Path, *lines: str, age: int = 0) -> None:
    content = "".join(line + "\n" for line in lines).encode("utf-8", "surrogateescape")
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    os.utime(path, (1000 - age, 1000 - age))


def read(config: Path, since: float | None = None) -> list[str]:
    found = []
    for path in audit.audit_logs(str(config)):
        for line in audit.read_audit_log(path, since):
            assert line.origin == AUDITD
            found.append(line.text)
    return found


def test_rotations_are_read_from_the_oldest_to_the_newest_compressed_or_not(config: Path, tmp_path: Path) -> None:
    write(tmp_path / "audit.log", "third")
    write(tmp_path / "audit.log.1", "second", age=10)
    write(tmp_path / "audit.log-20261120.gz", "first", "of two", age=20)
    write(tmp_path / "other.log", "no")
    (tmp_path / "audit.log.d").mkdir()
    assert read(config) == ["first", "of two", "second", "third"]
    assert read(config, since=985) == ["second", "third"]


def test_lines_of_any_bytes_and_length(config: Path, tmp_path: Path) -> None:
    write(tmp_path / "audit.log", "a\udcff", "x" * 200000, "end")
    found = read(config)
    assert (found[0], found[-1]) == ("a\\xff", "end")
    assert max(map(len, found)) == 65536


def test_a_rotation_that_is_cut_short_or_damaged(config: Path, tmp_path: Path) -> None:
    whole = gzip.compress(b"".join(b"line %d\n" % number for number in range(5000)))
    path = tmp_path / "audit.log.1.gz"
    for content in (whole[: len(whole) // 2], whole[:2000] + b"\xff" * 400 + whole[2400:]):
        path.write_bytes(content)
        lines = audit.read_audit_log(str(path), None)
        with pytest.raises(SenetError, match=r"audit\.log\.1\.gz cannot be read to its end"):
            list(lines)


def test_without_configuration_it_is_the_usual_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "audit.log", "one")
    monkeypatch.setattr(audit, "_LOG", str(tmp_path / "audit.log"))
    assert audit.audit_logs(str(tmp_path / "none.conf")) == [str(tmp_path / "audit.log")]


def entry(transport: str, message: Any, **fields: Any) -> str:
    stamp = {"__REALTIME_TIMESTAMP": "1795219900000000", "_TRANSPORT": transport, "MESSAGE": message}
    return json.dumps({**stamp, **fields})


def test_lines_of_the_journal() -> None:
    source = {"_SOURCE_REALTIME_TIMESTAMP": "1795219898580000", "_AUDIT_ID": "187"}
    assert audit.journal_line(entry("audit", journald(records.SEND), **source)) == Line(
        JOURNALD, journald(records.SEND), 1795219898.58, 187
    )
    in_bytes = audit.journal_line(entry("kernel", list(b"a\xff")))
    assert in_bytes == Line(KERNEL, "a\\xff", 1795219900.0)
    for text in ("", "[]", "{}", entry("kernel", None), entry("kernel", [999]), entry("kernel", {}), "null", '"a"'):
        assert audit.journal_line(text) is None


@given(st.recursive(st.none() | st.text() | st.integers(), lambda each: st.dictionaries(
    st.sampled_from(["MESSAGE", "__REALTIME_TIMESTAMP", "_AUDIT_ID", "_TRANSPORT"]), each)))  # fmt: skip
def test_an_odd_entry_of_the_journal_is_a_line_or_none(value: Any) -> None:
    found = audit.journal_line(json.dumps(value))
    assert found is None or isinstance(found.text, str)


@given(st.text())
def test_an_odd_record_of_the_kernels_log_is_a_line_or_none(text: str) -> None:
    found = audit.kernel_line(text, 0.0)
    assert found is None or found.origin == KERNEL


def test_what_programs_write_into_the_kernels_log_is_left_out() -> None:
    own = f"5,1234,2500000,-;{kernel(records.SEND)}\n SUBSYSTEM=x\n"
    assert audit.kernel_line(own, 100.0) == Line(KERNEL, kernel(records.SEND), 102.5)
    # LOG_USER, which the kernel gives to what comes from a program
    assert audit.kernel_line(own.replace("5,", "13,", 1), 100.0) is None


def journalctl(tmp_path: Path, lines: list[str], code: int = 0) -> str:
    """A command that notes its arguments and prints a journal."""
    (tmp_path / "printed").write_text("".join(line + "\n" for line in lines))
    path = tmp_path / "journalctl"
    path.write_text(f'#!/bin/sh\necho "$@" >{tmp_path}/asked\ncat {tmp_path}/printed\nexit {code}\n')
    path.chmod(0o755)
    return str(path)


def test_the_journal_is_asked_for_the_kernels_own(tmp_path: Path) -> None:
    command = journalctl(tmp_path, [entry("kernel", "one"), "garbled", entry("audit", "two")])
    assert [line.text for line in audit.read_journal(command, 1000.9, False)] == ["one", "two"]
    asked = (tmp_path / "asked").read_text()
    assert "--since=@1000 _TRANSPORT=kernel + _TRANSPORT=audit _AUDIT_TYPE=1400" in asked
    list(audit.read_journal(command, None, True))
    assert (tmp_path / "asked").read_text().rstrip().endswith(" _TRANSPORT=kernel")
    with pytest.raises(SenetError, match="journalctl --verify"):
        list(audit.read_journal(journalctl(tmp_path, [], code=1), None, True))


@pytest.mark.parametrize(
    ("auditd_runs", "owner", "has_journal", "sources"),
    [
        (True, False, True, ["audit.log"]),
        (True, True, True, ["audit.log", "journal"]),
        (False, False, True, ["audit.log", "journal"]),
        (False, False, False, ["audit.log", "kmsg"]),
    ],
)
def test_which_logs_are_read(
    tmp_path: Path, config: Path, monkeypatch: pytest.MonkeyPatch, auditd_runs: bool, owner: bool, has_journal: bool,
    sources: list[str],
) -> None:  # fmt: skip
    write(tmp_path / "audit.log", auditd(records.SEND))
    monkeypatch.setattr(audit, "_LOG", str(tmp_path / "audit.log"))
    monkeypatch.setattr(audit, "_CONFIG", str(tmp_path / "none.conf"))
    monkeypatch.setattr(audit, "audit_logs", lambda: [str(tmp_path / "audit.log")])
    monkeypatch.setattr(audit, "read_kernel_log", lambda: iter([Line(KERNEL, "kmsg")]))
    command = journalctl(tmp_path, [entry("kernel", "journal")]) if has_journal else None
    taken: list[str] = []
    found = audit.read_records(lambda line: taken.append(line.text), None, auditd_runs, owner, command)
    assert [Path(source).name for source in found.sources] == sources
    assert taken == [auditd(records.SEND), *sources[1:]]
    assert found.problems == ()


def test_a_journal_that_fails_leaves_the_kernels_log_and_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "audit_logs", list)
    monkeypatch.setattr(audit, "read_kernel_log", lambda: iter(()))
    found = audit.read_records(lambda line: None, None, False, False, journalctl(tmp_path, [], code=1))
    assert found.sources == ("/dev/kmsg",)
    assert "failed with 1" in found.problems[0]


def test_names_of_users() -> None:
    assert audit.user_names([0, 4294967295, 2**40]) == {0: "root"}
