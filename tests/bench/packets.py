# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the rules cost a packet: the compilers' own, on this machine's kernel, with a mark in place of each label."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from ansible_collections.senet.firewall.plugins.module_utils._compile import iptables, nft_text, nftables, xtables
from ansible_collections.senet.firewall.plugins.module_utils._compile.rule_sets import RULE_SETS
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import FlowSet, flow_set
from ansible_collections.senet.firewall.plugins.module_utils._values.parsing import parse_flow
from tests.unit.network_namespace import NetworkNamespace

from .figures import Figure, Goal

PACKETS, ROUNDS = 20_000, 15
# Where two thirds of a thousand flows are passed
PORT = 10_666
_LABEL = re.compile(r'secmark set "(\w+)"')
_BLOCK = re.compile(r"\tsecmark \w+ \{\n.*?\n\t\}\n", re.DOTALL)


def flows(count: int) -> FlowSet:
    """So many flows of one UDP port each, PORT among them."""
    low = PORT - count * 2 // 3
    base = {"source": ["httpd_t"], "destination": ["named_t"], "protocol": "udp"}
    return flow_set(parse_flow({**base, "name": f"f{port}", "ports": [port]}) for port in range(low, low + count))


def with_marks(text: str) -> str:
    """nft's input with a mark for each secmark object: the same rules and maps, which need no SELinux."""
    marks = {name: str(number) for number, name in enumerate(sorted(set(re.findall(r"\tsecmark (\w+) \{\n", text))), 1)}
    text = _BLOCK.sub("", text).replace("inet_service : secmark", "inet_service : mark")
    text = _LABEL.sub(lambda match: f"mark set {marks[match[1]]}", text).replace("meta secmark set", "meta mark set")
    return re.sub(r': "(\w+)"', lambda match: f": {marks[match[1]]}", text)


def load_nftables(space: NetworkNamespace, count: int) -> None:
    text = nft_text.restore_text(RULE_SETS["inet"].parse(""), nftables.compile_rules(flows(count)))
    _done(space.run(["nft", "-f", "-"], with_marks(text)))


def load_iptables(space: NetworkNamespace, count: int) -> None:
    for command, family in (("iptables", "ipv4"), ("ip6tables", "ipv6")):
        text = xtables.restore_text(RULE_SETS["ipv4"].parse(""), iptables.compile_rules(flows(count), family))
        _done(space.run([str(space.find(f"{command}-restore")), "--noflush"], text))


def measure(progress: Callable[[str], None]) -> list[Figure]:
    """The three figures of packets. Each round measures every set of rules once, one right after the other."""
    loads = {
        "none": None,
        "nftables 1": lambda space: load_nftables(space, 1),
        "nftables 1000": lambda space: load_nftables(space, 1000),
        "iptables 1": lambda space: load_iptables(space, 1),
        "iptables 1000": lambda space: load_iptables(space, 1000),
    }
    times: dict[str, list[float]] = {name: [] for name in loads}
    with ExitStack() as stack:
        binary = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "udp_loop"
        subprocess.run(["gcc", "-O2", "-o", binary, Path(__file__).with_name("udp_loop.c")], check=True)
        spaces = {}
        for name, load in loads.items():
            spaces[name] = stack.enter_context(NetworkNamespace("nf_tables"))
            _done(spaces[name].run(["ip", "link", "set", "lo", "up"]))
            if load is not None:
                progress(f"packets: loading {name}")
                load(spaces[name])
        for number in range(ROUNDS):
            progress(f"packets: round {number + 1} of {ROUNDS}")
            for name, space in spaces.items():
                times[name].append(float(_done(space.run([str(binary), str(PACKETS), str(PORT)]))))
    goals = {
        "packet_nft_1000": ("time per packet, 1000 flows ÷ 1 flow, nftables", "nftables 1000", "nftables 1", 1.1),
        "packet_iptables_1000": ("time per packet, 1000 flows ÷ 1 flow, iptables", "iptables 1000", "iptables 1", 2),
        "packet_vs_none": ("time per packet, 1000 flows by nftables ÷ no rules", "nftables 1000", "none", 1.35),
    }
    return [
        Figure(name, what, Goal(limit), "µs", tuple(zip(times[above], times[below], strict=True)))
        for name, (what, above, below, limit) in goals.items()
    ]


def _done(answer: tuple[int, str, str]) -> str:
    code, out, err = answer
    if code != 0:
        raise RuntimeError(f"rc {code}: {err}")
    return out
