# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What make bypass calls blocked, a limit, or an error; and that its table names what there is."""

from pathlib import Path

import pytest

from tests.bypass.attempts import ATTEMPTS, CONFINED, PERMITTED, REFERRED, ROOT, Attempt, Limits
from tests.bypass.on_host import packets
from tests.bypass.on_host.ask import HOW
from tests.bypass.verdicts import good, limits, missing_tests, permitted, verdict


@pytest.mark.parametrize("after", ["refused", "timeout", "denied"])
def test_what_got_through_without_flows_and_does_not_with_them_is_blocked(after: str) -> None:
    assert verdict("answered", after, limit="", never="") == "blocked"


@pytest.mark.parametrize("after", ["answered", "arrived"])
def test_what_gets_through_is_a_limit_or_an_error(after: str) -> None:
    assert verdict("answered", after, limit="Sockets", never="") == "limit: Sockets"
    assert not good(verdict("answered", after, limit="", never=""))


def test_a_limit_that_is_none_any_more_is_an_error() -> None:
    assert not good(verdict("answered", "refused", limit="Sockets", never=""))


@pytest.mark.parametrize("before", ["timeout", "refused", "broken: TypeError()"])
def test_an_attempt_that_never_gets_through_shows_nothing(before: str) -> None:
    assert not good(verdict(before, "timeout", limit="", never=""))
    assert verdict(before, "timeout", limit="", never="no room") == "blocked"
    assert verdict("denied", "denied", limit="", never="") == "blocked"


@pytest.mark.parametrize("after", ["broken: TypeError()", "no answer", "ENOENT"])
def test_an_attempt_that_failed_by_itself_is_an_error(after: str) -> None:
    assert not good(verdict("answered", after, limit="", never=""))


def test_what_a_flow_allows_gets_through_or_meets_a_limit() -> None:
    assert permitted("answered", limit="") == "permitted"
    assert permitted("timeout", limit="Tunnels") == "limit: Tunnels"
    assert not good(permitted("timeout", limit=""))
    assert not good(permitted("answered", limit="Tunnels"))


def test_a_limit_is_of_its_askers_and_backends() -> None:
    attempt = Attempt("one", "tcp", limits=Limits("Tunnels", ""), limit_of=(ROOT,))
    assert attempt.limit_for(ROOT, "iptables") == "Tunnels"
    assert attempt.limit_for(ROOT, "nftables") == attempt.limit_for(CONFINED, "iptables") == ""


def test_the_confined_domain_asks_for_what_no_flow_has() -> None:
    plain = ATTEMPTS[0]
    assert (plain.job("1", ROOT, "ipv4").port, plain.job("1", CONFINED, "ipv6").port) == (5432, 60911)
    assert plain.job("1", CONFINED, "ipv6").address == "fd99:1::9"


def test_the_limits_are_the_bullets_of_the_readme_and_the_headings_of_the_page(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text(
        "# X\n\n## What it does not cover\n\n- **One\n  two.** Text\n\n## Other\n- **No**\n"
    )
    (tmp_path / "docs" / "limits.md").write_text("# Limits\n\n## Three\n")
    assert limits(tmp_path) == {"One two", "Three"}


def test_every_attempt_has_its_function_and_every_limit_its_name() -> None:
    assert {attempt.how for attempt in ATTEMPTS + PERMITTED} | {"tcp", "udp"} == set(HOW)
    named = {limit for attempt in ATTEMPTS + PERMITTED for limit in attempt.limits if limit}
    named |= {one.verdict.removeprefix("limit: ") for one in REFERRED if one.verdict != "blocked"}
    assert named <= limits()


def test_every_test_that_is_referred_to_exists() -> None:
    assert missing_tests([test for one in REFERRED for test in one.tests]) == []
    assert missing_tests(["tests/vm/test_bypass.py::test_nothing", "tests/vm/nothing.py::test"]) != []


def test_no_two_attempts_of_one_asker_have_the_same_name() -> None:
    names = [(attempt.name, asker) for attempt in ATTEMPTS for asker in attempt.askers]
    assert len(names) == len(set(names))


def test_checksums_are_those_of_a_known_packet() -> None:
    packet = packets.ipv4_packet("10.0.0.1", "10.0.0.2", 17, packets.datagram("10.0.0.1", "10.0.0.2", 1, 2, b"odd"))
    assert packets.checksum(packet[:20]) == 0
    assert packets.checksum(packets.pseudo_header("10.0.0.1", "10.0.0.2", 17, 11) + packet[20:]) == 0
