# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Labels that other programs put on packets, wherever a rule can stand: no change is made beside them."""

import shlex
from typing import NamedTuple

import pytest

from tests.lab.controller import Controller
from tests.lab.probes import connect, listener
from tests.lab.vm import Host
from tests.vm.conftest import BACKENDS, MORE_FLOWS, WEB_DB, wait_until
from tests.vm.facts import facts

pytestmark = pytest.mark.thorough

FLOWS = "senet.firewall.flows"
# On a port that nobody uses
MATCH = "-p tcp -m tcp --dport 9999"
SECMARK = "-j SECMARK --selctx system_u:object_r:http_client_packet_t:s0"
# An object with a label turns packet checks on, which cut SSH without our policy. Neither CONNSECMARK nor ct does.
OBJECT = 'secmark web { "system_u:object_r:http_client_packet_t:s0" };'


class Rule(NamedTuple):
    """Commands that add and remove a foreign rule, and how the refusal quotes it."""

    add: str
    remove: str
    quoted: str


def rule_of_iptables(command: str, table: str, chain: str, target: str) -> Rule:
    rule = f"{chain} {MATCH} {target}"
    return Rule(f"{command} -t {table} -A {rule}", f"{command} -t {table} -F {chain}", f"{command} {table}: -A {rule}")


def rule_of_nft(rule: str, objects: str = "") -> Rule:
    table = f"table inet mine {{ {objects} chain labels {{ type filter hook output priority 100; {rule}; }}; }}"
    return Rule(f"nft '{table}'", "nft delete table inet mine", f"nft inet mine labels: {rule}")


RULES = (
    rule_of_iptables("iptables", "mangle", "OUTPUT", SECMARK),
    rule_of_iptables("ip6tables", "security", "FORWARD", "-j CONNSECMARK --save"),
    rule_of_iptables("iptables-legacy", "security", "OUTPUT", "-j CONNSECMARK --restore"),
    rule_of_iptables("ip6tables-legacy", "mangle", "POSTROUTING", SECMARK),
    rule_of_nft('tcp dport 9999 meta secmark set "web"', OBJECT),
    rule_of_nft("tcp dport 9999 ct secmark set meta secmark"),
)


def test_a_change_beside_foreign_labels_is_refused_with_the_rule(enforced: Host) -> None:
    with Controller(enforced) as controller:
        for rule in RULES:
            enforced.run(rule.add)
            before = facts(enforced)
            result = controller.module(enforced, FLOWS, flows=MORE_FLOWS[:1])
            assert result["failed"], rule.add
            assert f"'{rule.quoted}'. Nothing was changed" in result["msg"]
            assert facts(enforced) == before, rule.add
            # Nor is a host called enforced that needs no change
            unchanged = controller.module(enforced, FLOWS, backend="iptables")
            assert "may not be enforced" in unchanged["msg"], unchanged
            assert f"'{rule.quoted}'. Remove that rule" in unchanged["msg"]
            assert facts(enforced) == before, rule.add
            enforced.run(rule.remove)


def test_where_legacy_is_the_default_labels_of_nf_tables_are_found(host: Host) -> None:
    host.run("for name in iptables ip6tables; do update-alternatives --set $name /usr/sbin/$name-legacy; done")
    rules = (
        rule_of_iptables("ip6tables-nft", "mangle", "OUTPUT", "-j CONNSECMARK --restore"),
        rule_of_nft("tcp dport 9999 ct secmark set meta secmark"),
    )
    with Controller(host) as controller:
        for rule in rules:
            host.run(rule.add)
            result = controller.module(host, FLOWS, flows=[WEB_DB])
            assert f"'{rule.quoted}'. Nothing was changed" in result["msg"]
            host.run(rule.remove)


def test_the_last_flow_stays_while_a_label_of_somebody_else_does(enforced: Host) -> None:
    left = (
        rule_of_iptables("iptables", "mangle", "OUTPUT", SECMARK),
        rule_of_iptables("ip6tables-legacy", "mangle", "POSTROUTING", SECMARK),
        Rule(f"nft 'table inet mine {{ {OBJECT} }}'", "nft delete table inet mine", "nft inet mine: secmark web"),
    )
    with Controller(enforced) as controller:
        for rule in left:
            enforced.run(rule.add)
            before = facts(enforced)
            result = controller.module(enforced, FLOWS, state="absent")
            assert f"Labels would stay on this host: '{rule.quoted}'" in result["msg"], rule.add
            assert facts(enforced) == before, rule.add
            assert enforced.run("echo back", fresh=True).stdout == "back\n"
            enforced.run(rule.remove)
        assert controller.module(enforced, FLOWS, state="absent")["guard"]["confirmed"] is True
    assert enforced.run("echo back", fresh=True).stdout == "back\n"


def test_the_last_flow_stays_while_its_labels_are_left_under_the_other_variant(enforced: Host) -> None:
    switch = "for name in iptables ip6tables; do update-alternatives --set $name /usr/sbin/$name-{0}; done"
    with Controller(enforced) as controller:
        enforced.run(switch.format("legacy"))
        result = controller.module(enforced, FLOWS, state="absent")
        assert "Labels would stay on this host: 'iptables-nft security: -A SENET_" in result["msg"]
        assert enforced.run("echo back", fresh=True).stdout == "back\n"
        enforced.run(switch.format("nft"))
        # The watch may have put the labels back under the other variant, as long as that was the default
        enforced.run("for tool in iptables-legacy ip6tables-legacy; do $tool -t security -F; done")
        result = controller.module(enforced, FLOWS, state="absent")
        assert result.get("guard", {}).get("confirmed") is True, result
    assert enforced.run("echo back", fresh=True).stdout == "back\n"


LATER = {**WEB_DB, "name": "later", "ports": ["60910"]}
LAUNCHER = "/usr/bin/python3 -IB /var/lib/senet-firewall/code/senet-firewall"
SAVE = {
    "iptables": "iptables-save -t security >/run/saved4; ip6tables-save -t security >/run/saved6",
    "nftables": "nft list table inet senet >/run/saved",
}
BRING_BACK = {
    "iptables": "iptables-restore /run/saved4; ip6tables-restore /run/saved6",
    "nftables": "nft -f /run/saved",
}
# How much of ours each backend has
COUNT = {
    "iptables": "{ iptables-save; ip6tables-save; } | grep -c SENET_",
    "nftables": "nft list tables | grep -c 'inet senet'",
}


def count(host: Host, backend: str, namespace: str = "") -> int:
    enter = f"ip netns exec {namespace} " if namespace else ""
    return int(host.run(f"{enter}sh -c {shlex.quote(COUNT[backend])} || true").stdout)


def later(host: Host) -> str:
    """How root fares at the flow's port; nobody listens there during a change, which would cut whoever does."""
    with listener(host, "127.0.0.1", 60910):
        return connect(host, "127.0.0.1", 60910).result


@pytest.mark.parametrize(("backend", "other"), [BACKENDS, BACKENDS[::-1]])
def test_saved_rules_of_the_other_backend_open_no_port_for_long(slim_enforced: Host, backend: str, other: str) -> None:
    slim_enforced.run(SAVE[backend])
    with Controller(slim_enforced) as controller:
        made = controller.module(slim_enforced, FLOWS, flows=[WEB_DB, LATER], backend=other)
        assert made.get("changed"), made
        assert later(slim_enforced) == "refused"
        assert count(slim_enforced, backend) == 0
        slim_enforced.run("systemctl stop senet-firewall-watch")
        slim_enforced.run(BRING_BACK[backend])
        # Their default label comes last; nft's leaves a label alone where packets leave
        assert later(slim_enforced) == ("connected" if backend == "iptables" else "refused")
        again = controller.module(slim_enforced, FLOWS, flows=[WEB_DB, LATER])
        assert again.get("changed"), again
        assert any(f"by the backend {backend}" in warning for warning in again["warnings"]), again
        assert later(slim_enforced) == "refused"
        assert count(slim_enforced, backend) == 0
        slim_enforced.run("systemctl stop senet-firewall-watch")
        slim_enforced.run(BRING_BACK[backend])
        slim_enforced.run("systemctl start senet-firewall-watch")
        wait_until(lambda: count(slim_enforced, backend) == 0, 60)
        assert later(slim_enforced) == "refused"
        assert controller.module(slim_enforced, FLOWS, flows=[WEB_DB, LATER])["changed"] is False


@pytest.mark.parametrize(("backend", "other"), [BACKENDS, BACKENDS[::-1]])
def test_another_namespace_has_the_rules_of_one_backend_when_it_has_loaded(
    slim_enforced: Host, backend: str, other: str
) -> None:
    inside = "nsenter --net=/run/netns/other"
    slim_enforced.run(f"ip netns add other && {inside} {LAUNCHER} load")
    assert count(slim_enforced, backend, "other") > 0
    with Controller(slim_enforced) as controller:
        moved = controller.module(slim_enforced, FLOWS, backend=other)
        assert moved.get("changed"), moved
        slim_enforced.run(f"{inside} {LAUNCHER} load")
        assert (count(slim_enforced, backend, "other"), count(slim_enforced, other, "other") > 0) == (0, True)
        refused = controller.module(slim_enforced, FLOWS, state="absent")
        assert "has labels of its own" in refused["msg"], refused
        slim_enforced.run(f"{inside} {LAUNCHER} clear")
        assert controller.module(slim_enforced, FLOWS, state="absent").get("changed") is True
    assert slim_enforced.run("echo back", fresh=True).stdout == "back\n"
