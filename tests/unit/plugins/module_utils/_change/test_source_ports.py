# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A flow's port as the port that somebody connects *from*: what a confined domain gains by it, and a stranger loses."""

import re
from collections.abc import Callable

import pytest

from ansible_collections.senet.firewall.plugins.module_utils._change import change, drift, engine, load
from ansible_collections.senet.firewall.plugins.module_utils._compile import cil, iptables, nftables
from ansible_collections.senet.firewall.plugins.module_utils._decisions import warnings
from ansible_collections.senet.firewall.plugins.module_utils._values import requests
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import FlowSet, flow_set
from tests.unit.flows import WEB_DB, flow
from tests.unit.nft_packets import Table
from tests.unit.plugins.module_utils._compile.test_compile_alike import known
from tests.unit.plugins.module_utils._compile.test_compile_iptables import Traversal, chains_of
from tests.unit.scripted_host import ScriptedHost

DEFAULT = "senet_default_packet_t"
FLOWS = flow_set(
    [
        flow(),
        flow("web", source=["domain"], destination=["httpd_t"], ports=[80, 8080]),
        flow("names", source=["domain"], destination=["named_t"], protocol="udp", ports=[53]),
        flow("cache", source=["postgresql_t"], destination=["redis_t"], protocol="udp", ports=[11211]),
        flow("old", ports=[6379], mode="observe"),
        flow("near", ports=[7000], interfaces=["lo"], source_addresses=["127.0.0.1"]),
    ],
    {"httpd_t": "enforce", "named_t": "observe"}.items(),
)

# (hook, packet) -> the packet's type
Label = Callable[[str, dict[str, str]], str]


def by_iptables(flows: FlowSet, forgetful: bool = False) -> Label:
    rules = iptables.compile_rules(flows)
    chains = chains_of(iptables.forgetful(rules) if forgetful else rules)
    return lambda hook, packet: Traversal(chains, hook, packet).type


def by_nftables(flows: FlowSet, forgetful: bool = False) -> Label:
    rules = nftables.compile_rules(flows)
    table = Table(nftables.forgetful(rules) if forgetful else rules)

    def label(hook: str, packet: dict[str, str]) -> str:
        facts = known(packet, "ipv4")
        found = table.label(hook.lower(), facts)
        if "--label" in packet:
            packet["--label"] = facts["ct label"]
        return found

    return label


BACKENDS = pytest.mark.parametrize("compiled", [by_iptables, by_nftables])


class Connection:
    """A connection as the host sees it on loopback, where every packet passes both hooks."""

    def __init__(self, label: Label, protocol: str, source: str, destination: str) -> None:
        self._label = label
        self._base = {
            "-p": protocol, "-i": "lo", "-o": "lo", "-s": "127.0.0.1", "-d": "127.0.0.1",
            "--ctorigsrc": "127.0.0.1", "--ctreplsrc": "127.0.0.1",
            "--ctorigsrcport": source, "--ctreplsrcport": destination, "--sport": source, "--dport": destination,
        }  # fmt: skip
        # What conntrack keeps
        self.memory = ""

    def types(self, direction: str, flags: str = "ACK", state: str = "ESTABLISHED") -> tuple[str, str]:
        """The types of a packet where it leaves and where it arrives."""
        packet = {**self._base, "--ctdir": direction, "--ctstate": state, "--label": self.memory}
        if packet["-p"] == "tcp":
            packet["--tcp-flags"] = flags
        found = self._label("OUTPUT", packet), self._label("INPUT", packet)
        self.memory = packet["--label"]
        return found


def may(domain: str, permission: str, packet_type: str, flows: FlowSet = FLOWS) -> bool:
    """What the policy module grants, the attributes in it resolved for the domains of these flows."""
    text = cil.compile_policy(flows)
    confined = re.findall(r"\(typeattributeset senet_confined \((\w+)\)\)", text)
    assert confined == ["httpd_t"]
    subjects = {domain, "domain"}.union([] if domain in confined else ["senet_not_confined"])
    granted = re.findall(rf"\(allow (\w+) {packet_type} \(packet \(([a-z ]+)\)\)\)", text)
    return any(subject in subjects and permission in permissions.split() for subject, permissions in granted)


@BACKENDS
@pytest.mark.parametrize("forgetful", [False, True])
def test_a_confined_domain_gets_nowhere_from_its_flows_port(compiled: Callable[..., Label], forgetful: bool) -> None:
    for source in ("80", "8080", "5432", "6379", "7000"):
        syn = Connection(compiled(FLOWS, forgetful), "tcp", source, "22").types("ORIGINAL", "SYN", "NEW")
        assert syn == (DEFAULT, DEFAULT)
    assert not may("httpd_t", "send", DEFAULT)
    # nor does a client that comes from such a port reach it
    assert not may("httpd_t", "recv", DEFAULT)


@BACKENDS
def test_a_stranger_may_use_a_flows_port_as_its_source_port(compiled: Callable[..., Label]) -> None:
    for source in ("8080", "5432", "7000"):
        connection = Connection(compiled(FLOWS), "tcp", source, "22")
        assert connection.types("ORIGINAL", "SYN", "NEW") == (DEFAULT, DEFAULT)
        assert connection.memory == iptables.BEGAN
        assert connection.types("REPLY") == (DEFAULT, DEFAULT)
        assert connection.types("ORIGINAL") == (DEFAULT, DEFAULT)


@BACKENDS
@pytest.mark.parametrize("memory", ["", iptables.BEGAN])
def test_what_a_connection_reaches_decides_whatever_is_remembered(compiled: Callable[..., Label], memory: str) -> None:
    connection = Connection(compiled(FLOWS), "tcp", "8080", "5432")
    connection.memory = memory
    client, server = flow().client_type, flow().server_type
    assert connection.types("ORIGINAL", "SYN", "NEW") == (client, server)
    assert connection.types("REPLY") == (server, client)


@BACKENDS
def test_a_syn_to_the_forger_of_the_first_one_is_a_clients(compiled: Callable[..., Label]) -> None:
    # Who can forge a SYN from the server's port has conntrack take the server for the client.
    connection = Connection(compiled(FLOWS), "tcp", "5432", "40000")
    connection.types("ORIGINAL", "SYN", "NEW")
    assert connection.memory == iptables.BEGAN
    assert connection.types("REPLY", "SYN") == FLOWS.midstream_types(flow())


@BACKENDS
def test_a_syn_in_a_connection_that_was_met_in_midstream_changes_nothing(compiled: Callable[..., Label]) -> None:
    connection = Connection(compiled(FLOWS), "tcp", "5432", "40000")
    client, server = FLOWS.midstream_types(flow())
    assert connection.types("ORIGINAL", state="NEW") == (server, client)
    assert connection.types("REPLY") == (client, server)
    connection.types("ORIGINAL", "SYN")
    connection.types("REPLY", "SYN")
    assert connection.memory == ""
    assert connection.types("REPLY") == (client, server)


@BACKENDS
@pytest.mark.parametrize(("protocol", "port", "name"), [("tcp", "5432", "web_db"), ("udp", "53", "names")])
def test_confined_domains_lose_what_only_a_source_port_says(
    compiled: Callable[..., Label], protocol: str, port: str, name: str
) -> None:
    connection = Connection(compiled(FLOWS), protocol, port, "40000")
    types = {*connection.types("ORIGINAL", state="NEW"), *connection.types("REPLY")}
    assert types == {f"senet_{name}_client_midstream_packet_t", f"senet_{name}_server_midstream_packet_t"}
    for packet_type in types:
        assert not may("httpd_t", "send", packet_type)
        assert not may("httpd_t", "recv", packet_type)
    client, server = sorted(types)
    assert may("named_t" if protocol == "udp" else "postgresql_t", "send", server)
    assert may("named_t", "send", client) == (protocol == "udp")
    assert not may("initrc_t", "send", server)


def test_what_a_confined_domain_would_lose_is_logged_while_it_is_observed() -> None:
    text = cil.compile_policy(FLOWS)
    for side in ("client", "server"):
        assert f"(auditallow named_t senet_names_{side}_midstream_packet_t (packet (send recv)))" in text
        assert f"(auditallow httpd_t senet_names_{side}_midstream_packet_t" not in text


@BACKENDS
@pytest.mark.parametrize("state", ["INVALID", "UNTRACKED"])
def test_without_conntrack_a_syn_is_no_servers_and_udp_is_not_for_the_confined(
    compiled: Callable[..., Label], state: str
) -> None:
    label = compiled(FLOWS)
    base = {"-i": "eth0", "-o": "eth0", "-s": "192.0.2.1", "-d": "192.0.2.2", "--ctstate": state, "--dport": "22"}
    tcp = {**base, "-p": "tcp", "--sport": "8080"}
    assert label("OUTPUT", {**tcp, "--tcp-flags": "SYN"}) == label("INPUT", {**tcp, "--tcp-flags": "SYN"}) == DEFAULT
    assert label("OUTPUT", {**tcp, "--tcp-flags": "ACK"}) == "senet_web_server_packet_t"
    udp = {**base, "-p": "udp", "--sport": "53"}
    assert label("OUTPUT", udp) == "senet_names_server_midstream_packet_t"
    assert label("INPUT", udp) == "senet_names_client_midstream_packet_t"


@BACKENDS
def test_flows_of_no_confined_domain_have_no_types_beside_their_two(compiled: Callable[..., Label]) -> None:
    connection = Connection(compiled(FLOWS), "udp", "11211", "40000")
    assert connection.types("ORIGINAL") == ("senet_cache_server_packet_t", "senet_cache_client_packet_t")
    free = FLOWS._replace(confine=())
    assert not any("midstream" in name for name in free.packet_types)
    connection = Connection(compiled(free), "udp", "53", "40000")
    assert connection.types("ORIGINAL") == ("senet_names_server_packet_t", "senet_names_client_packet_t")


def test_what_leaves_a_second_time_keeps_its_label() -> None:
    table = Table(nftables.compile_rules(FLOWS))
    for protocol in ("esp", "ah", "gre"):
        packet = {"meta l4proto": protocol, "ct direction": "original", "ct state": "new"}
        assert table.label("output", packet, "senet_web_db_client_packet_t") == "senet_web_db_client_packet_t"
        assert table.label("output", packet) == DEFAULT
        assert table.label("input", packet, "senet_web_db_client_packet_t") == DEFAULT
    # a flow decides again: an interface may be another one now
    lo = Connection(lambda hook, packet: table.label(hook.lower(), known(packet, "ipv4"), DEFAULT), "tcp", "9", "7000")
    assert lo.types("ORIGINAL")[0] == "senet_near_client_packet_t"


def test_iptables_leaves_what_ipsec_has_transformed_alone() -> None:
    for protocol in ("esp", "ah"):
        packet = {"-p": protocol, "--ctdir": "ORIGINAL", "--ctstate": "NEW"}
        assert by_iptables(FLOWS)("OUTPUT", packet) == ""
        assert by_iptables(FLOWS)("INPUT", packet) == DEFAULT


@pytest.mark.parametrize("backend", ["iptables", "nftables"])
def test_a_kernel_without_labels_on_connections_gets_rules_without_them(backend: str) -> None:
    host = ScriptedHost()
    host.keeps_labels = False
    flows = flow_set([flow(ports=[40000])])
    options = change.Options(0, "t1", backend)
    outcome = engine.run(host.host(), requests.Replace(flows), options, check_mode=False)
    assert outcome.changed
    assert any("keeps no labels on connections" in warning for warning in outcome.warnings)
    assert not any("label" in host.families[family].save() for family in ("ipv4", "ipv6"))
    assert "ct label" not in host.families["inet"].save()
    assert load.standing(host.host()).complete
    assert drift.report(host.host())["drift"] == []
    assert not engine.run(host.host(), requests.Replace(flows), options, check_mode=False).changed


@pytest.mark.parametrize("backend", ["iptables", "nftables"])
def test_a_run_without_change_does_not_try_the_kernel(backend: str) -> None:
    host = ScriptedHost()
    options = change.Options(0, "t1", backend)
    engine.run(host.host(), requests.Replace(WEB_DB), options, check_mode=False)
    assert any(read.startswith("remembers") for read in host.reads)
    host.reads.clear()
    assert not engine.run(host.host(), requests.Replace(WEB_DB), options, check_mode=False).changed
    assert not any(read.startswith("remembers") for read in host.reads)


def test_flows_whose_ports_clients_get_are_named() -> None:
    flows = flow_set(
        [
            flow("calls", protocol="udp", ports=[5060, 40000]),
            flow("media", protocol="udp", ports=["10000-20000"]),
            flow("names", protocol="udp", ports=[53]),
            flow("jobs", ports=["49152-49664"]),
        ]
    )

    def named(forgetful: bool, *given: tuple[int, int]) -> list[str]:
        return [warning.split("'")[1] for warning in warnings.source_port_warnings(flows, given, forgetful)]

    assert named(False, (32768, 60999)) == ["calls", "media"]
    assert named(False, (41000, 60999)) == ["media"]
    assert named(True, (32768, 60999)) == ["calls", "jobs", "media"]
