# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
import errno
import json
import os
import stat
from pathlib import Path
from typing import Any, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.senet.firewall.plugins.module_utils._decisions import reverting
from ansible_collections.senet.firewall.plugins.module_utils._host.history import History
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import FlowSet
from ansible_collections.senet.firewall.plugins.module_utils._values.history import (
    Entry,
    compile_entry,
    flows_alone,
    parse_entry,
)
from ansible_collections.senet.firewall.plugins.module_utils._values.intent import Intent
from ansible_collections.senet.firewall.plugins.module_utils._values.moments import moment_text
from tests.unit.flows import SEVERAL, WEB_DB, flow_sets
from tests.unit.owner import pretend_owner

PATH = "/etc/senet/history/3.json"
ONE = Intent(FlowSet(WEB_DB.flows), "iptables")
TWO = Intent(FlowSet(SEVERAL.flows), "nftables")
ENTRY = Entry(ONE, "2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z", False)
WHOLE = json.loads(compile_entry(ENTRY))
TIMES = st.integers(0, 4_000_000_000).map(moment_text)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(flow_sets(), st.sampled_from(["iptables", "nftables"]), st.none() | TIMES, TIMES, st.booleans())
def test_an_entry_comes_back_as_it_was(
    flows: FlowSet, backend: str, confirmed: Optional[str], replaced: str, reverted: bool
) -> None:
    entry = Entry(flows_alone(Intent(flows, backend)), confirmed, replaced, reverted)
    text = compile_entry(entry)
    assert parse_entry(text, PATH) == entry
    assert compile_entry(parse_entry(text, PATH)) == text
    assert text.isascii()


def refused(text: str) -> bool:
    """Whether the text is refused, which is always with a sentence that names the file and says what to do."""
    try:
        parse_entry(text, PATH)
    except SenetError as error:
        said = str(error)
    else:
        return False
    assert said.startswith((f"The file {PATH} is damaged (", f"The file {PATH} has the format "))
    assert said.endswith("to do without this earlier set of flows.")
    return True


@given(st.text() | JSON.map(json.dumps))
def test_what_is_no_entry_is_refused(text: str) -> None:
    assert refused(text)


@given(st.sampled_from(sorted(WHOLE)), JSON)
def test_a_part_of_a_wrong_kind_is_read_or_refused(key: str, value: Any) -> None:
    for content in ({**WHOLE, key: value}, {**WHOLE, "set": {**WHOLE["set"], key: value}}):
        text = json.dumps(content)
        if not refused(text):
            entry = parse_entry(text, PATH)
            assert parse_entry(compile_entry(entry), PATH) == entry


@pytest.mark.parametrize("key", sorted(WHOLE))
def test_a_part_that_is_missing_is_damage(key: str) -> None:
    assert refused(json.dumps({name: value for name, value in WHOLE.items() if name != key}))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 2}, "has the format 2, which another version of the collection has written; use that version"),
        ({"replaced": "yesterday"}, "is damaged .ValueError: times"),
        ({"confirmed": "2026-11-01"}, "is damaged .ValueError: times"),
        ({"reverted": None}, "is damaged .ValueError: reverted None"),
        ({"set": {**WHOLE["set"], "flows": []}}, "is damaged .ValueError: more than flows, or none"),
        ({"set": {**WHOLE["set"], "loopback_domains": ["httpd_t"]}}, "is damaged .ValueError: more than flows"),
        ({"set": {**WHOLE["set"], "format": 2}}, "is damaged .ValueError: format 2"),
    ],
)
def test_what_is_wrong_is_said(change: dict[str, Any], said: str) -> None:
    with pytest.raises(SenetError, match=f"^The file {PATH} {said}"):
        parse_entry(json.dumps({**WHOLE, **change}), PATH)


@given(st.lists(st.integers(1, 1000), min_size=2, max_size=8, unique=True).map(sorted), st.integers(-5, 1100))
def test_a_moment_finds_the_set_that_was_in_force_then(changes: list[int], moment: int) -> None:
    """Sets that were confirmed at these seconds, after none at all; the last is that of now."""
    sets = [None, *(Intent(FlowSet((flow,)), "iptables") for flow in _flows(len(changes)))]
    entries = [
        Entry(sets[number], moment_text(changes[number - 1]) if number else None, moment_text(replaced), False)
        for number, replaced in enumerate(changes)
    ]
    now = 1100
    text = moment_text(max(moment, 0))
    expected = sets[sum(change <= max(moment, 0) for change in changes)]
    assert reverting.set_at(entries, sets[-1], text, now) == expected


def _flows(count: int) -> list[Any]:
    [flow] = WEB_DB.flows
    return [flow._replace(name=f"flow{number}") for number in range(count)]


def test_a_time_between_two_sets_that_do_not_meet_is_not_guessed() -> None:
    entries = [ENTRY, Entry(TWO, None, "2026-11-09T00:00:00Z", False)]
    now = 1_900_000_000
    assert reverting.set_at(entries, None, "2026-11-01", now) == ONE
    for text in ("2026-10-31", "2026-11-02", "2026-11-05"):
        with pytest.raises(SenetError, match="No set of flows in /etc/senet/history was in force at 2026-1"):
            reverting.set_at(entries, None, text, now)
    assert reverting.set_at(entries, None, "2026-11-09", now) is None


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> History:
    pretend_owner(monkeypatch, 0)
    return History(str(tmp_path / "senet" / "history"))


def test_files_are_for_root_alone_and_known_by_their_numbers(history: History) -> None:
    assert history.numbers() == []
    old = os.umask(0)
    try:
        for number in (9, 10, 2):
            history.write(number, f"{number}\n")
    finally:
        os.umask(old)
    directory = Path(history.path(9)).parent
    for name in ("0.json", "x.json", "9.json.new", "flows.json"):
        (directory / name).write_text("")
    assert history.numbers() == [2, 9, 10]
    assert (history.read(9), history.read(3)) == ("9\n", None)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (directory.parent, directory, directory / "9.json")]
    assert modes == [0o700, 0o700, 0o600]
    history.remove(9)
    assert history.numbers() == [2, 10]


def test_a_file_that_others_could_have_written_is_not_trusted(history: History) -> None:
    history.write(1, "x")
    Path(history.path(1)).chmod(0o620)
    with pytest.raises(SenetError, match="1.json is writable by others than root"):
        history.read(1)


def test_a_full_disk_is_told_and_leaves_what_was_there(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    history.write(1, "old")

    def full(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        for number in (1, 2):
            with pytest.raises(SenetError, match=r"json cannot be written .No space left on device.; make its file"):
                history.write(number, "new")
    assert (history.numbers(), history.read(1)) == ([1], "old")


def test_a_directory_that_is_none_is_told(history: History) -> None:
    directory = Path(history.path(1)).parent
    directory.parent.mkdir()
    directory.write_text("")
    with pytest.raises(SenetError, match="history cannot be read .Not a directory.; run as root"):
        history.numbers()
