# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
import pytest

from ansible_collections.senet.firewall.plugins.module_utils._change import change, engine, repair
from ansible_collections.senet.firewall.plugins.module_utils._compile import iptables, nftables
from ansible_collections.senet.firewall.plugins.module_utils._compile.xtables import Saved
from ansible_collections.senet.firewall.plugins.module_utils._decisions.foreign_rules import (
    foreign_labels,
    lasting_labels,
    stray_owner_rules,
)
from ansible_collections.senet.firewall.plugins.module_utils._values import requests
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import FlowSet
from tests.unit.flows import WEB_DB
from tests.unit.scripted_host import BUILT_IN, ScriptedHost

LABEL = "-j SECMARK --selctx system_u:object_r:http_server_packet_t:s0"
OURS = iptables.compile_rules(WEB_DB)


def saved(table: str, *rules: str, default: bool = True, family: str = "ipv4", variant: str = "nf_tables") -> Saved:
    own = sorted({rule.split()[1] for rule in rules if "SENET_" in rule})
    chains = [*(f":{name} ACCEPT [0:0]" for name in BUILT_IN), *(f":{name} - [0:0]" for name in own)]
    text = "\n".join([f"*{table}", *chains, *rules, "COMMIT", ""])
    command = {"ipv4": "iptables", "ipv6": "ip6tables"}[family]
    return Saved(family, command if default else f"{command}-{variant}", variant, default, text)


def listed(table: str, chain: str, *rules: str) -> str:
    head = "type filter hook input priority 0; policy accept;"
    body = "".join(f"\t\t{rule}\n" for rule in (head, *rules))
    return f"table {table} {{\n\tchain {chain} {{\n{body}\t}}\n}}\n"


@pytest.mark.parametrize("table", ["raw", "mangle", "nat", "filter", "security"])
@pytest.mark.parametrize("target", [LABEL, "-j CONNSECMARK --restore", "-j CONNSECMARK --save"])
def test_iptables_rules_are_found_in_every_table_of_either_variant(table: str, target: str) -> None:
    rule = f"-A OUTPUT -p tcp -m tcp --dport 80 {target}"
    default = saved(table, rule)
    other = saved(table, rule, default=False, family="ipv6", variant="legacy")
    assert foreign_labels([default, other], "") == [f"iptables {table}: {rule}", f"ip6tables-legacy {table}: {rule}"]


def test_ours_are_not_foreign_but_those_of_the_other_variant_are() -> None:
    assert foreign_labels([saved("security", *OURS)], "") == []
    other = foreign_labels([saved("security"), saved("security", *OURS, default=False, variant="legacy")], "")
    assert other == [f"iptables-legacy security: {rule}" for rule in OURS if "SECMARK" in rule]


def test_our_table_of_nft_is_not_foreign_unless_the_backend_is_iptables() -> None:
    ruleset = "\n".join(nftables.compile_rules(WEB_DB))
    assert foreign_labels([saved("security")], ruleset) == []
    assert foreign_labels([saved("security")], ruleset, ("nftables",)) == []
    found = foreign_labels([saved("security")], ruleset, ("iptables",))
    assert found[0].startswith("nft inet senet ")
    assert any("meta secmark set" in rule for rule in found)


def test_our_chains_of_iptables_are_foreign_where_the_backend_is_nftables() -> None:
    found = foreign_labels([saved("security", *OURS)], "", ("nftables",))
    assert found == [f"iptables security: {rule}" for rule in OURS if "SECMARK" in rule]


def test_our_chains_of_iptables_are_told_by_nft_where_no_iptables_reads_them() -> None:
    ruleset = listed("ip security", "SENET_OUTPUT", "xt target SECMARK")
    assert foreign_labels([saved("security", *OURS)], ruleset) == []
    told = ["nft ip security SENET_OUTPUT: xt target SECMARK"]
    assert foreign_labels([], ruleset) == told
    assert lasting_labels([], ruleset, ("inet",)) == told


@pytest.mark.parametrize("rule", ["meta secmark set 0x1", "ct secmark set meta secmark", 'meta secmark set "web"'])
@pytest.mark.parametrize("table", ["inet mine", "ip mine", "ip6 mangle", "netdev edge"])
def test_rules_of_nft_are_found(rule: str, table: str) -> None:
    found = foreign_labels([saved("filter"), saved("filter", family="ipv6")], listed(table, "input", rule))
    assert found == [f"nft {table} input: {rule}"]


@pytest.mark.parametrize("text", ['xt target "SECMARK"', "counter packets 0 bytes 0 # xt_SECMARK"])
def test_a_rule_that_both_tools_show_is_told_once(text: str) -> None:
    rule = f"-A OUTPUT {LABEL}"
    ruleset = listed("ip mangle", "OUTPUT", text)
    assert foreign_labels([saved("mangle", rule)], ruleset) == [f"iptables mangle: {rule}"]
    # legacy's table of the same name is another one, and so is the other family's
    assert len(foreign_labels([saved("mangle", rule, variant="legacy")], ruleset)) == 2
    assert len(foreign_labels([saved("mangle", rule, family="ipv6")], ruleset)) == 2


def test_a_table_that_iptables_cannot_read_is_left_to_nft() -> None:
    unread = Saved("ipv4", "iptables", "nf_tables", True, "# Table `mangle' is incompatible, use 'nft' tool.\n")
    found = foreign_labels([unread], listed("ip mangle", "OUTPUT", 'xt target "SECMARK"', "meta secmark set 0x1"))
    assert found == ['nft ip mangle OUTPUT: xt target "SECMARK"', "nft ip mangle OUTPUT: meta secmark set 0x1"]


LATE = (
    "table ip {0} {{\n\tsecmark s {{\n\t\t\"system_u:object_r:ssh_server_packet_t:s0\"\n\t}}\n\n"
    "\tchain SENET_OUTPUT {{\n\t\txt target \"SECMARK\"\n\t}}\n\n"
    "\tchain {1} {{\n\t\ttype filter hook output priority 200; policy accept;\n\t\tmeta secmark set \"s\"\n\t}}\n}}\n"
)
SAID = "# Table `{0}' contains incompatible base-chains, use 'nft' tool to list them.\n"


# iptables 1.8.7 says nothing, and where it does say something, the chain may have the name of one of its own
@pytest.mark.parametrize(("comment", "chain"), [("", "late"), (SAID, "late"), (SAID, "OUTPUT")])
@pytest.mark.parametrize("table", ["filter", "security"])
def test_base_chains_that_iptables_leaves_out_are_told_by_nft(comment: str, chain: str, table: str) -> None:
    told = saved(table, *OURS)
    told = told._replace(text=comment.format(table) + told.text)
    label = f'nft ip {table} {chain}: meta secmark set "s"'
    ruleset = LATE.format(table, chain)
    ours = [f"iptables {table}: {rule}" for rule in OURS if "SECMARK" in rule] if table != "security" else []
    assert foreign_labels([told], ruleset) == [*ours, label]
    assert f"nft ip {table}: secmark s" in lasting_labels([told], ruleset, ("ipv4", "ipv6"))
    checking = LATE.format(table, chain).replace('meta secmark set "s"', 'xt target "SECMARK" # of others')
    lasting = [rule for rule in lasting_labels([told], checking, ("ipv4", "ipv6")) if rule.startswith("nft ")]
    assert lasting == [f"nft ip {table}: secmark s", f'nft ip {table} {chain}: xt target "SECMARK" # of others']


def test_our_owner_chains_beside_a_base_chain_of_others_are_no_strays() -> None:
    text = SAID.format("filter") + "*filter\n:OUTPUT ACCEPT [0:0]\n:SENET_OWNER_OUTPUT - [0:0]\nCOMMIT\n"
    told = Saved("ipv4", "iptables", "nf_tables", True, text)
    ruleset = listed("ip filter", "SENET_OWNER_OUTPUT", "reject") + listed("ip filter", "late", "accept")
    assert stray_owner_rules([told], ruleset) == []
    assert stray_owner_rules([], ruleset) != []


@pytest.mark.parametrize("comment", [SAID.format("filter"), ""])
def test_flows_beside_such_a_base_chain_are_not_called_enforced(comment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    host = ScriptedHost()
    options = change.Options(0, "t1")
    for family in ("ipv4", "ipv6"):
        host.families[family].restore("*filter\n-A INPUT -p tcp -j ACCEPT\nCOMMIT\n")
    engine.run(host.host(), requests.Replace(WEB_DB), options, check_mode=False)
    assert repair.foreign_labels(host.host()) == []
    host.listed = LATE.format("filter", "late")
    save = host.families["ipv4"].save
    monkeypatch.setattr(host.families["ipv4"], "save", lambda: comment + save())
    assert 'nft ip filter late: meta secmark set "s"' in repair.foreign_labels(host.host())
    with pytest.raises(SenetError, match=r"may not be enforced.*'nft ip filter SENET_OUTPUT.*and 1 more"):
        engine.run(host.host(), requests.Replace(WEB_DB), options, check_mode=False)


@pytest.mark.parametrize("check_mode", [True, False])
def test_a_change_is_refused_with_the_rules_text(check_mode: bool) -> None:
    host = ScriptedHost()
    host.legacy["ipv6"] = saved("mangle", f"-A INPUT {LABEL}").text
    host.listed = listed("inet mine", "input", "meta secmark set 0x1", "ct secmark set meta secmark")
    options = change.Options(30, "t1")
    with pytest.raises(SenetError) as refusal:
        engine.run(host.host(), requests.Replace(WEB_DB), options, check_mode)
    assert f"'ip6tables-legacy mangle: -A INPUT {LABEL}' (and 2 more). Nothing was changed" in str(refusal.value)
    assert host.writes == []


def test_labels_of_others_keep_nobody_from_taking_ours_away() -> None:
    host = ScriptedHost()
    options = change.Options(0, "t1")
    engine.run(host.host(), requests.Replace(WEB_DB), options, check_mode=False)
    host.listed = listed("inet mine", "input", "meta secmark set 0x1")
    with pytest.raises(SenetError, match="in place, but may not be enforced"):
        engine.run(host.host(), requests.Replace(WEB_DB), options, check_mode=False)
    # only an object of nft's turns packet checks on, so what takes our labels away can be done beside these
    host.legacy["ipv4"] = saved("mangle", "-A INPUT -j CONNSECMARK --restore").text
    assert engine.run(host.host(), requests.Replace(FlowSet(())), options, check_mode=False).changed


@pytest.mark.parametrize("check_mode", [True, False])
@pytest.mark.parametrize("left", ["later", "legacy", "ours", "object"])
def test_the_policy_stays_while_a_label_does(left: str, check_mode: bool) -> None:
    host = ScriptedHost()
    options = change.Options(0, "t1")
    engine.run(host.host(), requests.Replace(WEB_DB), options, check_mode=False)
    if left == "later":
        host.families["ipv4"].restore(f"*mangle\n-A OUTPUT -p tcp -m tcp --dport 80 {LABEL}\nCOMMIT\n")
        said = f"'iptables mangle: -A OUTPUT -p tcp -m tcp --dport 80 {LABEL}'"
    elif left == "legacy":
        host.legacy["ipv6"] = saved("security", f"-A INPUT {LABEL}").text
        said = f"'ip6tables-legacy security: -A INPUT {LABEL}'"
    elif left == "ours":
        host.legacy["ipv4"] = saved("security", *OURS).text
        said = f"'iptables-legacy security: {OURS[0]}' .and {sum('SECMARK' in rule for rule in OURS) - 1} more."
    else:
        host.listed = 'table inet mine {\n\tsecmark web {\n\t\t"system_u:object_r:http_server_packet_t:s0"\n\t}\n}\n'
        said = "'nft inet mine: secmark web'"
    host.writes.clear()
    message = f"Labels would stay on this host: {said}.*cut off domains such as sshd_t. Nothing was changed"
    with pytest.raises(SenetError, match=message):
        engine.run(host.host(), requests.Replace(FlowSet(())), options, check_mode)
    assert host.writes == []
    # Another set of flows keeps the default type, and is refused for what relabels only.
    host.families["ipv4"].tables.pop("mangle", None)
    host.legacy = {"ipv4": "", "ipv6": ""}
    host.listed = ""
    assert engine.run(host.host(), requests.Replace(FlowSet(())), options, check_mode).changed


def test_a_label_object_in_a_table_of_iptables_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where iptables has told of all tables, nft is asked for them on this occasion alone."""
    host = ScriptedHost()
    options = change.Options(0, "t1")
    engine.run(host.host(), requests.Replace(WEB_DB), options, check_mode=False)
    label = 'table ip security {\n\tsecmark web {\n\t\t"system_u:object_r:http_server_packet_t:s0"\n\t}\n}\n'
    monkeypatch.setattr(host, "ruleset", lambda read=None: "" if read else label)
    with pytest.raises(SenetError, match="Labels would stay on this host: 'nft ip security: secmark web'"):
        engine.run(host.host(), requests.Replace(FlowSet(())), options, check_mode=False)


def test_our_own_labels_are_no_reason_to_stay() -> None:
    host = ScriptedHost()
    for backend in ("iptables", "nftables"):
        engine.run(host.host(), requests.Replace(WEB_DB), change.Options(0, "t1", backend), check_mode=False)
        assert engine.run(host.host(), requests.Replace(FlowSet(())), change.Options(0, "t1"), False).changed


def test_a_label_of_nft_is_told_of_whether_used_or_not_and_an_unused_map_is_not() -> None:
    ruleset = (
        'table ip mangle {\n\tsecmark web {\n\t\t"system_u:object_r:http_server_packet_t:s0"\n\t}\n'
        "\tmap ports {\n\t\ttype inet_service : secmark\n\t}\n"
        '\tchain OUTPUT {\n\t\txt target "SECMARK"\n\t\txt target "CONNSECMARK"\n\t}\n}\n'
    )
    unread = [saved("filter"), saved("filter", family="ipv6")]
    assert lasting_labels(unread, ruleset, ("ipv4", "ipv6")) == [
        "nft ip mangle: secmark web", 'nft ip mangle OUTPUT: xt target "SECMARK"'
    ]  # fmt: skip
    told = saved("mangle", f"-A OUTPUT {LABEL}")
    assert lasting_labels([told], ruleset, ("ipv4", "ipv6")) == [
        f"iptables mangle: -A OUTPUT {LABEL}", "nft ip mangle: secmark web"
    ]  # fmt: skip
