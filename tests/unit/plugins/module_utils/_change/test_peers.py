# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
import re
from ipaddress import ip_address
from typing import Any

import pytest

from ansible_collections.senet.firewall.plugins.module_utils._change import change, confirm, engine, load
from ansible_collections.senet.firewall.plugins.module_utils._compile import cil, cil_peers, netlabel
from ansible_collections.senet.firewall.plugins.module_utils._decisions import warnings
from ansible_collections.senet.firewall.plugins.module_utils._host.ipsec import ipsec_labels
from ansible_collections.senet.firewall.plugins.module_utils._host.netlabel import NetLabel
from ansible_collections.senet.firewall.plugins.module_utils._values import peers, requests
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import flow_set
from ansible_collections.senet.firewall.plugins.module_utils._values.peers import peering
from ansible_collections.senet.firewall.plugins.module_utils._values.sockets import Socket
from tests.unit.commands import Commands
from tests.unit.flows import BY_IPSEC, LABELLED, PEERS, WEB_DB, flow
from tests.unit.netlabel_kernel import NetLabelKernel
from tests.unit.scripted_host import ScriptedHost, before_call, connected, process

LOOPBACK = flow_set([flow(verify_source="loopback")])
CLIENTS = ["192.0.2.7", "2001:db8::/64"]
ADDRESS = flow_set([flow(verify_source="address", source_addresses=CLIENTS)])


def receiver(flows: Any, domain: str) -> peers.Receiver:
    return next(found for found in peering(flows).receivers if found.domain == domain)


def label_of(flows: Any, address: str) -> str:
    """The type of what comes from an address by another interface than lo, as the kernel finds it."""
    found = [
        label
        for label in peering(flows).labels
        if label.interface is None and ip_address(address) in label.network
    ]
    return max(found, key=lambda label: label.network.prefixlen).type


def apply(host: ScriptedHost, flows: Any, check_mode: bool = False) -> engine.Outcome:
    return engine.run(host.host(), requests.Replace(flows), change.Options(0, "t1"), check_mode)


def test_flows_in_place_beside_labels_of_others_are_no_success() -> None:
    host = ScriptedHost()
    apply(host, ADDRESS)
    host.netlabel.kernel.command("unlbl add interface:eth0 address:10.0.0.0/8 label:system_u:object_r:netif_t:s0")
    with pytest.raises(SenetError, match="in place, but .* not be verified: .* 'netlabelctl unlbl interface:eth0,"):
        apply(host, ADDRESS)


def test_an_observed_flow_whose_destination_is_enforced_for_another_one_is_told() -> None:
    flows = flow_set([flow(verify_source="loopback"), flow("copy", ports=[5433], mode="observe")])
    (said,) = [text for text in apply(ScriptedHost(), flows).warnings if "only observed" in text]
    assert said.startswith("The flow 'copy' is only observed, but postgresql_t refuses peers")
    flows = flow_set([flow(verify_source="loopback", mode="observe"), flow("copy", ports=[5433], mode="observe")])
    assert not any("only observed" in text for text in apply(ScriptedHost(), flows).warnings)


def test_nothing_is_asked_where_nothing_is_verified() -> None:
    assert peering(WEB_DB) == peers.Peering((), (), ())
    assert netlabel.compile_rules(peering(WEB_DB)) == ()


def test_a_same_host_peer_is_told_by_its_domain() -> None:
    found = receiver(LOOPBACK, "postgresql_t")
    assert found.receives == ("httpd_t", "kernel_t", "postgresql_t", "unlabeled_t")
    assert found.refuses == ("senet_loopback_peer_t",)
    assert peering(LOOPBACK).mapped == ("httpd_t", "kernel_t", "postgresql_t")


def test_a_receiver_gets_the_answers_of_its_own_servers() -> None:
    assert "named_t" in receiver(PEERS, "postgresql_t").receives
    assert "named_t" in peering(PEERS).mapped


def test_a_remote_peer_is_told_by_its_address() -> None:
    found = receiver(ADDRESS, "postgresql_t")
    assert found.receives == ("senet_web_db_host_peer_t",)
    assert found.refuses == ("senet_default_peer_t", "unlabeled_t")
    for address in ("192.0.2.7", "2001:db8::9"):
        assert label_of(ADDRESS, address) == "senet_web_db_host_peer_t"
    for address in ("192.0.2.8", "2001:db9::9", "127.0.0.1", "::1"):
        assert label_of(ADDRESS, address) == "senet_default_peer_t"


def test_an_address_of_two_flows_has_one_label_that_both_destinations_receive() -> None:
    both = label_of(PEERS, "192.0.2.7")
    assert both == "senet_cache-mail_host_peer_t"
    assert label_of(PEERS, "192.0.2.8") == "senet_mail_host_peer_t"
    cache, mail = receiver(PEERS, "redis_t"), receiver(PEERS, "init_t")
    assert both in cache.receives
    assert both in mail.receives
    assert "senet_mail_host_peer_t" in mail.receives
    assert "senet_mail_host_peer_t" in cache.refuses


def test_one_that_is_verified_on_loopback_only_receives_from_every_other_host() -> None:
    found = receiver(PEERS, "postgresql_t")
    assert found.refuses == ("senet_loopback_peer_t",)
    assert {name for name in peering(PEERS).types if name != "senet_loopback_peer_t"} < set(found.receives)


@pytest.mark.parametrize(
    ("flows", "message"),
    [
        ([flow(verify_source="address")], "'web_db' lets 'postgresql_t' talk with any address.*source_addresses"),
        (
            [
                flow(verify_source="address", source_addresses=CLIENTS),
                flow("ldap", source=["postgresql_t"], destination=["slapd_t"], ports=[389]),
            ],
            "'ldap' lets 'postgresql_t' talk with any address.*destination_addresses",
        ),
        ([flow(verify_source="loopback", source=["domain"])], "'web_db' lets 'postgresql_t' talk with every domain"),
        (
            [flow(verify_source="loopback"), flow("all", source=["domain"], ports=[5433])],
            "'all' lets 'postgresql_t' talk with every domain",
        ),
        ([flow(verify_source="loopback", destination=["domain"])], "'web_db' has every domain as its destination"),
        ([flow(verify_source="ipsec", source=["domain"])], "'web_db' has every domain as its source"),
        (
            [flow(verify_source="ipsec"), flow("copy", source=["postgresql_t"], ports=[5433])],
            "'copy' lets 'postgresql_t' talk with other hosts without IPsec.*or interfaces=\\[lo\\]",
        ),
        (
            [flow(verify_source="ipsec"), flow("all", source=["domain"], destination=["named_t"], ports=[53])],
            "'all' lets 'postgresql_t' talk with other hosts without IPsec",
        ),
        (
            [
                flow(verify_source="ipsec"),
                flow("cache", destination=["redis_t"], ports=[6379], source_addresses=CLIENTS, verify_source="address"),
            ],
            "'cache' has verify_source=address and another flow has verify_source=ipsec",
        ),
    ],
)
def test_what_peer_labels_cannot_tell_is_refused(flows: list[Any], message: str) -> None:
    with pytest.raises(SenetError, match=message):
        peering(flow_set(flows))


@pytest.mark.parametrize("flows", [LOOPBACK, ADDRESS, PEERS, BY_IPSEC])
def test_the_policy_comes_before_the_labels_and_goes_after_them(flows: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    host = ScriptedHost()
    outcome = apply(host, flows)
    assert host.writes.index("install policy") < host.writes.index("restore netlabel")
    assert host.netlabel.kernel.checks
    rows = outcome.answers.receivers
    assert {row.receiver.domain for row in rows} == {found.domain for found in peering(flows).receivers}
    for row in rows:
        assert row.receives.issuperset(row.receiver.receives)
        assert row.receiver.mode == "observe" or not row.receives.intersection(row.receiver.refuses)
    assert not apply(host, flows).changed
    # The checks are off before a policy comes that knows no peers
    checked = []
    before_call(monkeypatch, host, "install", lambda: checked.append(host.netlabel.kernel.checks))
    apply(host, WEB_DB)
    assert checked == [False]
    assert host.netlabel.kernel.lists() == NetLabelKernel().lists()


@pytest.mark.parametrize("fail", ["restore netlabel", "restore ipv6", "install policy"])
def test_a_change_that_fails_leaves_no_peer_label(fail: str) -> None:
    host = ScriptedHost()
    before = host.state()
    host.fail = fail
    with pytest.raises(SenetError, match="What had been done was undone"):
        apply(host, LOOPBACK)
    assert host.state() == before


@pytest.mark.parametrize(
    ("more", "checked"),
    [
        (flow("cache", destination=["redis_t"], ports=[6379]), True),
        # It gives postgresql_t another peer to receive from
        (flow("names", source=["postgresql_t"], destination=["named_t"], ports=[53]), False),
        (flow("cache", destination=["redis_t"], ports=[6379], verify_source="loopback"), False),
    ],
)
def test_undoing_keeps_peers_checked_where_the_policy_judges_them_as_before(
    more: Any, checked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = ScriptedHost()
    apply(host, LOOPBACK)
    lists = host.netlabel.kernel.lists()
    engine.run(host.host(), requests.Merge((more,)), change.Options(30, "t1"), False)
    lists_then: list[str] = []
    before_call(monkeypatch, host, "install", lambda: lists_then.append(host.netlabel.kernel.lists()))
    confirm.abort(host.host(), "t1", "the test says so")
    assert lists_then == [lists if checked else NetLabelKernel().lists()]
    assert host.netlabel.kernel.lists() == lists


def test_undoing_begins_without_peer_labels_where_an_interface_has_another_context() -> None:
    host = ScriptedHost()
    apply(host, LOOPBACK)
    alter = requests.Alter(lambda flows: flows, False, {"eth0": "system_u:object_r:netif_t:s0"})
    engine.run(host.host(), alter, change.Options(30, "t1"), False)
    host.writes.clear()
    # The first look at the host is without the lock
    with pytest.raises(SenetError, match="Another run"), host.guard.lock(0):
        confirm.abort(host.host(), "t1", "the test says so")
    assert host.writes == ["restore netlabel"]
    assert not host.netlabel.kernel.checks


def test_a_boot_loads_peer_labels_as_far_as_the_policy_knows_them() -> None:
    host = ScriptedHost()
    apply(host, LOOPBACK)
    host.reboot()
    assert "netlabel" in load.load(host.host()).sets
    assert host.netlabel.kernel.lists().count("senet_loopback_peer_t") == 2
    host.reboot()
    assert host.policy
    host.policy = host.policy.replace("(type senet_loopback_peer_t)", "")
    assert load.load(host.host()).unknown == ["the flow 'web_db'"]
    assert not host.netlabel.kernel.checks


@pytest.mark.parametrize("check_mode", [True, False])
def test_netlabel_of_somebody_else_is_refused_with_the_entry(check_mode: bool) -> None:
    host = ScriptedHost()
    host.netlabel.kernel.command("cipsov4 add local doi:16")
    with pytest.raises(SenetError, match="configured NetLabel on this host: 'netlabelctl cipsov4 16,LOCAL'. Nothing"):
        apply(host, LOOPBACK, check_mode)
    assert host.writes == []
    # and is no matter of flows that verify nothing
    apply(host, WEB_DB)


def test_a_host_without_netlabelctl_needs_it_for_verified_flows_only() -> None:
    host = ScriptedHost()
    host.netlabel.tool = False
    with pytest.raises(SenetError, match="'netlabelctl' is not on this host"):
        apply(host, LOOPBACK)
    assert host.writes == []
    assert apply(host, WEB_DB).changed


def test_a_running_domain_that_would_be_cut_is_told_and_the_change_undone() -> None:
    host = ScriptedHost(process(5, "stranger_t"))
    host.extra_policy = "".join(
        f"(allow stranger_t {name} (packet (send recv)))\n" for name in ("senet_default_packet_t", "unlabeled_t")
    )
    with pytest.raises(SenetError, match="Peer labels would cut off stranger_t.*What had been done was undone"):
        apply(host, LOOPBACK)
    assert "restore netlabel" not in host.writes


def may_forward(host: ScriptedHost, sender: str, packets: str) -> bool:
    context, target = (f"system_u:object_r:{name}:s0" for name in (sender, packets))
    return {"forward_in", "forward_out"} <= host.access(context, target, "packet").allowed


def test_what_labelled_peers_send_may_still_be_forwarded() -> None:
    # With a label of its own the peer is what the kernel asks about, and unlabeled_t no more.
    host = ScriptedHost()
    host.other_types.add("dmz_iface_t")
    host.policy = cil.compile_policy(LABELLED)
    assert {"partner_peer_t", "backup_peer_t", "senet_default_peer_t"} <= set(peering(LABELLED).types)
    for sender in (*peering(LABELLED).types, "unlabeled_t"):
        for packets in ("unlabeled_t", "senet_default_packet_t", "senet_cache_client_packet_t"):
            assert may_forward(host, sender, packets), (sender, packets)


def test_peers_without_flows_may_be_forwarded_though_no_packet_type_is_declared() -> None:
    host = ScriptedHost()
    host.policy = cil.compile_policy(LABELLED._replace(flows=(), loopback_domains=()))
    assert may_forward(host, "partner_peer_t", "unlabeled_t")
    assert "senet_packet_type" not in host.policy


def test_a_policy_that_would_not_forward_is_told_before_the_first_peer_label(monkeypatch: pytest.MonkeyPatch) -> None:
    host = ScriptedHost()
    monkeypatch.setattr(cil_peers, "_FORWARDED", "")
    with pytest.raises(SenetError, match="would cut off .*senet_loopback_peer_t:s0.*or forwarding.*was undone"):
        apply(host, LOOPBACK)
    assert "restore netlabel" not in host.writes


def test_a_grant_of_another_module_is_not_called_verified() -> None:
    host = ScriptedHost()
    host.extra_policy = "(allow postgresql_t senet_loopback_peer_t (peer (recv)))"
    with pytest.raises(SenetError, match="does not verify.*may receive from the peers senet_loopback"):
        apply(host, LOOPBACK)
    assert not host.netlabel.kernel.checks


def test_what_the_policy_of_fedora_grants_its_domains_refuses_no_flow() -> None:
    """Nearly every domain may receive from unlabeled_t there, which no peer has, and some from themselves."""
    granted = "(allow postgresql_t {} (peer (recv)))".format
    host = ScriptedHost()
    host.extra_policy = granted("unlabeled_t")
    for flows in (ADDRESS, BY_IPSEC):
        assert not any("peers in" in warning for warning in apply(host, flows).warnings)
    host = ScriptedHost()
    host.extra_policy = granted("unlabeled_t") + granted("postgresql_t")
    flows = flow_set([flow(verify_source="ipsec")])
    outcome = apply(host, flows)
    assert [warning for warning in outcome.warnings if "lets 'postgresql_t' receive from peers in" in warning]
    assert not apply(host, flows).changed
    # Of another flow, it is the grant of a module that can be removed
    host.extra_policy = granted("redis_t")
    with pytest.raises(SenetError, match="does not verify.*may receive from the peers redis_t;"):
        apply(host, BY_IPSEC)


def test_what_a_user_would_not_expect_is_said() -> None:
    (warning,) = warnings.peer_warnings(peering(LOOPBACK))
    assert re.search(r"postgresql_t receives from peers of the same host over 127.0.0.0/8 only", warning)
    assert warnings.peer_warnings(peering(ADDRESS)) == []
    assert warnings.peer_warnings(peering(flow_set([flow(verify_source="loopback", mode="observe")]))) == []


def test_a_peer_of_another_host_is_told_by_the_label_of_its_association() -> None:
    found = receiver(BY_IPSEC, "postgresql_t")
    assert found.receives == ("httpd_t", "postgresql_t", "senet_loopback_peer_t")
    # What no association has labelled, whoever sends it, and domains of other flows
    assert found.refuses == ("redis_t", "senet_default_peer_t", "unlabeled_t")
    assert peering(BY_IPSEC).associated == ("httpd_t", "postgresql_t", "redis_t")
    assert peering(BY_IPSEC).mapped == ()


def test_it_is_told_by_its_domain_on_the_same_host_where_that_is_asked_as_well() -> None:
    both = flow_set([flow(verify_source="ipsec"), flow("cache", destination=["redis_t"], ports=[6379],
                                                       verify_source="loopback")])  # fmt: skip
    found = receiver(both, "postgresql_t")
    assert found.receives == ("httpd_t", "kernel_t", "postgresql_t")
    assert found.refuses == ("senet_default_peer_t", "senet_loopback_peer_t", "unlabeled_t")
    assert "senet_default_peer_t" in receiver(both, "redis_t").receives


def test_peers_are_checked_where_ipsec_has_no_association() -> None:
    # The static labels turn the checks on; without them a host that has lost its keys would let everybody in.
    host = ScriptedHost()
    apply(host, BY_IPSEC)
    for address in ("192.0.2.7", "2001:db8::7"):
        assert label_of(BY_IPSEC, address) == "senet_default_peer_t"
    host.reboot()
    load.load(host.host())
    assert host.netlabel.kernel.checks


def test_ipsec_keeps_its_policy_while_the_kernel_has_labels() -> None:
    host = ScriptedHost()
    apply(host, BY_IPSEC)
    host.ipsec_labels = ["system_u:object_r:senet_ipsec_spd_t:s0"]
    assert not apply(host, BY_IPSEC).changed
    before = host.state()
    with pytest.raises(SenetError, match="have labels .'system_u:object_r:senet_ipsec_spd_t:s0'.*stop what loaded"):
        apply(host, WEB_DB)
    assert host.state() == before
    host.ipsec_labels = []
    assert apply(host, WEB_DB).changed


def test_undoing_keeps_the_policy_of_ipsec_too_and_lets_traffic_through_meanwhile() -> None:
    host = ScriptedHost()
    before = host.state()
    engine.run(host.host(), requests.Replace(BY_IPSEC), change.Options(30, "t1"), False)
    host.ipsec_labels = ["system_u:object_r:senet_ipsec_spd_t:s0"]
    with pytest.raises(SenetError, match="its policy module stays for now.*label 'system_u:object_r:senet_ipsec_spd_t"):
        confirm.abort(host.host(), "t1", "why")
    assert host.policy is not None
    assert "SECMARK" not in host.families["ipv4"].save()
    assert not host.netlabel.kernel.checks
    # Of somebody else, and before the change there as well
    host.ipsec_labels = ["system_u:object_r:ipsec_spd_t:s0"]
    assert confirm.abort(host.host(), "t1", "why")["rolled_back"]
    assert host.state() == before


def test_labels_of_ipsec_are_read_from_policies_and_associations() -> None:
    commands = Commands("ip")
    policy = "src ::/0 dst ::/0 \n\tsecurity context system_u:object_r:a_t:s0 \n\tdir in priority 0 \n"
    commands.answers["/sbin/ip xfrm policy"] = (0, policy, "")
    commands.answers["/sbin/ip xfrm state"] = (0, policy.replace("a_t", "b_t"), "")
    labels = ["system_u:object_r:a_t:s0", "system_u:object_r:b_t:s0"]
    assert ipsec_labels(commands.run, commands.find) == labels
    # A kernel without IPsec
    commands.answers["/sbin/ip xfrm policy"] = commands.answers["/sbin/ip xfrm state"] = (2, "", "not supported")
    assert ipsec_labels(commands.run, commands.find) == []


def test_the_tool_is_asked_for_each_list_and_given_one_command_a_line() -> None:
    commands = Commands("netlabelctl")
    commands.answers["/sbin/netlabelctl map list"] = (0, "domain:DEFAULT,UNLABELED", "")
    edge = NetLabel(commands.run, commands.find)
    assert edge.save() == "# cipsov4\n\n# map\ndomain:DEFAULT,UNLABELED\n# unlbl\n\n"
    commands.calls.clear()
    edge.restore("cipsov4 add local doi:5477\nmap del domain:x\n")
    assert commands.lines == ["/sbin/netlabelctl cipsov4 add local doi:5477", "/sbin/netlabelctl map del domain:x"]


def test_a_refused_command_is_told_and_the_others_run() -> None:
    commands = Commands("netlabelctl")
    commands.answers["/sbin/netlabelctl map add"] = (1, "", "netlabelctl: error, File exists\n")
    edge = NetLabel(commands.run, commands.find)
    with pytest.raises(SenetError, match=r"'netlabelctl map add domain:x' was refused \(error, File exists\)"):
        edge.restore("map add domain:x\nunlbl del default address:::/0\n")
    assert commands.lines[-1] == "/sbin/netlabelctl unlbl del default address:::/0"


def test_a_missing_tool_is_told_with_its_packages() -> None:
    edge = NetLabel(Commands().run, Commands().find)
    assert not edge.available()
    with pytest.raises(SenetError, match=r"netlabel_tools \(netlabel-tools on the Debian family\)"):
        edge.save()


def remote_client(local: int) -> Socket:
    return Socket("tcp", "ipv4", "198.51.100.2", local, "192.0.2.9", 50000, "established")


def test_connections_without_ipsec_that_it_would_refuse_are_told_and_ssh_is_not_cut() -> None:
    login = flow("login", destination=["sshd_t"], ports=[22], verify_source="ipsec")
    flows = flow_set([flow(verify_source="ipsec"), login])
    database, shell = process(7, "postgresql_t", remote_client(5432)), process(9, "sshd_t", remote_client(22))
    host = ScriptedHost(process(1, "init_t"), database, shell)
    before = host.state()
    with pytest.raises(SenetError, match="would be cut off.*'sshd_t' .*by the flow 'login'"):
        apply(host, flows)
    assert host.state() == before
    observed = flow_set([flow._replace(mode="observe") for flow in flows.flows])
    assert not apply(host, observed).cuts
    # With labels, nobody can tell from here whose connections have one
    host.ipsec_labels = ["system_u:object_r:senet_ipsec_spd_t:s0"]
    assert not apply(host, flows).cuts
    host = ScriptedHost(process(1, "init_t"), database, process(8, "postgresql_t", connected(5432, 40000)))
    [cut] = apply(host, BY_IPSEC).cuts
    assert (cut.domain, cut.pid, cut.flow, cut.meant) == ("postgresql_t", 7, "web_db", True)
