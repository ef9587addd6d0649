# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real kernel gives few packets of a busy connection the types that are logged, and the first ones of each."""

import re
from collections import Counter

import pytest

from ansible_collections.senet.firewall.plugins.module_utils._compile import iptables, nftables, xtables
from ansible_collections.senet.firewall.plugins.module_utils._compile.rule_sets import RULE_SETS
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import flow_set
from tests.bench.packets import with_marks
from tests.unit.flows import flow
from tests.unit.network_namespace import NetworkNamespace
from tests.unit.plugins.module_utils._compile.test_labels_on_the_kernel import KINDS, done, packets_by_label

pytestmark = pytest.mark.long

# More than a flat list of rules holds, and ranges side by side
FLOWS = flow_set(
    [
        flow(mode="observe", ports=[5432, *range(2000, 2020, 2)]),
        flow("cache", ports=[6379]),
        flow("names", protocol="udp", ports=[53], mode="observe"),
        flow("calls", protocol="udp", ports=["5000-5059"], mode="observe"),
        flow("media", protocol="udp", ports=["5060-5061"], mode="observe"),
        flow("near", ports=[7000], mode="observe", source_addresses=["127.0.0.1", "::1"], interfaces=["lo"]),
        flow("far", ports=[7000], source_addresses=["192.0.2.7", "2001:db8::7"]),
    ]
)
# Many more than the rates let through while all this is said
EXCHANGES = 3000
# One connection from before the rules, whose server speaks first; then a busy one, and one a flow enforces; and when
# no rate has anything left, a new one.
TALK = f"""\
import socket, sys, time

def bound(port, kind=socket.SOCK_STREAM):
    made = socket.socket(socket.AF_INET, kind)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(("127.0.0.1", port))
    made.settimeout(10)
    return made

def connection(source, destination):
    server, client = bound(destination), bound(source)
    server.listen()
    client.connect(("127.0.0.1", destination))
    return client, server.accept()[0]

def talk(first, second, times):
    for number in range(times):
        for one, other in ((first, second), (second, first)):
            one.send(b"text")
            other.recv(9)

before = connection(41000, 5432)[::-1]
print("ready", flush=True)
sys.stdin.readline()
busy, enforced = connection(41001, 2018), connection(41002, 6379)
for ends in (before, busy, enforced):
    talk(*ends, {EXCHANGES})
talk(*connection(41003, 2000), 1)
server, client = bound(53, socket.SOCK_DGRAM), bound(41004, socket.SOCK_DGRAM)
server.connect(("127.0.0.1", 41004))
client.connect(("127.0.0.1", 53))

def assured():
    with open("/proc/net/nf_conntrack") as table:
        return any("sport=41004 dport=53" in line and "[ASSURED]" in line for line in table)

# Conntrack takes an exchange of some seconds for a stream
while not assured():
    talk(client, server, 1)
    time.sleep(0.1)
talk(client, server, {EXCHANGES})
"""
Found = dict[tuple[str, int, int], Counter[str]]


@pytest.fixture(scope="module", params=KINDS)
def found(request: pytest.FixtureRequest) -> Found:
    return packets_by_label(request.param, FLOWS, TALK)


def ways(found: Found, client: int, server: int) -> list[tuple[Counter[str], int]]:
    """What was found where packets leave and arrive, and which side's type they have there: 0 for the client's."""
    return [
        (found["output", client, server], 0),
        (found["input", client, server], 1),
        (found["output", server, client], 1),
        (found["input", server, client], 0),
    ]


@pytest.mark.parametrize(
    ("client", "server", "name"), [(41000, 5432, "web_db"), (41001, 2018, "web_db"), (41004, 53, "names")]
)
def test_of_a_busy_connection_a_few_packets_are_logged(found: Found, client: int, server: int, name: str) -> None:
    own = next(flow for flow in FLOWS.flows if flow.name == name)
    for counts, side in ways(found, client, server):
        logged, unlogged = (own.client_type, own.server_type)[side], own.unlogged_types[side]
        assert set(counts) <= {logged, unlogged}
        assert counts.total() >= EXCHANGES
        assert 1 <= counts[logged] < EXCHANGES / 2
        assert counts[unlogged] > EXCHANGES / 2


def test_a_new_connection_beside_busy_ones_is_logged(found: Found) -> None:
    own = next(flow for flow in FLOWS.flows if flow.name == "web_db")
    for counts, side in ways(found, 41003, 2000):
        assert counts[(own.client_type, own.server_type)[side]] >= 1


def test_what_is_enforced_has_its_type_however_busy(found: Found) -> None:
    own = next(flow for flow in FLOWS.flows if flow.name == "cache")
    for counts, side in ways(found, 41002, 6379):
        assert set(counts) == {(own.client_type, own.server_type)[side]}
        assert counts.total() >= EXCHANGES


@pytest.mark.parametrize("kind", ["nf_tables", "legacy"])
@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_iptables_saves_what_was_compiled(kind: str, family: str) -> None:
    rules = iptables.compile_rules(FLOWS, family)
    command = {"ipv4": "iptables", "ipv6": "ip6tables"}[family]
    with NetworkNamespace(kind) as space:
        text = xtables.restore_text(RULE_SETS["ipv4"].parse(""), rules)
        done(space.run([str(space.find(f"{command}-restore")), "--noflush"], text))
        assert RULE_SETS["ipv4"].parse(done(space.run([str(space.find(f"{command}-save"))]))).installed(rules)


def test_nft_lists_what_was_compiled() -> None:
    text = with_marks("\n".join(nftables.compile_rules(FLOWS)) + "\n")
    with NetworkNamespace("nf_tables") as space:
        done(space.run(["nft", "-f", "-"], text))
        listed = done(space.run(["nft", *nftables.LIST_FLAGS]))
    loaded = RULE_SETS["inet"].parse(text).rules
    assert loaded
    assert RULE_SETS["inet"].parse(re.sub("0x[0-9a-f]+", lambda mark: str(int(mark[0], 16)), listed)).installed(loaded)
