# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is suggested on a host keeps every connection that was open, and refuses a new one of somebody else."""

import shlex

import pytest

from tests.lab.controller import Controller
from tests.lab.lab import Lab
from tests.lab.probes import Held, connect, context
from tests.lab.vm import Host

ADDRESS = "127.0.1.77"
# Client, server, port; the first two are of the catalogue. The policy lets these clients connect to any port, and
# neither redis_t nor postgresql_t.
RUNNING = (
    ("httpd_t", "postgresql_t", 5432),
    ("httpd_t", "redis_t", 6379),
    ("named_t", "httpd_t", 60931),
    ("named_t", "redis_t", 60932),
    ("httpd_t", "httpd_t", 60933),
    ("named_t", "postgresql_t", 60934),
)


def server(host: Host, port: int, domain: str) -> Held:
    """Listens by a socket with a domain's label, and keeps the first connection."""
    control = f"/run/held-server-{port}"
    words = ["senet-probe", "hold", ADDRESS, str(port), "--listen", "--timeout", "600", "--control", control]
    command = shlex.join([*words, "--as-context", context(domain)])
    wait = f"for n in $(seq 100); do test -S {control} && exit 0; sleep 0.1; done; cat {control}.log; exit 1"
    host.run(f"setsid {command} >{control}.log 2>&1 </dev/null & {wait}")
    return Held(host, control)


@pytest.mark.thorough
def test_six_pairs_go_on_under_what_was_suggested_and_nobody_else_gets_in(lab: Lab) -> None:
    with lab.start("web", state="slim") as host, Controller(host) as controller:
        held = []
        for client, destination, port in RUNNING:
            ends = server(host, port, destination), Held.client(host, ADDRESS, port, client)
            assert ends[1].send("before") == "sent"
            assert ends[0].receive(5) == "before"
            held.append(ends)
        result = controller.module(host, "senet.firewall.flow_suggestion_info")
        assert not result["failed"], result
        flows = {one["flow"]["ports"][0]: one["flow"] for one in result["suggestions"]}
        for client, destination, port in RUNNING:
            assert client in flows[str(port)]["source"]
            assert destination in flows[str(port)]["destination"]
        assert flows["5432"]["name"] == "httpd_to_postgresql"
        assert flows["6379"]["name"] == "httpd_to_redis"
        assert "22" in {str(one["port"]) for one in result["skipped"]}
        asked = [flows[str(port)] for dummy, dummy2, port in RUNNING]
        made = controller.module(host, "senet.firewall.flows", flows=asked)
        assert made.get("changed"), made
        assert not made["cut"], made["cut"]
        for first, second in [*held, *((client, listener) for listener, client in held)]:
            assert first.send("after") == "sent"
            assert second.receive(5) == "after"
        for dummy, dummy2, port in RUNNING:
            assert connect(host, ADDRESS, port).result == "refused"
        again = controller.module(host, "senet.firewall.flow_suggestion_info")
        assert not {one["flow"]["ports"][0] for one in again["suggestions"]} & set(flows)
