# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Both backends put the same label on the same packet."""

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.senet.firewall.plugins.module_utils._compile import iptables, nftables
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import FlowSet
from tests.unit.flows import ADDRESSES, ADDRESSES6, INTERFACES, flow_sets
from tests.unit.nft_packets import Table
from tests.unit.plugins.module_utils._compile.test_compile_iptables import ASSURED, Traversal, chains_of

FAMILIES = {"ipv4": ADDRESSES, "ipv6": ADDRESSES6}


@st.composite
def packets(draw: st.DrawFn, flows: FlowSet, family: str) -> dict[str, str]:
    """What iptables' options can say of a packet."""
    ports = st.sampled_from([str(ports.low) for flow in flows.flows for ports in flow.ports] or ["1"]) | st.just("9")
    addresses = st.sampled_from(FAMILIES[family])
    packet = {"-p": draw(st.sampled_from(["tcp", "udp", "sctp", "dccp"]))}
    packet["-i"] = packet["-o"] = draw(st.sampled_from(INTERFACES))
    packet.update({"-s": draw(addresses), "-d": draw(addresses), "--sport": draw(ports), "--dport": draw(ports)})
    packet["--ctstate"] = draw(st.sampled_from(["INVALID", "UNTRACKED", "ESTABLISHED", "NEW"]))
    if packet["-p"] == "tcp":
        packet["--tcp-flags"] = draw(st.sampled_from(["SYN", "ACK"]))
    if packet["--ctstate"] in ("ESTABLISHED", "NEW"):
        packet["--ctdir"] = draw(st.sampled_from(["ORIGINAL", "REPLY"]))
        packet["--label"] = draw(st.sampled_from(["", iptables.BEGAN]))
        packet.update(draw(ASSURED))
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
        f"{name} saddr": packet["-s"],
        f"{name} daddr": packet["-d"],
        f"{packet['-p']} sport": packet["--sport"],
        f"{packet['-p']} dport": packet["--dport"],
    }
    if "--tcp-flags" in packet:
        words["tcp flags"] = packet["--tcp-flags"].lower()
    if "--ctstatus" in packet:
        words["ct status"] = packet["--ctstatus"].lower()
    if "over" in packet:
        words["over"] = packet["over"]
    if "--ctdir" in packet:
        words.update({"ct direction": packet["--ctdir"].lower(), "ct label": packet["--label"]})
        for way in ("orig", "repl"):
            place = {"orig": "original", "repl": "reply"}[way]
            words[f"ct {place} {name} saddr"] = packet[f"--ct{way}src"]
            words[f"ct {place} proto-src"] = packet[f"--ct{way}srcport"]
    return words


@given(st.data(), flow_sets(), st.sampled_from(iptables.HOOKS), st.sampled_from(sorted(FAMILIES)), st.booleans())
def test_both_backends_label_alike(
    data: st.DataObject, flows: FlowSet, hook: str, family: str, forgetful: bool
) -> None:
    rules, lines = iptables.compile_rules(flows, family), nftables.compile_rules(flows)
    if forgetful:
        rules, lines = iptables.forgetful(rules), nftables.forgetful(lines)
    chains, table = chains_of(rules), Table(lines)
    for dummy in range(10):
        packet = data.draw(packets(flows, family))
        facts = known(packet, family)
        before = facts.get("ct label")
        assert table.label(hook.lower(), facts) == Traversal(chains, hook, packet).type
        # Where the port that answers has decided, nftables asks no further and marks nothing: nobody looks there later.
        assert facts.get("ct label") in (packet.get("--label"), before)
