# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One flow by ad-hoc calls: added, changed, removed, and the others left alone."""

import pytest

from tests.lab.controller import Controller
from tests.lab.probes import ADDRESSES, connect, through_apache
from tests.lab.vm import Host

pytestmark = pytest.mark.thorough

FLOW = "senet.firewall.flow"


def who_reaches(host: Host, port: int, paths: str) -> list[str]:
    """How Apache and root fare, in both families."""
    apache = [through_apache(host, f"{paths}{family[-1]}").result for family in sorted(ADDRESSES)]
    return apache + [connect(host, ADDRESSES[family], port).result for family in sorted(ADDRESSES)]


def test_one_flow_is_added_changed_and_removed(slim_enforced: Host) -> None:
    protected, free = ["connected"] * 2 + ["refused"] * 2, ["connected"] * 4
    cache = "name=cache source=httpd_t destination=redis_t"
    with Controller(slim_enforced) as controller:

        def change(arguments: str) -> None:
            first, again = (controller.module(slim_enforced, FLOW, arguments=arguments) for dummy in range(2))
            assert (first["changed"], again["changed"]) == (True, False), first
            assert first["guard"]["confirmed"] is True

        change(f"{cache} ports=6379")
        assert who_reaches(slim_enforced, 6379, "redis") == protected
        assert who_reaches(slim_enforced, 5432, "pg") == protected
        change(f"{cache} ports=6380")
        assert who_reaches(slim_enforced, 6379, "redis") == free
        change("name=cache state=absent")
        assert who_reaches(slim_enforced, 5432, "pg") == protected
        change("name=web_db state=absent")
        assert who_reaches(slim_enforced, 5432, "pg") == free
