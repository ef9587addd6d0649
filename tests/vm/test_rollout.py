# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rollout to two hosts that enforce SELinux: the canary first, and nobody where one of them would refuse, or where
clients would be refused for want of IPsec."""

import json
from typing import Any

import pytest

from tests.collection_tree import ROOT
from tests.lab.controller import Controller, Play
from tests.lab.lab import Lab
from tests.lab.probes import as_domain, connect, context, listener

LINK = {"web": ["10.77.0.1", "fd77::1"], "db": ["10.77.0.2", "fd77::2"]}
WEB_DB = {"name": "web_db", "pair": "httpd_to_postgresql", "clients": "web", "servers": "db"}
# SSH's own port as that of a database
LOCKOUT = {"name": "lockout", "source": ["httpd_t"], "destination": ["postgresql_t"], "ports": [22],
           "clients": "web", "servers": "db"}  # fmt: skip


def rollout(controller: Controller, *flows: dict[str, Any]) -> Play:
    addresses = controller.path / "addresses.json"
    addresses.write_text(json.dumps({"all": {"hosts": {name: {"link": own} for name, own in LINK.items()}}}))
    variables = {"senet_flows": flows, "senet_address_variable": "link", "senet_canary": "web",
                 "senet_firewall_confirm_timeout": 300}  # fmt: skip
    inventories = ["-i", str(controller.path / "hosts.yml"), "-i", str(addresses)]
    return controller.playbook(ROOT / "playbooks" / "rollout.yml", *inventories, "-e", json.dumps(variables))


@pytest.mark.thorough
def test_a_rollout_puts_a_flow_in_force_on_both_hosts_and_a_bad_one_nowhere(lab: Lab) -> None:
    with (
        lab.start("web", state="slim", link=True) as web,
        lab.start("db", state="slim", link=True) as db,
        Controller(web, db) as controller,
    ):
        done = rollout(controller, WEB_DB)
        assert done.rc == 0, done.output
        assert done.output.count("confirmed: over a new connection") == 2, done.output
        for address in LINK["db"]:
            with listener(db, address, 5432, "--as-context", context("postgresql_t")):
                assert as_domain(web, "httpd_t", address, 5432, "--send", "x", "--expect-reply").result == "connected"
                assert connect(web, address, 5432).result == "refused"
        again = rollout(controller, WEB_DB)
        assert (again.rc, again.output.count("unchanged: the host has these flows")) == (0, 2), again.output
        kept = [host.run("cat /etc/senet/flows.json").stdout for host in (web, db)]
        bad = rollout(controller, WEB_DB, LOCKOUT)
        assert bad.rc != 0
        assert "refused: " in bad.output, bad.output
        assert [host.run("cat /etc/senet/flows.json").stdout for host in (web, db)] == kept
        unready = rollout(controller, {**WEB_DB, "verify_source": "ipsec"})
        assert unready.rc != 0
        assert "and db and web do not have this flow with verify_source=ipsec yet" in " ".join(unready.output.split())
        assert [host.run("cat /etc/senet/flows.json").stdout for host in (web, db)] == kept
