# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
import re
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.senet.firewall.plugins.doc_fragments import guarded
from ansible_collections.senet.firewall.plugins.module_utils._change import change, engine, load
from ansible_collections.senet.firewall.plugins.module_utils._compile import cil, netlabel
from ansible_collections.senet.firewall.plugins.module_utils._values import requests
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import FlowSet, flow_set
from ansible_collections.senet.firewall.plugins.module_utils._values.parsing import parse_peer_label
from ansible_collections.senet.firewall.plugins.module_utils._values.peers import peering
from ansible_collections.senet.firewall.plugins.module_utils._values.sockets import Socket
from ansible_collections.senet.firewall.plugins.modules import flows as flows_plugin
from ansible_collections.senet.firewall.plugins.modules import peer_label as plugin
from tests.unit.flows import LABELLED, WEB_DB, flow
from tests.unit.module_arguments import patch_module_args
from tests.unit.module_run import assert_documented, run_module
from tests.unit.netlabel_kernel import NetLabelKernel
from tests.unit.scripted_host import ScriptedHost, before_call, process

NETWORK = "192.0.2.0/24"
PARTNER = {"type": "partner_peer_t", "addresses": NETWORK}
CLOSED = {**PARTNER, "receivers": "httpd_t"}
STOCK = NetLabelKernel().lists()

Run = Callable[..., dict[str, Any]]


def reached_from(address: str, port: int = 22) -> Socket:
    """A connection of this host's server with a client of that address."""
    return Socket("tcp", "ipv4", "198.51.100.1", port, address, 40112, "established")


@pytest.fixture
def host() -> ScriptedHost:
    return ScriptedHost()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], host: ScriptedHost) -> Run:
    """The module without a guard, unless it is told otherwise."""

    def call(check_mode: bool = False, **arguments: Any) -> dict[str, Any]:
        return run_module(monkeypatch, capsys, plugin, host, {"confirm_timeout": 0, **arguments}, check_mode)

    return call


def flows(host: ScriptedHost, request: requests.Request) -> engine.Outcome:
    return engine.run(host.host(), request, change.Options(0, "t1"), False)


def test_a_label_comes_changes_and_goes(run: Run, host: ScriptedHost) -> None:
    before = host.state()
    planned = run(**PARTNER, check_mode=True)
    assert host.state() == before
    results = [
        planned, run(**PARTNER), run(**PARTNER), run(**CLOSED), run(**CLOSED),
        run(type="partner_peer_t", state="absent"), run(type="partner_peer_t", state="absent"),
    ]  # fmt: skip
    for result in results:
        assert_documented(plugin, result)
    assert [result["changed"] for result in results] == [True, True, False, True, False, True, False]
    assert results[1]["steps"] == planned["steps"]
    assert results[1]["diff"] == planned["diff"]
    assert results[1]["labels"] == [
        {
            "type": "partner_peer_t", "addresses": [NETWORK], "receivers": [], "interface_type": None,
            "received_by": ["httpd_t", "init_t", "postgresql_t"],
        }
    ]  # fmt: skip
    assert results[3]["labels"][0]["received_by"] == ["httpd_t"]
    assert results[5]["labels"] == []
    assert host.state() == before


def test_it_labels_no_packet(run: Run, host: ScriptedHost) -> None:
    run(**PARTNER)
    assert "restore ipv4" not in host.writes
    assert "senet_packet_type" not in (host.policy or "")


def test_the_policy_is_there_before_the_label_and_goes_after_it(
    run: Run, host: ScriptedHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = []
    for verb in ("install", "remove"):
        before_call(monkeypatch, host, verb, lambda: checked.append(host.netlabel.kernel.checks))
    run(**PARTNER)
    assert host.netlabel.kernel.checks
    run(type="partner_peer_t", state="absent")
    assert checked == [False, False]


def test_a_boot_loads_it_and_what_is_taken_away_comes_back(run: Run, host: ScriptedHost) -> None:
    run(**PARTNER, loopback_domains="httpd_t")
    loaded = host.netlabel.kernel.lists()
    host.reboot()
    assert load.load(host.host())[:2] == (["netlabel"], [])
    assert host.netlabel.kernel.lists() == loaded
    host.netlabel.kernel.command("unlbl del default address:192.0.2.0/24")
    assert not load.standing(host.host()).complete
    host.reboot()
    host.policy = "(type other_t)\n"
    assert load.load(host.host()).unknown == [
        "the peer label 'partner_peer_t'", "the label of httpd_t on loopback",
    ]  # fmt: skip
    assert not host.netlabel.kernel.checks


def test_flows_and_labels_leave_each_other_alone(run: Run, host: ScriptedHost) -> None:
    run(**PARTNER)
    flows(host, requests.Replace(WEB_DB))
    assert not run(**PARTNER)["changed"]
    assert not flows(host, requests.Replace(WEB_DB)).changed
    flows(host, requests.Replace(flow_set([flow(verify_source="loopback")])))
    assert "partner_peer_t" in host.netlabel.kernel.lists()
    flows(host, requests.Replace(FlowSet(())))
    assert "partner_peer_t" in host.netlabel.kernel.lists()
    assert not host.families["ipv4"].save()
    assert not run(**PARTNER)["changed"]
    run(type="partner_peer_t", state="absent")
    assert (host.policy, host.netlabel.kernel.lists()) == (None, STOCK)


def test_flows_of_the_layer_owner_and_labels_leave_each_other_alone(run: Run, host: ScriptedHost) -> None:
    owned = flow_set([flow(users=["www-data"])])
    options = change.Options(0, "t1", layers=("owner",))

    def own(request: requests.Request) -> engine.Outcome:
        return engine.run(host.host(), request, options, False)

    own(requests.Replace(owned))
    rules = host.families["ipv4"].save()
    assert host.policy is None
    run(**PARTNER)
    assert cil.parse_policy(host.policy or "").flows == ()
    assert host.families["ipv4"].save() == rules
    for outcome in (own(requests.Replace(owned)), own(requests.Merge(()))):
        assert (outcome.changed, outcome.flows.flows) == (False, owned.flows)
    host.reboot()
    assert "netlabel" in load.load(host.host()).sets
    run(type="partner_peer_t", state="absent")
    assert host.policy is None
    assert not own(requests.Replace(owned)).changed
    own(requests.Replace(FlowSet(())))
    assert host.service.text is None


def test_without_selinux_peers_have_no_labels(run: Run, host: ScriptedHost) -> None:
    run(**PARTNER)
    host.reboot()
    host.mode = "disabled"
    assert "SELinux is disabled" in run(**PARTNER)["msg"]
    # It is on record, and would be back with SELinux
    assert "SELinux is disabled" in run(type="partner_peer_t", state="absent")["msg"]
    gone = run(type="other_peer_t", loopback_domains=["httpd_t"], state="absent")
    assert_documented(plugin, gone)
    assert not gone["changed"]
    # and keep no flow of the layer owner from it
    outcome = flows(host, requests.Merge((flow(users=["www-data"]),)))
    assert (outcome.changed, outcome.flows.labels_peers) == (True, False)


def test_domains_on_loopback_come_and_go_one_by_one(run: Run, host: ScriptedHost) -> None:
    run(loopback_domains="httpd_t")
    result = run(loopback_domains="postgresql_t")
    assert result["loopback_domains"] == ["httpd_t", "postgresql_t"]
    assert 'domain:"httpd_t",address:127.0.0.0/8,protocol:CIPSOv4,5477' in host.netlabel.kernel.lists()
    assert run(loopback_domains="httpd_t", state="absent")["loopback_domains"] == ["postgresql_t"]
    assert "httpd_t" not in host.netlabel.kernel.lists()
    run(loopback_domains="postgresql_t", state="absent")
    assert host.netlabel.kernel.lists() == STOCK
    assert host.policy is None


@pytest.mark.parametrize("check_mode", [True, False])
def test_it_does_not_cut_the_way_that_it_came(run: Run, host: ScriptedHost, check_mode: bool) -> None:
    host.running.append(process(9, "sshd_t", reached_from("192.0.2.7"), command="sshd"))
    result = run(**CLOSED, check_mode=check_mode)
    assert result["failed"]
    assert "'sshd_t' (sshd, pid 9, tcp 198.51.100.1 port 22 to 192.0.2.7 port 40112) by the peer label" in result["msg"]
    assert "receivers of the label" in result["msg"]
    assert host.writes == []
    # Of two labels the longer prefix counts
    assert run(type="admin_peer_t", addresses="192.0.2.7")["changed"]
    result = run(**CLOSED, check_mode=check_mode)
    assert "nobody can log in by SSH from 192.0.2.0/24" in result["warnings"][-1]
    assert not run(**{**CLOSED, "receivers": "httpd_t,sshd_t"}, check_mode=check_mode)["warnings"]


def test_whom_it_cuts_and_means_to_is_told(run: Run, host: ScriptedHost) -> None:
    host.running.append(process(9, "redis_t", reached_from("192.0.2.7", 6379), command="redis"))
    host.running.append(process(8, "httpd_t", reached_from("192.0.2.7", 80)))
    result = run(**CLOSED)
    assert [(cut["domain"], cut["label"], cut["flow"]) for cut in result["cut"]] == [
        ("redis_t", "partner_peer_t", None)
    ]  # fmt: skip
    assert not any("confined" in warning for warning in result["warnings"])


def test_a_grant_of_another_module_is_not_called_kept(run: Run, host: ScriptedHost) -> None:
    host.extra_policy = "(allow postgresql_t partner_peer_t (peer (recv)))"
    result = run(**CLOSED)
    assert "does not limit the peer labels to their receivers: postgresql_t may receive from the peers" in result["msg"]
    assert "undone" in result["msg"]
    assert not host.netlabel.kernel.checks


def test_a_running_domain_that_would_be_cut_is_told_and_the_change_undone(run: Run, host: ScriptedHost) -> None:
    host.running.append(process(5, "stranger_t"))
    result = run(**PARTNER)
    assert "Peer labels would cut off stranger_t" in result["msg"]
    assert "restore netlabel" not in host.writes
    assert host.policy is None


def test_peers_may_come_by_interfaces_of_one_type_alone(run: Run, host: ScriptedHost) -> None:
    placed = {**PARTNER, "interface_type": "dmz_iface_t"}
    assert "'dmz_iface_t' of the peer label 'partner_peer_t' is not in the loaded policy" in run(**placed)["msg"]
    host.other_types.add("dmz_iface_t")
    assert run(**placed)["labels"][0]["interface_type"] == "dmz_iface_t"
    peer, nic = "system_u:object_r:partner_peer_t:s0", "system_u:object_r:{0}:s0"
    assert "ingress" in host.access(peer, nic.format("dmz_iface_t"), "netif").allowed
    assert host.access(peer, nic.format("netif_t"), "netif").allowed == {"egress"}
    assert not run(**placed)["changed"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "one of the following is required: type, loopback_domains"),
        ({"addresses": NETWORK, "loopback_domains": "httpd_t"}, "'type' when 'addresses' is specified|required by"),
        ({"type": "partner_peer_t"}, "'partner_peer_t' has no addresses"),
        ({"type": "partner"}, "The type 'partner' of a peer label cannot be created"),
        ({"type": "senet_default_peer_t", "addresses": NETWORK}, "without 'senet_' in front"),
        ({"type": "httpd_t", "addresses": NETWORK}, "'httpd_t' of a peer label is in the loaded policy already"),
        ({**PARTNER, "addresses": "192.0.2.7/24"}, "in addresses of the peer label 'partner_peer_t' is neither"),
        ({**PARTNER, "receivers": "no-type"}, "receivers 'no-type' of the peer label 'partner_peer_t' is not"),
        ({**PARTNER, "receivers": "nosuch_t"}, "'nosuch_t' of the peer label 'partner_peer_t' is not in the loaded"),
        ({"loopback_domains": "domain"}, "stands for every domain"),
        ({"loopback_domains": "nosuch_t"}, "'nosuch_t' of loopback_domains is not in the loaded policy"),
        ({"interface": "eth0", **PARTNER}, "Unsupported parameters"),
    ],
)
def test_what_cannot_be_is_told_and_nothing_written(
    run: Run, host: ScriptedHost, arguments: dict[str, Any], message: str
) -> None:
    result = run(**arguments)
    assert result["failed"]
    assert re.search(message, result["msg"]), result["msg"]
    assert host.writes == []


def test_netlabel_of_somebody_else_is_refused_with_the_entry(run: Run, host: ScriptedHost) -> None:
    host.netlabel.kernel.command("unlbl add default address:192.0.2.0/24 label:system_u:object_r:netif_t:s0")
    assert "Another program has configured NetLabel" in run(**PARTNER)["msg"]
    assert host.writes == []


def test_a_peer_has_one_label(run: Run, host: ScriptedHost) -> None:
    run(**PARTNER)
    result = run(type="other_peer_t", addresses=NETWORK)
    assert "'other_peer_t' and 'partner_peer_t' both name 192.0.2.0/24" in result["msg"]
    verified = flow_set([flow(verify_source="address", source_addresses=["192.0.2.7"])])
    with pytest.raises(SenetError, match="'partner_peer_t' and the flow 'web_db', .* name the same"):
        flows(host, requests.Replace(verified))


def test_a_verified_destination_receives_from_peers_that_name_it_only() -> None:
    receiver = peering(LABELLED).receivers[0]
    assert receiver.domain == "postgresql_t"
    assert "backup_peer_t" in receiver.receives
    assert {"office_peer_t", "partner_peer_t", "redis_t", "senet_loopback_peer_t"} <= set(receiver.refuses)
    on_loopback = LABELLED.with_the_flows_of(flow_set([flow(verify_source="loopback")]))
    receiver = peering(on_loopback).receivers[0]
    assert {"office_peer_t", "backup_peer_t"} <= set(receiver.receives)
    assert {"partner_peer_t", "redis_t", "senet_loopback_peer_t"} == set(receiver.refuses)


def test_the_whole_set_is_put_in_force_and_taken_off(run: Run, host: ScriptedHost) -> None:
    before = host.state()
    host.other_types.add("dmz_iface_t")
    flows(host, requests.Alter(lambda current: LABELLED, True))
    assert not flows(host, requests.Alter(lambda current: LABELLED, True)).changed
    assert cil.parse_policy(host.policy or "") == LABELLED
    flows(host, requests.Alter(lambda current: FlowSet(())))
    assert host.state() == before


@given(
    st.fixed_dictionaries(
        {
            "type": st.text(max_size=8) | st.just("partner_t"),
            "addresses": st.lists(st.text(max_size=8) | st.just(NETWORK), max_size=2),
            "receivers": st.lists(st.text(max_size=8), max_size=2),
            "interface_type": st.text(max_size=8),
        }
    )
)
def test_no_label_becomes_more_than_its_words(raw: dict[str, Any]) -> None:
    try:
        made = FlowSet(()).with_peers([parse_peer_label(raw)])
    except SenetError:
        return
    for line in netlabel.compile_rules(peering(made)):
        assert re.fullmatch(r"unlbl default address:[0-9a-f.:/]+ label:system_u:object_r:[a-z0-9_]+_t:s0", line)
    for line in cil.compile_policy(made).splitlines()[2:]:
        words = r"\((type|roletype|typeattribute|typeattributeset|allow|optional) [A-Za-z0-9_. ()-]+\)?"
        assert re.fullmatch(rf"(; .*|)| *{words}", line)


def test_the_options_are_those_of_the_documentation(monkeypatch: pytest.MonkeyPatch) -> None:
    specs: list[dict[str, Any]] = []

    class Stop(Exception):
        pass

    def stop(**kwargs: Any) -> None:
        specs.append(kwargs["argument_spec"])
        raise Stop

    monkeypatch.setattr(plugin, "AnsibleModule", stop)
    with patch_module_args({}), pytest.raises(Stop):
        plugin.main()
    documented = yaml.safe_load(plugin.DOCUMENTATION)["options"]
    documented.update(yaml.safe_load(guarded.ModuleDocFragment.DOCUMENTATION)["options"])
    keys = ("type", "elements", "choices", "default")
    assert {name: [option.get(key) for key in keys] for name, option in specs[0].items()} == {
        name: [option.get(key) for key in keys] for name, option in documented.items()
    }


@pytest.mark.parametrize("task", yaml.safe_load(plugin.EXAMPLES), ids=lambda task: task["name"])
def test_the_examples_work(run: Run, task: dict[str, Any]) -> None:
    result = run(**task["senet.firewall.peer_label"])
    assert not result.get("failed"), result


def test_the_module_for_flows_tells_of_labels_too(
    run: Run, host: ScriptedHost, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    host.running.append(process(9, "redis_t", reached_from("192.0.2.7", 6379), command="redis"))
    run(**CLOSED)
    arguments = {"flows": [WEB_DB.flows[0].as_dict()], "confirm_timeout": 0}
    result = run_module(monkeypatch, capsys, flows_plugin, host, arguments)
    assert_documented(flows_plugin, result)
    assert [cut["label"] for cut in result["cut"]] == ["partner_peer_t"]
