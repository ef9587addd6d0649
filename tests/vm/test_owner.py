# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The layer owner: alone, as on a host without SELinux, and beside the layer selinux, by each backend."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab.controller import Controller
from tests.lab.lab import Lab
from tests.lab.probes import ADDRESSES, as_domain, connect, listener, through_apache
from tests.lab.vm import Host
from tests.vm.conftest import EACH_BACKEND, WEB_DB
from tests.vm.facts import Facts, facts

pytestmark = pytest.mark.thorough

FLOWS = "senet.firewall.flows"
PAIR = {"pair": "httpd_to_postgresql"}
UNITS_ONLY = {**WEB_DB, "name": "jobs", "ports": [60910], "units": ["apache2.service"], "destination": ["unconfined_t"]}


class Owned:
    """A host where the layer owner is in force, what it was before, and the module's result."""

    def __init__(self, host: Host, before: Facts, controller: Controller, backend: str) -> None:
        self.host = host
        self.before = before
        self._controller = controller
        self._backend = backend
        self.result = self.flows(flows=[PAIR, UNITS_ONLY], layers=["owner"])

    def flows(self, **options: Any) -> dict[str, Any]:
        return self._controller.module(self.host, FLOWS, **{"backend": self._backend, **options})

    def who(self, port: int = 5432) -> dict[str, list[str]]:
        """How Apache, the same user in a shell, and root fare in both families."""
        addresses = [ADDRESSES[family] for family in sorted(ADDRESSES)]
        return {
            "apache": [through_apache(self.host, f"pg{family[-1]}").result for family in sorted(ADDRESSES)],
            "www-data": [connect(self.host, address, port, user="www-data").result for address in addresses],
            "root": [connect(self.host, address, port).result for address in addresses],
        }


@pytest.fixture(scope="module", params=EACH_BACKEND)
def owned(lab: Lab, request: pytest.FixtureRequest) -> Iterator[Owned]:
    with lab.start("web", state="slim") as host, Controller(host) as controller:
        before = facts(host)
        yield Owned(host, before, controller, request.param)


HELD = {"apache": ["connected"] * 2, "www-data": ["refused"] * 2, "root": ["refused"] * 2}
FREE = {who: ["connected"] * 2 for who in HELD}


def test_only_the_clients_unit_connects_and_the_policy_is_left_alone(owned: Owned) -> None:
    assert owned.result["changed"] is True, str(owned.result)
    assert owned.result["guard"]["confirmed"] is True
    assert owned.result["layers"] == ["owner"]
    assert [(row["flow"], row["users"], row["running"]) for row in owned.result["owners"]] == [
        ("httpd_to_postgresql", ["www-data"], ["apache2.service"]),
        ("jobs", [], ["apache2.service"]),
    ]
    assert any("NO domain is checked on this host" in text for text in owned.result["warnings"])
    assert owned.who() == HELD
    assert facts(owned.host).policy == owned.before.policy
    assert owned.flows(flows=[PAIR, UNITS_ONLY], layers=["owner"])["changed"] is False


def test_a_flow_by_unit_alone_refuses_every_other_unit(owned: Owned) -> None:
    for address in ADDRESSES.values():
        with listener(owned.host, address, 60910):
            assert connect(owned.host, address, 60910).result == "refused"
            assert connect(owned.host, address, 60910, user="www-data").result == "refused"
            inside = "sh -c 'echo $$ >/sys/fs/cgroup/system.slice/apache2.service/cgroup.procs; exec \"$@\"' sh"
            assert connect(owned.host, address, 60910, prefix=inside).result == "connected"


def test_other_traffic_is_left_alone(owned: Owned) -> None:
    for address in ADDRESSES.values():
        assert connect(owned.host, address, 6379).result == "connected"
        assert connect(owned.host, address, 22).result == "connected"


def test_a_unit_that_is_started_again_connects_with_its_first_process(owned: Owned) -> None:
    # Its own drop-in comes before ours, and so does what it has in its unit file.
    directory = "/etc/systemd/system/apache2.service.d"
    waits = "[Service]\\nExecStartPre=/bin/sh -c 'senet-probe connect 127.0.0.1 60910 >/run/first'\\n"
    owned.host.run(f"printf \"{waits}\" >{directory}/10-wait.conf && systemctl daemon-reload")
    with listener(owned.host, "127.0.0.1", 60910):
        for verb in ("restart", "stop", "start"):
            owned.host.run(f"systemctl {verb} apache2.service")
            if verb != "stop":
                assert '"result": "connected"' in owned.host.run("cat /run/first && rm /run/first").stdout
    owned.host.run(f"rm {directory}/10-wait.conf && systemctl daemon-reload")
    assert owned.who() == HELD
    again = owned.flows(flows=[PAIR, UNITS_ONLY], layers=["owner"])
    assert again["changed"] is False, again["steps"]


def test_users_and_units_of_a_flow_that_names_none_are_those_that_run(owned: Owned) -> None:
    found = owned.flows(flows=[WEB_DB], purge=True, layers=["owner"], check=True)
    assert [(row["users"], row["units"]) for row in found["owners"]] == [(["root", "www-data"], ["apache2.service"])]


def test_unknown_users_and_units_are_named(owned: Owned) -> None:
    for option, name in (("users", "nosuchuser"), ("units", "nosuch.service")):
        refused = owned.flows(flows=[{**WEB_DB, option: [name]}], purge=True, layers=["owner"])
        assert refused["failed"] is True
        assert name in refused["msg"]
    assert owned.who() == HELD


def test_it_is_back_after_a_reboot(owned: Owned) -> None:
    owned.host.reboot()
    assert owned.who() == HELD
    again = owned.flows(flows=[PAIR, UNITS_ONLY], layers=["owner"])
    assert again["changed"] is False, again["steps"]


def test_observing_refuses_nobody_and_logs_who_would_be(owned: Owned) -> None:
    assert owned.flows(flows=[PAIR], purge=True, layers=["owner"], mode="observe")["changed"] is True
    assert owned.who() == FREE
    logged = owned.host.run("dmesg | grep 'senet would refuse httpd_to_'").stdout.splitlines()
    assert sorted({word for line in logged for word in line.split() if word.startswith("UID=")}) == ["UID=0", "UID=33"]


def test_beside_the_layer_selinux_a_client_is_held_to_both(owned: Owned) -> None:
    both = owned.flows(flows=[{**PAIR, "users": ["www-data"]}], layers=["selinux", "owner"])
    assert both["layers"] == ["selinux", "owner"], both
    assert any(row["can_connect"] for row in both["access"])
    assert owned.who() == HELD
    for address in ADDRESSES.values():
        # the right domain and the wrong user, the wrong domain and the right user
        assert as_domain(owned.host, "httpd_t", address, 5432).result == "refused"
        assert connect(owned.host, address, 5432, user="www-data").result == "refused"
    assert owned.flows(flows=[PAIR])["layers"] == ["selinux", "owner"]


def test_rules_left_under_the_other_variant_are_named_and_go_by_what_is_named(lab: Lab) -> None:
    switch = "for name in iptables ip6tables; do update-alternatives --set $name /usr/sbin/$name-legacy; done"
    mine = {**WEB_DB, "users": ["www-data"]}
    with lab.start("web", state="slim") as host, Controller(host) as controller:
        made = controller.module(host, FLOWS, flows=[mine], layers=["owner"], backend="iptables")
        assert made.get("changed"), made
        host.run(switch)
        more = {**mine, "users": ["root", "www-data"]}
        for options in ({"flows": [more]}, {"state": "absent"}):
            result = controller.module(host, FLOWS, **options)
            assert "'iptables-nft filter: -A SENET_OWNER_INPUT" in result["msg"], result
            assert connect(host, "127.0.0.1", 5432).result == "refused"
        for command in re.findall(r"'(ip6?tables-nft -F \w+)'", result["msg"]):
            host.run(command)
        assert controller.module(host, FLOWS, flows=[more])["guard"]["confirmed"] is True
        assert [connect(host, address, 5432).result for address in ADDRESSES.values()] == ["connected"] * 2
        assert controller.module(host, FLOWS, state="absent")["guard"]["confirmed"] is True


def test_it_goes_without_a_trace(owned: Owned) -> None:
    assert owned.flows(state="absent", backend="auto")["changed"] is True
    assert facts(owned.host)._replace(kernel="") == owned.before._replace(kernel="")
    assert owned.host.run("ls -d /etc/systemd/system/apache2.service.d", check=False).rc != 0
    assert owned.who() == FREE
