# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from pathlib import Path
from typing import Optional

import pytest

from ansible_collections.senet.firewall.plugins.module_utils._compile.xtables import Saved
from ansible_collections.senet.firewall.plugins.module_utils._host.netfilter import Netfilter, Tool, kernel_modules
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from tests.unit.commands import Call, Commands

LISTED = "table inet t {\n}\n"
TOOLS = [name + suffix for name in ("iptables", "ip6tables") for suffix in ("", "-save", "-restore")]


def netfilter(*names: str) -> tuple[Netfilter, Commands]:
    commands = Commands(*(names or [*TOOLS, "nft"]))
    return Netfilter(commands.run, commands.find), commands


@pytest.mark.parametrize(("family", "tool"), [("ipv4", "iptables"), ("ipv6", "ip6tables")])
def test_each_family_has_its_commands(family: str, tool: str) -> None:
    host, commands = netfilter()
    commands.answers[f"/sbin/{tool}-save"] = (0, "*security\nCOMMIT\n", "")
    assert host.save(family) == "*security\nCOMMIT\n"
    host.restore(family, "*security\nCOMMIT\n")
    assert commands.calls == [
        # naming a table would make the legacy variant load it
        Call((f"/sbin/{tool}-save",), None),
        Call((f"/sbin/{tool}-restore", "--noflush", "-w", "30"), "*security\nCOMMIT\n"),
    ]


def test_a_command_that_is_missing_is_told_with_its_package() -> None:
    host, commands = netfilter("nft")
    for call in (lambda: host.save("ipv4"), lambda: host.has_match("ipv4", "selinux")):
        with pytest.raises(SenetError, match="The command 'iptables(-save)?' is not on this host; install the package"):
            call()
    with pytest.raises(SenetError, match="'ip6tables-restore' is not"):
        host.restore("ipv6", "")
    assert host.iptables("ipv4") is None
    host.drop_empty_table("ipv4", "security")
    assert commands.calls == []


def test_what_the_kernel_refuses_is_no_held_lock() -> None:
    host, commands = netfilter()
    said = "line 3: RULE_APPEND failed (Invalid argument): rule in chain SENET_OWNER_OUTPUT"
    commands.answers["/sbin/iptables-restore"] = (4, "", "iptables-restore v1.8.9 (nf_tables): \n" + said + "\n")
    with pytest.raises(SenetError, match=r"iptables-restore refused the ipv4 rules \(line 3: RULE_APPEND failed"):
        host.restore("ipv4", "")


def test_a_held_lock_is_told() -> None:
    host, commands = netfilter()
    commands.answers["/sbin/ip6tables-restore"] = (4, "", "Another app is currently holding the xtables lock.\n")
    with pytest.raises(SenetError, match="held the lock of ip6tables for more than 30 seconds; find it with 'fuser"):
        host.restore("ipv6", "")


def test_a_refusal_shows_the_last_line_of_the_error() -> None:
    host, commands = netfilter()
    commands.answers["/sbin/iptables-restore"] = (1, "", "# Warning: something else\nline 3 failed.\n\n")
    with pytest.raises(SenetError, match=r"/sbin/iptables-restore refused the ipv4 rules \(line 3 failed\.\)"):
        host.restore("ipv4", "")
    commands.answers["/sbin/iptables-save"] = (3, "*security", "")
    with pytest.raises(SenetError, match=r"/sbin/iptables-save cannot read the rules .*\(it says nothing\)"):
        host.save("ipv4")


@pytest.mark.parametrize(
    ("said", "version", "variant"),
    [
        ("iptables v1.8.9 (nf_tables)\n", "1.8.9", "nf_tables"),
        ("iptables v1.8.4 (legacy)\n", "1.8.4", "legacy"),
        ("iptables v1.6.1\n", "1.6.1", "legacy"),
        ("ip6tables v1.8.10 (nf_tables): no lock\n", "1.8.10", "nf_tables"),
        ("", None, None),
    ],
)
def test_the_variant_is_what_iptables_says(said: str, version: Optional[str], variant: Optional[str]) -> None:
    host, commands = netfilter()
    commands.answers["/sbin/iptables --version"] = (0, said, "")
    assert host.iptables("ipv4") == Tool("/sbin/iptables", version, variant)


def test_nft_has_a_version() -> None:
    host, commands = netfilter()
    commands.answers["/sbin/nft --version"] = (0, "nftables v1.0.6 (Lester Gooch #5)\n", "")
    assert host.nft() == Tool("/sbin/nft", "1.0.6", None)
    assert netfilter("iptables")[0].nft() is None


def test_a_match_is_there_if_iptables_can_explain_it() -> None:
    host, commands = netfilter()
    commands.answers["/sbin/iptables -m selinux --help"] = (2, "", "Couldn't load match `selinux'")
    assert (host.has_match("ipv4", "selinux"), host.has_match("ipv4", "conntrack")) == (False, True)


@pytest.mark.parametrize("family", ["ipv4", "ipv6", "inet"])
def test_whether_connections_take_labels_is_tried_in_a_namespace_that_ends(family: str) -> None:
    host, commands = netfilter(*TOOLS, "nft", "unshare")
    assert host.remembers(family)
    call = commands.calls[-1]
    assert call.args[:2] == ("/sbin/unshare", "--net")
    assert "107" in str(call.data)
    assert "SECMARK" not in str(call.data).upper()
    commands.answers[" ".join(call.args)] = (2, "", "Extension connlabel revision 0 not supported")
    assert not host.remembers(family)
    assert not netfilter(*TOOLS, "nft")[0].remembers(family)


def test_a_held_lock_says_nothing_about_the_kernel() -> None:
    host, commands = netfilter(*TOOLS, "unshare")
    command = "/sbin/unshare --net /sbin/iptables-restore -w 30"
    commands.answers[command] = (4, "", "Another app is currently holding the xtables lock.\n")
    with pytest.raises(SenetError, match="held the lock of iptables for more than 30 seconds"):
        host.remembers("ipv4")


@pytest.mark.parametrize(
    ("given", "reserved", "expected"),
    [
        ("32768\t60999\n", "\n", ((32768, 60999),)),
        ("32768\t60999\n", "50000,40000-40010\n", ((32768, 39999), (40011, 49999), (50001, 60999))),
        ("32768\t60999\n", "8080,32768-60998\n", ((60999, 60999),)),
        ("32768\t60999\n", "61000-61010\n", ((32768, 60999),)),
        (None, "\n", ()),
    ],
)
def test_the_ports_that_clients_get_are_the_kernels_range_less_what_is_reserved(
    tmp_path: Path, given: Optional[str], reserved: str, expected: tuple[tuple[int, int], ...]
) -> None:
    if given is not None:
        (tmp_path / "ip_local_port_range").write_text(given)
    (tmp_path / "ip_local_reserved_ports").write_text(reserved)
    commands = Commands()
    assert Netfilter(commands.run, commands.find, sys=str(tmp_path)).source_ports() == expected


def save_commands(default: str, tmp_path: Path, *names: str) -> tuple[Netfilter, Commands]:
    """A host whose iptables is of a variant; each save command prints its own name."""
    commands = Commands("iptables", "iptables-save", "nft", *names)
    said = {"nf_tables": "iptables v1.8.9 (nf_tables)\n", "legacy": "iptables v1.8.9 (legacy)\n"}
    commands.answers["/sbin/iptables --version"] = (0, said[default], "")
    for name in ("iptables-save", *names):
        commands.answers[f"/sbin/{name}"] = (0, f"{name}\n", "")
    return Netfilter(commands.run, commands.find, str(tmp_path)), commands


@pytest.mark.parametrize(("content", "asked"), [("", False), ("\n", False), ("mangle\nfilter\n", True), (None, False)])
def test_the_legacy_command_is_asked_where_the_kernel_has_its_tables(
    tmp_path: Path, content: Optional[str], asked: bool
) -> None:
    if content is not None:
        (tmp_path / "ip_tables_names").write_text(content)
    host, commands = save_commands("nf_tables", tmp_path, "iptables-nft-save", "iptables-legacy-save")
    assert host.saves() == [
        Saved("ipv4", "iptables", "nf_tables", True, "iptables-save\n"),
        Saved("ipv4", "iptables-legacy", "legacy", False, "iptables-legacy-save\n" if asked else ""),
    ]
    assert ("/sbin/iptables-legacy-save" in commands.lines) == asked
    assert "/sbin/iptables-nft-save" not in commands.lines


def test_legacy_rules_that_cannot_be_read_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "ip_tables_names").write_text("mangle\n")
    host, commands = save_commands("nf_tables", tmp_path, "iptables-legacy-save")
    commands.answers["/sbin/iptables-legacy-save"] = (1, "", "no\n")
    with pytest.raises(SenetError, match=r"/sbin/iptables-legacy-save cannot read the rules of this host \(no\)"):
        host.saves()


def test_on_a_legacy_host_nf_tables_is_asked_as_far_as_the_kernel_has_it(tmp_path: Path) -> None:
    (tmp_path / "ip_tables_names").write_text("mangle\n")
    host, commands = save_commands("legacy", tmp_path, "iptables-nft-save", "iptables-legacy-save")
    default = Saved("ipv4", "iptables", "legacy", True, "iptables-save\n")
    assert host.saves() == [default, Saved("ipv4", "iptables-nft", "nf_tables", False, "iptables-nft-save\n")]
    commands.answers["/sbin/iptables-nft-save"] = (1, "half", "Protocol not supported\n")
    assert host.saves() == [default, Saved("ipv4", "iptables-nft", "nf_tables", False, "")]
    host, dummy = save_commands("legacy", tmp_path)
    assert host.saves() == [default]
    host, commands = netfilter("nft")
    assert (host.saves(), commands.calls) == ([], [])


def test_the_ruleset_is_nfts_and_its_failure_counts_where_iptables_uses_nf_tables(tmp_path: Path) -> None:
    host, commands = save_commands("nf_tables", tmp_path)
    commands.answers["/sbin/nft -s list ruleset"] = (0, "table inet t {\n}\n", "")
    assert host.ruleset() == "table inet t {\n}\n"
    commands.answers["/sbin/nft -s list ruleset"] = (1, "half", "Error: netlink\n")
    with pytest.raises(SenetError, match=r"/sbin/nft cannot list the rules of this host \(Error: netlink\)"):
        host.ruleset()
    commands.answers["/sbin/iptables --version"] = (0, "iptables v1.8.9 (legacy)\n", "")
    assert host.ruleset() == ""
    commands.names.remove("nft")
    commands.calls.clear()
    assert (host.ruleset(), commands.calls) == ("", [])


@pytest.mark.parametrize(
    ("variant", "tables", "code", "is_read"),
    [
        ("nf_tables", ["ip security", "ip6 security"], 0, True),
        # This nft would not name tables without chains
        ("nf_tables", ["ip6 security"], 0, False),
        ("nf_tables", [], 0, False),
        ("nf_tables", ["ip security", "ip6 security", "inet senet"], 0, False),
        ("nf_tables", ["ip security", "ip6 security", "ip filter"], 0, False),
        ("nf_tables", ["ip security", "ip6 security", "ip6 filter"], 0, False),
        ("nf_tables", ["ip security", "ip6 security"], 1, False),
        ("legacy", ["ip security", "ip6 security"], 0, False),
    ],
)
def test_tables_are_not_listed_where_iptables_has_told_of_them_all(
    variant: str, tables: list[str], code: int, is_read: bool
) -> None:
    host, commands = netfilter()
    for name in ("iptables", "ip6tables"):
        commands.answers[f"/sbin/{name} --version"] = (0, f"{name} v1.8.9 ({variant})\n", "")
    chain = "\tchain OUTPUT {\n\t\ttype filter hook output priority 150; policy accept;\n\t}\n"
    named = "".join(f"table {table} {{\n{chain if 'ip6' in table else ''}}}\n" for table in tables)
    commands.answers["/sbin/nft list chains"] = (code, named, "")
    commands.answers["/sbin/nft -s list ruleset"] = (0, LISTED, "")
    incompatible = "*security\nCOMMIT\n# Table `filter' is incompatible, use 'nft' tool.\n"
    security = "*security\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n"
    assert host.ruleset({"ipv4": incompatible, "ipv6": security}) == ("" if is_read else LISTED)
    assert host.ruleset({"inet": "table inet senet {\n}\n"}) == host.ruleset({}) == host.ruleset() == LISTED


SAID = "# Table `security' contains incompatible base-chains, use 'nft' tool to list them.\n"


@pytest.mark.parametrize(
    ("comment", "chain", "is_read"),
    [("", "OUTPUT", True), ("", "SENET_OUTPUT", True), ("", "late", False), (SAID, "late", False),
     (SAID, "OUTPUT", False)],
)  # fmt: skip
def test_a_base_chain_that_iptables_leaves_out_is_listed(comment: str, chain: str, is_read: bool) -> None:
    """As 1.8.7 does without a word, and later releases with one."""
    host, commands = netfilter()
    commands.answers["/sbin/iptables --version"] = (0, "iptables v1.8.9 (nf_tables)\n", "")
    text = comment + "*security\n:OUTPUT ACCEPT [0:0]\n:SENET_OUTPUT - [0:0]\n-A OUTPUT -j SENET_OUTPUT\nCOMMIT\n"
    head = "type filter hook output priority 200; policy accept;"
    named = f"table ip security {{\n\tchain SENET_OUTPUT {{\n\t}}\n\tchain {chain} {{\n\t\t{head}\n\t}}\n}}\n"
    commands.answers["/sbin/nft list chains"] = (0, named, "")
    commands.answers["/sbin/nft -s list ruleset"] = (0, LISTED, "")
    assert host.ruleset({"ipv4": text}) == ("" if is_read else LISTED)


def test_an_empty_table_is_dropped_chain_by_chain_and_only_with_nf_tables() -> None:
    host, commands = netfilter()
    commands.answers["/sbin/ip6tables --version"] = (0, "ip6tables v1.8.9 (nf_tables)", "")
    head = "type filter hook input priority 150; policy accept;"
    listed = f"table ip6 security {{\n\tchain INPUT {{\n\t\t{head}\n\t}}\n%s}}\n"
    for more, chains in (("", ["INPUT"]), ("\tchain FORWARD {\n\t}\n\n\tchain mine {\n\t}\n", ["INPUT", "FORWARD"])):
        commands.answers["/sbin/nft -s list table ip6 security"] = (0, listed % more, "")
        host.drop_empty_table("ipv6", "security")
        script = "".join(f"delete chain ip6 security {name}\n" for name in chains) + "delete table ip6 security\n"
        assert commands.calls[-1] == Call(("/sbin/nft", "-f", "-"), script)
    commands.answers["/sbin/nft -f"] = (1, "", "Error: Could not process rule: Device or resource busy\n")
    with pytest.raises(SenetError, match="delete the empty table 'ip6 security' .*busy.*with 'nft list table"):
        host.drop_empty_table("ipv6", "security")

    host, commands = netfilter()
    commands.answers["/sbin/ip6tables --version"] = (0, "ip6tables v1.8.9 (legacy)", "")
    host.drop_empty_table("ipv6", "security")
    assert commands.lines == ["/sbin/ip6tables --version"]


def test_kernel_modules_are_those_of_both_indexes(tmp_path: Path) -> None:
    release = tmp_path / "6.1.0"
    release.mkdir()
    (release / "modules.builtin").write_text("kernel/net/netfilter/nf-tables.ko\n")
    (release / "modules.dep").write_text(
        "kernel/net/netfilter/xt_SECMARK.ko.xz: kernel/net/netfilter/x_tables.ko.xz\n"
        "kernel/net/netfilter/nft_compat.ko:\n"
    )
    names = ["nf_tables", "xt_SECMARK", "nft_compat", "x_tables", "xt_CONNSECMARK"]
    assert kernel_modules(names, "6.1.0", str(tmp_path)) == {
        "nf_tables": True, "xt_SECMARK": True, "nft_compat": True, "x_tables": False, "xt_CONNSECMARK": False
    }  # fmt: skip
    (release / "modules.dep").unlink()
    assert kernel_modules(["xt_SECMARK"], "6.1.0", str(tmp_path)) == {"xt_SECMARK": False}
    assert kernel_modules(["xt_SECMARK"], "6.2.0", str(tmp_path)) is None
