# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.senet.firewall.plugins.module_utils._compile import iptables
from ansible_collections.senet.firewall.plugins.module_utils._model import FlowSet
from tests.unit.flows import SEVERAL, WEB_DB, flow, flow_sets
from tests.unit.golden_files import assert_golden
from tests.unit.scripted_host import Xtables

EMPTY = iptables.parse_save("")


@pytest.mark.parametrize(("name", "flows"), [("web_db.rules", WEB_DB), ("several.rules", SEVERAL)])
def test_the_rules_are_the_golden_ones(name: str, flows: FlowSet) -> None:
    assert_golden(name, iptables.restore_text(EMPTY, iptables.compile_rules(flows, mls=True)))


def test_without_mls_contexts_have_no_level() -> None:
    assert all(rule.endswith("packet_t") for rule in iptables.compile_rules(WEB_DB, mls=False))


def label(hook: str, packet: dict[str, str], flows: FlowSet) -> str:
    """The type that a packet ends up with: the last rule of the chain that matches it, as the kernel evaluates."""
    result = ""
    for rule in iptables.compile_rules(flows, mls=True):
        words = shlex.split(rule)
        if words[1] != f"SENET_{hook}":
            continue
        options = dict(zip(words, words[1:]))
        options.pop("-A")
        context = options.pop("--selctx")
        wanted = {key: value for key, value in options.items() if key.startswith("--ct") or key in ("--sport", "--dport")}
        wanted.pop("--ctproto", None)
        if "--ctstate" in wanted:
            wanted["--ctstate"] = packet.get("--ctstate", "") if "UNTRACKED" in wanted["--ctstate"] else "never"
        protocol = options.get("-p", packet["-p"])
        if protocol == packet["-p"] and all(value and packet.get(key) == value for key, value in wanted.items()):
            result = context.split(":")[2]
    return result


CLIENT, SERVER = flow().client_type, flow().server_type
DEFAULT = "senet_default_packet_t"


def tracked(direction: str, reply_source: str, original_source: str = "40000") -> dict[str, str]:
    return {"-p": "tcp", "--ctdir": direction, "--ctreplsrcport": reply_source, "--ctorigsrcport": original_source}


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
        ("OUTPUT", {"-p": "tcp", "--ctstate": "UNTRACKED", "--sport": "40000", "--dport": "5432"}, CLIENT),
        ("OUTPUT", {"-p": "tcp", "--ctstate": "INVALID", "--sport": "5432", "--dport": "40000"}, SERVER),
        ("INPUT", {"-p": "tcp", "--ctstate": "INVALID", "--sport": "40000", "--dport": "5432"}, SERVER),
        ("INPUT", {"-p": "tcp", "--ctstate": "UNTRACKED", "--sport": "5432", "--dport": "40000"}, CLIENT),
        # untracked, from the port of one service to the other: what it is sent to decides
        ("OUTPUT", {"-p": "tcp", "--ctstate": "UNTRACKED", "--sport": "6379", "--dport": "5432"}, CLIENT),
        ("INPUT", {"-p": "tcp", "--ctstate": "UNTRACKED", "--sport": "6379", "--dport": "5432"}, SERVER),
        ("OUTPUT", tracked("ORIGINAL", "22"), DEFAULT),
        ("INPUT", tracked("REPLY", "22"), DEFAULT),
        ("OUTPUT", {**tracked("ORIGINAL", "5432"), "-p": "udp"}, DEFAULT),
        ("OUTPUT", {"-p": "icmp", "--ctdir": "ORIGINAL"}, DEFAULT),
    ],
)
def test_each_packet_gets_the_type_of_its_side(hook: str, packet: dict[str, str], expected: str) -> None:
    assert label(hook, packet, SEVERAL) == expected


@given(flow_sets(), st.lists(st.sampled_from(iptables.HOOKS)), st.booleans())
def test_what_is_restored_is_read_back_as_installed(flows: FlowSet, foreign: list[str], crowded: bool) -> None:
    rules = iptables.compile_rules(flows, mls=True)
    host = Xtables()
    if crowded:
        host.restore("*security\n:LOCAL - [0:0]\n-A LOCAL -j ACCEPT\nCOMMIT\n")
    for hook in foreign:
        host.restore(f"*security\n-A {hook} -j LOCAL\n-A {hook} -j SENET_{hook}\nCOMMIT\n")
    before = iptables.parse_save(host.save())
    assert not before.installed(rules)

    host.restore(iptables.restore_text(before, rules))
    after = iptables.parse_save(host.save())
    assert after.installed(rules)
    assert host.rules("INPUT", "OUTPUT", "LOCAL").count("-j LOCAL") == len(foreign)

    host.restore(iptables.restore_text(after, None))
    gone = iptables.parse_save(host.save())
    assert not gone.ours
    assert gone.bare == (not crowded and not foreign)


def test_rules_spelled_by_another_release_are_the_same_rules() -> None:
    rules = iptables.compile_rules(WEB_DB, mls=True)
    host = Xtables()
    host.restore(iptables.restore_text(EMPTY, rules))
    respelled = host.save().replace("-p tcp", "-p 6").replace(
        "--ctproto 6 --ctreplsrcport 5432 --ctdir REPLY", "--ctdir REPLY --ctproto 6 --ctreplsrcport 5432"
    )
    assert respelled != host.save()
    assert iptables.parse_save(respelled).installed(rules)


@pytest.mark.parametrize("drift", ["missing rule", "extra rule", "rules swapped", "jump second", "jump twice", "no jump"])
def test_drift_is_noticed(drift: str) -> None:
    rules = iptables.compile_rules(WEB_DB, mls=True)
    host = Xtables()
    host.restore(iptables.restore_text(EMPTY, rules))
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
    drifted = iptables.parse_save(host.save())
    assert not drifted.installed(rules)
    host.restore(iptables.restore_text(drifted, rules))
    assert iptables.parse_save(host.save()).installed(rules)


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
    assert iptables.parse_save(saved).foreign == (
        "mangle: -A POSTROUTING -j CONNSECMARK --restore",
        "security: -A INPUT -p tcp -j SECMARK --selctx system_u:object_r:http_server_packet_t:s0",
    )


def test_rules_of_a_type_are_left_out() -> None:
    rules = iptables.compile_rules(SEVERAL, mls=True)
    kept = iptables.without_types(rules, [CLIENT, SERVER])
    assert len(rules) - len(kept) == 12
    assert not any("5432" in rule for rule in kept)
