# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.senet.firewall.plugins.module_utils._compile import cil
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.fields import PortRange, parse_new_type
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import DEFAULT_PACKET_TYPE, FlowSet, flow_set
from tests.unit.flows import BY_IPSEC, LABELLED, PEERS, PLACED, SEVERAL, WEB_DB, flow_sets
from tests.unit.golden_files import assert_golden


@pytest.mark.parametrize(
    ("name", "flows"),
    [
        ("web_db.cil", WEB_DB),
        ("several.cil", SEVERAL),
        ("placed.cil", PLACED),
        ("peers.cil", PEERS),
        ("labelled.cil", LABELLED),
        ("ipsec.cil", BY_IPSEC),
        ("interfaces.cil", FlowSet((), interface_types=("dmz_iface_t", "public_iface_t"))),
    ],
)
def test_the_policy_is_the_golden_one(name: str, flows: FlowSet) -> None:
    assert_golden(name, cil.compile_policy(flows))


@given(flow_sets(), st.sets(st.from_regex(r"[a-z_]{1,5}_t", fullmatch=True), max_size=2))
def test_the_module_remembers_its_flows(only: FlowSet, types: set[str]) -> None:
    try:
        flows = only.with_interface_types(parse_new_type("eth0", name) for name in types)
    except SenetError:
        return
    text = cil.compile_policy(flows)
    assert cil.parse_policy(text) == flows
    assert cil.declared_types(text) == {*flows.packet_types, *flows.interface_types}


def everybody_else(flows: FlowSet) -> str:
    """Whom a flow that only observes leaves alone."""
    return "senet_not_confined" if any(mode == "enforce" for dummy, mode in flows.confine) else "domain"


def test_a_flow_that_observes_opens_nothing_to_a_confined_domain() -> None:
    watched = WEB_DB.flows[0]._replace(name="dns", source=("named_t",), mode="observe")
    text = cil.compile_policy(flow_set([watched], confine=[("httpd_t", "enforce")]))
    grants = [line for line in text.splitlines() if "dns" in line and line.strip().startswith("(allow ")]
    assert not [line for line in grants if " domain " in line or " httpd_t " in line]


@given(flow_sets())
def test_the_module_grants_to_the_named_domains_only(flows: FlowSet) -> None:
    for flow in flows.flows:
        for packet_type, senders in ((flow.client_type, flow.source), (flow.server_type, flow.destination)):
            text = cil.compile_policy(flows)
            lines = [line.strip() for line in text.splitlines() if f" {packet_type} (packet" in line]
            others = f" {everybody_else(flows)} "
            everybody = [line for line in lines if not line.startswith("(allow ") or others in line]
            assert bool(everybody) == (flow.mode == "observe")
            lines = [line for line in lines if line not in everybody]
            receivers = [line.split()[1] for line in lines if "recv" in line]
            assert sorted(receivers) == list(flow.domains)
            assert sorted(line.split()[1] for line in lines if "send" in line) == list(senders)


@given(flow_sets())
def test_clients_of_other_addresses_are_granted_to_nobody(flows: FlowSet) -> None:
    for flow in flows.flows:
        lines = [line for line in cil.compile_policy(flows).splitlines() if f" {flow.refused_type} (packet" in line]
        assert bool(lines) == (bool(flow.source_addresses) and flow.mode == "observe")


@pytest.mark.parametrize(("source", "destination"), [("domain", "named_t"), ("named_t", "domain")])
def test_what_every_domain_may_is_told_of_nobody(source: str, destination: str) -> None:
    watched = WEB_DB.flows[0]._replace(name="dns", source=(source,), destination=(destination,), mode="observe")
    text = cil.compile_policy(flow_set([watched]))
    outsiders = re.findall(r"\(typeattributeset senet_dns_outsider \(and \(domain\) \(not \((.*)\)\)\)\)", text)
    assert [names.split() for names in outsiders] == [["kernel_t", "senet_dns-source", "senet_dns-destination"]]
    assert f"(typeattributeset senet_dns-source ({source}))" in text
    assert f"(typeattributeset senet_dns-destination ({destination}))" in text


@given(flow_sets())
def test_what_the_kernel_receives_for_others_is_told_while_observing(flows: FlowSet) -> None:
    # It has no recv in the mode enforce, so whatever it receives would be cut: MPTCP below Linux 6.5 is such.
    text = cil.compile_policy(flows)
    for one in flows.flows:
        told = [f"(auditallow kernel_t {name} (packet (recv)))" in text for name in (one.client_type, one.server_type)]
        permitted = {"domain", "kernel_t"}.intersection(one.domains) or "domain" in one.source + one.destination
        assert told == [one.mode == "observe" and not permitted] * 2


@given(flow_sets())
def test_confined_domains_are_left_out_of_what_everybody_may(flows: FlowSet) -> None:
    text = cil.compile_policy(flows)
    confined = sorted(domain for domain, mode in flows.confine if mode == "enforce")
    found = re.findall(r"\(typeattributeset senet_not_confined \(and \(domain\) \(not \((.*?)\)\)\)\)", text)
    assert found == (["senet_confined"] if confined else [])
    assert re.findall(r"\(typeattributeset senet_confined \((.*?)\)\)", text) == confined
    for packet_type in (DEFAULT_PACKET_TYPE, "unlabeled_t"):
        granted = re.findall(rf"\(allow (\S+) {packet_type} \(packet \(send recv\)\)\)", text)
        assert granted == (["senet_not_confined" if confined else "domain"] if flows.labels_packets else [])
        audited = re.findall(rf"\(auditallow (\S+) {packet_type} \(packet \(send recv\)\)\)", text)
        assert audited == sorted(domain for domain, mode in flows.confine if mode == "observe")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "(type x)\n",
        "; first\n; flows: not json\n",
        '; first\n; flows: [{"name":"x"}]\n',
        "; first\n; flows: {}x\n",
        "; first\n; flows: [1]\n",
    ],
)
def test_a_module_that_does_not_say_its_flows_is_an_error(text: str) -> None:
    with pytest.raises(SenetError, match="senet_firewall.*does not say which flows.*purge=true"):
        cil.parse_policy(text)


def test_a_module_of_a_release_that_named_blocks_in_another_way_is_left_in_place() -> None:
    new = cil.compile_policy(PLACED)
    old = re.sub("senet-(confined|observed)-", r"senet_\1-", new)
    assert old != new
    assert cil.alike(old, new)
    assert cil.grants(old, [DEFAULT_PACKET_TYPE]) == cil.grants(new, [DEFAULT_PACKET_TYPE])
    assert not cil.alike(old, new.replace("(packet (send recv))", "(packet (send))"))


# What names of blocks and attributes begin with, and flows may be called
WORDS = (
    "association", "association_loader", "confined", "hearing", "interface", "loader", "named", "not_confined",
    "observed", "packet", "peer", "peer_held", "peer_hearer", "retired", "spd_loader",
)  # fmt: skip


@pytest.mark.parametrize("name", WORDS)
@pytest.mark.parametrize("confined", ["enforce", "observe"])
@pytest.mark.parametrize(
    "options", [{}, {"mode": "observe"}, {"verify_source": "ipsec"}, {"verify_source": "loopback"}]
)
def test_no_name_of_a_flow_makes_a_name_twice(name: str, confined: str, options: dict[str, Any]) -> None:
    # Those that load labels are domains as well
    own = WEB_DB.flows[0]._replace(name=name, source=("httpd_t", "unconfined_t"), **options)
    flows = [own, own._replace(name="other", ports=(PortRange(1, 1),))]
    confine = [("httpd_t", confined), ("unconfined_t", confined)]
    text = cil.compile_policy(flow_set(flows, confine=confine))
    for kind in ("optional", "type(?:attribute)?"):
        names = re.findall(rf"\({kind} ([^\s()]+)", text)
        assert sorted(names) == sorted(set(names))
