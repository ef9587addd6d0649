# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A thousand flows: applied, moved to the other backend, changed by one, removed; nothing to do the second time."""

from typing import Any

import pytest

from tests.lab.controller import Controller
from tests.lab.probes import as_domain, listener
from tests.lab.vm import Host
from tests.vm.conftest import BACKENDS, INSTALL_POLICY
from tests.vm.facts import facts

FLOWS = "senet.firewall.flows"
BASE = {"source": ["httpd_t"], "destination": ["unconfined_t"]}
# Of the ephemeral range, for which the policy asks no name_bind
FIRST, COUNT, MOVED = 60_000 - 1000, 1000, 60_500
# Into the guard's time falls its own confirmation: a module that reads a thousand flows on an emulated processor
PATIENCE = 300


@pytest.mark.thorough
def test_a_thousand_flows(slim: Host) -> None:
    before = facts(slim)
    flows = [{**BASE, "name": f"f{number}", "ports": [str(FIRST + number)]} for number in range(COUNT)]
    changed = [*flows[:500], {**flows[500], "ports": [str(MOVED)]}, *flows[501:]]
    with Controller(slim) as controller:

        def change(flows: list[dict[str, Any]], rebuild: bool, **options: Any) -> None:
            """Apply, once for real and once for nothing."""
            options = {"flows": flows, "confirm_timeout": PATIENCE, **options}
            result = controller.module(slim, FLOWS, **options)
            assert result.get("changed"), result
            assert result["steps"].count(INSTALL_POLICY) == rebuild
            again = controller.module(slim, FLOWS, **options)
            assert (again["failed"], again["changed"]) == (False, False), again.get("steps")

        def works(port: int) -> list[str]:
            with listener(slim, "127.0.0.1", port), listener(slim, "::1", port):
                return [
                    as_domain(slim, domain, address, port).result
                    for domain in ("httpd_t", "unconfined_t")
                    for address in ("127.0.0.1", "::1")
                ]

        protected, open_to_all = ["connected"] * 2 + ["refused"] * 2, ["connected"] * 4
        change(flows, rebuild=True, backend=BACKENDS[0])
        for number in (0, 500, COUNT - 1):
            assert works(FIRST + number) == protected
        change(flows, rebuild=False, backend=BACKENDS[1])
        for number in (0, 500, COUNT - 1):
            assert works(FIRST + number) == protected
        change(changed, rebuild=True)
        assert works(FIRST + 500) == open_to_all
        assert works(MOVED) == protected
        removed = controller.module(slim, FLOWS, state="absent", confirm_timeout=PATIENCE)
        assert removed["changed"], removed
        assert not controller.module(slim, FLOWS, state="absent")["changed"]
        assert works(FIRST) == open_to_all
    assert facts(slim)._replace(kernel="") == before._replace(kernel="")
