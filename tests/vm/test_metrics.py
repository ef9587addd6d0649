# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The watch writes what Prometheus' node exporter reads, in its own domain, and enforces where it cannot write."""

from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.lab.controller import Controller
from tests.lab.lab import Lab
from tests.lab.probes import connect
from tests.lab.vm import Host
from tests.vm.conftest import WEB_DB

DIRECTORY = "/srv/metrics"
FILE = f"{DIRECTORY}/senet_firewall.prom"
ADDRESS = "127.0.0.1"


@pytest.fixture(scope="module")
def measured(lab: Lab) -> Iterator[tuple[Host, Controller]]:
    with lab.start("web", state="slim") as host, Controller(host) as controller:
        host.run(f"mkdir {DIRECTORY}")
        made = controller.module(host, "senet.firewall.flows", flows=[WEB_DB], metrics_directory=DIRECTORY)
        assert made.get("changed"), made
        yield host, controller


def figures(host: Host) -> dict[str, float]:
    text = host.run(f"until test -e {FILE}; do sleep 0.1; done; cat {FILE}").stdout
    return {
        sample.name.removeprefix("senet_firewall_") + "".join(sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def until(host: Host, line: str) -> None:
    """Wait for a figure; the watch looks every ten seconds."""
    host.run(f"until grep -qx 'senet_firewall_{line}' {FILE}; do sleep 0.2; done", timeout=120)


@pytest.mark.thorough
def test_figures_say_what_is_enforced(measured: tuple[Host, Controller]) -> None:
    host, dummy = measured
    found = figures(host)
    assert (found["flowsenforce"], found["flows_enforced"], found["change_pending"]) == (1, 1, 0)
    assert (found["selinux_modeenforcing"], found["repairs_total"], found["refusals_totalweb_db"]) == (1, 0, 0)
    age = host.run(f"echo $(( $(date +%s) - {int(found['last_look_timestamp_seconds'])} ))").stdout
    assert 0 <= int(age) < 60
    assert host.run(f"stat -c '%a %U' {FILE}").stdout == "644 root\n"


@pytest.mark.thorough
def test_refusals_and_repairs_are_counted(measured: tuple[Host, Controller]) -> None:
    host, dummy = measured
    assert connect(host, ADDRESS, 5432).result == "refused"
    until(host, 'refusals_total{flow="web_db"} [1-9].*')
    host.run("iptables -t security -F; ip6tables -t security -F")
    until(host, "repairs_total [1-9].*")
    assert figures(host)["flows_enforced"] == 1


@pytest.mark.thorough
def test_without_auditd_refusals_come_from_the_kernels_log(measured: tuple[Host, Controller]) -> None:
    host, dummy = measured
    before = int(figures(host)["refusals_totalweb_db"])
    # systemctl may not stop auditd
    host.run("kill $(pidof auditd); while pidof auditd; do sleep 0.1; done")
    try:
        assert connect(host, ADDRESS, 5432).result == "refused"
        until(host, f'refusals_total{{flow="web_db"}} {before + 1}')
    finally:
        host.run("systemctl start auditd")


@pytest.mark.thorough
def test_a_directory_that_goes_away_stops_nothing(measured: tuple[Host, Controller]) -> None:
    host, dummy = measured
    host.run(f"mv {DIRECTORY} {DIRECTORY}.away")
    try:
        host.run("iptables -t security -F; until iptables-save -t security | grep -q SECMARK; do sleep 0.2; done")
        assert connect(host, ADDRESS, 5432).result == "refused"
        told = "journalctl -b -u senet-firewall-watch | grep -c 'Enforcement goes on without metrics'"
        host.run(f"until {told}; do sleep 0.2; done")
        assert host.run(told).stdout == "1\n"
    finally:
        host.run(f"mv {DIRECTORY}.away {DIRECTORY}")


@pytest.mark.thorough
def test_the_file_goes_with_the_setting(measured: tuple[Host, Controller]) -> None:
    host, controller = measured
    made = controller.module(host, "senet.firewall.flows", metrics_directory="none")
    assert made["changed"], made
    # The watch has looked and gone on by the second time
    for dummy in range(2):
        host.run("iptables -t security -F; until iptables-save -t security | grep -q SECMARK; do sleep 0.2; done")
    assert host.run(f"ls -A {DIRECTORY}").stdout == ""
