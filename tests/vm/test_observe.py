# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mode observe: nobody is cut and everybody who would be is logged; enforcing then changes the policy only."""

import re

import pytest

from tests.lab.controller import Controller
from tests.lab.probes import ADDRESSES, Held, connect, through_apache
from tests.lab.vm import Host
from tests.vm.conftest import WEB_DB, each_backend
from tests.vm.facts import facts

pytestmark = pytest.mark.core

CLIENT_TYPE = "senet_web_db_client_packet_t"
FLOWS = "senet.firewall.flows"
_CONTEXT = r"context=\w+:\w+:(\w+):\S+"
_GRANTED = re.compile(rf"avc:  granted  {{ (\w+) }}.* s{_CONTEXT} t{_CONTEXT} tclass=packet")


def granted(host: Host) -> set[tuple[str, str, str]]:
    """Permission, domain and packet type of each `avc: granted` for a packet, of this whole boot."""
    return set(_GRANTED.findall(host.run("cat /var/log/audit/audit.log").stdout))


@each_backend
def test_observe_then_enforce(slim: Host, backend: str) -> None:
    # A minute otherwise, less than the second run may take
    patience = "-c 'alter system set authentication_timeout = 600' -c 'select pg_reload_conf()'"
    slim.run(f"runuser -u postgres -- psql {patience}")
    with Controller(slim) as controller:
        observing = controller.module(slim, FLOWS, flows=[WEB_DB], mode="observe", backend=backend)
        assert observing["changed"] is True, observing
        assert "guard" in observing

        client = Held.client(slim, "127.0.0.1", 5432, "httpd_t")
        for path in ("pg4", "pg6"):
            assert through_apache(slim, path).result == "connected"
        assert granted(slim) == set()
        for address in ADDRESSES.values():
            assert connect(slim, address, 5432).result == "connected"
        seen = granted(slim)
        assert ("send", "unconfined_t", CLIENT_TYPE) in seen
        assert {domain for dummy, domain, dummy2 in seen} == {"unconfined_t"}

        rules = facts(slim)[:3]
        enforcing = controller.module(slim, FLOWS, flows=[WEB_DB], mode="enforce")
        assert enforcing["changed"] is True, enforcing
        assert not [step for step in enforcing["steps"] if "restore" in step]
        assert "install the policy module senet_firewall" in enforcing["steps"]
        assert facts(slim)[:3] == rules
        # No startup packet: the server answers by closing, so both directions still work.
        assert client.send("no startup packet") == "sent"
        assert client.tell("recv", "5")["result"] in ("received", "closed")
        for address in ADDRESSES.values():
            assert connect(slim, address, 5432).result == "refused"
        assert through_apache(slim, "pg4").result == "connected"
