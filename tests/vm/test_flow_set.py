# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Six pairs on one host: by the role flow_set in one change, and by six roles in six."""

import re
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from tests.lab.controller import Controller, Play
from tests.lab.lab import Lab
from tests.lab.probes import ADDRESSES, as_domain, connect
from tests.lab.vm import Host

PAIRS = (
    "httpd_to_postgresql", "httpd_to_redis", "httpd_to_mysqld", "httpd_to_memcached", "chronyd_to_ntp",
    "zabbix_agent_to_zabbix_server",
)  # fmt: skip
SET = {"flow_set_flows": [{"pair": pair} for pair in PAIRS]}
# Policy loads, as the kernel's audit log has them
LOADS = "ausearch --input-logs -m MAC_POLICY_LOAD </dev/null | grep -c ^type=MAC_POLICY_LOAD || true"
ABSENT = [{"hosts": "all", "gather_facts": False, "tasks": [{"senet.firewall.flows": {"state": "absent"}}]}]


def roles(*names: str, **variables: Any) -> list[dict[str, Any]]:
    play = {"hosts": "all", "gather_facts": False, "vars": variables}
    return [{**play, "roles": [f"senet.firewall.{name}" for name in names]}]


class Run(NamedTuple):
    """A playbook's end, its seconds, the policy loads meanwhile, and its tasks."""

    play: Play
    seconds: float
    loads: int
    tasks: int

    @property
    def changed(self) -> int:
        assert self.play.rc == 0, self.play.output
        return self.play.recap["web"]["changed"]


class Six:
    def __init__(self, host: Host, controller: Controller) -> None:
        self.host = host
        self.controller = controller

    def run(self, play: list[dict[str, Any]], *flags: str) -> Run:
        before, start = int(self.host.run(LOADS).stdout), time.monotonic()
        done = self.controller.playbook(play, *flags)
        seconds = time.monotonic() - start
        loads = int(self.host.run(LOADS).stdout) - before
        run = Run(done, seconds, loads, len(re.findall(r"^TASK ", done.output, re.MULTILINE)))
        print(f"{seconds:.1f} s, {run.loads} policy loads, {run.tasks} tasks, {done.recap}")
        return run

    def names(self) -> set[str]:
        found = self.controller.module(self.host, "senet.firewall.flows_info")
        assert found["drift"] == [], found
        return {flow["name"] for flow in found["flows"]}


@pytest.fixture(scope="module")
def six(lab: Lab) -> Iterator[Six]:
    with lab.start("web", state="slim") as host, Controller(host, pipelining=False) as controller:
        yield Six(host, controller)


def test_one_task_changes_with_one_rebuild_and_a_second_run_changes_nothing(six: Six) -> None:
    first = six.run(roles("flow_set", **SET))
    assert (first.changed, first.loads) == (1, 1), first.play.output
    assert six.names() == set(PAIRS)
    assert [connect(six.host, address, 5432).result for address in ADDRESSES.values()] == ["refused"] * 2
    again = six.run(roles("flow_set", **SET))
    assert (again.changed, again.loads) == (0, 0), again.play.output
    # The other one validates the role's variables
    assert (first.tasks, again.tasks) == (2, 2)


def test_other_addresses_need_no_rebuild(six: Six) -> None:
    """A client that they leave out is refused at once, and back in with the next change."""
    loopback = {"ipv4": "127.0.0.0/8", "ipv6": "::1"}
    chosen: list[tuple[str, ...]] = [("ipv4",), ("ipv6",), ()]
    loads = []
    for families in chosen:
        task = {"pair": "httpd_to_postgresql", "name": "httpd_to_postgresql"}
        if families:
            task["source_addresses"] = [loopback[family] for family in families]  # type: ignore[assignment]
        play = [{"hosts": "all", "gather_facts": False, "tasks": [{"senet.firewall.flows": {"flows": [task]}}]}]
        run = six.run(play)
        assert run.changed == 1
        loads.append(run.loads)
        again = six.run(play)
        assert (again.changed, again.loads) == (0, 0), again.play.output
        assert six.names() == set(PAIRS)
        for family, address in ADDRESSES.items():
            allowed = as_domain(six.host, "httpd_t", address, 5432).result
            assert allowed == ("connected" if not families or family in families else "refused")
            assert connect(six.host, address, 5432).result == "refused"
    # The first addresses and the last: the type of refused clients comes and goes
    assert loads == [1, 0, 1]


def test_two_that_claim_one_port_are_refused_in_check_mode(six: Six) -> None:
    twice = {"pair": "httpd_to_redis", "name": "other_redis"}
    for flags in (["--check"], []):
        run = six.run(roles("flow_set", flow_set_flows=[*SET["flow_set_flows"], twice]), *flags)
        assert run.play.rc != 0
        assert "both claim tcp/6379" in " ".join(run.play.output.split())
    assert six.names() == set(PAIRS)


@pytest.mark.thorough
def test_a_failing_health_check_undoes_the_whole_set(six: Six) -> None:
    assert six.run(ABSENT).changed == 1
    run = six.run(roles("flow_set", flow_set_health_commands=["echo no; false"], **SET))
    assert run.play.rc != 0
    assert '"rolled_back": true' in run.play.output
    assert six.names() == set()
    assert connect(six.host, "127.0.0.1", 5432).result == "connected"


@pytest.mark.thorough
def test_six_roles_do_the_same_in_six_changes(six: Six) -> None:
    run = six.run(roles(*PAIRS))
    assert (run.changed, run.loads) == (6, 6), run.play.output
    assert six.run(roles("flow_set", **SET)).changed == 0
    assert six.names() == set(PAIRS)
    assert six.run(roles(*PAIRS)).changed == 0
