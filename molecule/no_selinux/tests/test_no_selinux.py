# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host whose kernel has SELinux off: the collection sees what runs, says what it cannot do, and does nothing."""

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


def test_the_role_refuses_in_one_sentence_about_selinux(converged: Any) -> None:
    assert "SELinux" in converged["refusal"]
    assert "\n" not in converged["refusal"]


def rules(saved: str) -> list[str]:
    """What iptables-save printed, without the time of day and the packet counts."""
    return [re.sub(r"\[\d+:\d+]", "", line) for line in saved.splitlines() if not line.startswith("#")]


@pytest.mark.parametrize("family", [0, 1], ids=["ipv4", "ipv6"])
def test_the_refused_role_leaves_the_rules_as_they_were(converged: Any, family: int) -> None:
    before = rules(converged["before"][family])
    assert "-A INPUT -p tcp -m tcp --dport 5432 -j ACCEPT" in before
    assert rules(converged["after"][family]) == before
