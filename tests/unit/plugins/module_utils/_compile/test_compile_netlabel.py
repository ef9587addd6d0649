# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from typing import Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.senet.firewall.plugins.module_utils._compile import netlabel
from ansible_collections.senet.firewall.plugins.module_utils._values.peers import (
    DEFAULT_PEER_TYPE,
    LOOPBACK_PEER_TYPE,
    peering,
)
from tests.unit.flows import BY_IPSEC, LABELLED, PEERS
from tests.unit.golden_files import assert_golden
from tests.unit.netlabel_kernel import NetLabelKernel

RULES = netlabel.compile_rules(peering(PEERS))
LOOPBACK_RULES = tuple(rule for rule in RULES if not rule.startswith("unlbl default "))
STOCK = "# cipsov4\n\n# map\ndomain:DEFAULT,UNLABELED\n# unlbl\naccept:on\n"
DOMAINS = peering(PEERS).mapped
STATIC = [rule for rule in RULES if rule.startswith("unlbl ")]


@st.composite
def parts(draw: st.DrawFn) -> tuple[str, ...]:
    """What is left when somebody took a part away, as far as the kernel holds it."""
    cipso = draw(st.booleans())
    rules = [RULES[0]] if cipso else []
    for domain in DOMAINS:
        own = [rule for rule in RULES if rule.startswith(f"map domain:{domain} ")]
        rules += own[: draw(st.integers(0, len(own) if cipso else 1))]
    return (*rules, *(rule for rule in STATIC if draw(st.booleans())))


def loaded(kernel: NetLabelKernel, rules: Optional[tuple[str, ...]]) -> netlabel.Table:
    """What is read back after rules were restored."""
    for line in netlabel.restore_text(netlabel.parse_lists(kernel.lists()), rules).splitlines():
        kernel.command(line)
    return netlabel.parse_lists(kernel.lists())


def test_the_rules_are_the_golden_ones() -> None:
    for name, flows in (("peers", PEERS), ("labelled", LABELLED), ("ipsec", BY_IPSEC)):
        rules = netlabel.compile_rules(peering(flows))
        assert_golden(f"{name}.netlabel", "".join(f"{rule}\n" for rule in rules))


def test_labels_of_a_declared_type_are_ours_and_others_are_not() -> None:
    kernel = NetLabelKernel()
    rules = netlabel.compile_rules(peering(LABELLED))
    for line in netlabel.restore_text(netlabel.Table(None), rules).splitlines():
        kernel.command(line)
    types = [label.type for label in LABELLED.peers]
    table = netlabel.parse_lists(kernel.lists(), types)
    assert table.installed(rules)
    assert table.foreign == ()
    assert len(netlabel.parse_lists(kernel.lists(), types[1:]).foreign) == 1


def test_a_stock_kernel_has_nothing_of_ours_nor_of_others() -> None:
    assert netlabel.parse_lists(STOCK) == netlabel.Table(None, ())
    assert NetLabelKernel().lists() == STOCK


def test_what_netlabelctl_lists_is_read_as_the_rules_it_came_from() -> None:
    # As netlabelctl 0.21 printed it on Linux 6.1
    text = (
        "# cipsov4\n5477,LOCAL\n"
        '# map\ndomain:"httpd_t",address:127.0.0.0/8,protocol:CIPSOv4,5477,address:0.0.0.0/0,protocol:UNLABELED '
        "domain:DEFAULT,UNLABELED\n"
        '# unlbl\naccept:on interface:lo,address:::/0,label:"system_u:object_r:senet_loopback_peer_t:s0" '
        'interface:DEFAULT,address:10.77.0.2/32,label:"system_u:object_r:senet_a-b_host_peer_t:s0"\n'
    )
    assert netlabel.parse_lists(text).rules == (
        "cipsov4 local doi:5477",
        "map domain:httpd_t address:0.0.0.0/0 protocol:unlbl",
        "map domain:httpd_t address:127.0.0.0/8 protocol:cipsov4,5477",
        "unlbl interface:lo address:::/0 label:system_u:object_r:senet_loopback_peer_t:s0",
        "unlbl default address:10.77.0.2/32 label:system_u:object_r:senet_a-b_host_peer_t:s0",
    )
    assert netlabel.parse_lists(text).foreign == ()


@pytest.mark.parametrize(
    ("part", "item"),
    [
        ("cipsov4", "16,LOCAL"),
        ("cipsov4", "5477,TRANSLATED"),
        ("map", 'domain:"httpd_t",UNLABELED'),
        ("map", "domain:DEFAULT,CIPSOv4,5477"),
        ("map", 'domain:"httpd_t",address:10.0.0.0/8,protocol:CIPSOv4,5477'),
        ("unlbl", "accept:off"),
        ("unlbl", 'interface:DEFAULT,address:10.0.0.5/32,label:"system_u:object_r:netlabel_peer_t:s0"'),
    ],
)
def test_what_others_configured_is_theirs(part: str, item: str) -> None:
    table = netlabel.parse_lists(f"# {part}\n{item}\n")
    assert table == netlabel.Table(None, (f"{part} {item}",))
    assert netlabel.restore_text(table, None) == ""


@given(parts(), parts())
def test_from_any_part_of_it_to_any_other(before: tuple[str, ...], after: tuple[str, ...]) -> None:
    kernel = NetLabelKernel()
    assert loaded(kernel, before).installed(before)
    table = loaded(kernel, after)
    assert table.installed(after)
    assert netlabel.restore_text(table, after) == ""
    assert loaded(kernel, None) == netlabel.Table(None, ())
    assert not kernel.checks


def test_without_its_types_nothing_is_left_that_turns_the_checks_on() -> None:
    types = peering(PEERS).types
    assert netlabel.without_types(RULES, ()) == RULES
    assert netlabel.without_types(RULES, types) == ()
    assert netlabel.without_types(RULES, [LOOPBACK_PEER_TYPE]) == tuple(
        rule for rule in RULES if rule.startswith("unlbl default ")
    )
    others = [name for name in types if name != LOOPBACK_PEER_TYPE]
    assert netlabel.without_types(RULES, others) == LOOPBACK_RULES
    assert DEFAULT_PEER_TYPE in others


@given(st.text(alphabet="#domain:unlbacesIPSOv4,5477\" \n/.0", max_size=80))
def test_any_listing_is_read(text: str) -> None:
    netlabel.parse_lists("# map\n" + text.replace("# ", "#"))
