# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
import re
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.senet.firewall.plugins.filter.flows_from_iptables import flows_from_iptables
from ansible_collections.senet.firewall.plugins.module_utils._values.fields import parse_confined
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import flow_set
from ansible_collections.senet.firewall.plugins.module_utils._values.parsing import parse_flow
from tests.article import ARTICLE

DROP66 = "-A OUTPUT -p tcp --dport 5432 -s 192.0.2.66 -j DROP"
WEB_DB = {
    "name": "httpd_to_postgresql_5432",
    "source": ["httpd_t"],
    "destination": ["postgresql_t"],
    "protocol": "tcp",
    "ports": ["5432"],
}
FIRST = "-A OUTPUT -p tcp --dport 5432 -m selinux --selinux-source httpd_t -j ACCEPT"


def meaning(*lines: str) -> dict[str, Any]:
    return flows_from_iptables(list(lines))


def test_the_article_is_one_flow_and_a_confined_domain() -> None:
    found = flows_from_iptables("\n".join(ARTICLE))
    assert found["flows"] == [WEB_DB]
    assert found["confine"] == ["httpd_t"]
    by_line = {number: " ".join(note for note in found["notes"] if f"Line {number}:" in note) for number in range(1, 8)}
    assert "no kernel has the match 'selinux'" in by_line[1]
    assert "the user 'apache' is not checked" in by_line[1]
    assert "never reached, since line 1" in by_line[2]
    assert "labels follow the connection" in by_line[3]
    assert "'httpd_t' is confined to its flows" in by_line[4]
    assert "checks the client's domain" in by_line[5]
    assert "the flow of line 1 refuses everybody else" in by_line[6]
    assert "'httpd_t' may send anything through eth0 unless it is confined" in by_line[7]
    assert any("for one address family" in note for note in found["notes"])
    assert any("name servers, loopback" in note for note in found["notes"])


@pytest.mark.parametrize("number", [0, 2, 3, 4, 6])
def test_each_line_that_permits_or_confines_says_something_by_itself(number: int) -> None:
    found = meaning(ARTICLE[number])
    assert found["flows"] or found["confine"] or found["notes"]


@pytest.mark.parametrize(
    ("number", "said"), [(1, "refuses everybody else already"), (5, "a flow needs at least one domain that may")]
)
def test_a_refusal_of_a_port_needs_somebody_who_may(number: int, said: str) -> None:
    with pytest.raises(AnsibleFilterError, match=f"Line 1, 'iptables .*{said}"):
        meaning(ARTICLE[number])


@pytest.mark.parametrize(
    ("line", "change"),
    [
        ("# a comment", None),
        ("$ sudo " + ARTICLE[0], {}),
        ("/usr/sbin/ip6tables-nft " + FIRST, {}),
        ("[12:340] " + FIRST, {}),
        ("iptables -w 5 -t filter " + FIRST, {}),
        ("iptables -w " + FIRST, {}),
        (FIRST.replace("-A OUTPUT", "-I OUTPUT 1"), {}),
        (FIRST.replace("-A OUTPUT", "--insert OUTPUT"), {}),
        (FIRST.replace("-p tcp", "--protocol=tcp").replace("--dport", "-m tcp --destination-port"), {}),
        (FIRST + " -m comment --comment 'who -j DROP may'", {}),
        (FIRST + " -m conntrack --ctstate NEW,ESTABLISHED", {}),
        (FIRST + " --selinux-destination postgresql_t", {}),
        (FIRST + " -o eth0", {"interfaces": ["eth0"]}),
        (FIRST.replace("OUTPUT", "INPUT") + " -i eth0", {"interfaces": ["eth0"]}),
        (FIRST + " -s 192.0.2.0/24,2001:db8::1", {"source_addresses": ["192.0.2.0/24", "2001:db8::1"]}),
        (FIRST + " -d 192.0.2.7", {"destination_addresses": ["192.0.2.7"]}),
        (
            FIRST.replace("--dport 5432", "-m multiport --dports 5432,8000:8010"),
            {"ports": ["5432", "8000-8010"]},
        ),
        (
            FIRST.replace("-p tcp", "-p udp") + " --selinux-dest named_t",
            {"protocol": "udp", "destination": ["named_t"], "name": "httpd_to_named_5432"},
        ),
        ("-A OUTPUT -p tcp --dport 5432 -m owner --uid-owner www-data -j ACCEPT", {}),
    ],
)
def test_variants_mean_the_same(line: str, change: dict[str, Any] | None) -> None:
    assert meaning(line)["flows"] == ([] if change is None else [{**WEB_DB, **change}])


@pytest.mark.parametrize(
    ("first", "accepts", "last"),
    [
        ("", "-A", "-I OUTPUT"),
        ("", "-A", "-I OUTPUT 2"),
        ("", "-I", "-I OUTPUT 1"),
        ("-I OUTPUT", "-A", ""),
        ("-A OUTPUT", "-A", ""),
    ],
)
def test_what_is_inserted_before_a_rule_refuses_first(first: str, accepts: str, last: str) -> None:
    drop = " -p tcp --dport 5432 -d 192.0.2.9 -j DROP"
    lines = [first and first + drop, FIRST.replace("-A", accepts), last and last + drop]
    with pytest.raises(AnsibleFilterError, match="Line 2, .*: line [13] refuses a part of its packets first"):
        meaning(*lines)


def test_what_is_inserted_after_a_refusal_permits_first() -> None:
    assert meaning("-I OUTPUT -p tcp --dport 5432 -j DROP", FIRST.replace("-A", "-I"))["flows"] == [WEB_DB]


def test_saved_rules_are_read_with_their_tables() -> None:
    saved = ["# Generated by iptables-save", "*filter", ":OUTPUT ACCEPT [1:60]", FIRST, "COMMIT"]
    assert meaning(*saved)["flows"] == [WEB_DB]
    with pytest.raises(AnsibleFilterError, match="Line 2, '-A OUTPUT .*its table is 'mangle'"):
        meaning("*mangle", FIRST)


@pytest.mark.parametrize("chain", ["OUTPUT", "INPUT"])
@pytest.mark.parametrize(
    "line", [":{0} DROP [0:0]", "-P {0} DROP", "iptables -P {0} DROP", "sudo ip6tables --policy {0} DROP"]
)
def test_a_policy_that_drops_is_noted_however_it_is_written(line: str, chain: str) -> None:
    found = meaning(line.format(chain), FIRST)
    assert found["flows"] == [WEB_DB]
    [note] = [note for note in found["notes"] if note.startswith("Line 1:")]
    assert f"as the policy DROP of {chain} does: what no flow names stays open" in note


@pytest.mark.parametrize(
    "line", [":OUTPUT ACCEPT [0:0]", "-P INPUT ACCEPT", ":f2b-sshd - [0:0]", ":OUTPUT", "iptables -P FORWARD ACCEPT"]
)
def test_a_policy_that_accepts_needs_no_note(line: str) -> None:
    assert not [note for note in meaning(line, FIRST)["notes"] if note.startswith("Line 1:")]


def test_forwarding_is_left_to_its_own_policy() -> None:
    assert any("keep this policy of FORWARD" in note for note in meaning(":FORWARD DROP [0:0]", FIRST)["notes"])


@pytest.mark.parametrize("line", ["-P OUTPUT", "-P OUTPUT DROP -v", "-P OUTPUT REJECT"])
def test_a_policy_that_is_none_is_told(line: str) -> None:
    with pytest.raises(AnsibleFilterError, match=f"Line 1, '{line}': a policy needs a chain, and ACCEPT or DROP"):
        meaning(line)


def test_lines_on_one_conversation_are_one_flow() -> None:
    other = FIRST.replace("5432", "5433") + " --selinux-dest postgresql_t"
    both = meaning(
        FIRST + " -s 192.0.2.1",
        "ip6tables " + FIRST + " -s 2001:db8::1",
        other + " -s 192.0.2.1,2001:db8::1",
        "ip6tables " + FIRST.replace("5432", "6379") + " --selinux-dest redis_t",
        FIRST.replace("5432", "6379").replace("httpd_t", "squid_t") + " --selinux-dest redis_t",
    )
    assert [(flow["name"], flow["source"], flow["ports"]) for flow in both["flows"]] == [
        ("httpd_to_postgresql_5432", ["httpd_t"], ["5432-5433"]),
        ("httpd_to_redis_6379", ["httpd_t", "squid_t"], ["6379"]),
    ]
    assert both["flows"][0]["source_addresses"] == ["192.0.2.1", "2001:db8::1"]
    assert not any("for one address family" in note for note in both["notes"])
    # each address keeps its own port, and each interface
    apart = meaning(FIRST + " -s 192.0.2.1", other + " -s 192.0.2.2")["flows"]
    assert [(flow["ports"], flow["source_addresses"]) for flow in apart] == [
        (["5432"], ["192.0.2.1"]), (["5433"], ["192.0.2.2"])
    ]  # fmt: skip
    apart = meaning(FIRST + " -o eth0", other + " -o lo")["flows"]
    assert [(flow["ports"], flow["interfaces"]) for flow in apart] == [(["5432"], ["eth0"]), (["5433"], ["lo"])]
    # whatever is not limited once is not limited
    assert "source_addresses" not in meaning(FIRST + " -s 192.0.2.1", FIRST)["flows"][0]


def test_a_refusal_by_domain_confines_it() -> None:
    assert meaning("-A OUTPUT -m selinux --selinux-source squid_t -j REJECT --reject-with tcp-reset")["confine"] == [
        "squid_t"
    ]
    assert meaning("-A OUTPUT -m owner --uid-owner postgres -j DROP")["confine"] == ["postgresql_t"]
    known = FIRST.replace("-j", "-m owner --uid-owner 33 -j")
    assert meaning(known, "-A OUTPUT -m owner --uid-owner 33 -j DROP")["confine"] == ["httpd_t"]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["nft add rule x"], "Line 1, 'nft add rule x': 'nft' is neither iptables nor ip6tables"),
        ([FIRST + " -m geoip --cc X"], "nothing that corresponds to the match 'geoip'"),
        ([FIRST + " --ttl 3"], "nothing that corresponds to '--ttl'"),
        ([FIRST + " ! -s 192.0.2.1"], "nothing that corresponds to '!'"),
        ([FIRST + " -s ! 192.0.2.1"], "nothing that corresponds to '!' here"),
        ([FIRST + " -s"], "nothing that corresponds to '-s' here"),
        ([FIRST + " -p tcp"], "'tcp' gives the same option a second time"),
        (["-A FORWARD -p tcp --dport 1 -j ACCEPT"], "its chain is 'FORWARD', and flows support only INPUT, OUTPUT"),
        (["-A OUTPUT -p tcp --dport 1"], "its jump is missing"),
        (["-A OUTPUT -j LOG"], "its jump is 'LOG'"),
        (["-A OUTPUT -i eth0 -j DROP"], "'eth0' is an interface that no packet of OUTPUT has"),
        (["-A OUTPUT -m comment --comment 'open"], "it cannot be split into words"),
        (["-A INPUT -j ACCEPT"], "without saying a domain and a port"),
        (["-A INPUT -j DROP"], "it refuses everything that comes in"),
        (["-A OUTPUT -j DROP"], "it refuses everything that goes out, whatever domain sends it"),
        (["-A OUTPUT -m owner --uid-owner 4711 -j DROP"], "names the domain of the processes of the user '4711'"),
        (["-A OUTPUT -m state --state ESTABLISHED -j DROP"], "it refuses packets of connections that a flow permits"),
        (["-A INPUT -p tcp --dport 9 -j DROP"], "it lets nobody reach port 9"),
        ([FIRST, FIRST.replace("httpd_t", "squid_t").replace("ACCEPT", "DROP")], "refuses everybody else already"),
        ([FIRST.replace("5432", "9")], "names the server's domain for this port (--selinux-dest)"),
        (["-A INPUT -p tcp --dport 9 --selinux-dest redis_t -j ACCEPT"], "names the client's domain for this port"),
        ([FIRST.replace("-p tcp ", "")], "it has a port without a protocol (-p tcp)"),
        ([FIRST.replace("5432", "http") + " --selinux-dest redis_t"], "The port 'http' of the flow 'line 1'"),
        ([FIRST.replace("httpd_t", "'a b'") + " --selinux-dest redis_t"], "The source 'a b' of the flow 'line 1'"),
        ([FIRST + " -s host.example"], "The address 'host.example' in source_addresses"),
        (["-A OUTPUT -p tcp --dport 5432 -j DROP", FIRST], "Line 2, '-A OUTPUT .*line 1 refuses the same packets"),
        (["-A OUTPUT --selinux-source domain -j DROP"], "'domain' cannot be confined"),
        ([DROP66, FIRST], "Line 2, .*line 1 refuses a part of its packets first, and a flow has no exceptions"),
        (["-A OUTPUT -p udp --dport 5432 -j DROP", FIRST], "it lets nobody reach port 5432"),
        ([FIRST, "-A INPUT -p tcp -m multiport --dports 3306,5432 -j DROP"], "it lets nobody reach port 3306"),
        ([FIRST + " -d 192.0.2.1", "-A INPUT -p tcp --dport 5432 -j DROP"], "it lets nobody reach port 5432"),
        ([FIRST + " -o eth0", "-A INPUT -p tcp --dport 5432 -j DROP"], "it lets nobody reach port 5432"),
        ([FIRST + " -m state --state INVALID"], "packets in the state 'INVALID' have the label of their ports"),
        ([FIRST + " -m state --state SICK"], "the state 'SICK' is none of conntrack's"),
        (["-A OUTPUT -m owner --uid-owner apache -o eth0 -j DROP"], "it refuses only packets with 'eth0'"),
        (["-A OUTPUT -m owner --uid-owner apache -p udp -j DROP"], "it refuses only packets with 'udp'"),
        (["-A OUTPUT -m owner --uid-owner 'x\ny' -j DROP"], "The user 'x\\ny'"),
        (["-A OUTPUT --selinux-source httpd_t -o 'e h' -j ACCEPT"], "The interface 'e h'"),
        ([FIRST + " -A INPUT"], "'INPUT' gives the same option a second time"),
        (["-t filter " + FIRST + " -t mangle"], "'mangle' gives the same option a second time"),
        (["-A OUTPUT --selinux-source httpd_t -j REJECT --reject-with 'no way'"], "'no way' is not a value of"),
        ([FIRST, "-A INPUT -p tcp --dport 5432 -j ACCEPT"], "it permits everybody, whatever the domain"),
        ([FIRST + " -s 192.0.2.1", FIRST + " -d 192.0.2.9"], "both claim tcp/5432"),
    ],
)
def test_what_no_flow_can_mean_is_told_with_the_line(lines: list[str], said: str) -> None:
    with pytest.raises(AnsibleFilterError) as caught:
        meaning(*lines)
    assert re.search(said if ".*" in said else re.escape(said), str(caught.value))


@pytest.mark.parametrize(
    "words",
    [
        "-s ''", "--source=", "-s 192.0.2.1,", "-s ' , 192.0.2.1'", "-d ''", "-o ''", "-i ''", "--uid-owner ''",
        "-m state --state ''", "--dports 5432,,5433", "-p ''", "--selinux-source ''",
    ],
)  # fmt: skip
def test_an_option_that_is_empty_is_told_with_the_line(words: str) -> None:
    option = next(word for word in words.split() if word.startswith("--") or word not in ("-m", "state")).rstrip("=")
    line = f"-A OUTPUT {words} -j DROP"
    with pytest.raises(AnsibleFilterError) as caught:
        meaning(FIRST, line)
    said = f"Line 2, '{line}': the option '{option}' is empty, or a part of its value is; change the line"
    assert said in str(caught.value)


def test_a_comment_may_be_empty() -> None:
    assert meaning(FIRST + " -m comment --comment ''")["flows"] == [WEB_DB]


@pytest.mark.parametrize("rules", [None, 7, {"a": 1}, [1]])
def test_what_is_no_text_is_told(rules: Any) -> None:
    with pytest.raises(AnsibleFilterError, match="give one text or a list of lines"):
        flows_from_iptables(rules)


WORDS = st.sampled_from(
    [
        *("-A", "-I", "OUTPUT", "INPUT", "-p", "tcp", "udp", "--dport", "5432", "80,443", "1:9", "-j", "ACCEPT"),
        "DROP",
        *("-m", "selinux", "--selinux-source", "--selinux-dest", "httpd_t", "postgresql_t", "domain", "owner"),
        *("--uid-owner", "apache", "-s", "-d", "192.0.2.1", "2001:db8::/64", "-o", "-i", "eth0", "--comment", "state"),
        *("--state", "ESTABLISHED", "NEW", "!", "iptables", "ip6tables", "-t", "filter", "sudo", "-w", "1"),
    ]
) | st.text(max_size=8)
LINES = st.lists(WORDS, max_size=14).map(" ".join) | st.sampled_from(ARTICLE) | st.text(max_size=40)


@given(st.lists(LINES, max_size=6))
def test_no_input_yields_anything_but_what_the_model_allows(lines: list[str]) -> None:
    try:
        found = flows_from_iptables(lines)
    except AnsibleFilterError:
        return
    flows = [parse_flow(flow) for flow in found["flows"]]
    assert len(flow_set(flows).flows) == len(flows)
    assert list(parse_confined(found["confine"])) == found["confine"]
    values = [value for flow in found["flows"] for value in flow.values()]
    words = [word for value in values for word in ([value] if isinstance(value, str) else value)]
    assert all(re.fullmatch(r"[A-Za-z0-9_.:@/-]+", word, re.ASCII) for word in words)


CLIENTS, SERVERS = ("httpd_t", "squid_t", ""), ("postgresql_t", "redis_t", "")


@st.composite
def rules(draw: st.DrawFn) -> list[str]:
    lines = []
    for dummy in range(draw(st.integers(1, 4))):
        chain = draw(st.sampled_from(["OUTPUT", "INPUT"]))
        words = ["-A", chain]
        if draw(st.booleans()):
            words += ["-p", draw(st.sampled_from(["tcp", "udp"])), "--dport", draw(st.sampled_from(["1", "2", "1:3"]))]
        options = {
            "-s": ["192.0.2.1", "192.0.2.0/24"], "-d": ["192.0.2.9"], "-o" if chain == "OUTPUT" else "-i": ["eth0"],
            "--selinux-source": CLIENTS[:2], "--selinux-dest": SERVERS[:2],
        }  # fmt: skip
        for option, values in options.items():
            if draw(st.booleans()):
                words += [option, draw(st.sampled_from(values))]
        lines.append(" ".join([*words, "-j", draw(st.sampled_from(["ACCEPT", "ACCEPT", "DROP"]))]))
    return lines


def verdict(lines: list[str], chain: str, packet: dict[str, Any]) -> str:
    """What iptables would say of a packet, had it the match; nothing where no rule of the chain matches."""
    for line in lines:
        words = line.split()
        said = dict(zip(words[::2], words[1::2], strict=True))
        low, dummy, high = said.get("--dport", "0:65535").partition(":")
        if (
            said["-A"] == chain
            and said.get("-p", packet["protocol"]) == packet["protocol"]
            and int(low) <= packet["port"] <= int(high or low)
            and all(ip_address(packet[end]) in ip_network(said.get(end, "0.0.0.0/0")) for end in ("-s", "-d"))
            and said.get("-o", said.get("-i", packet["interface"])) == packet["interface"]
            and said.get("--selinux-source", packet["client"]) == packet["client"]
            and said.get("--selinux-dest", packet["server"]) == packet["server"]
        ):
            return said["-j"]
    return ""


def permits(raw: dict[str, Any], packet: dict[str, Any]) -> bool:
    flow = parse_flow(raw)
    return (
        flow.protocol == packet["protocol"]
        and flow.has_port(packet["port"])
        and flow.is_source(packet["client"])
        and flow.is_destination(packet["server"])
        and all(
            not networks or any(ip_address(packet[end]) in network for network in networks)
            for end, networks in (("-s", flow.source_addresses), ("-d", flow.destination_addresses))
        )
        and (not flow.interfaces or packet["interface"] in flow.interfaces)
    )


@given(
    rules(),
    st.fixed_dictionaries(
        {
            "protocol": st.sampled_from(["tcp", "udp"]), "port": st.integers(1, 4),
            "interface": st.sampled_from(["eth0", "lo"]), "-d": st.sampled_from(["192.0.2.9", "192.0.2.8"]),
            "-s": st.sampled_from(["192.0.2.1", "192.0.2.2", "198.51.100.1"]),
            "client": st.sampled_from(CLIENTS[:2]), "server": st.sampled_from(SERVERS[:2]),
        }
    ),
)  # fmt: skip
@settings(max_examples=300)
def test_what_the_rules_refuse_no_flow_permits(lines: list[str], packet: dict[str, Any]) -> None:
    try:
        found = flows_from_iptables(lines)
    except AnsibleFilterError:
        return
    permitted = [flow for flow in found["flows"] if permits(flow, packet)]
    refused = [chain for chain in ("OUTPUT", "INPUT") if verdict(lines, chain, packet) == "DROP"]
    # One of the ends permits it, or one of them would not: a flow holds both to it.
    accepted = [chain for chain in ("OUTPUT", "INPUT") if verdict(lines, chain, packet) == "ACCEPT"]
    assert not (permitted and refused and not accepted), permitted
