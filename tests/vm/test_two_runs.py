# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two runs at the same time on one host: one is refused, and the state is the other's as a whole."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.lab.controller import Controller
from tests.lab.vm import Host
from tests.vm.conftest import WEB_DB, each_backend

pytestmark = pytest.mark.thorough

FLOWS = "senet.firewall.flows"
CACHE = {"name": "cache", "source": ["httpd_t"], "destination": ["redis_t"], "ports": ["6379"]}
REFUSALS = ("Another run is changing the flows of this host", "of this host waits to be confirmed", "is locked by")


@each_backend
def test_two_runs_at_the_same_time(slim: Host, backend: str) -> None:
    def run(flow: dict[str, Any]) -> dict[str, Any]:
        with Controller(slim) as controller:
            return controller.module(slim, FLOWS, flows=[flow], backend=backend)

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(run, (WEB_DB, CACHE)))
    made = [number for number, result in enumerate(results) if result.get("changed")]
    assert len(made) == 1, results
    winner = (WEB_DB, CACHE)[made[0]]
    loser = results[1 - made[0]]
    assert loser["failed"]
    assert any(refusal in loser["msg"] for refusal in REFUSALS), loser
    with Controller(slim) as controller:
        again = controller.module(slim, FLOWS, flows=[winner])
    assert again["changed"] is False, again
    assert [flow["name"] for flow in again["flows"]] == [winner["name"]]
    rules = slim.run("iptables-save -t security; ip6tables-save -t security; nft list ruleset").stdout
    assert f"senet_{winner['name']}_" in rules
    assert f"senet_{('cache', 'web_db')[made[0]]}_" not in rules
