# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules that only tell, on a host with SELinux."""

import json
from collections.abc import Callable, Iterator

import pytest

from tests.lab.lab import Lab
from tests.lab.vm import Host
from tests.vm.conftest import Module
from tests.vm.facts import POSTGRESQL
from tests.vm.test_messages import commands_gone

pytestmark = pytest.mark.thorough

OnHost = Callable[[Host], Module]


@pytest.fixture(scope="module")
def booted(lab: Lab) -> Iterator[Host]:
    with lab.start("web") as host:
        yield host


def test_processes_of_a_domain_with_their_sockets(booted: Host, module: OnHost) -> None:
    result = module(booted)("process_context_info", domains=["httpd_t", "postgresql_t"])
    assert result["selinux"] is True
    assert {process["context"]["raw"] for process in result["processes"]} == {
        "system_u:system_r:httpd_t:s0",
        "system_u:system_r:postgresql_t:s0",
    }
    web = [process for process in result["processes"] if process["context"]["type"] == "httpd_t"]
    assert {process["unit"] for process in web} == {"apache2.service"}
    assert {process["user"] for process in web} == {"root", "www-data"}
    assert {process["executable"] for process in web} == {"/usr/sbin/apache2"}
    listening = {
        domain: {(socket["address"], socket["port"]) for socket in summary["listening"]}
        for domain, summary in result["domains"].items()
    }
    assert listening == {
        "httpd_t": {("127.0.0.1", 80), ("::1", 80)},
        "postgresql_t": {("127.0.0.1", 5432), ("::1", 5432)},
    }


def test_a_whole_host_fits_into_a_database(booted: Host, module: OnHost) -> None:
    whole = module(booted)("process_context_info")
    assert "processes" not in whole
    assert {"httpd_t", "postgresql_t", "sshd_t", "init_t"} <= set(whole["domains"])
    processes = module(booted)("process_context_info", details=True)
    every = module(booted)("process_context_info", details=True, command_lines=True)
    assert sum(domain["processes"] for domain in whole["domains"].values()) > 30
    sizes = [len(json.dumps(result)) for result in (whole, processes, every)]
    print(len(every["processes"]), sizes)
    assert sizes == sorted(sizes)
    assert sizes[0] * 5 < sizes[2]


def test_process_of_a_port(booted: Host, module: OnHost) -> None:
    result = module(booted)("process_context_info", ports=[5432], listening=True)
    pid, unit = booted.run(f"systemctl show --value --property MainPID {POSTGRESQL}; echo {POSTGRESQL}").stdout.split()
    assert [(process["pid"], process["user"], process["unit"]) for process in result["processes"]] == [
        (int(pid), "postgres", f"{unit}.service")
    ]


def test_stock_debian_can_enforce_and_a_foreign_label_rule_would_cut_ssh(booted: Host, module: OnHost) -> None:
    result = module(booted)("enforcement_info")
    layer = result["layers"]["selinux"]
    assert (layer["available"], layer["enforced"], layer["reasons"]) == (True, True, [])
    assert {"sshd_t", "httpd_t", "postgresql_t"} <= set(result["domains_cut"])
    assert "sshd_t" in " ".join(layer["notes"])
    assert result["selinux"] == {**result["selinux"], "status": "enforcing", "policy": "default", "mls": True}
    assert [result["iptables"][family]["selinux_match"] for family in ("ipv4", "ipv6")] == [False, False]
    assert result["kernel"]["release"] == booted.run("uname -r").stdout.strip()
    assert result["label_rules"] == []


def test_reasons_when_commands_are_missing(booted: Host, module: OnHost) -> None:
    with commands_gone(booted, "{ip*tables*,nft,semodule}"):
        layer = module(booted)("enforcement_info")["layers"]["selinux"]
    assert not layer["available"]
    assert not layer["enforced"]
    assert [reason.split(":")[0] for reason in layer["reasons"]] == [
        "The command semodule is missing",
        "The command iptables is missing",
        "The command ip6tables is missing",
        "The command nft is missing",
    ]


def test_own_rules_are_seen_and_nobody_is_cut(enforced_shared: Host, module: OnHost) -> None:
    result = module(enforced_shared)("enforcement_info")
    assert result["domains_cut"] == []
    assert len(result["label_rules"]) == 28  # 7 for each hook and family
    assert all(rule.startswith("security: -A SENET_") for rule in result["label_rules"])
