# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.senet.firewall.plugins.module_utils._compile import nft_text, nftables
from ansible_collections.senet.firewall.plugins.module_utils._compile.rule_sets import RULE_SETS
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import FlowSet, flow_set, without_levels
from tests.unit.flows import PLACED, SEVERAL, WEB_DB, flow, flow_sets
from tests.unit.golden_files import DIRECTORY, assert_golden
from tests.unit.nft_packets import Table

EMPTY = RULE_SETS["inet"].parse("")
CLIENT, SERVER = flow().client_type, flow().server_type
DEFAULT = "senet_default_packet_t"

# What nft 1.0.6 on Linux 6.18 listed after the flow web_db had been loaded, with marks in place of labels.
LISTED = (DIRECTORY / "nft_listed.txt").read_text()


@pytest.mark.parametrize(("name", "flows"), [("web_db.nft", WEB_DB), ("several.nft", SEVERAL), ("placed.nft", PLACED)])
def test_the_table_is_the_golden_one(name: str, flows: FlowSet) -> None:
    assert_golden(name, nft_text.restore_text(EMPTY, nftables.compile_rules(flows)))


def test_what_nft_lists_is_what_was_compiled() -> None:
    table = RULE_SETS["inet"].parse(LISTED)
    assert table.installed(nftables.compile_rules(WEB_DB))
    assert table.rules is not None
    assert table.installed(table.rules)
    assert not table.installed(nftables.compile_rules(SEVERAL))
    assert not EMPTY.installed(nftables.compile_rules(WEB_DB))


def listed(text: str) -> str:
    """The elements of each map on one line, and blank lines between blocks, as nft prints them."""
    return re.sub(r",\s*\}", " }", re.sub(r"(elements = \{|,)\n\s*", r"\1 ", text)).replace("\t}\n\t", "\t}\n\n\t")


@given(flow_sets(), st.booleans())
def test_what_is_restored_is_read_back_as_installed(flows: FlowSet, levels: bool) -> None:
    rules = nftables.compile_rules(flows)
    if not levels:
        rules = tuple(map(without_levels, rules))
    printed = listed(nft_text.restore_text(EMPTY, rules))
    table = RULE_SETS["inet"].parse(printed)
    assert table == nft_text.Table(nftables.TABLE, True, rules)
    assert table.ours
    assert nftables.without_types(rules, ["none_t"]) == rules


@pytest.mark.parametrize(
    ("printed", "respelled"),
    [
        ("priority security;", "priority 50;"),
        ("meta secmark set tcp", "meta l4proto tcp meta secmark set tcp"),
        ("\tmeta secmark set tcp", "\tmeta l4proto tcp meta secmark set th"),
        ("ct label set 107", 'ct label set "began here"'),
        ("ct label 107", 'ct label "began here"'),
        ("tcp flags syn / syn,ack", "tcp flags & (syn | ack) == syn"),
        ("tcp flags != syn / syn,ack", "tcp flags & (syn | ack) != syn"),
        ("meta l4proto tcp ", "meta l4proto 6 "),
        (' "senet_web_db_client_packet_t"', " senet_web_db_client_packet_t"),
        ("type inet_service : secmark", "type inet_service : secmark\t# count 1"),
        ("map tcp_client {", "map tcp_client { # handle 7"),
        ("elements = { 5432", "elements = {\n\t\t\t     5432"),
        ("\n\n", "\n"),
    ],
)
def test_tables_printed_by_another_release_are_the_same(printed: str, respelled: str) -> None:
    other = LISTED.replace(printed, respelled)
    assert other != LISTED
    assert RULE_SETS["inet"].parse(other).installed(nftables.compile_rules(WEB_DB))


@pytest.mark.parametrize(
    ("was", "became"),
    [
        ("\t\tmeta secmark set \"senet_default_packet_t\"\n", ""),
        ("\tchain input {", "\tchain input {\n\t\taccept"),
        ("5432 :", "5433 :"),
        ("{ 5432", '{ 22 : "senet_web_db_client_packet_t", 5432'),
        ("sport map", "dport map"),
        ("policy accept", "policy drop"),
        ("priority security", "priority -50"),
        ("original goto input_original", "original goto input_reply"),
        ("meta l4proto tcp ct", "meta l4proto udp ct"),
        ("ct label set 107", "ct label 107"),
        ("tcp flags syn / syn,ack goto", "tcp flags != syn / syn,ack goto"),
        ("tcp flags syn / syn,ack goto", "tcp flags syn / syn,rst goto"),
        ("@tcp_client accept", "@tcp_client"),
        ("senet_web_db_client_packet_t:s0", "senet_web_db_server_packet_t:s0"),
        ("table inet senet {", "table inet senet {\n\tflags dormant"),
        ("\tchain input", "\tchain extra {\n\t}\n\n\tchain input"),
    ],
)
def test_drift_is_noticed(was: str, became: str) -> None:
    drifted = LISTED.replace(was, became)
    assert drifted != LISTED
    rules = nftables.compile_rules(WEB_DB)
    table = RULE_SETS["inet"].parse(drifted)
    assert table.ours
    assert not table.installed(rules)
    # what was there can be put back, whoever wrote it
    assert RULE_SETS["inet"].parse(nft_text.restore_text(EMPTY, table.rules)).rules == table.rules


def test_a_table_of_ours_is_replaced_in_one_transaction_and_taken_away_alone() -> None:
    rules = nftables.compile_rules(WEB_DB)
    present = RULE_SETS["inet"].parse(LISTED)
    replaced = nft_text.restore_text(present, nftables.compile_rules(SEVERAL))
    assert replaced.startswith("table inet senet\ndelete table inet senet\ntable inet senet {\n")
    assert nft_text.restore_text(EMPTY, rules).startswith("table inet senet {\n")
    assert nft_text.restore_text(present, None) == "table inet senet\ndelete table inet senet\n"
    assert nft_text.restore_text(EMPTY, None) == ""


def test_the_number_of_rules_does_not_grow_with_the_flows() -> None:
    def chains(flows: FlowSet) -> list[str]:
        rules = nftables.compile_rules(flows)
        return list(rules[rules.index("\tchain input {"):])

    assert chains(WEB_DB) == chains(flow_set([flow(f"f{port}", ports=[port]) for port in range(1, 1001)]))


def tracked(direction: str, reply_source: str, original_source: str = "40000") -> dict[str, str]:
    return {
        "meta l4proto": "tcp", "ct state": "established", "ct direction": direction, "tcp flags": "ack",
        "ct original proto-src": original_source, "ct reply proto-src": reply_source,
    }  # fmt: skip


def untracked(state: str, sport: str, dport: str, flags: str = "ack") -> dict[str, str]:
    return {"meta l4proto": "tcp", "ct state": state, "tcp sport": sport, "tcp dport": dport, "tcp flags": flags}


@pytest.mark.parametrize(
    ("hook", "packet", "expected"),
    [
        ("output", tracked("original", "5432"), CLIENT),
        ("input", tracked("reply", "5432"), CLIENT),
        ("input", tracked("original", "5432"), SERVER),
        ("output", tracked("reply", "5432"), SERVER),
        ("output", tracked("original", "40000", "5432"), SERVER),
        ("input", tracked("original", "40000", "5432"), CLIENT),
        ("output", tracked("reply", "40000", "5432"), CLIENT),
        ("input", tracked("reply", "40000", "5432"), SERVER),
        ("output", tracked("original", "5432", "6379"), CLIENT),
        ("input", tracked("original", "5432", "6379"), SERVER),
        ("output", untracked("untracked", "40000", "5432"), CLIENT),
        ("output", untracked("invalid", "5432", "40000"), SERVER),
        ("input", untracked("invalid", "40000", "5432"), SERVER),
        ("input", untracked("untracked", "5432", "40000"), CLIENT),
        ("output", untracked("untracked", "6379", "5432"), CLIENT),
        ("input", untracked("untracked", "6379", "5432"), SERVER),
        ("output", tracked("original", "22"), DEFAULT),
        ("input", {**tracked("original", "5432"), "meta l4proto": "udp"}, DEFAULT),
        ("output", {"meta l4proto": "icmp", "ct state": "new", "ct direction": "original"}, DEFAULT),
    ],
)
def test_each_packet_gets_the_type_of_its_side(hook: str, packet: dict[str, str], expected: str) -> None:
    assert Table(nftables.compile_rules(SEVERAL)).label(hook, packet) == expected


FOREIGN = (DIRECTORY / "nft_foreign.txt").read_text()


def test_labels_of_others_are_found_in_every_table() -> None:
    found = nftables.label_rules(FOREIGN, (nftables.TABLE,))
    assert nftables.label_rules(LISTED + FOREIGN, (nftables.TABLE,)) == found
    assert nftables.label_rules(FOREIGN + LISTED, (nftables.TABLE,)) == found
    assert found == [
        "ip security OUTPUT: tcp dport 99 counter xt target SECMARK",
        # nft cannot know whose they are
        "ip security SENET_OUTPUT: counter xt target SECMARK",
        "ip security SENET_OUTPUT_original_mid: counter xt target SECMARK",
        "ip security SENET_tcp_rsrc_client_12: counter xt target SECMARK",
        'ip security SENET_OUTPUT_tcp_rsrc_12: meta l4proto tcp counter xt target "SECMARK"',
        "ip6 mangle OUTPUT: counter # CONNSECMARK save",
        "ip6 mangle OUTPUT: # xt_CONNSECMARK",
        'inet filter SENET_OUTPUT: tcp dport 22 meta secmark set "ssh" comment "ours"',
        "inet filter SENET_OUTPUT: ct secmark set meta secmark",
    ]
    left = nftables.label_rules(LISTED + FOREIGN, (nftables.TABLE, "ip security", "ip6 mangle"))
    assert left == [rule for rule in found if rule.startswith("inet")]


def test_our_table_is_found_among_others() -> None:
    mine = "".join(f"{line}\n" for line in nftables.compile_rules(SEVERAL))
    others = [mine.replace("inet senet", name) for name in ("inet senet_owner", "ip senet", "inet my_senet")]
    for place in range(4):
        ruleset = "".join([*others[:place], mine, *others[place:]])
        assert nft_text.find_table("inet senet", ruleset) == mine
    assert nft_text.find_table("inet senet", "".join(others)) == nft_text.find_table("inet senet", "") == ""


def test_a_type_is_left_out_with_its_object_and_elements() -> None:
    kept = nftables.without_types(nftables.compile_rules(SEVERAL), [CLIENT, SERVER])
    assert not any("web_db" in line for line in kept)
    less = flow_set(flow for flow in SEVERAL.flows if flow.name != "web_db")
    assert kept == nftables.compile_rules(less)


def test_a_map_that_loses_its_last_element_stays_for_its_rules() -> None:
    kept = nftables.without_types(nftables.compile_rules(WEB_DB), [CLIENT, SERVER])
    assert not any("web_db" in line or "elements" in line for line in kept)
    assert RULE_SETS["inet"].parse("\n".join(kept)).rules == kept


def test_a_set_is_the_same_in_any_order() -> None:
    rules = nftables.compile_rules(flow_set([flow(interfaces=["eth0", "lo"])]))
    # nft 1.0.6 on x86-64
    listed_so = [line.replace('{ "eth0", "lo" }', '{ "lo", "eth0" }') for line in rules]
    assert listed_so != list(rules)
    assert RULE_SETS["inet"].parse("\n".join(listed_so)).installed(rules)
    other = [line.replace('{ "eth0", "lo" }', '{ "eth1", "lo" }') for line in rules]
    assert not RULE_SETS["inet"].parse("\n".join(other)).installed(rules)
