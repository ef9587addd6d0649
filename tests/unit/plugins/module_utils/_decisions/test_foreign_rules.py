# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Other people's rules, as real tools load and print them: our chains come and go, and not a byte of theirs changes."""

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.senet.firewall.plugins.module_utils._change import take
from ansible_collections.senet.firewall.plugins.module_utils._change.target import desired_state
from ansible_collections.senet.firewall.plugins.module_utils._compile.owner import Accounts
from ansible_collections.senet.firewall.plugins.module_utils._compile.rule_sets import RULE_SETS
from ansible_collections.senet.firewall.plugins.module_utils._decisions import plan
from ansible_collections.senet.firewall.plugins.module_utils._host.host import Host
from ansible_collections.senet.firewall.plugins.module_utils._host.netfilter import Netfilter
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import FlowSet
from ansible_collections.senet.firewall.plugins.module_utils._values.intent import IPTABLES, Intent
from tests.unit.flows import PLACED, SEVERAL, WEB_DB
from tests.unit.network_namespace import INFIXES, TABLES, NetworkNamespace

COMMANDS = {f"{base}-{infix}": base for infix in INFIXES.values() for base in ("iptables", "ip6tables")}
FAMILIES = {"ipv4": "iptables", "ipv6": "ip6tables"}
BUILT_IN = {
    "raw": ("PREROUTING", "OUTPUT"),
    "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
    "security": ("INPUT", "FORWARD", "OUTPUT"),
}
# Names as firewall programs use them, and some that are nearly ours
NAMES = ("DOCKER", "ufw-before-input", "SENET", "SENET_OTHER", "SENET_INPUT2", "senet_output", "XSENET_INPUT")
NETS = {
    "iptables": ("-s 192.0.2.0/24 ", "-d 198.51.100.7/32 ", "! -s 192.0.2.1/32 "),
    "ip6tables": ("-s 2001:db8::/32 ", "-d fe80::1/128 ", "! -d 2001:db8::1/128 "),
}
MATCHES = (
    "-p tcp -m tcp --dport 22 ",
    "-p udp -m udp --sport 1:1023 ",
    "-p tcp -m multiport --dports 80,443 ",
    "-m mark --mark 0x1/0xff ",
    "-m conntrack --ctstate RELATED,ESTABLISHED ",
    "-m limit --limit 3/min --limit-burst 7 ",
    "-m addrtype --dst-type LOCAL ",
    "-m comment --comment SENET_INPUT ",
    '-m comment --comment "two words: -j SECMARK" ',
    '-m comment --comment "-A INPUT -j SENET_INPUT" ',
)
TARGETS = {
    "raw": ("-j CT --notrack",),
    "mangle": ("-j MARK --set-xmark 0x7/0xff", "-j CONNMARK --save-mark --nfmask 0xffffffff --ctmask 0xffffffff"),
    "nat": (),
    "filter": ("-j DROP", "-j REJECT", '-j LOG --log-prefix "-A SENET_INPUT "'),
    "security": ("-j DROP", "-j MARK --set-xmark 0x7/0xff"),
}
COUNTERS = st.tuples(st.integers(0, 10**6), st.integers(0, 10**9)).map(lambda pair: "[%d:%d]" % pair)
_OURS = re.compile(
    r":SENET_((INPUT|OUTPUT)(_\w+)?|TABLE) |"
    r"\[\d+:\d+\] -A (SENET_(INPUT|OUTPUT)(_\w+)? |(INPUT|OUTPUT) -j SENET_(INPUT|OUTPUT)$)"
)
_EMPTY = re.compile(r"\*security\n(:[A-Z]+ ACCEPT \[0:0\]\n)*COMMIT\n")
FLOWS = st.sampled_from([WEB_DB, SEVERAL, PLACED])


@st.composite
def tables(draw: st.DrawFn, base: str) -> str:
    """The input of a restore command: some tables, with chains, policies, rules and counters."""
    lines: list[str] = []
    for table in draw(st.lists(st.sampled_from(TABLES), unique=True)):
        chains = draw(st.lists(st.sampled_from(NAMES), max_size=3, unique=True))
        policies = st.sampled_from(["ACCEPT"] if table == "nat" else ["ACCEPT", "DROP"])
        lines.append(f"*{table}")
        # iptables-legacy zeroes the counters of policies itself, in every table that it commits.
        counters = st.just("[0:0]") if table == "security" else COUNTERS
        lines += [f":{name} {draw(policies)} {draw(counters)}" for name in BUILT_IN[table]]
        lines += [f":{name} - [0:0]" for name in chains]
        # A chain leads to later ones only: no loops.
        for place, name in enumerate([*BUILT_IN[table], *chains]):
            later = chains[max(0, place - len(BUILT_IN[table]) + 1):]
            jumps = [f"-{how} {other}" for other in later for how in "jg"]
            for dummy in range(draw(st.integers(0, 3))):
                net, match = draw(st.sampled_from(["", *NETS[base]])), draw(st.sampled_from(["", *MATCHES]))
                target = draw(st.sampled_from(["-j ACCEPT", "-j RETURN", *jumps, *TARGETS[table]]))
                lines.append(f"{draw(COUNTERS)} -A {name} {net}{match}{target}")
        lines.append("COMMIT")
    return "".join(f"{line}\n" for line in lines)


RULESETS = st.fixed_dictionaries({command: tables(base) for command, base in COMMANDS.items()})


def change(netfilter: Netfilter, flows: FlowSet) -> None:
    """Bring the rules to those of the flows, by the steps that the engine takes."""
    host = Host(None, None, netfilter, None, None, None, None, None, None, None, 0)  # type: ignore[arg-type]
    found = {family: RULE_SETS["ipv4"].parse(netfilter.save(family)) for family in FAMILIES}
    state = plan.HostState(None, True, found, None, False)
    desired = desired_state(Intent(flows, IPTABLES), Accounts({}, {}), FAMILIES)
    for step in plan.enforcement_steps(state, desired):
        if step.action in (plan.RESTORE_RULES, plan.DROP_TABLE):
            take.take(host, step)
    for family in FAMILIES:
        table, rules = RULE_SETS["ipv4"].parse(netfilter.save(family)), desired.rules[family]
        assert not table.ours if rules is None else table.installed(rules)


def foreign(lines: list[str]) -> list[str]:
    """What is not ours: neither our chains nor the jumps to them, nor a table with nothing in it."""
    return _EMPTY.sub("", "".join(f"{line}\n" for line in lines if not _OURS.match(line))).splitlines()


@pytest.mark.long
@pytest.mark.parametrize("variant", INFIXES)
@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(rulesets=RULESETS, flows=FLOWS)
def test_no_byte_of_other_peoples_rules_changes(variant: str, rulesets: dict[str, str], flows: FlowSet) -> None:
    with NetworkNamespace(variant) as space:
        netfilter = Netfilter(space.run, space.find)
        for command, text in rulesets.items():
            space.load(command, text)
        before = {command: space.saved(command) for command in COMMANDS}
        change(netfilter, flows)
        during = {command: space.saved(command) for command in COMMANDS}
        change(netfilter, FlowSet(()))
        after = {command: space.saved(command) for command in COMMANDS}
    default = {f"{base}-{INFIXES[variant]}" for base in FAMILIES.values()}
    for command, lines in before.items():
        if command not in default:
            assert during[command] == after[command] == lines
            continue
        assert foreign(during[command]) == foreign(lines)
        # The legacy variant never gives a table back.
        kept = variant == "legacy" and "*security" not in lines
        assert (foreign(after[command]) if kept else after[command]) == lines
