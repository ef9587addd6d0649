# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of the layer owner: as text, and in a real kernel's tables, where real processes meet them."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.senet.firewall.plugins.module_utils._compile import owner, rule_sets
from ansible_collections.senet.firewall.plugins.module_utils._compile.owner import Accounts, Cgroup
from ansible_collections.senet.firewall.plugins.module_utils._compile.rule_sets import RULE_SETS
from ansible_collections.senet.firewall.plugins.module_utils._host.netfilter import Netfilter
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import FlowSet, flow_set
from tests.unit.flows import flow, flow_sets
from tests.unit.golden_files import assert_golden
from tests.unit.network_namespace import NetworkNamespace

ACCOUNTS = Accounts({"www-data": 33, "zabbix": 110}, {"apache2.service": Cgroup("system.slice/apache2.service", 4711)})
# What each kind of flow comes to; units are left to hosts with control groups of version 2
FLOWS = flow_set(
    [
        flow(users=["www-data", "65533"]),
        flow("cache", ports=[6379, "7000-7005"], users=["www-data"], interfaces=["lo", "eth0"], mode="observe"),
        flow("names", source=["domain"], protocol="udp", ports=[53], source_addresses=["127.0.0.1", "192.0.2.0/24"]),
        flow("zone", ports=[53], users=["zabbix"], destination_addresses=["2001:db8::/64", "192.0.2.1"]),
        flow("sigtran", protocol="sctp", ports=[2905], users=["gone"]),
        flow("first", ports=[25], users=["www-data"], source_addresses=["127.0.0.0/8", "::1"]),
        flow("second", ports=[25], users=["zabbix"], source_addresses=["192.0.2.0/24", "2001:db8::/64"]),
        flow("everybody", source=["domain"], ports=[80]),
        # On one port, to be observed from some addresses and enforced from others
        flow("legacy", ports=[26], users=["www-data"], source_addresses=["127.0.0.1", "2001:db8::/64"], mode="observe"),
        flow("new", ports=["26-27"], users=["zabbix"], source_addresses=["127.0.0.9", "::1"]),
        flow("old", ports=[27], users=["www-data"], source_addresses=["127.0.0.1"], mode="observe", interfaces=["lo"]),
    ]
)
UNITS = flow_set(
    [flow(users=["www-data"], units=["apache2.service", "off.service"]), flow("job", ports=[1], units=["off.service"])]
)

# A line of JSON a question: as which uid to connect, from and to where. It answers with the result's name.
PROBE = """
import errno, json, os, socket, sys
for line in sys.stdin:
    uid, source, target, port = json.loads(line)
    child = os.fork()
    if not child:
        os.setuid(uid)
        with socket.socket(socket.AF_INET6 if ":" in target else socket.AF_INET) as end:
            end.settimeout(3)
            end.bind((source, 0))
            os._exit(end.connect_ex((target, port)))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(errno.errorcode.get(code, "connected"), flush=True)
"""
LISTEN = """
import socket, sys, time
ends = [socket.create_server((host, int(port)), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        for host in ("127.0.0.1", "::1") for port in sys.argv[1:]]
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_rules_of_iptables(family: str) -> None:
    rules = owner.compile_iptables(FLOWS, ACCOUNTS, family, False)
    assert_golden(f"owner.{family}", "".join(rule + "\n" for rule in rules))


def test_rules_of_nftables() -> None:
    assert_golden("owner.nft", "".join(line + "\n" for line in owner.compile_nftables(FLOWS, ACCOUNTS, False)))


def test_a_unit_that_does_not_run_lets_nobody_in() -> None:
    rules = owner.compile_iptables(UNITS, ACCOUNTS, "ipv4", False)
    assert [rule.partition(" --dport ")[2] for rule in rules if rule.endswith("RETURN") and "--dport" in rule] == [
        '5432 -m owner --uid-owner 33 -m cgroup --path "system.slice/apache2.service" -m comment --comment '
        "web_db-cgroup-4711 -j RETURN"
    ]
    assert sum(rule.endswith("-j REJECT --reject-with tcp-reset") for rule in rules) == 2
    lines = [line.strip() for line in owner.compile_nftables(UNITS, ACCOUNTS, False)]
    assert [line for line in lines if "skuid" in line] == [
        'tcp dport 5432 meta skuid 33 socket cgroupv2 level 2 "system.slice/apache2.service" accept '
        'comment "web_db-cgroup-4711"'
    ]


def test_a_unit_that_was_started_again_makes_other_rules() -> None:
    again = ACCOUNTS._replace(units={"apache2.service": Cgroup("system.slice/apache2.service", 4712)})
    assert owner.compile_iptables(UNITS, ACCOUNTS, "ipv4", False) != owner.compile_iptables(UNITS, again, "ipv4", False)
    assert owner.compile_nftables(UNITS, ACCOUNTS, False) != owner.compile_nftables(UNITS, again, False)


def test_the_escaped_name_of_a_slice_is_quoted_for_iptables_and_is_what_it_is_for_nft() -> None:
    path = "system.slice/system-a\\x2db.slice/a-b@1.service"
    accounts = Accounts({"www-data": 33}, {"a-b@1.service": Cgroup(path, 4711)})
    flows = flow_set([flow(users=["www-data"], units=["a-b@1.service"])])
    rules = owner.compile_iptables(flows, accounts, "ipv4", False)
    assert [rule.split(" ")[rule.split(" ").index("--path") + 1] for rule in rules if "--path" in rule] == [
        '"system.slice/system-a\\\\x2db.slice/a-b@1.service"'
    ]
    assert any(f'level 3 "{path}"' in line for line in owner.compile_nftables(flows, accounts, False))


WORDS = re.compile(r'[A-Za-z0-9 .,:;/_"{}!=\t-]*')
NAMES = st.lists(st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}|[0-9]{1,10}", fullmatch=True), max_size=3)


@given(flow_sets(), NAMES, st.dictionaries(st.sampled_from(["a.service", "b@1.slice"]), st.integers(1, 2**63)))
def test_rules_are_made_of_validated_words_and_one_line_each(
    flows: FlowSet, users: list[str], groups: dict[str, int]
) -> None:
    owned = flow_set(one._replace(users=tuple(users), units=("a.service", "b@1.slice")) for one in flows.flows)
    accounts = Accounts({}, {unit: Cgroup(f"system.slice/{unit.replace('@', '-')}", n) for unit, n in groups.items()})
    for family in ("ipv4", "ipv6"):
        rules = owner.compile_iptables(owned, accounts, family, False)
        assert all(WORDS.fullmatch(rule) for rule in rules)
        assert all(rule.startswith("-A SENET_OWNER_") for rule in rules)
    assert all(WORDS.fullmatch(line) for line in owner.compile_nftables(owned, accounts, False))


# Asks a server by UDP as each uid, always from the same port, and says what came back.
ASK_BY_UDP = """
import os, socket, sys
address, *uids = sys.argv[1:]
family = socket.AF_INET6 if ":" in address else socket.AF_INET
server = socket.socket(family, socket.SOCK_DGRAM)
server.bind((address, 5353))
if not os.fork():
    while True:
        server.sendto(*server.recvfrom(1))
for uid in uids:
    child = os.fork()
    if not child:
        os.setuid(int(uid))
        with socket.socket(family, socket.SOCK_DGRAM) as end:
            end.bind((address, 40000))
            end.settimeout(2)
            try:
                end.sendto(b"?", (address, 5353))
                os._exit(not end.recv(1))
            except OSError:
                os._exit(1)
    print(os.waitpid(child, 0)[1] == 0, flush=True)
os.killpg(0, 9)
"""


class Space(NamedTuple):
    """A network namespace with the rules of a backend, and its tools."""

    backend: str
    namespace: NetworkNamespace
    netfilter: Netfilter


@pytest.fixture(scope="module", params=["nf_tables", "legacy", "nftables"])
def space(request: pytest.FixtureRequest) -> Iterator[Space]:
    variant = "nf_tables" if request.param == "nftables" else request.param
    with NetworkNamespace(variant) as namespace:
        namespace.run(["ip", "link", "set", "lo", "up"])
        backend = "nftables" if request.param == "nftables" else "iptables"
        yield Space(backend, namespace, Netfilter(namespace.run, namespace.find))


def put_in_force(space: Space, flows: FlowSet, labelled: bool = False) -> dict[str, rule_sets.Rules]:
    wanted = rule_sets.compile_owner_rules(space.backend, flows, ACCOUNTS, labelled)
    for family, rules in wanted.items():
        source = RULE_SETS[family].source
        table = RULE_SETS[family].parse(space.netfilter.save(source))
        space.netfilter.restore(source, RULE_SETS[family].restore_text(table, rules))
    return wanted


def test_what_a_kernel_lists_is_what_was_loaded(space: Space) -> None:
    put_in_force(space, flow_set([]))
    for family, rules in put_in_force(space, FLOWS).items():
        table = RULE_SETS[family].parse(space.netfilter.save(RULE_SETS[family].source))
        assert table.installed(rules)
        space.netfilter.restore(RULE_SETS[family].source, RULE_SETS[family].restore_text(table, None))
        gone = RULE_SETS[family].parse(space.netfilter.save(RULE_SETS[family].source))
        assert not gone.ours
        assert "senet" not in space.netfilter.save(RULE_SETS[family].source).lower()


@settings(max_examples=5, deadline=None)
@given(flow_sets())
def test_any_set_is_listed_as_it_was_loaded(space: Space, flows: FlowSet) -> None:
    owned = flow_set(one._replace(users=("www-data", "65533")) for one in flows.flows)
    for family, rules in put_in_force(space, owned).items():
        assert RULE_SETS[family].parse(space.netfilter.save(RULE_SETS[family].source)).installed(rules)


def ask(space: Space, *questions: tuple[int, str, str, int]) -> list[str]:
    text = "".join(json.dumps(question) + "\n" for question in questions)
    code, out, err = space.namespace.run([sys.executable, "-c", PROBE], text)
    assert code == 0, err
    return out.split()


@pytest.mark.long
@pytest.mark.parametrize("labelled", [False, True])
def test_processes_meet_the_rules(space: Space, labelled: bool) -> None:
    put_in_force(space, FLOWS, labelled)
    inside = ["nsenter", f"--net=/proc/{space.namespace.holder}/ns/net"]
    command = [*inside, sys.executable, "-c", LISTEN, "5432", "6379", "25", "26", "27", "53", "99"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n"
        for address in ("127.0.0.1", "::1"):

            def at(uid: int, port: int, address: str = address) -> tuple[int, str, str, int]:
                return uid, address, address, port

            assert ask(space, at(33, 5432), at(65533, 5432)) == ["connected"] * 2
            assert ask(space, at(0, 5432), at(110, 5432), at(65534, 5432)) == ["ECONNREFUSED"] * 3
            # observing refuses nobody, and what has no flow, or another server's address, is nobody's business
            assert ask(space, at(0, 6379), at(0, 99), at(0, 53)) == ["connected"] * 3
            assert ask(space, at(33, 25), at(110, 25), at(0, 25)) == ["connected", "ECONNREFUSED", "ECONNREFUSED"]
        assert ask(space, (33, "127.0.0.9", "127.0.0.1", 25)) == ["connected"]
        for port in (26, 27):
            # Each flow decides on its own clients, and for nobody's the one that is enforced does
            assert ask(space, *((uid, "127.0.0.1", "127.0.0.1", port) for uid in (33, 110, 0))) == ["connected"] * 3
            by_uid = ask(space, *((uid, "127.0.0.9", "127.0.0.1", port) for uid in (33, 110, 0)))
            assert by_uid == ["ECONNREFUSED", "connected", "ECONNREFUSED"]
            assert ask(space, *((uid, "127.0.0.5", "127.0.0.1", port) for uid in (33, 110, 0))) == ["ECONNREFUSED"] * 3
            by_uid = ask(space, *((uid, "::1", "::1", port) for uid in (33, 110, 0)))
            assert by_uid == ["ECONNREFUSED", "connected", "ECONNREFUSED"]
        assert server.stdin is not None
        server.stdin.close()


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_who_binds_a_clients_port_after_it_has_not_its_connection(space: Space, address: str) -> None:
    put_in_force(space, flow_set([flow(users=["www-data"], protocol="udp", ports=[5353])]))
    inside = ["setsid", "nsenter", f"--net=/proc/{space.namespace.holder}/ns/net"]
    command = [*inside, sys.executable, "-c", ASK_BY_UDP, address, "33", "33", "110", "0", "33"]
    answers = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False).stdout.split()
    assert answers == ["True", "True", "False", "False", "True"]
