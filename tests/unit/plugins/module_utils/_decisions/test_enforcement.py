# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from typing import Any

import pytest

from ansible_collections.senet.firewall.plugins.module_utils._decisions.enforcement import (
    KERNEL_MODULES,
    Facts,
    IptablesFacts,
    caveats,
    layer,
    obstacles,
    owner_layer,
)

TOOLS = {family: IptablesFacts("/usr/sbin/iptables", "1.8.9", "nf_tables", False) for family in ("ipv4", "ipv6")}
LEGACY = {family: tool._replace(variant="legacy") for family, tool in TOOLS.items()}
ALL = dict.fromkeys(KERNEL_MODULES, True)
GOOD = Facts("enforcing", TOOLS, "/usr/sbin/nft", "/usr/sbin/semodule", ALL, (), (), (), True)


def without(*names: str) -> dict[str, bool]:
    return {name: name not in names for name in KERNEL_MODULES}


def test_a_host_with_all_it_takes_enforces() -> None:
    said = layer(GOOD)
    assert (said["available"], said["enforced"], said["reasons"], said["notes"]) == (True, True, [], [])
    assert said["backends"] == {name: {"available": True, "reasons": []} for name in ("iptables", "nftables")}


@pytest.mark.parametrize(
    ("change", "backend"),
    [
        pytest.param({"iptables": {}}, "nftables", id="iptables is missing"),
        pytest.param({"modules": without("xt_SECMARK")}, "nftables", id="xt_SECMARK is missing"),
        pytest.param({"nft": None}, "iptables", id="nft is missing"),
        pytest.param({"modules": without("nft_ct")}, "iptables", id="nft_ct is missing"),
    ],
)
def test_one_backend_is_enough(change: dict[str, Any], backend: str) -> None:
    said = layer(GOOD._replace(**change))
    assert (said["available"], said["reasons"]) == (True, [])
    assert [name for name, one in said["backends"].items() if one["available"]] == [backend]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"selinux": "disabled"}, "SELinux is disabled: enable it"),
        ({"iptables": {"ipv4": TOOLS["ipv4"]}}, "The command ip6tables is missing: install"),
        ({"iptables": {"ipv6": TOOLS["ipv6"]}}, "The command iptables is missing: install"),
        ({"semodule": None}, "The command semodule is missing: install"),
        ({"modules": without("xt_SECMARK")}, "no module xt_SECMARK: install"),
        ({"modules": without("nft_compat", "xt_conntrack")}, "no module nft_compat, xt_conntrack: install"),
        ({"modules": without("iptable_security"), "iptables": LEGACY}, "no module iptable_security: install"),
    ],
)
def test_each_obstacle_is_told_with_what_to_do(change: dict[str, Any], reason: str) -> None:
    facts = GOOD._replace(nft=None, **change)
    others = [said for said in obstacles(facts) if reason not in said]
    assert len(obstacles(facts)) - len(others) == 1
    assert all("nft" in said for said in others)
    said = layer(facts)
    assert (said["available"], said["enforced"], said["reasons"]) == (False, False, obstacles(facts))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"modules": None}, id="nothing is known of the modules"),
        pytest.param({"modules": without("iptable_security", "ip6table_security")}, id="of the other variant"),
        pytest.param({"modules": without("nft_compat"), "iptables": LEGACY, "nft": None}, id="of the other variant"),
    ],
)
def test_what_is_not_needed_is_no_obstacle(change: dict[str, Any]) -> None:
    assert layer(GOOD._replace(**change))["enforced"]


def test_all_obstacles_are_told_at_once() -> None:
    assert len(obstacles(Facts("disabled", {}, None, None, without("nft_ct"), (), (), (), True))) == 6


def test_a_permissive_host_takes_flows_but_does_not_enforce_them() -> None:
    said = layer(GOOD._replace(selinux="permissive"))
    assert (said["available"], said["enforced"]) == (True, False)
    assert "until 'setenforce 1'" in said["notes"][0]


def test_the_domains_that_another_programs_rule_would_cut_are_named() -> None:
    (note,) = caveats(GOOD._replace(cut=("httpd_t", "sshd_t")))
    assert "httpd_t, sshd_t" in note


def test_labels_of_others_stand_against_ours() -> None:
    said = layer(GOOD._replace(foreign_labels=("iptables security: -A OUTPUT -j SECMARK", "nft ip a b: c")))
    assert not said["available"]
    assert "remove 'iptables security: -A OUTPUT -j SECMARK', 'nft ip a b: c'." in said["reasons"][0]


def test_the_layer_owner_needs_neither_selinux_nor_labels() -> None:
    bare = GOOD._replace(selinux="disabled", semodule=None, modules=without("xt_SECMARK", "iptable_security"))
    said = owner_layer(bare)
    assert (said["available"], said["enforced"], said["units"], said["reasons"]) == (True, True, True, [])
    assert "does not distinguish domains" in said["notes"][0]


def test_without_control_groups_of_version_2_users_are_all_there_is() -> None:
    said = owner_layer(GOOD._replace(cgroups=False))
    assert (said["available"], said["units"]) == (True, False)
    assert "Only users are checked, and units are not" in said["notes"][1]


def test_the_layer_owner_needs_one_backend() -> None:
    assert owner_layer(GOOD._replace(modules=without("xt_owner"), nft=None))["reasons"]
    assert owner_layer(GOOD._replace(modules=without("xt_owner")))["available"]
    nothing = owner_layer(GOOD._replace(iptables={}, nft=None))
    assert (nothing["available"], nothing["units"], nothing["notes"]) == (False, False, [])
    assert len(nothing["reasons"]) == 3


def test_mptcp_that_goes_past_the_domains_is_noted() -> None:
    assert caveats(GOOD) == []
    [note] = caveats(GOOD._replace(unlabelled_mptcp=True))
    assert "a confined domain that uses MPTCP is not confined" in note
    assert layer(GOOD._replace(unlabelled_mptcp=True))["notes"] == [note]
