# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The oracle's own reading of rules and policy: what a construct does, and that an unknown one is an error."""

import pytest

from tests.oracle import cil, iptables, nft
from tests.oracle.packet import DROPPED, TCP_FLAGS, Connection, Ends, Packet, Ruleset, Unknown

SYN, ACK = TCP_FLAGS["syn"], TCP_FLAGS["ack"]
BASE = cil.Base(frozenset(("a_t", "b_t", "kernel_t", "unlabeled_t")), {"domain": frozenset(("a_t", "b_t", "kernel_t"))})


def entry() -> Connection:
    return Connection(6, Ends(1, 2, 40000, 80), Ends(2, 1, 80, 40000))


def packet(connection: Connection | None, flags: int = ACK, state: str = "NEW", reply: bool = False) -> Packet:
    ends = Ends(2, 1, 80, 40000) if reply else Ends(1, 2, 40000, 80)
    return Packet("OUTPUT", 4, 6, "eth0", ends, state, connection, reply, flags)


def xtables(*rules: str) -> Ruleset:
    chains = sorted({rule.split()[1] for rule in rules} - {"OUTPUT"})
    lines = ["*security", *(f":{name} - [0:0]" for name in chains), *rules, "COMMIT"]
    return iptables.read("\n".join(lines), 4)


def context(name: str) -> str:
    return f"-j SECMARK --selctx {name}"


def nftables(*rules: str, more: str = "") -> Ruleset:
    body = "\n".join(rules)
    objects = "\n".join(f'secmark {name} {{\n"{name}"\n}}' for name in ("one", "two"))
    chain = f"chain c {{\ntype filter hook output priority 50; policy accept;\n{body}\n}}"
    return nft.read(f"table inet t {{\n{objects}\n{more}\n{chain}\n}}\n").of_family(4)


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        ("-p tcp", True),
        ("-p 17", False),
        ("! -p udp", True),
        ("-s 0.0.0.0/30", True),
        ("-d 0.0.0.1", False),
        ("-o eth+", True),
        ("-i eth0", False),
        ("! -i eth0", True),
        ("-p tcp -m tcp --sport 40000:", True),
        ("-p tcp --dport 81:90", False),
        ("-p tcp -m multiport --ports 22,79:80", True),
        ("-p tcp -m tcp --tcp-flags SYN,ACK ACK", True),
        ("-p tcp -m tcp ! --syn", True),
        ("-m conntrack --ctstate NEW,RELATED", True),
        ("-m conntrack ! --ctstate NEW", False),
        ("-m conntrack --ctproto 6 --ctreplsrcport 80 --ctdir ORIGINAL", True),
        ("-m conntrack --ctdir REPLY", False),
        ("-m conntrack --ctorigsrc 0.0.0.1 --ctreplsrc 0.0.0.2/31", True),
        ("-m mark --mark 0x1/0x1", False),
        ("-m comment --comment none", True),
    ],
)
def test_a_match_of_iptables(match: str, expected: bool) -> None:
    rules = xtables(f"-A OUTPUT {match} {context('found')}")
    assert rules.label(packet(entry())) == ("found" if expected else "")


@pytest.mark.parametrize("assured", [False, True])
@pytest.mark.parametrize("over", [False, True])
def test_what_is_beyond_a_rate(assured: bool, over: bool) -> None:
    asked = packet(entry())
    asked.assured, asked.over = assured, over
    within = f"-A OUTPUT -m conntrack --ctstatus ASSURED -m limit --limit 10/sec --limit-burst 20 {context('found')}"
    assert xtables(within).label(asked) == ("found" if assured and not over else "")
    for word, wanted in (("", not over), ("over ", over)):
        asked.secmark = ""
        rule = f"ct status assured limit rate {word}10/second burst 20 packets meta secmark set one"
        assert nftables(rule).label(asked) == ("one" if assured and wanted else "")
    assert xtables(f"-A OUTPUT -m conntrack --ctstatus ASSURED {context('found')}").label(packet(None)) == ""


def test_the_kernel_asks_an_untracked_packet_its_state_alone() -> None:
    rules = xtables(f"-A OUTPUT -m conntrack --ctstate UNTRACKED --ctreplsrcport 1 {context('found')}")
    assert rules.label(packet(None, state="UNTRACKED")) == "found"
    assert (
        xtables(f"-A OUTPUT -m conntrack --ctreplsrcport 80 {context('found')}").label(packet(None, state="INVALID"))
        == ""
    )


def test_the_last_label_counts_and_goto_returns_to_where_the_jump_was() -> None:
    rules = xtables(
        "-A OUTPUT -j FIRST",
        f"-A OUTPUT -m mark --mark 2 {context('after')}",
        "-A FIRST -g SECOND",
        f"-A FIRST {context('never')}",
        "-A SECOND -j MARK --set-mark 2",
        "-A SECOND -j RETURN",
        f"-A SECOND {context('never')}",
    )
    assert rules.label(packet(entry())) == "after"


@pytest.mark.parametrize("flags", [SYN, ACK])
def test_rules_of_iptables_remember_the_first_packet_of_a_connection(flags: int) -> None:
    rules = xtables(
        "-A OUTPUT -p tcp --syn -m conntrack --ctstate NEW -m connlabel --label 107 --set -j RETURN",
        f"-A OUTPUT -m connlabel --label 107 {context('begun')}",
        "-A OUTPUT -p tcp --syn -j CONNMARK --set-xmark 0x10/0x10",
    )
    connection = entry()
    rules.label(packet(connection, flags))
    later = packet(connection, ACK, "ESTABLISHED", reply=True)
    assert rules.label(later) == ("begun" if flags == SYN else "")


def test_a_connections_secmark_is_kept_and_not_overwritten() -> None:
    rules = xtables(
        "-A OUTPUT -j CONNSECMARK --restore",
        f"-A OUTPUT -p tcp --syn {context('first')}",
        "-A OUTPUT -j CONNSECMARK --save",
    )
    connection = entry()
    assert [rules.label(packet(connection, flags)) for flags in (SYN, ACK)] == ["first", "first"]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ('meta l4proto tcp meta secmark set "one"', "one"),
        ('meta l4proto { udp, 132 } meta secmark set "one"', ""),
        ("tcp dport 80-90 meta secmark set one", "one"),
        ("udp dport 80 meta secmark set one", ""),
        ("ip daddr 0.0.0.0/30 meta secmark set one", "one"),
        ("ip6 daddr ::/0 meta secmark set one", ""),
        ("ip daddr . tcp dport { 0.0.0.2 . 70-80 } meta secmark set one", "one"),
        ('oifname { "lo", "eth0" } meta secmark set one', "one"),
        ('oifname "eth*" meta secmark set one', "one"),
        ("ct state new,related meta secmark set one", "one"),
        ("ct state != new meta secmark set one", ""),
        ("ct direction reply meta secmark set one", ""),
        ("ct original ip saddr 0.0.0.1 ct reply proto-src 80 meta secmark set one", "one"),
        ("tcp flags & (fin | syn | ack) == ack meta secmark set one", "one"),
        ("tcp flags ack / syn,ack meta secmark set one", "one"),
        ("tcp flags syn meta secmark set one", ""),
        ("tcp flags != syn meta secmark set one", "one"),
        ("meta secmark set tcp dport map { 22 : one, 80 : two }", "two"),
        ("meta secmark set tcp sport map @ports", ""),
        ("meta secmark set ct reply proto-src map @ports counter accept", "two"),
        ("ct direction vmap { original : goto other, reply : accept } meta secmark set one", "two"),
        ("meta secmark vmap { 0 : jump other }", "two"),
        ("tcp dport @some meta secmark set one return", "one"),
        ("tcp dport != @some meta secmark set one", ""),
        ("drop", DROPPED),
    ],
)
def test_a_rule_of_nft(rule: str, expected: str) -> None:
    more = (
        "map ports {\ntype inet_service : secmark\nflags interval\nelements = { 79-81 : two,\n 90 : one }\n}\n"
        "set some { typeof tcp dport; elements = { 80 } }\nchain other {\nmeta secmark set two\n}"
    )
    assert nftables(rule, more=more).label(packet(entry())) == expected


@pytest.mark.parametrize("flags", [SYN, ACK])
@pytest.mark.parametrize(
    ("sets", "asks"),
    [
        ("ct label set 107", "ct label 107"),
        ("ct mark set ct mark | 0x10", "ct mark & 0x10 == 0x10"),
        ("meta secmark set two ct secmark set meta secmark", "ct secmark != 0"),
    ],
)
def test_rules_of_nft_remember_the_first_packet_of_a_connection(flags: int, sets: str, asks: str) -> None:
    rules = nftables(f"tcp flags & (syn | ack) == syn ct state new {sets}", f"{asks} meta secmark set one")
    connection = entry()
    rules.label(packet(connection, flags))
    assert rules.label(packet(connection, ACK, "ESTABLISHED", reply=True)) == ("one" if flags == SYN else "")


def test_chains_of_nft_stand_in_the_order_of_their_priority() -> None:
    late = "chain late {\ntype filter hook output priority security + 10;\nmeta secmark set two\n}"
    assert nftables("meta secmark set one", "accept", more=late).label(packet(entry())) == "two"


@pytest.mark.parametrize(
    "rule",
    [
        "-A OUTPUT -m hashlimit --hashlimit-name x -j SECMARK --selctx x",
        "-A OUTPUT -p tcp --gid-owner 1 -j ACCEPT",
        "-A OUTPUT -j NFQUEUE",
        "-A OUTPUT -m conntrack --ctexpire 1 -j ACCEPT",
        "-A OUTPUT -m conntrack --ctstatus CONFIRMED -j ACCEPT",
        "-A OUTPUT -p sixty -j ACCEPT",
        "-A OUTPUT -s ::1 -j ACCEPT",
        "-A ELSEWHERE -g NOWHERE",
        "-D OUTPUT -j ACCEPT",
    ],
)
def test_what_iptables_has_beside_that_is_an_error(rule: str) -> None:
    with pytest.raises(Unknown):
        xtables(rule)


@pytest.mark.parametrize(
    "rule",
    [
        "limit name mine accept",
        "meta skuid 1 accept",
        "ct status dying accept",
        "ct state fresh accept",
        "meta secmark 12 accept",
        "meta secmark set three",
        "tcp dport https accept",
        "queue",
        "jump nowhere",
        "tcp dport vmap @nothing",
    ],
)
def test_what_nft_has_beside_that_is_an_error(rule: str) -> None:
    with pytest.raises(Unknown):
        nftables(rule).label(packet(entry()))


POLICY = """
(type p_t) ; a comment (with brackets
(roletype object_r p_t)
(typeattribute others)
(typeattributeset others (and (domain) (not (a_t))))
(allow others p_t (packet (send)))
(optional gone (allow nobody_t p_t (packet (send))) (allow a_t p_t (packet (recv))))
(optional here (allow a_t p_t (packet (relabelto))))
"""


def test_a_policy() -> None:
    policy = cil.Policy(BASE, POLICY)
    assert policy.may("b_t", "p_t", "send")
    assert not policy.may("a_t", "p_t", "send")
    assert not policy.may("a_t", "p_t", "recv"), "an optional block falls as a whole"
    assert policy.may("a_t", "p_t", "relabelto")
    assert policy.type_of("system_u:object_r:p_t:s0") == "p_t"
    assert policy.type_of("system_u:object_r:b_t:s0") == "", "a type that the role has not"


@pytest.mark.parametrize(
    "text",
    [
        "(booleanif x (true))",
        "(allow nobody_t a_t (packet (send)))",
        "(allow a_t b_t all_of_it)",
        "(type x_t",
        "(type x_t))",
    ],
)
def test_what_a_policy_has_beside_that_is_an_error(text: str) -> None:
    with pytest.raises(Unknown):
        cil.Policy(BASE, text)
