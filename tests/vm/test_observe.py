# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mode observe: nobody is cut and everybody who would be is logged, once at least; enforcing then cuts."""

import json
import re

import pytest

from tests.lab.controller import Controller
from tests.lab.probes import ADDRESSES, Held, as_domain, connect, through_apache
from tests.lab.vm import Host
from tests.vm.conftest import INSTALL_POLICY, WEB_DB, each_backend
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

        enforcing = controller.module(slim, FLOWS, flows=[WEB_DB], mode="enforce")
        assert enforcing["changed"] is True, enforcing
        # The policy cuts whoever connects anew, then the rules what of busy connections was not logged.
        steps = [step for step in enforcing["steps"] if step == INSTALL_POLICY or "restore" in step]
        assert steps[0] == INSTALL_POLICY, steps
        assert len(steps) == (3 if backend == "iptables" else 2), steps
        assert "_unlogged_packet_t" not in "".join(facts(slim)[:3])
        # No startup packet: the server answers by closing, so both directions still work.
        assert client.send("no startup packet") == "sent"
        assert client.tell("recv", "5")["result"] in ("received", "closed")
        for address in ADDRESSES.values():
            assert connect(slim, address, 5432).result == "refused"
        assert through_apache(slim, "pg4").result == "connected"


BUSY = {"name": "busy", "source": ["postgresql_t"], "destination": ["redis_t"], "ports": ["21000"]}
BUSY_TYPES = {f"senet_busy_{side}_packet_t" for side in ("client", "server")}
# Both ends of four connections, of which one is there before the flow, in the domain of a root shell. They talk from
# when they are told to until they are told to stop; what is left is the number of messages, and of seconds.
TALK = """\
import json, os, socket, time

def connection():
    client = socket.create_connection(("127.0.0.1", 21000))
    return client, server.accept()[0]

def wait_for(path):
    while not os.path.exists(path):
        time.sleep(0.05)

server = socket.create_server(("127.0.0.1", 21000))
before = connection()
os.mknod("/run/busy-ready")
wait_for("/run/busy-go")
pairs, messages, start = [before[::-1], connection(), connection(), connection()], 0, time.monotonic()
while not os.path.exists("/run/busy-stop"):
    for first, second in pairs:
        for sender, receiver in ((first, second), (second, first)):
            sender.send(b"text")
            receiver.recv(9)
            messages += 1
    if messages == 4000:
        os.mknod("/run/busy-on")
with open("/run/busy.new", "w") as result:
    json.dump([messages, time.monotonic() - start], result)
os.rename("/run/busy.new", "/run/busy.json")
"""


def wait_on(host: Host, condition: str) -> None:
    host.run(f"for n in $(seq 1200); do {condition} && exit 0; sleep 0.1; done; cat /run/busy.log; exit 1", timeout=300)


@each_backend
def test_a_busy_server_leaves_few_records_and_a_new_client_one(slim: Host, backend: str) -> None:
    slim.run("cat >/run/busy.py", input=TALK)
    slim.run("setsid python3 /run/busy.py >/run/busy.log 2>&1 </dev/null &")
    wait_on(slim, "test -e /run/busy-ready")
    with Controller(slim) as controller:
        observing = controller.module(slim, FLOWS, flows=[BUSY], mode="observe", backend=backend)
    assert observing["changed"] is True, observing
    # Who is connected already is named, whatever is logged of it.
    assert "unconfined_t" in {cut["domain"] for cut in observing["cut"]}, observing["cut"]

    slim.run("touch /run/busy-go")
    wait_on(slim, "test -e /run/busy-on")
    assert as_domain(slim, "httpd_t", "127.0.0.1", 21000).result == "connected"
    slim.run("touch /run/busy-stop")
    wait_on(slim, "test -e /run/busy.json")
    wait_on(slim, "grep -q 'granted.*httpd_t.*senet_busy_client_packet_t' /var/log/audit/audit.log")
    messages, seconds = json.loads(slim.run("cat /run/busy.json").stdout)
    found = _GRANTED.findall(slim.run("cat /var/log/audit/audit.log").stdout)
    records = [record for record in found if record[2] in BUSY_TYPES and record[1] == "unconfined_t"]
    print(f"{backend}: {len(records)} records of {messages} messages in {seconds:.1f} s")
    assert ("send", "httpd_t", "senet_busy_client_packet_t") in found
    assert {record[0] for record in records} == {"send", "recv"}
    # A message is sent and received. There is a rate for each hook, direction and way to find the port, and the first
    # packets of a connection are logged without one.
    assert messages >= 4000
    assert len(records) < min(2 * messages, 8 * (20 + 10 * (seconds + 1)) + 4 * 10)
    assert not any("unlogged" in packet_type for _permission, _domain, packet_type in found)
