# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A socket counts by its own label. On the RHEL family a child of sshd is in its user's domain, with sshd's socket."""

import pytest

from tests.lab.controller import Controller
from tests.lab.probes import connect, context, listener
from tests.lab.vm import Host

pytestmark = pytest.mark.thorough

PORT = 60902
FLOW = {"name": "admin", "source": ["domain"], "destination": ["sshd_t"], "ports": [str(PORT)]}


def test_a_process_of_another_domain_may_hold_a_socket_of_the_flows_destination(slim: Host) -> None:
    with Controller(slim) as controller, listener(slim, "0.0.0.0", PORT, "--as-context", context("sshd_t")):
        info = controller.module(slim, "senet.firewall.process_context_info", ports=[PORT], listening=True)
        [holder] = info["processes"]
        assert holder["context"]["type"] == "unconfined_t"
        assert [sock["context"] for sock in holder["listening"]] == [context("sshd_t")]
        result = controller.module(slim, "senet.firewall.flows", flows=[FLOW])
        assert result["guard"]["confirmed"] is True
        assert result["cut"] == []
        assert connect(slim, "127.0.0.1", PORT).result == "connected"


def test_a_process_of_the_destination_may_hold_one_that_is_not(slim: Host) -> None:
    with Controller(slim) as controller, listener(slim, "0.0.0.0", PORT, "--as-context", context("httpd_t")):
        result = controller.module(slim, "senet.firewall.flows", flows=[FLOW])
        assert "'httpd_t'" in result["msg"]
        assert "Nothing was changed" in result["msg"]
