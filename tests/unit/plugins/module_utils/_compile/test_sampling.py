# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of flows that are only observed is logged: a sample of what is busy, and of nothing else."""

import re
from collections.abc import Callable

import pytest
from hypothesis import given

from ansible_collections.senet.firewall.plugins.module_utils._compile import cil, iptables, nftables, sampling
from ansible_collections.senet.firewall.plugins.module_utils._values.fields import PortRange
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import FlowSet, flow_set
from tests.unit.flows import flow, flow_sets
from tests.unit.nft_packets import Table
from tests.unit.plugins.module_utils._compile.test_compile_alike import known
from tests.unit.plugins.module_utils._compile.test_compile_iptables import Traversal, chains_of

OLD = flow("old", ports=[6379], mode="observe")
NEAR = flow("near", ports=[7000], mode="observe", interfaces=["lo"], source_addresses=["127.0.0.1"])
FLOWS = flow_set(
    [
        flow(),
        OLD,
        NEAR,
        flow("far", ports=[7000], source_addresses=["192.0.2.7"], destination_addresses=["192.0.2.8"]),
        flow("own", ports=[7001], interfaces=["lo"]),
    ]
)
ASSURED = {"--ctstatus": "ASSURED"}
BUSY = {**ASSURED, "over": "yes"}

# (flows, hook, packet, types that the policy has not) -> the packet's type
Label = Callable[..., str]


def by_iptables(flows: FlowSet, hook: str, packet: dict[str, str], unknown: tuple[str, ...] = ()) -> str:
    rules = iptables.without_types(iptables.compile_rules(flows), unknown)
    return Traversal(chains_of(rules), hook, packet).type


def by_nftables(flows: FlowSet, hook: str, packet: dict[str, str], unknown: tuple[str, ...] = ()) -> str:
    rules = nftables.without_types(nftables.compile_rules(flows), unknown)
    return Table(rules).label(hook.lower(), known(packet, "ipv4"))


BACKENDS = pytest.mark.parametrize("label", [by_iptables, by_nftables])


def packet(direction: str, more: dict[str, str], server: str = "6379", client: str = "40000") -> dict[str, str]:
    """A packet on loopback of a connection whose ports conntrack has as those of a server and a client."""
    return {
        "-p": "tcp", "-i": "lo", "-o": "lo", "-s": "127.0.0.1", "-d": "127.0.0.1", "--sport": client, "--dport": server,
        "--ctorigsrc": "127.0.0.1", "--ctreplsrc": "127.0.0.1", "--ctorigsrcport": client, "--ctreplsrcport": server,
        "--ctdir": direction, "--ctstate": "ESTABLISHED", "--label": "", "--tcp-flags": "ACK", **more,
    }  # fmt: skip


WAYS = pytest.mark.parametrize(
    ("hook", "direction", "side"),
    [("OUTPUT", "ORIGINAL", 0), ("INPUT", "REPLY", 0), ("INPUT", "ORIGINAL", 1), ("OUTPUT", "REPLY", 1)],
)


@BACKENDS
@WAYS
def test_of_a_connection_that_is_assured_what_is_beyond_the_rate_is_not_logged(
    label: Label, hook: str, direction: str, side: int
) -> None:
    logged = (OLD.client_type, OLD.server_type)[side]
    for more in ({}, ASSURED, {"over": "yes"}):
        assert label(FLOWS, hook, packet(direction, more)) == logged
    assert label(FLOWS, hook, packet(direction, BUSY)) == OLD.unlogged_types[side]


@BACKENDS
@WAYS
def test_a_connection_met_in_midstream_is_sampled_too(label: Label, hook: str, direction: str, side: int) -> None:
    # Its server counts as the originator.
    turned = {"ORIGINAL": "REPLY", "REPLY": "ORIGINAL"}[direction]
    for more, expected in ((ASSURED, (OLD.client_type, OLD.server_type)), (BUSY, OLD.unlogged_types)):
        assert label(FLOWS, hook, packet(turned, more, server="40000", client="6379")) == expected[side]


@BACKENDS
@WAYS
def test_where_a_domain_is_confined_what_may_be_of_no_flow_is_not_sampled(
    label: Label, hook: str, direction: str, side: int
) -> None:
    for mode in ("enforce", "observe"):
        flows = flow_set(FLOWS.flows, [("httpd_t", mode)])
        assert label(flows, hook, packet(direction, BUSY)) == OLD.unlogged_types[side]
        turned = {"ORIGINAL": "REPLY", "REPLY": "ORIGINAL"}[direction]
        reverse = packet(turned, BUSY, server="40000", client="6379")
        assert label(flows, hook, reverse) == OLD.midstream_types[side]


@BACKENDS
@WAYS
@pytest.mark.parametrize(("port", "name"), [("5432", "web_db"), ("7001", "own")])
def test_what_is_enforced_keeps_its_type(
    label: Label, hook: str, direction: str, side: int, port: str, name: str
) -> None:
    own = next(flow for flow in FLOWS.flows if flow.name == name)
    # also from a port of the flow that is sampled
    for client in ("40000", "6379"):
        busy = packet(direction, BUSY, server=port, client=client)
        assert label(FLOWS, hook, busy) == (own.client_type, own.server_type)[side]


def far(direction: str, client: str, server: str) -> dict[str, str]:
    """A busy packet on the port of two flows, of which one is observed."""
    back = {"-s": server, "-d": client} if direction == "REPLY" else {"-s": client, "-d": server}
    return {**packet(direction, BUSY, "7000"), "--ctorigsrc": client, "--ctreplsrc": server, **back}


@BACKENDS
@WAYS
def test_addresses_and_interfaces_tell_what_is_sampled(label: Label, hook: str, direction: str, side: int) -> None:
    assert label(FLOWS, hook, packet(direction, {}, "7000")) == (NEAR.client_type, NEAR.server_type)[side]
    assert label(FLOWS, hook, packet(direction, BUSY, "7000")) == NEAR.unlogged_types[side]
    assert label(FLOWS, hook, far(direction, "192.0.2.9", "127.0.0.1")) == NEAR.unlogged_types[2]
    enforced = next(flow for flow in FLOWS.flows if flow.name == "far")
    assert label(FLOWS, hook, far(direction, "192.0.2.7", "192.0.2.8")) == enforced.packet_types[side]
    # where both refuse, the one that enforces
    assert label(FLOWS, hook, far(direction, "192.0.2.9", "192.0.2.8")) == enforced.refused_type
    elsewhere = {**far(direction, "192.0.2.9", "127.0.0.1"), "-i": "eth0", "-o": "eth0"}
    assert label(FLOWS, hook, elsewhere) == "senet_default_packet_t"


@BACKENDS
def test_types_that_the_policy_lacks_leave_the_others(label: Label) -> None:
    assert label(FLOWS, "OUTPUT", packet("ORIGINAL", BUSY), OLD.unlogged_types) == OLD.client_type


@given(flow_sets())
def test_no_rule_has_a_type_for_what_is_unlogged_of_another_flow(flows: FlowSet) -> None:
    observed = {flow for flow in flows.flows if flow.mode == "observe"}
    types = {name for flow in observed for name in flow.unlogged_types}
    both = iptables.compile_rules(flows) + iptables.compile_rules(flows, "ipv6")
    for rules in (both, nftables.compile_rules(flows)):
        found = set(re.findall(r"object_r:(\w+_unlogged_\w+)", "\n".join(rules)))
        # Without an address of either family a flow has none of some.
        assert found <= types
        assert found or not types
        assert any("limit" in rule for rule in rules) == bool(observed)


@given(flow_sets())
def test_who_may_use_a_flows_types_may_use_the_unlogged_ones_and_nobody_else(flows: FlowSet) -> None:
    text = cil.compile_policy(flows)
    for one in flows.flows:
        granted = {
            name: set(re.findall(rf"\(allow (\S+) {name} (\(.*?\))\)", text))
            for name in one.packet_types + one.unlogged_types
        }
        for own, unlogged in zip(one.packet_types, one.unlogged_types, strict=True):
            assert granted[unlogged] == (granted[own] if one.mode == "observe" else set())
            assert not re.search(rf"auditallow \S+ {unlogged}", text)


def test_ranges_side_by_side_are_one() -> None:
    flows = flow_set(
        [
            flow("a", ports=["80-89", 100], mode="observe"),
            flow("b", ports=[90, "91-95"], mode="observe"),
            flow("c", ports=[96]),
            flow("d", ports=[97], protocol="udp", mode="observe"),
        ]
    )
    assert sampling.sampled_ports(flows) == {
        "tcp": [PortRange(80, 95), PortRange(100, 100)],
        "udp": [PortRange(97, 97)],
    }
