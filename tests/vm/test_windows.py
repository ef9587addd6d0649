# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each kind of change, with a loop of connections around it: a stranger never gets through, the flow's own client
always does."""

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.lab.controller import Controller
from tests.lab.probes import ADDRESSES, as_domain, connect, context
from tests.lab.vm import Host
from tests.vm.conftest import BACKENDS, WEB_DB, thorough, wait_until

FLOWS = "senet.firewall.flows"
LOG = "/run/window.log"
# A socket of no label has its process's domain: unconfined_t.
LOOP = """
import json, pathlib, socket, sys, time
label = pathlib.Path("/proc/thread-self/attr/sockcreate")
with open(sys.argv[1], "w", buffering=1) as log:
    while True:
        for who, own in (("stranger", ""), ("client", sys.argv[2])):
            for address in ("127.0.0.1", "::1"):
                label.write_bytes(own.encode() or b"\\n")
                with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as made:
                    made.settimeout(5)
                    try:
                        made.connect((address, 5432))
                        result = "connected"
                    except OSError as error:
                        result = type(error).__name__
                print(json.dumps([time.monotonic(), who, address, result]), file=log)
        time.sleep(0.1)
"""
ALONE = {**WEB_DB, "name": "webdb"}
BOTH = ["127.0.0.0/8", "::1"]
# One after the other on one host: what there is to be in force after each change.
CHANGES: list[tuple[str, dict[str, Any]]] = [
    ("rename", {"flows": [ALONE]}),
    ("give addresses", {"flows": [{**ALONE, "source_addresses": BOTH}]}),
    ("drop addresses", {"flows": [ALONE]}),
    ("more domains", {"flows": [{**ALONE, "source": ["httpd_t", "redis_t"]}]}),
    ("fewer domains, more flows", {"flows": [ALONE, {**WEB_DB, "name": "cache", "ports": ["6390"]}]}),
    (
        "a name for another place and other domains",
        {"flows": [WEB_DB, {**ALONE, "source": ["redis_t"], "ports": ["5433"]}]},
    ),
    ("observe another", {"flows": [WEB_DB, {**ALONE, "source": ["redis_t"], "ports": ["5433"], "mode": "observe"}]}),
    ("the other backend", {"flows": [WEB_DB], "backend": "nftables"}),
    ("rename there", {"flows": [ALONE], "backend": "nftables"}),
    (
        "confine",
        {
            "flows": [WEB_DB, {"name": "web", "source": ["domain"], "destination": ["httpd_t"], "ports": ["80"]}],
            "confine": ["httpd_t"],
        },
    ),
    ("free", {"flows": [WEB_DB]}),
    ("back again", {"flows": [ALONE], "backend": "iptables"}),
]


@contextmanager
def connections(host: Host) -> Iterator[list[list[Any]]]:
    """Connections all the time; what became of each is in the list at the end."""
    host.run(f"cat >/run/window.py <<'END'\n{LOOP}\nEND\n: >{LOG}")
    loop = f"setsid python3 /run/window.py {LOG} {context('httpd_t')}"
    host.run(f"{loop} >/run/window.err 2>&1 </dev/null & echo $! >/run/window.pid")
    made: list[list[Any]] = []
    # Some before, and some after.
    wait_for(host, 40)
    try:
        yield made
        wait_for(host, int(host.run(f"wc -l <{LOG}").stdout) + 40)
    finally:
        host.run("kill $(cat /run/window.pid)")
    made.extend(json.loads(line) for line in host.run(f"cat {LOG}").stdout.splitlines() if line.endswith("]"))


def wait_for(host: Host, count: int) -> None:
    deadline = time.monotonic() + 60
    while int(host.run(f"wc -l <{LOG}").stdout) < count:
        assert time.monotonic() < deadline, host.run("cat /run/window.err").stdout
        time.sleep(0.2)


def check(made: list[list[Any]]) -> None:
    assert {tuple(each[1:3]) for each in made} == {
        (who, address) for who in ("stranger", "client") for address in ADDRESSES.values()
    }
    wrong = [each for each in made if (each[3] == "connected") != (each[1] == "client")]
    assert wrong == [], f"{len(wrong)} of {len(made)}, over {wrong[-1][0] - wrong[0][0]:.1f} seconds"


@pytest.mark.thorough
def test_no_change_opens_the_port_or_cuts_its_client(slim_enforced: Host) -> None:
    with Controller(slim_enforced) as controller:
        for name, options in CHANGES:
            with connections(slim_enforced) as made:
                result = controller.module(slim_enforced, FLOWS, purge=True, confirm_timeout=300, **options)
            assert result.get("changed"), (name, result.get("msg"), result)
            check(made)
        again = controller.module(slim_enforced, FLOWS, purge=True, **CHANGES[-1][1])
        assert again["changed"] is False, again


@pytest.mark.thorough
@pytest.mark.parametrize("kept", [{"flows": [ALONE]}, {"flows": [{**WEB_DB, "source_addresses": BOTH}]}])
def test_undoing_a_change_of_names_or_places_opens_and_cuts_nothing(slim_enforced: Host, kept: dict[str, Any]) -> None:
    with Controller(slim_enforced) as controller, connections(slim_enforced) as made:
        result = controller.module(slim_enforced, FLOWS, purge=True, health_commands=["false"], **kept)
        assert result["rolled_back"] is True, result
    check(made)


@pytest.mark.thorough
@pytest.mark.parametrize("backend", BACKENDS)
def test_undoing_a_change_lets_nobody_past_the_layer_owner(slim_enforced: Host, backend: str) -> None:
    # The loop is root's: its client has the right domain, and is not the user.
    kept = {**WEB_DB, "users": ["www-data"]}
    more = {**kept, "name": "cache", "ports": ["6390"]}
    layers = ["selinux", "owner"]
    with Controller(slim_enforced) as controller:
        held = controller.module(slim_enforced, FLOWS, purge=True, flows=[kept], layers=layers, backend=backend)
        assert held.get("changed"), held
        with connections(slim_enforced) as made:
            result = controller.module(slim_enforced, FLOWS, purge=True, flows=[kept, more], health_commands=["false"])
            assert result["rolled_back"] is True, result
    assert [each for each in made if each[3] == "connected"] == []


@pytest.mark.thorough
def test_undoing_a_change_of_other_flows_leaves_peers_labelled(slim_enforced: Host) -> None:
    kept = {**WEB_DB, "verify_source": "loopback"}
    more = {"name": "cache", "source": ["httpd_t"], "destination": ["redis_t"], "ports": ["6390"]}
    with Controller(slim_enforced) as controller:
        held = controller.module(slim_enforced, FLOWS, purge=True, flows=[kept], confirm_timeout=300)
        assert held.get("changed"), held
        look = "while sleep 0.2; do netlabelctl map list | grep -c httpd_t; done"
        slim_enforced.run(f"setsid sh -c '{look}' >/run/maps 2>&1 </dev/null & echo $! >/run/maps.pid")
        result = controller.module(
            slim_enforced, FLOWS, purge=True, flows=[kept, more], health_commands=["false"], confirm_timeout=300
        )
        assert result["rolled_back"] is True, result
        slim_enforced.run("kill $(cat /run/maps.pid)")
    counts = slim_enforced.run("cat /run/maps").stdout.split()
    assert len(counts) > 10
    assert set(counts) == {"1"}
    assert as_domain(slim_enforced, "httpd_t", "127.0.0.1", 5432).result == "connected"


def refused(host: Host) -> list[bool]:
    return [connect(host, address, 5432).result == "refused" for address in ADDRESSES.values()]


def told(host: Host, options: str = "") -> str:
    """What the watch has said since boot."""
    return host.run(f"journalctl -b {options} -u senet-firewall-watch").stdout


@pytest.mark.parametrize("command", [thorough("-r"), "-d"])
def test_a_module_removed_by_hand_comes_back_and_cuts_nobody_for_long(slim_enforced: Host, command: str) -> None:
    # The session itself is cut until the watch has looked: the command goes on by itself.
    option = "-X 400 -r" if command == "-r" else "-d"
    slim_enforced.run(f"systemd-run --quiet --unit=removal semodule {option} senet_firewall")
    wait_until(lambda: "was missing and has been put back" in told(slim_enforced), 180)
    assert refused(slim_enforced) == [True, True]
    assert slim_enforced.run("systemctl is-active senet-firewall").stdout.strip() == "active"
    with Controller(slim_enforced) as controller:
        result = controller.module(slim_enforced, FLOWS, flows=[WEB_DB])
    assert result["changed"] is False
    assert any("removed labels or policy" in warning for warning in result["warnings"]), result


def test_a_module_that_cannot_come_back_fails_the_unit_and_cuts_nobody(slim_enforced: Host) -> None:
    slim_enforced.run("cp /usr/sbin/semodule /run/semodule")
    slim_enforced.run("mount --bind /bin/false /usr/sbin/semodule")
    slim_enforced.run("systemd-run --quiet --unit=removal /run/semodule -X 400 -r senet_firewall")
    wait_until(lambda: "could not be put back" in told(slim_enforced, "-p alert"), 180)
    # The alert is written before the unit has ended
    wait_until(lambda: slim_enforced.run("systemctl is-failed senet-firewall", check=False).stdout == "failed\n", 30)
    assert refused(slim_enforced) == [False, False]
    slim_enforced.run("umount /usr/sbin/semodule")
    deadline = time.monotonic() + 180
    with Controller(slim_enforced) as controller:
        while (result := controller.module(slim_enforced, FLOWS, flows=[WEB_DB]))["failed"]:
            # The watch puts it back by itself meanwhile
            assert re.search("Another run is changing|is locked by pid", result["msg"]), result
            assert time.monotonic() < deadline
    assert refused(slim_enforced) == [True, True]


def test_labels_of_others_that_come_later_are_told(slim_enforced: Host) -> None:
    slim_enforced.run(
        "iptables -t security -A OUTPUT -p tcp --dport 9 -j SECMARK --selctx system_u:object_r:http_client_packet_t:s0"
    )
    wait_until(lambda: "Another rule labels packets too" in told(slim_enforced, "-p alert"), 30)
    with Controller(slim_enforced) as controller:
        for check_mode in (True, False):
            result = controller.module(slim_enforced, FLOWS, check=check_mode, flows=[WEB_DB])
            assert "in place, but may not be enforced: another rule labels packets" in result["msg"], result


@pytest.mark.thorough
def test_labels_taken_away_while_a_change_waits_come_back(slim_enforced: Host) -> None:
    other = {**WEB_DB, "name": "other", "ports": ["5433"]}
    with Controller(slim_enforced) as controller:
        result = controller.module(slim_enforced, FLOWS, flows=[other], confirm="manual", confirm_timeout=600)
        slim_enforced.run("nft flush ruleset")
        wait_until(lambda: refused(slim_enforced) == [True, True], 60)
        token = result["guard"]["token"]
        aborted = controller.module(slim_enforced, "senet.firewall.guard", token=token, state="aborted")
    assert aborted["rolled_back"] is True
    assert refused(slim_enforced) == [True, True]
