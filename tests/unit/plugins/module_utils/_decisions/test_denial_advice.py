# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said to be done about records."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.senet.firewall.plugins.module_utils._decisions.advice import KINDS, Advice, Known
from ansible_collections.senet.firewall.plugins.module_utils._decisions.denial_rows import advise
from ansible_collections.senet.firewall.plugins.module_utils._decisions.denials import Collector, Wish
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import FlowSet, flow_set
from ansible_collections.senet.firewall.plugins.module_utils._values.parsing import parse_flow, parse_peer_label
from ansible_collections.senet.firewall.plugins.module_utils._values.records import AUDITD, KERNEL, Line
from tests.unit import records
from tests.unit.flows import BY_IPSEC, LABELLED, PEERS, WEB_DB, flow
from tests.unit.records import SECONDS, auditd, avc

CONFINED = flow_set([flow()], {"httpd_t": "enforce"}.items())
DEFAULT = "senet_default_packet_t"


def told(*texts: str, flows: FlowSet = WEB_DB, **known: Any) -> list[Advice]:
    collector = Collector(flows, Wish())
    for number, text in enumerate(texts):
        collector.feed(Line(AUDITD, auditd(text, number)))
    (group,) = collector.groups
    return advise(group, Known(flows, **known))


def only(*texts: str, flows: FlowSet = WEB_DB, **known: Any) -> Advice:
    (advice,) = told(*texts, flows=flows, **known)
    assert advice.kind in KINDS
    return advice


def test_a_flow_that_refuses_whom_it_does_not_name_does_what_it_is_for() -> None:
    advice = only(avc())
    assert advice.kind == "as_asked"
    assert advice.text == (
        "The flow 'web_db' keeps 'redis_t' from connecting to tcp/5432, as intended, since it does not name that "
        "domain. If 'redis_t' should be permitted, add it to the flow's source."
    )
    assert advice.flow == flow(source=["httpd_t", "redis_t"]).as_dict()


def test_what_is_only_observed_would_be_refused() -> None:
    advice = only(avc(verdict="granted"), flows=flow_set([flow(mode="observe")]))
    assert "would keep 'redis_t'" in advice.text
    assert advice.flow is not None
    assert advice.flow["mode"] == "observe"


def test_a_server_that_is_no_destination() -> None:
    advice = only(avc(permission="recv", type="senet_web_db_server_packet_t"))
    assert "from answering on tcp/5432" in advice.text
    assert advice.flow == flow(destination=["postgresql_t", "redis_t"]).as_dict()


def test_nobody_is_advised_to_let_all_unconfined_programs_or_the_kernel_in() -> None:
    unconfined = only(avc(domain="unconfined_t"))
    assert (unconfined.kind, unconfined.flow) == ("as_asked", None)
    assert "a service in a domain of its own" in unconfined.text
    kernel = only(avc(domain="kernel_t", permission="recv", src="5432", dest="40000"))
    assert (kernel.kind, kernel.flow) == ("as_asked", None)
    assert "MPTCP" in kernel.text
    assert "all of them may then" in only(avc(domain="initrc_t")).text


def test_an_address_that_a_flow_lacks() -> None:
    placed = flow_set([flow(source_addresses=["192.0.2.7"])])
    text = avc(domain="postgresql_t", permission="recv", type="senet_web_db_refused_packet_t", saddr="192.0.2.9")
    advice = only(text, flows=placed)
    assert advice.kind == "address"
    assert advice.flow == flow(source_addresses=["192.0.2.7", "192.0.2.9"]).as_dict()
    assert "192.0.2.9 was refused" in advice.text
    # What the flow has by now was refused before
    later = flow_set([flow(source_addresses=["192.0.2.0/24"])])
    assert only(text, flows=later).kind == only(text, flows=WEB_DB).kind == "look"
    # Of whoever is no destination the address is not what is wrong
    assert only(text.replace("postgresql_t", "redis_t"), flows=placed).kind == "as_asked"


def test_a_connection_from_before() -> None:
    text = avc(domain="httpd_t", type="senet_web_db_client_midstream_packet_t")
    advice = only(text, flows=CONFINED)
    assert (advice.kind, advice.flow) == ("as_asked", None)
    assert "Have the client connect again" in advice.text


@pytest.mark.parametrize(
    ("flows", "text", "says"),
    [
        (FlowSet(()), avc(), "has no flow 'web_db' on record"),
        (WEB_DB, avc(domain="httpd_t"), "packet_access_info"),
        (WEB_DB, avc(domain="httpd_t", type=DEFAULT), "not confined on record"),
        (WEB_DB, avc(type="unlabeled_t"), "flows_info"),
        (FlowSet(()), avc(type="unlabeled_t"), "foreign_labels"),
        (CONFINED, avc(domain="httpd_t", type="unlabeled_t"), "rules of its own"),
        (CONFINED, avc(domain="httpd_t", type=DEFAULT), "on another interface"),
        (WEB_DB, avc(type="postgresql_client_packet_t"), "another program labels packets"),
        (WEB_DB, avc(type="strange_t"), "strange_t"),
    ],
)
def test_what_has_to_be_looked_at_first(flows: FlowSet, text: str, says: str) -> None:
    advice = only(text, flows=flows)
    assert (advice.kind, advice.flow) == ("look", None)
    assert says in advice.text


def test_a_confined_domain_is_told_the_flow_that_it_lacks() -> None:
    text = avc(domain="httpd_t", type=DEFAULT, dest="6379")
    advice = only(text, flows=CONFINED, listening={("tcp", 6379): frozenset(["redis_t"])}, distribution="Debian")
    assert advice.kind == "flow"
    assert advice.flow == {
        "name": "httpd_to_redis_6379", "source": ["httpd_t"], "destination": ["redis_t"], "protocol": "tcp",
        "ports": ["6379"], "destination_addresses": ["127.0.0.1"],
    }  # fmt: skip
    assert "or the pair httpd_to_redis," in advice.text
    assert "nobody else may use tcp/6379 there then" in advice.text
    assert "does not say the protocol" in advice.text


def test_a_confined_client_of_another_host_and_a_confined_server() -> None:
    client = only(avc(domain="httpd_t", type=DEFAULT, dest="443", saddr="10.0.0.1", daddr="192.0.2.9"), flows=CONFINED)
    assert client.flow is not None
    assert (client.flow["destination"], client.flow["destination_addresses"]) == (["domain"], ["192.0.2.9"])
    text = avc(domain="httpd_t", type=DEFAULT, permission="recv", dest="80", saddr="192.0.2.9", daddr="10.0.0.1")
    server = only(text, flows=CONFINED, addresses=frozenset(["10.0.0.1"]))
    assert server.flow is not None
    assert (server.flow["source"], server.flow["destination"]) == (["domain"], ["httpd_t"])
    assert server.flow["source_addresses"] == ["192.0.2.9"]


def test_a_confined_server_that_refused_its_own_host_is_not_opened_to_others() -> None:
    text = avc(domain="httpd_t", type=DEFAULT, permission="recv", dest="80", saddr="10.0.0.1", daddr="10.0.0.1")
    server = only(text, flows=CONFINED, addresses=frozenset(["10.0.0.1"]))
    assert server.flow is not None
    assert server.flow["source_addresses"] == ["10.0.0.1"]


def test_a_name_server_is_asked_by_udp() -> None:
    listening = {("udp", 123): frozenset(["chronyd_t"])}
    ntp = only(avc(domain="httpd_t", type=DEFAULT, dest="123", daddr="192.0.2.9"), flows=CONFINED, listening=listening)
    assert (ntp.flow or {})["protocol"] == "udp"
    dns = only(avc(domain="httpd_t", type=DEFAULT, dest="53", daddr="192.0.2.9"), flows=CONFINED)
    assert (dns.flow or {})["protocol"] == "udp"


def test_a_boolean_comes_before_the_flow() -> None:
    first = only(records.CONNECT, distribution="Debian")
    assert (first.kind, first.booleans) == ("boolean", ("httpd_can_network_connect_db",))
    assert "setsebool -P httpd_can_network_connect_db on" in first.text
    both = told(records.CONNECT.replace("httpd_t", "redis_t"), avc())
    assert [advice.kind for advice in both] == ["boolean", "as_asked"]
    assert "sesearch -A -s redis_t -c tcp_socket" in both[0].text
    # No flow is about that port
    assert only(records.CONNECT.replace("5432", "8443")).kind == "boolean"


def test_whoever_is_no_source_is_told_so_beside_the_boolean() -> None:
    kinds = [advice.kind for advice in told(records.CONNECT.replace("system_r:httpd_t", "system_r:redis_t"))]
    assert kinds == ["boolean", "as_asked"]


def peer(peer_type: str, domain: str = "postgresql_t", port: int = 5432) -> str:
    text = records.PEER.replace("senet_default_peer_t", peer_type).replace("postgresql_t", domain)
    return text.replace("dest=5432", f"dest={port}")


def test_peers_that_a_flow_does_not_name() -> None:
    by_domain = only(peer("sshd_t"), flows=PEERS)
    assert (by_domain.kind, by_domain.flow) == (
        "as_asked", flow(source=["httpd_t", "sshd_t"], verify_source="loopback").as_dict(),
    )  # fmt: skip
    assert only(peer("senet_loopback_peer_t"), flows=PEERS).kind == "as_asked"
    by_address = only(peer("senet_default_peer_t", "redis_t", 6379), flows=PEERS)
    assert by_address.kind == "address"
    assert by_address.flow is not None
    assert by_address.flow["source_addresses"] == ["192.0.2.7", "2001:db8::/64", "10.77.0.9"]
    assert "of the flow 'mail'" in only(peer("senet_mail_host_peer_t", "redis_t", 6379), flows=PEERS).text
    assert only(peer("unlabeled_t")).kind == "look"


def test_peers_by_ipsec() -> None:
    clear = only(peer("senet_default_peer_t"), flows=BY_IPSEC)
    assert (clear.kind, clear.flow) == ("as_asked", None)
    assert "from 10.77.0.9 came without one" in clear.text
    stranger = only(peer("sshd_t"), flows=BY_IPSEC)
    assert stranger.flow == flow(source=["httpd_t", "sshd_t"], verify_source="ipsec").as_dict()
    assert "runs in 'sshd_t' on another host" in stranger.text
    unmatched = records.NETIF.replace("{ egress }", "{ polmatch }").replace("tclass=netif", "tclass=association")
    text = only(unmatched.replace("partner_iface_t", "senet_ipsec_spd_t"), flows=BY_IPSEC).text
    assert "in no flow with verify_source=ipsec" in text


def test_peers_with_a_label() -> None:
    advice = only(peer("partner_peer_t"), flows=LABELLED)
    assert (advice.kind, advice.flow) == ("peer_label", None)
    assert advice.label is not None
    assert advice.label["receivers"] == ["httpd_t", "init_t", "postgresql_t"]
    parse_peer_label(advice.label)
    assert only(peer("office_peer_t"), flows=LABELLED).kind == "look"


def test_interfaces_nodes_and_ipsec() -> None:
    assert "interface_context" in only(records.NETIF).text
    held = records.NETIF.replace("system_r:httpd_t", "object_r:backup_peer_t").replace("egress", "ingress")
    assert only(held, flows=LABELLED).kind == "as_asked"
    node = records.NETIF.replace("egress", "sendto").replace("tclass=netif", "tclass=node")
    assert "addresses of the type" in only(node).text
    association = node.replace("tclass=node", "tclass=association")
    assert "labelled IPsec" in only(association).text


@pytest.mark.parametrize(
    ("options", "kind", "adds"),
    [
        ({"users": ["www-data"]}, "as_asked", {"users": ["reports", "www-data"]}),
        ({"users": ["1000"], "units": ["apache2.service"]}, "as_asked", None),
        ({"users": ["reports"], "source_addresses": ["192.0.2.7"]}, "address",
         {"source_addresses": ["192.0.2.7", "127.0.0.1"]}),
    ],
)  # fmt: skip
def test_the_layer_owner(options: dict[str, Any], kind: str, adds: dict[str, Any] | None) -> None:
    flows = flow_set([flow(**options)])
    collector = Collector(flows, Wish())
    collector.feed(Line(KERNEL, records.OWNER, SECONDS))
    (advice,) = advise(collector.groups[0], Known(flows, users={1000: "reports"}))
    assert advice.kind == kind
    assert advice.flow == (None if adds is None else {**flow(**options).as_dict(), **adds})


TYPES = [
    "senet_web_db_client_packet_t", "senet_web_db_server_packet_t", "senet_web_db_refused_packet_t", DEFAULT,
    "unlabeled_t", "senet_old_client_packet_t", "senet_default_peer_t", "senet_loopback_peer_t", "partner_peer_t",
    "httpd_t",
]  # fmt: skip


@given(
    st.sampled_from(TYPES),
    st.sampled_from(["httpd_t", "postgresql_t", "redis_t", "unconfined_t", "kernel_t", "init_t"]),
    st.sampled_from(["send", "recv"]),
    st.sampled_from(["packet", "peer", "netif"]),
    st.sampled_from([WEB_DB, CONFINED, PEERS, LABELLED, BY_IPSEC, flow_set([flow(source_addresses=["192.0.2.7"])])]),
    st.sampled_from(["5432", "6379", "40000"]),
)
def test_a_flow_to_paste_is_one_that_the_modules_take(
    packet_type: str, domain: str, permission: str, tclass: str, flows: FlowSet, port: str
) -> None:
    text = avc(type=packet_type, domain=domain, permission=permission, tclass=tclass, dest=port, daddr="192.0.2.1")
    for advice in told(text, flows=flows):
        assert advice.kind in KINDS
        assert advice.text.endswith((".", ")"))
        assert "{" not in advice.text
        assert "allow " not in advice.text
        if advice.flow is not None:
            flows.with_flows([parse_flow(advice.flow)])
