# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pair's flow on a host without SELinux: what the role said, and what real connections meet."""

from typing import Any

import pytest
from testinfra.host import Host

testinfra_hosts = ["ansible://all"]

both_families = pytest.mark.parametrize("address", ["127.0.0.1", "::1"])


@both_families
def test_apache_reaches_the_service(ask: Any, pair: Any, address: str) -> None:
    assert pair["answer"] in ask("apache", address)


@both_families
@pytest.mark.parametrize("who", ["root", "nobody"])
def test_another_user_is_refused(ask: Any, pair: Any, who: str, address: str) -> None:
    assert pair["refusal"] in ask(who, address)


@both_families
def test_apaches_user_outside_its_unit_is_refused(ask: Any, pair: Any, address: str) -> None:
    assert pair["refusal"] in ask("www-data", address)


def test_other_ports_are_not_affected(host: Host) -> None:
    host.run_expect([0], "nc -z ::1 22")


def test_check_mode_said_what_the_role_then_did_and_nothing_afterwards(results: Any) -> None:
    said, done, again, said_again = results
    assert [result["check_mode"] for result in results] == [True, False, False, True]
    assert [result["changed"] for result in results] == [True, True, False, False]
    assert (said["diff"], said["steps"], said["flows"]) == (done["diff"], done["steps"], done["flows"])
    assert (again["steps"], said_again["steps"]) == ([], [])


def test_the_result_says_which_layer_and_that_domains_are_not_checked(results: Any) -> None:
    for result in results:
        assert result["layers"] == ["owner"]
        assert any("domain" in warning for warning in result["warnings"])


@pytest.mark.parametrize("command", ["iptables-save", "ip6tables-save"])
def test_the_administrators_rule_is_untouched(host: Host, command: str) -> None:
    assert "-A OUTPUT -p tcp -m tcp --dport 9 -j DROP" in host.check_output(command).splitlines()
