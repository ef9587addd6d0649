# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which label real packets get from a real kernel's conntrack, with a mark in place of each label."""

import json
import re
import subprocess
import sys
from collections import Counter

import pytest

from ansible_collections.senet.firewall.plugins.module_utils._compile import iptables, nftables, xtables
from ansible_collections.senet.firewall.plugins.module_utils._compile.rule_sets import RULE_SETS
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import FlowSet, flow_set
from tests.bench.packets import with_marks
from tests.unit.flows import flow
from tests.unit.network_namespace import NetworkNamespace

FLOWS = flow_set(
    [
        flow(),
        flow("web", source=["domain"], destination=["httpd_t"], ports=[80, 8080]),
        flow("names", source=["domain"], destination=["named_t"], protocol="udp", ports=[53]),
    ],
    {"httpd_t": "enforce"}.items(),
)
DEFAULT = "senet_default_packet_t"

# Counts packets by hook, mark and ports, after everything else
WATCH = """\
table inet watch {
    set output { type mark . inet_service . inet_service; flags dynamic; size 100; counter; }
    set input { type mark . inet_service . inet_service; flags dynamic; size 100; counter; }
    chain o {
        type filter hook output priority 400;
        meta l4proto { tcp, udp } update @output { meta mark . th sport . th dport counter }
    }
    chain i {
        type filter hook input priority 400;
        meta l4proto { tcp, udp } update @input { meta mark . th sport . th dport counter }
    }
}
"""
# Connections over loopback; the two that were open before speak when told, one its client first and one its server.
TALK = """\
import socket, sys

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

def talk(first, second):
    for one, other in ((first, second), (second, first)):
        one.send(b"text")
        other.recv(9)

before = connection(41000, 80), connection(41001, 8080)[::-1]
print("ready", flush=True)
sys.stdin.readline()
for ends in (*before, connection(8080, 22), connection(41002, 5432)):
    talk(*ends)
names, client, stranger = (bound(port, socket.SOCK_DGRAM) for port in (53, 41003, 1194))
for one, other, port in ((client, names, 53), (names, client, 41003), (names, stranger, 1194), (stranger, names, 53)):
    one.sendto(b"text", ("127.0.0.1", port))
    other.recv(9)
"""


KINDS = ("nft", "nf_tables", "legacy")
# By hook, source and destination port
Labels = dict[tuple[str, int, int], set[str]]


def packets_by_label(kind: str, flows: FlowSet, talk: str) -> dict[tuple[str, int, int], Counter[str]]:
    """How many packets got which type, by hook, source and destination port. The script talks over loopback: it says
    that it is ready before there are rules, and goes on when it gets a line."""
    with NetworkNamespace("nf_tables" if kind == "nft" else kind) as space:
        done(space.run(["ip", "link", "set", "lo", "up"]))
        enter = ["nsenter", f"--net=/proc/{space.holder}/ns/net"]
        talking = subprocess.Popen(
            [*enter, sys.executable, "-c", talk], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert talking.stdout is not None
        assert talking.stdout.readline() == "ready\n"
        if kind == "nft":
            text = "\n".join(nftables.compile_rules(flows)) + "\n"
            done(space.run(["nft", "-f", "-"], with_marks(text)))
            found = sorted(set(re.findall(r"\tsecmark (\w+) \{\n", text)))
            names = {str(number): name for number, name in enumerate(found, 1)}
        else:
            rules = xtables.restore_text(RULE_SETS["ipv4"].parse(""), iptables.compile_rules(flows))
            done(space.run([str(space.find("iptables-restore")), "--noflush"], rules))
            names = {str(mark): context.split(":")[2] for mark, context in space.contexts.items()}
        done(space.run(["nft", "-f", "-"], WATCH))
        talking.communicate("go\n", timeout=60)
        assert talking.returncode == 0
        listed = json.loads(done(space.run(["nft", "-j", "list", "table", "inet", "watch"])))
        result: dict[tuple[str, int, int], Counter[str]] = {}
        for one in (entry["set"] for entry in listed["nftables"] if "set" in entry):
            for element in one["elem"]:
                mark, source, destination = element["elem"]["val"]["concat"]
                packets = element["elem"]["counter"]["packets"]
                result.setdefault((one["name"], source, destination), Counter())[names[str(mark)]] += packets
        return result


@pytest.fixture(scope="module", params=KINDS)
def labels(request: pytest.FixtureRequest) -> Labels:
    """The types of packets."""
    return {key: set(found) for key, found in packets_by_label(request.param, FLOWS, TALK).items()}


def done(answer: tuple[int, str, str]) -> str:
    code, out, err = answer
    assert code == 0, err
    return out


def both_ways(labels: Labels, client: int, server: int) -> list[set[str]]:
    """The types of the client's packets where they leave and arrive, and of the server's."""
    return [
        labels[hook, *ports] for ports in ((client, server), (server, client)) for hook in ("output", "input")
    ]


def test_what_a_connection_reaches_decides(labels: Labels) -> None:
    client, server = {flow().client_type}, {flow().server_type}
    assert both_ways(labels, 41002, 5432) == [client, server, server, client]
    names = {"senet_names_client_packet_t"}, {"senet_names_server_packet_t"}
    assert both_ways(labels, 41003, 53) == [names[0], names[1], names[1], names[0]]


def test_a_tcp_connection_from_a_flows_port_is_none_of_the_flow(labels: Labels) -> None:
    assert both_ways(labels, 8080, 22) == [{DEFAULT}] * 4


def test_udp_from_a_flows_port_has_the_types_that_confined_domains_lack(labels: Labels) -> None:
    client, server = {"senet_names_client_midstream_packet_t"}, {"senet_names_server_midstream_packet_t"}
    assert both_ways(labels, 1194, 53) == [client, server, server, client]


def test_a_connection_open_before_is_the_flows_whoever_speaks_first(labels: Labels) -> None:
    client, server = {"senet_web_client_packet_t"}, {"senet_web_server_packet_t"}
    assert both_ways(labels, 41000, 80) == [client, server, server, client]
    client, server = {"senet_web_client_midstream_packet_t"}, {"senet_web_server_midstream_packet_t"}
    assert both_ways(labels, 41001, 8080) == [client, server, server, client]
