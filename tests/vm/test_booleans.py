# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a role sets beside its flow, when asked: the boolean and the type of the ports that the policy wants."""

from typing import Any

import pytest

from tests.lab.controller import Controller
from tests.lab.vm import Host

pytestmark = pytest.mark.thorough

ROLE = "httpd_to_php_fpm"
ASKED = {f"{ROLE}_booleans": True, f"{ROLE}_port_contexts": True, f"{ROLE}_confirm_timeout": 120}


def play(**variables: Any) -> list[dict[str, Any]]:
    return [{"hosts": "all", "gather_facts": False, "vars": variables, "roles": [f"senet.firewall.{ROLE}"]}]


def set_beside(host: Host) -> tuple[bool, bool]:
    """Whether the boolean is on, for good, and whether the port has the type."""
    said = host.run("getsebool httpd_can_network_relay; semanage boolean -l -C; semanage port -l -C -n").stdout
    boolean = "httpd_can_network_relay --> on" in said and "httpd_can_network_relay        (on   ,   on)" in said
    return boolean, any(line.split() == ["http_port_t", "tcp", "9000"] for line in said.splitlines())


def test_booleans_and_port_contexts_are_set_when_asked_for_and_not_otherwise(slim: Host) -> None:
    with Controller(slim) as controller:
        alone = controller.playbook(play())
        assert alone.rc == 0, alone.output
        assert (alone.recap["web"]["changed"], set_beside(slim)) == (1, (False, False))
        asked = controller.playbook(play(**ASKED))
        assert asked.rc == 0, asked.output
        assert (asked.recap["web"]["changed"], set_beside(slim)) == (2, (True, True))
        again = controller.playbook(play(**ASKED))
        assert (again.rc, again.recap["web"]["changed"]) == (0, 0), again.output
        # They may have been there before the flow, and others may need them.
        gone = controller.playbook(play(**ASKED, **{f"{ROLE}_state": "absent"}))
        assert (gone.rc, gone.recap["web"]["changed"], set_beside(slim)) == (0, 1, (True, True)), gone.output
