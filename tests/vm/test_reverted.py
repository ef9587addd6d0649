# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host goes back to flows that it had before, over a new connection, or stays as it is where there is none."""

from typing import Any

import pytest

from tests.lab.controller import Controller
from tests.lab.probes import ADDRESSES, as_domain, connect
from tests.lab.vm import Host
from tests.vm.conftest import each_backend
from tests.vm.test_guard import CUTS_SSH, without_preflight

pytestmark = pytest.mark.core

FLOWS = "senet.firewall.flows"
CACHE = {"name": "cache", "source": ["httpd_t"], "destination": ["redis_t"], "ports": ["6379"]}


def refused(host: Host, port: int) -> list[bool]:
    """Whether root's connection is refused, per family."""
    return [connect(host, address, port).result == "refused" for address in ADDRESSES.values()]


def history(controller: Controller, host: Host) -> list[dict[str, Any]]:
    found = controller.module(host, "senet.firewall.flows_info")
    assert (found["drift"], found["pending"]) == ([], None), found
    assert not any("history" in warning for warning in found["warnings"]), found["warnings"]
    rows: list[dict[str, Any]] = found["history"]
    return rows


@each_backend
def test_the_set_before_the_last_confirmed_change_is_in_force_again(slim_enforced: Host, backend: str) -> None:
    host = slim_enforced
    with Controller(host) as controller:
        first = history(controller, host)[0]["replaced"]
        other = controller.module(host, FLOWS, flows=[CACHE], purge=True)
        assert other.get("guard", {}).get("confirmed"), other
        assert (refused(host, 5432), refused(host, 6379)) == ([False] * 2, [True] * 2)

        seen = controller.module(host, FLOWS, state="reverted", check=True)
        back = controller.module(host, FLOWS, state="reverted")
        assert back.get("guard", {}).get("confirmed"), back
        assert (back["steps"], back["removed"], back["backend"]) == (seen["steps"], ["cache"], backend)
        assert any("By going back these flows are removed" in warning for warning in back["warnings"])
        assert (refused(host, 5432), refused(host, 6379)) == ([True] * 2, [False] * 2)
        for address in ADDRESSES.values():
            assert as_domain(host, "httpd_t", address, 5432).result == "connected"
        assert not controller.module(host, FLOWS, state="reverted")["changed"]
        assert [(row["flows"], row["reverted"]) for row in history(controller, host)][:2] == [
            (["cache"], True), (["web_db"], False),
        ]  # fmt: skip
        modes = host.run("stat -c '%a %U' /etc/senet /etc/senet/history /etc/senet/history/*").stdout.splitlines()
        assert (modes[:2], set(modes[2:])) == (["700 root"] * 2, {"600 root"})

        gone = controller.module(host, FLOWS, state="absent")
        assert gone["removed"] == ["web_db"], gone
        assert refused(host, 5432) == [False] * 2
        again = controller.module(host, FLOWS, state="reverted", revert_to=first)
        assert again.get("guard", {}).get("confirmed"), again
        assert refused(host, 5432) == [True] * 2


@pytest.mark.thorough
@each_backend
def test_going_back_to_what_cuts_the_connection_is_undone_by_the_host(slim_enforced: Host, backend: str) -> None:
    """The set that cuts it was confirmed once, as far as the host knows."""
    host = slim_enforced
    with Controller(host, patch=without_preflight) as controller:
        for flow in ({**CUTS_SSH, "ports": ["2222"]}, CACHE):
            made = controller.module(host, FLOWS, flows=[flow], purge=True)
            assert made.get("guard", {}).get("confirmed"), made
        host.run("sed -i 's/\"2222\"/\"22\"/' $(ls -t /etc/senet/history/*.json | head -1)")
        kept = host.run("sha256sum /etc/senet/history/* /etc/senet/flows.json").stdout
        before = history(controller, host)

        result = controller.module(host, FLOWS, state="reverted", confirm_timeout=10)
        assert result["failed"]
        assert result["rolled_back"] is True, result
        assert host.run("echo back", fresh=True).stdout == "back\n"
        assert refused(host, 6379) == [True] * 2
        assert host.run("sha256sum /etc/senet/history/* /etc/senet/flows.json").stdout == kept
        assert history(controller, host) == before
