# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host whose kernel has SELinux off: the collection sees what runs, and says what it cannot do. What needs SELinux
changes nothing; the layer owner, which `auto` chooses, says what it does not check."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

testinfra_hosts = ["ansible://all"]


@pytest.fixture(scope="module")
def converged(host: Host) -> Any:
    """What the converge play wrote down: refusal, and the rules before and after."""
    name = host.backend.get_hostname()
    return json.loads(Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"], f"{name}.json").read_text())


@pytest.fixture(scope="module")
def found(host: Host) -> Any:
    return host.ansible("senet.firewall.process_context_info", check=False)


def test_contexts_are_null_and_the_result_says_why(found: Any) -> None:
    assert found["selinux"] is False
    assert found["processes"]
    assert {process["context"] for process in found["processes"]} == {None}


@pytest.mark.parametrize(
    ("unit", "port", "executable"),
    [
        ("apache2.service", 80, "/usr/sbin/apache2"),
        ("postgresql@15-main.service", 5432, "/usr/lib/postgresql/15/bin/postgres"),
    ],
)
def test_a_real_service_is_found_by_unit_executable_and_listening_port(
    found: Any, unit: str, port: int, executable: str
) -> None:
    processes = [process for process in found["processes"] if process["unit"] == unit]
    assert {process["executable"] for process in processes} == {executable}
    assert port in {socket["port"] for process in processes for socket in process["listening"]}


def test_the_host_can_not_enforce_anything_because_selinux_is_disabled(host: Host) -> None:
    assert host.ansible("senet.firewall.enforcement_info", check=False)["selinux"]["status"] == "disabled"


def test_the_layer_selinux_is_refused_in_one_sentence(converged: Any) -> None:
    assert "SELinux is disabled on this host" in converged["refusal"]
    assert "\n" not in converged["refusal"]


def test_the_refused_role_leaves_no_file(converged: Any) -> None:
    assert set(converged["left"]) <= {"/run/senet-firewall.lock"}


def test_a_flow_without_users_says_why_it_needs_them(converged: Any) -> None:
    assert "SELinux is disabled here; give users or units" in converged["untold"]


def test_what_needs_selinux_is_absent(converged: Any) -> None:
    assert converged["gone"] == [False, False]


def test_auto_takes_the_layer_owner_and_says_what_is_not_checked(converged: Any) -> None:
    auto = converged["auto"]
    assert auto["layers"] == ["owner"]
    assert [(row["flow"], row["uids"], row["units"]) for row in auto["owners"]] == [("web_db", [33], [])]
    domains, unit = auto["warnings"]
    assert "NO domain is checked on this host" in domains
    assert "does not check which program answers as the server" in domains
    assert unit == "Every program of www-data may use the flow 'web_db', since no unit is checked for it."


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_any_program_of_the_user_connects_and_no_other_user(host: Host, address: str) -> None:
    assert host.run("runuser -u www-data -- nc -vz %s 5432", address).rc == 0
    for who in ("root", "postgres", "nobody"):
        refused = host.run("runuser -u %s -- nc -vz %s 5432", who, address)
        assert (refused.rc, "Connection refused" in refused.stderr) == (1, True), refused


def rules(saved: str) -> list[str]:
    """What iptables-save printed, without the time of day and the packet counts."""
    return [re.sub(r"\[\d+:\d+]", "", line) for line in saved.splitlines() if not line.startswith("#")]


@pytest.mark.parametrize("family", [0, 1], ids=["ipv4", "ipv6"])
def test_the_refused_role_leaves_the_rules_as_they_were(converged: Any, family: int) -> None:
    before = rules(converged["before"][family])
    assert "-A INPUT -p tcp -m tcp --dport 5432 -j ACCEPT" in before
    assert rules(converged["after"][family]) == before
