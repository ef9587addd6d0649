# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Both backends put the same label on the same packet."""

import re
from ipaddress import ip_address, ip_network

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.senet.firewall.plugins.module_utils._compile import iptables, nftables
from ansible_collections.senet.firewall.plugins.module_utils._model import FlowSet
from tests.unit.flows import ADDRESSES, ADDRESSES6, INTERFACES, flow_sets
from tests.unit.plugins.module_utils.test_compile_iptables import Traversal, chains_of

FAMILIES = {"ipv4": ADDRESSES, "ipv6": ADDRESSES6}
_KEY = (
    r"[io]ifname|meta l4proto|meta nfproto|ct state|ct direction|ct (?:original|reply) (?:ip6? saddr|proto-src)|"
    r"ip6? [sd]addr|(?:tcp|udp|sctp|dccp) [sd]port"
)
_MATCH = re.compile(rf"({_KEY}) (\{{[^}}]*\}}|\S+) ")


@st.composite
def packets(draw: st.DrawFn, flows: FlowSet, family: str) -> dict[str, str]:
    """What iptables' options can say of a packet."""
    ports = st.sampled_from([str(ports.low) for flow in flows.flows for ports in flow.ports] or ["1"]) | st.just("9")
    addresses = st.sampled_from(FAMILIES[family])
    packet = {"-p": draw(st.sampled_from(["tcp", "udp", "sctp", "dccp"]))}
    packet["-i"] = packet["-o"] = draw(st.sampled_from(INTERFACES))
    packet.update({"-s": draw(addresses), "-d": draw(addresses), "--sport": draw(ports), "--dport": draw(ports)})
    packet["--ctstate"] = draw(st.sampled_from(["INVALID", "UNTRACKED", "ESTABLISHED"]))
    if packet["--ctstate"] == "ESTABLISHED":
        packet["--ctdir"] = draw(st.sampled_from(["ORIGINAL", "REPLY"]))
        packet.update({"--ctorigsrc": draw(addresses), "--ctreplsrc": draw(addresses)})
        packet.update({"--ctorigsrcport": draw(ports), "--ctreplsrcport": draw(ports)})
    return packet


def known(packet: dict[str, str], family: str) -> dict[str, str]:
    """The same in nft's words."""
    name = "ip" if family == "ipv4" else "ip6"
    words = {
        "iifname": packet["-i"],
        "oifname": packet["-o"],
        "meta l4proto": packet["-p"],
        "meta nfproto": family,
        "ct state": packet["--ctstate"].lower(),
        "ct direction": packet.get("--ctdir", "").lower(),
        f"{name} saddr": packet["-s"],
        f"{name} daddr": packet["-d"],
        f"{packet['-p']} sport": packet["--sport"],
        f"{packet['-p']} dport": packet["--dport"],
    }
    for way in ("orig", "repl"):
        place = {"orig": "original", "repl": "reply"}[way]
        if f"--ct{way}src" in packet:
            words[f"ct {place} {name} saddr"] = packet[f"--ct{way}src"]
            words[f"ct {place} proto-src"] = packet[f"--ct{way}srcport"]
    return words


def agrees(key: str, value: str, facts: dict[str, str]) -> bool:
    if key not in facts:
        return False
    options = [one.strip('" ') for one in value.strip("{} ").split(",")]
    if key.endswith("addr"):
        return any(ip_address(facts[key]) in ip_network(option) for option in options)
    if key.endswith(("port", "proto-src")):
        return any(holds(option, facts[key]) for option in options)
    return facts[key] in options


def holds(ports: str, port: str) -> bool:
    low, dummy, high = ports.partition("-")
    return int(low) <= int(port) <= int(high or low)


def label(rules: tuple[str, ...], hook: str, facts: dict[str, str]) -> str:
    text = "\n".join(rules)
    maps = {
        name: re.findall(r'([\d-]+) : "(\S+)"', body)
        for name, body in re.findall(r"map (\w+) \{(.*?)\n\t\}", text, re.DOTALL)
    }
    result = ""
    for line in text.partition(f"chain {hook} {{\n")[2].partition("\n\t}")[0].splitlines()[2:]:
        match, dummy, value = line.strip().partition("meta secmark set ")
        assert not _MATCH.sub("", match), line
        if not all(agrees(key, wanted, facts) for key, wanted in _MATCH.findall(match)):
            continue
        key, dummy, name = value.partition(" map @")
        if not name:
            result = value.strip('"')
        elif key in facts:
            result = next((found for ports, found in maps[name] if holds(ports, facts[key])), result)
    return result


@given(st.data(), flow_sets(), st.sampled_from(iptables.HOOKS), st.sampled_from(sorted(FAMILIES)))
def test_both_backends_label_alike(data: st.DataObject, flows: FlowSet, hook: str, family: str) -> None:
    chains = chains_of(iptables.compile_rules(flows, True, family))
    table = nftables.compile_rules(flows, mls=True)
    for dummy in range(10):
        packet = data.draw(packets(flows, family))
        assert label(table, hook.lower(), known(packet, family)) == Traversal(chains, hook, packet).type
