# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The flow is taken away: everybody reaches the service again, and of the collection only the records stay."""

from typing import Any

import pytest
from testinfra.host import Host

testinfra_hosts = ["ansible://all"]


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("who", ["apache", "www-data", "root", "nobody"])
def test_everybody_reaches_the_service_again(ask: Any, pair: Any, who: str, address: str) -> None:
    assert pair["answer"] in ask(who, address)


def test_check_mode_said_what_taking_it_away_then_did(results: Any) -> None:
    said, done, again = results[-3:]
    assert [result["check_mode"] for result in (said, done, again)] == [True, False, False]
    assert [result["changed"] for result in (said, done, again)] == [True, True, False]
    assert (said["diff"], said["steps"], said["flows"]) == (done["diff"], done["steps"], done["flows"])
    assert done["flows"] == []


@pytest.mark.parametrize("command", ["iptables-save", "ip6tables-save", "nft list ruleset"])
def test_no_rule_is_left(host: Host, command: str) -> None:
    assert "senet" not in host.check_output(command).lower()


def test_no_file_is_left_but_the_history_the_guards_record_and_its_lock(host: Host) -> None:
    found = host.check_output("find / /run -xdev -name '*senet*'").splitlines()
    assert sorted(found) == ["/etc/senet", "/run/senet-firewall.lock", "/var/lib/senet-firewall"]
    assert host.file("/etc/senet").listdir() == ["history"]
    assert not host.file("/etc/systemd/system/apache2.service.d").exists


def test_no_unit_is_left(host: Host) -> None:
    assert host.check_output("systemctl list-units --all --plain --no-legend '*senet*'") == ""
