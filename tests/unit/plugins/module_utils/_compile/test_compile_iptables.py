# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from ipaddress import ip_address, ip_network
from itertools import pairwise
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.senet.firewall.plugins.module_utils._compile import iptables, xtables
from ansible_collections.senet.firewall.plugins.module_utils._compile.rule_sets import RULE_SETS
from ansible_collections.senet.firewall.plugins.module_utils._values.fields import PortRange
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import (
    MODES,
    PROTOCOLS,
    Flow,
    FlowSet,
    flow_set,
)
from tests.unit.flows import PLACED, SEVERAL, WEB_DB, flow, flow_sets
from tests.unit.golden_files import assert_golden
from tests.unit.scripted_host import Xtables

EMPTY = RULE_SETS["ipv4"].parse("")

FORTY = flow_set(
    [flow(f"service_{port}", protocol=PROTOCOLS[port % 9 == 0], ports=[port]) for port in range(4000, 4037)]
    + [flow("media", protocol="udp", ports=["16384-32767", 3478]), flow("admin", ports=["8000-8099"])]
)


@pytest.mark.parametrize(
    ("name", "flows", "family"),
    [
        ("web_db.rules", WEB_DB, "ipv4"),
        ("several.rules", SEVERAL, "ipv4"),
        ("forty.rules", FORTY, "ipv4"),
        ("placed.rules", PLACED, "ipv4"),
        ("placed6.rules", PLACED, "ipv6"),
    ],
)
def test_the_rules_are_the_golden_ones(name: str, flows: FlowSet, family: str) -> None:
    assert_golden(name, xtables.restore_text(EMPTY, iptables.compile_rules(flows, family)))


def test_flows_without_addresses_have_the_same_rules_in_both_families() -> None:
    assert iptables.compile_rules(SEVERAL, "ipv4") == iptables.compile_rules(SEVERAL, "ipv6")


def matches(options: dict[str, str], packet: dict[str, str]) -> bool:
    """Whether a rule matches; its match connlabel comes last, and may write the packet's ``--label``."""
    if not met(options, packet):
        return False
    if "--label" not in options:
        return True
    if "--set" in options and packet.get("--label") is not None:
        packet["--label"] = options["--label"].strip('"')
    return packet.get("--label") == options["--label"].strip('"')


def met(options: dict[str, str], packet: dict[str, str]) -> bool:
    if "--tcp-flags" in options:
        assert options["--tcp-flags"] == "SYN,ACK"
        inverted = options["inverted"] == "--tcp-flags"
        if "--tcp-flags" not in packet or (packet["--tcp-flags"] == "SYN") == inverted:
            return False
    if options.get("-p", packet["-p"]) != packet["-p"]:
        return False
    if "--ctstate" in options and packet.get("--ctstate") not in options["--ctstate"].split(","):
        return False
    if "--ctstatus" in options and packet.get("--ctstatus") != options["--ctstatus"]:
        return False
    if "--limit" in options and "over" in packet:
        return False
    if options.get("--ctdir", packet.get("--ctdir")) != packet.get("--ctdir"):
        return False
    for key in ("--sport", "--dport", "--ctorigsrcport", "--ctreplsrcport"):
        if key in options:
            low, dummy, high = options[key].partition(":")
            if key not in packet or not int(low) <= int(packet[key]) <= int(high or low):
                return False
    for key in ("-s", "-d", "--ctorigsrc", "--ctreplsrc"):
        if key in options and (key not in packet or ip_address(packet[key]) not in ip_network(options[key])):
            return False
    return all(options.get(key, packet.get(key)) == packet.get(key) for key in ("-i", "-o"))


Chains = dict[str, list[dict[str, str]]]


def chains_of(rules: tuple[str, ...]) -> Chains:
    """The options of each chain's rules, by their names."""
    chains: Chains = {}
    for rule in rules:
        words = rule.split()
        options = dict(pairwise(words))
        options["inverted"] = " ".join(after for word, after in pairwise(words) if word == "!")
        assert options["inverted"] in ("", "--tcp-flags")
        chains.setdefault(words[1], []).append(options)
    return chains


class Traversal:
    """A packet's way through the chain of a hook: the type it ends up with, and how many rules it meets."""

    def __init__(self, chains: Chains, hook: str, packet: dict[str, str]) -> None:
        self.chains = chains
        self.packet = packet
        self.type = ""
        self.met = 0
        self.enter(f"SENET_{hook}")

    def enter(self, chain: str) -> None:
        # A chain without rules of this family is declared, and empty.
        for options in self.chains.get(chain, ()):
            self.met += 1
            if not matches(options, self.packet):
                continue
            if "-g" in options:
                self.enter(options["-g"])
                return
            if options["-j"] == "RETURN":
                return
            if options["-j"] == "SECMARK":
                self.type = options["--selctx"].split(":")[2]
            else:
                self.enter(options["-j"])


def label(hook: str, packet: dict[str, str], flows: FlowSet, family: str = "ipv4") -> str:
    return Traversal(chains_of(iptables.compile_rules(flows, family)), hook, packet).type


CLIENT, SERVER = flow().client_type, flow().server_type
DEFAULT = "senet_default_packet_t"


def tracked(direction: str, reply_source: str, original_source: str = "40000") -> dict[str, str]:
    return {
        "-p": "tcp", "--tcp-flags": "ACK", "--ctstate": "ESTABLISHED", "--ctdir": direction, "--label": "",
        "--ctreplsrcport": reply_source, "--ctorigsrcport": original_source,
    }  # fmt: skip


def untracked(state: str, sport: str, dport: str) -> dict[str, str]:
    return {"-p": "tcp", "--tcp-flags": "ACK", "--ctstate": state, "--sport": sport, "--dport": dport}


@pytest.mark.parametrize(
    ("hook", "packet", "expected"),
    [
        ("OUTPUT", tracked("ORIGINAL", "5432"), CLIENT),
        ("INPUT", tracked("REPLY", "5432"), CLIENT),
        ("INPUT", tracked("ORIGINAL", "5432"), SERVER),
        ("OUTPUT", tracked("REPLY", "5432"), SERVER),
        # picked up in mid-stream, the server's packet first
        ("OUTPUT", tracked("ORIGINAL", "40000", "5432"), SERVER),
        ("INPUT", tracked("ORIGINAL", "40000", "5432"), CLIENT),
        ("OUTPUT", tracked("REPLY", "40000", "5432"), CLIENT),
        ("INPUT", tracked("REPLY", "40000", "5432"), SERVER),
        # the client chose another flow's port as its source port: the service decides
        ("OUTPUT", tracked("ORIGINAL", "5432", "6379"), CLIENT),
        ("INPUT", tracked("ORIGINAL", "5432", "6379"), SERVER),
        ("OUTPUT", untracked("UNTRACKED", "40000", "5432"), CLIENT),
        ("OUTPUT", untracked("INVALID", "5432", "40000"), SERVER),
        ("INPUT", untracked("INVALID", "40000", "5432"), SERVER),
        ("INPUT", untracked("UNTRACKED", "5432", "40000"), CLIENT),
        # untracked, from the port of one service to the other: what it is sent to decides
        ("OUTPUT", untracked("UNTRACKED", "6379", "5432"), CLIENT),
        ("INPUT", untracked("UNTRACKED", "6379", "5432"), SERVER),
        ("OUTPUT", tracked("ORIGINAL", "22"), DEFAULT),
        ("INPUT", tracked("REPLY", "22"), DEFAULT),
        ("OUTPUT", {**tracked("ORIGINAL", "5432"), "-p": "udp"}, DEFAULT),
        ("OUTPUT", {"-p": "icmp", "--ctdir": "ORIGINAL"}, DEFAULT),
    ],
)
@pytest.mark.parametrize("more", [(), FORTY.flows], ids=["list", "tree"])
def test_each_packet_gets_the_type_of_its_side(
    hook: str, packet: dict[str, str], expected: str, more: tuple[Flow, ...]
) -> None:
    assert label(hook, packet, SEVERAL.with_flows(more)) == expected


def conversation(client: str, server: str, way: str, port: str = "5432", interface: str = "eth0") -> dict[str, str]:
    """A packet of a connection as it is in the hook OUTPUT of its sender."""
    return {**tracked(way, port), "--ctorigsrc": client, "--ctreplsrc": server, "-i": interface, "-o": interface}


REFUSED = {"senet_web_db_refused_packet_t", "senet_backup_refused_packet_t"}
HERE, HERE6 = "192.0.2.1", "2001:db8::1"


@pytest.mark.parametrize(
    ("family", "packet", "expected"),
    [
        ("ipv4", conversation("192.0.2.7", HERE, "ORIGINAL"), {"senet_web_db_client_packet_t"}),
        ("ipv4", conversation("198.51.100.200", HERE, "REPLY"), {"senet_web_db_server_packet_t"}),
        ("ipv6", conversation("2001:db8::7", HERE6, "ORIGINAL"), {"senet_web_db_client_packet_t"}),
        ("ipv4", conversation("192.0.2.8", HERE, "ORIGINAL"), {"senet_backup_client_packet_t"}),
        # of the flows that enforce here: the one that observes permits nothing that they refuse
        ("ipv4", conversation("192.0.2.9", HERE, "ORIGINAL"), REFUSED),
        ("ipv4", conversation("127.0.0.1", "127.0.0.1", "REPLY"), REFUSED),
        ("ipv6", conversation("::1", "::1", "ORIGINAL"), REFUSED),
        ("ipv4", conversation(HERE, HERE, "ORIGINAL", "6379", "lo"), {"senet_lo_client_packet_t"}),
        ("ipv4", conversation(HERE, "192.0.2.2", "ORIGINAL", "6379"), {DEFAULT}),
        ("ipv6", conversation(HERE6, "2001:db8:1::5", "ORIGINAL", "6379"), {"senet_wan_client_packet_t"}),
        ("ipv6", conversation(HERE6, "2001:db8:1::5", "REPLY", "6379", "eth1"), {"senet_wan_server_packet_t"}),
        ("ipv6", conversation(HERE6, "2001:db8:1::5", "ORIGINAL", "6379", "eth2"), {DEFAULT}),
        ("ipv6", conversation(HERE6, "2001:db8:2::5", "ORIGINAL", "6379"), {DEFAULT}),
        ("ipv4", {**conversation(HERE, HERE, "ORIGINAL", "53"), "-p": "udp"}, {"senet_any4_client_packet_t"}),
        ("ipv6", {**conversation(HERE6, HERE6, "ORIGINAL", "53"), "-p": "udp"}, {"senet_any4_refused_packet_t"}),
    ],
)
@pytest.mark.parametrize("more", [(), FORTY.flows], ids=["list", "tree"])
def test_addresses_and_interfaces_tell_flows_apart(
    family: str, packet: dict[str, str], expected: set[str], more: tuple[Flow, ...]
) -> None:
    assert label("OUTPUT", packet, PLACED.with_flows(more), family) in expected


# A packet of a new connection, of one that both ends have spoken in, and of that beyond the rate
ASSURED = st.sampled_from([{}, {"--ctstatus": "ASSURED"}, {"--ctstatus": "ASSURED", "over": "yes"}])


@st.composite
def crowds(draw: st.DrawFn) -> FlowSet:
    """Sets of many flows: ranges between random edges, some of them side by side, over two protocols."""
    flows = []
    for protocol in draw(st.sampled_from([("tcp",), ("tcp", "udp"), ("sctp", "dccp")])):
        edges = sorted(draw(st.sets(st.integers(1, 65535) | st.integers(100, 160), min_size=20, max_size=40)))
        for low, high in zip(edges[::2], edges[1::2], strict=False):
            ports = PortRange(low, draw(st.sampled_from([low, high])))
            mode = draw(st.sampled_from(MODES))
            flows.append(flow(f"{protocol}_{low}", protocol=protocol, ports=[str(ports)], mode=mode))
    return flow_set(flows)


@st.composite
def packets(draw: st.DrawFn, flows: FlowSet) -> dict[str, str]:
    edges = [port + step for one in flows.flows for ports in one.ports for port in ports for step in (-1, 0, 1)]
    ports = st.sampled_from(edges or [1]) | st.integers(1, 65535)
    protocol = draw(st.sampled_from(["tcp", "udp", "sctp", "dccp", "icmp"]))
    state = draw(st.sampled_from(["INVALID", "UNTRACKED", "ESTABLISHED"]))
    packet = {"-p": protocol, "--ctstate": state}
    if protocol != "icmp":
        packet.update({"--sport": str(draw(ports)), "--dport": str(draw(ports))})
    if state == "ESTABLISHED":
        packet["--ctdir"] = draw(st.sampled_from(["ORIGINAL", "REPLY"]))
        packet.update({"--ctorigsrcport": str(draw(ports)), "--ctreplsrcport": str(draw(ports))})
        packet["--label"] = draw(st.sampled_from(["", iptables.BEGAN]))
        packet.update(draw(ASSURED))
    if protocol == "tcp":
        packet["--tcp-flags"] = draw(st.sampled_from(["SYN", "ACK"]))
    return packet


@pytest.mark.long
@given(st.data(), crowds(), st.sampled_from(xtables.HOOKS))
def test_the_tree_labels_as_the_list_does(data: st.DataObject, flows: FlowSet, hook: str) -> None:
    tree = chains_of(iptables.compile_rules(flows))
    with mock.patch.object(iptables, "_FLAT_CLAIMS", 1 << 16):
        flat = chains_of(iptables.compile_rules(flows))
    for dummy in range(10):
        packet = data.draw(packets(flows))
        assert Traversal(tree, hook, packet).type == Traversal(flat, hook, packet).type


def test_a_packet_meets_few_rules_however_many_flows_there_are() -> None:
    flows = flow_set([flow(f"f{port}", ports=[port]) for port in range(1000, 2000)])
    chains = chains_of(iptables.compile_rules(flows))
    for port in map(str, range(1000, 2000, 7)):
        for packet in (tracked("ORIGINAL", port), tracked("REPLY", port, port), tracked("REPLY", "22", port)):
            assert Traversal(chains, "INPUT", packet).met < 60
        packet = untracked("INVALID", port, port)
        assert Traversal(chains, "OUTPUT", packet).met < 60


def test_chains_have_names_that_iptables_takes() -> None:
    ports = range(1, 65536, 9)
    with mock.patch.object(iptables, "_label", lambda name, match, packet_type: f"-A {name} -j ACCEPT"):
        rules = iptables.compile_rules(FlowSet((flow(protocol="sctp", ports=list(ports)),)))
    names = {rule.split()[1] for rule in rules}
    assert len(names) > 8 * len(ports) / 4
    assert max(map(len, names)) <= 28


@pytest.mark.long
@given(crowds(), crowds())
def test_the_chains_of_an_earlier_set_go_and_those_of_others_stay(first: FlowSet, second: FlowSet) -> None:
    host = Xtables()
    host.restore("*security\n:SENET_LOCAL - [0:0]\n-A SENET_LOCAL -j ACCEPT\n-A INPUT -j SENET_LOCAL\nCOMMIT\n")
    before = host.save()
    for flows in (first, second):
        rules = iptables.compile_rules(flows)
        host.restore(xtables.restore_text(RULE_SETS["ipv4"].parse(host.save()), rules))
        table = RULE_SETS["ipv4"].parse(host.save())
        assert table.installed(rules)
        assert table.rules == rules
        assert set(table.chains) == {rule.split()[1] for rule in rules}
    host.restore(xtables.restore_text(table, None))
    assert host.save() == before


@pytest.mark.parametrize("drift", ["stale chain", "empty chain", "rule in a chain below", "other part"])
def test_drift_below_the_hooks_chains_is_noticed(drift: str) -> None:
    rules = iptables.compile_rules(FORTY)
    host = Xtables()
    host.restore(xtables.restore_text(EMPTY, rules))
    if drift == "stale chain":
        host.restore("*security\n:SENET_tcp_rsrc_client_99 - [0:0]\nCOMMIT\n")
    elif drift == "empty chain":
        host.chains["SENET_tcp_rsrc_client_3"].clear()
    elif drift == "rule in a chain below":
        host.chains["SENET_tcp_rsrc_client_3"].append("-j ACCEPT")
    else:
        parts = host.chains["SENET_tcp_osrc_server_0"]
        parts[0], parts[1] = parts[1], parts[0]
    drifted = RULE_SETS["ipv4"].parse(host.save())
    assert not drifted.installed(rules)
    host.restore(xtables.restore_text(drifted, rules))
    assert RULE_SETS["ipv4"].parse(host.save()).installed(rules)
    assert "SENET_tcp_rsrc_client_99" not in host.chains


@given(flow_sets(), st.lists(st.sampled_from(xtables.HOOKS)), st.booleans())
def test_what_is_restored_is_read_back_as_installed(flows: FlowSet, foreign: list[str], crowded: bool) -> None:
    rules = iptables.compile_rules(flows)
    host = Xtables()
    if crowded:
        host.restore("*security\n:LOCAL - [0:0]\n-A LOCAL -j ACCEPT\nCOMMIT\n")
    for hook in foreign:
        host.restore(f"*security\n-A {hook} -j LOCAL\n-A {hook} -j SENET_{hook}\nCOMMIT\n")
    before = RULE_SETS["ipv4"].parse(host.save())
    assert not before.installed(rules)

    host.restore(xtables.restore_text(before, rules))
    after = RULE_SETS["ipv4"].parse(host.save())
    assert after.installed(rules)
    assert host.rules("INPUT", "OUTPUT", "LOCAL").count("-j LOCAL") == len(foreign)

    host.restore(xtables.restore_text(after, None))
    gone = RULE_SETS["ipv4"].parse(host.save())
    assert not gone.ours
    assert gone.bare == (not crowded and not foreign)


def test_rules_spelled_by_another_release_are_the_same_rules() -> None:
    rules = iptables.compile_rules(WEB_DB)
    host = Xtables()
    host.restore(xtables.restore_text(EMPTY, rules))
    respelled = host.save().replace("-p tcp", "-p 6").replace(
        "--ctproto 6 --ctreplsrcport 5432 --ctdir REPLY", "--ctdir REPLY --ctproto 6 --ctreplsrcport 5432"
    )
    respelled = respelled.replace('--label "107" --set', '--label "began here" --set')
    respelled = respelled.replace('--label "107"', "--label 107")
    assert respelled != host.save()
    assert RULE_SETS["ipv4"].parse(respelled).installed(rules)


@pytest.mark.parametrize(
    "drift", ["missing rule", "extra rule", "rules swapped", "jump second", "jump twice", "no jump"]
)
def test_drift_is_noticed(drift: str) -> None:
    rules = iptables.compile_rules(WEB_DB)
    host = Xtables()
    host.restore(xtables.restore_text(EMPTY, rules))
    chain = host.chains["SENET_OUTPUT"]
    jumps = host.chains["OUTPUT"]
    if drift == "missing rule":
        chain.pop()
    elif drift == "extra rule":
        chain.append("-j ACCEPT")
    elif drift == "rules swapped":
        chain[1], chain[-1] = chain[-1], chain[1]
    elif drift == "jump second":
        jumps.insert(0, "-j ACCEPT")
    elif drift == "jump twice":
        jumps.append(jumps[0])
    else:
        jumps.clear()
    drifted = RULE_SETS["ipv4"].parse(host.save())
    assert not drifted.installed(rules)
    host.restore(xtables.restore_text(drifted, rules))
    assert RULE_SETS["ipv4"].parse(host.save()).installed(rules)


def test_labels_of_others_are_found_in_every_table() -> None:
    saved = "\n".join(
        [
            "*mangle",
            "-A POSTROUTING -j CONNSECMARK --restore",
            "COMMIT",
            "*security",
            ":SENET_INPUT - [0:0]",
            ":SENET_OUTPUT - [0:0]",
            "-A INPUT -p tcp -j SECMARK --selctx system_u:object_r:http_server_packet_t:s0",
            "-A SENET_INPUT -j SECMARK --selctx system_u:object_r:senet_default_packet_t:s0",
            "COMMIT",
        ]
    )
    assert iptables.foreign_labels(saved) == [
        "mangle: -A POSTROUTING -j CONNSECMARK --restore",
        "security: -A INPUT -p tcp -j SECMARK --selctx system_u:object_r:http_server_packet_t:s0",
    ]


def test_rules_of_a_type_are_left_out() -> None:
    rules = iptables.compile_rules(SEVERAL)
    kept = iptables.without_types(rules, [CLIENT, SERVER])
    assert len(rules) - len(kept) == 12
    assert not any("5432" in rule for rule in kept)
