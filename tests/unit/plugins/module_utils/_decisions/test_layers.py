# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from typing import Optional

import pytest

from ansible_collections.senet.firewall.plugins.module_utils._compile.owner import Accounts
from ansible_collections.senet.firewall.plugins.module_utils._decisions import layers, warnings
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import FlowSet, flow_set
from ansible_collections.senet.firewall.plugins.module_utils._values.layers import Owners
from ansible_collections.senet.firewall.plugins.module_utils._values.parsing import parse_flow_set
from tests.unit.flows import WEB_DB, flow
from tests.unit.scripted_host import process

WEB = Owners(("www-data",), ("apache2.service",))
APACHE = [
    process(2, "httpd_t")._replace(user="root", unit="apache2.service"),
    process(3, "httpd_t")._replace(user="www-data", uid=33, unit="apache2.service"),
    process(4, "sshd_t")._replace(user="root", unit="ssh.service"),
]


@pytest.mark.parametrize(
    ("asked", "recorded", "enabled", "expected"),
    [
        (["auto"], None, True, ("selinux",)),
        (["auto"], None, False, ("owner",)),
        (["auto"], ["selinux", "owner"], True, ("selinux", "owner")),
        (["auto"], ["owner"], True, ("owner",)),
        # SELinux was there when the flows came, and is no more
        (["auto"], ["selinux", "owner"], False, ("owner",)),
        (["owner", "selinux"], ["owner"], True, ("selinux", "owner")),
        (["owner"], ["selinux"], True, ("owner",)),
    ],
)
def test_layers_are_chosen(
    asked: list[str], recorded: Optional[list[str]], enabled: bool, expected: tuple[str, ...]
) -> None:
    assert layers.choose_layers(asked, recorded, enabled) == expected


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ([], r"Invalid layers \[\]: use"),
        (["auto", "owner"], r"Invalid layers \[auto, owner\]: use \[auto\] alone"),
        (["selinux"], "SELinux is disabled on this host.*or use layers"),
        (["selinux", "owner"], "SELinux is disabled on this host"),
    ],
)
def test_layers_that_cannot_be_are_refused(asked: list[str], message: str) -> None:
    with pytest.raises(SenetError, match=message):
        layers.choose_layers(asked, None, False)


def owners(
    flows: FlowSet, catalogue: Optional[Owners] = None, recorded: Optional[FlowSet] = None, cgroups: bool = True
) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    known = {"web_db": catalogue} if catalogue else {}
    found = layers.with_owners(flows, known, recorded, APACHE, cgroups, True)
    return [(one.users, one.units) for one in found.flows]


def test_a_flows_own_users_come_first_then_the_catalogue_the_record_and_what_runs() -> None:
    own = flow_set([flow(users=["zabbix"])])
    recorded = flow_set([flow(users=["apache"], units=["httpd.service"])])
    assert owners(own, WEB, recorded) == [(("zabbix",), ())]
    assert owners(WEB_DB, WEB, recorded) == [(("www-data",), ("apache2.service",))]
    assert owners(WEB_DB, None, recorded) == [(("apache",), ("httpd.service",))]
    assert owners(WEB_DB) == [(("root", "www-data"), ("apache2.service",))]


def test_another_source_does_not_inherit_the_recorded_users() -> None:
    recorded = flow_set([flow(users=["apache"], source=["redis_t"])])
    assert owners(WEB_DB, None, recorded) == [(("root", "www-data"), ("apache2.service",))]


def test_units_stay_out_where_they_cannot_be_matched_or_do_not_hold_every_client() -> None:
    assert owners(WEB_DB, WEB, cgroups=False) == [(("www-data",), ())]
    loose = [*APACHE, process(5, "httpd_t")._replace(user="www-data", unit="session-1.scope")]
    assert layers.with_owners(WEB_DB, {}, None, loose, True, True).flows[0].units == ()


def test_running_clients_with_names_that_no_flow_takes_are_known_by_number_and_without_units() -> None:
    odd = [process(5, "httpd_t")._replace(user="web@example.com", uid=70001, unit="a\\x2db@1.service")]
    found = layers.with_owners(WEB_DB, {}, None, odd, True, True)
    assert [(one.users, one.units) for one in found.flows] == [(("70001",), ())]
    assert parse_flow_set(found.as_dict()) == found


def test_a_flow_whose_client_nobody_knows_is_refused_and_one_for_all_needs_none() -> None:
    with pytest.raises(SenetError, match="The flow 'web_db' does not say which users.*no process of redis_t"):
        owners(flow_set([flow(source=["redis_t"])]))
    with pytest.raises(SenetError, match="since SELinux is disabled here; give users or units, such as"):
        layers.with_owners(WEB_DB, {}, None, [], True, False)
    assert owners(flow_set([flow(source=["domain"])])) == [((), ())]


def test_a_layer_that_is_given_up_is_told() -> None:
    assert warnings.lost_layers(("selinux",), ("owner",), WEB_DB) == [
        "The layer selinux no longer enforces the flows of this host: web_db."
    ]
    assert warnings.lost_layers(("selinux",), ("selinux", "owner"), WEB_DB) == []
    assert warnings.lost_layers((), ("owner",), WEB_DB) == []


def test_what_needs_domains_is_refused() -> None:
    with pytest.raises(SenetError, match="'httpd_t' cannot be confined by the layer owner"):
        layers.refuse_what_owner_cannot(flow_set([flow()], [("httpd_t", "enforce")]))
    with pytest.raises(SenetError, match="'web_db' has verify_source=loopback, which the layer owner"):
        layers.refuse_what_owner_cannot(flow_set([flow(verify_source="loopback")]))


def test_what_is_not_checked_is_said() -> None:
    everybody, gone = flow("all", source=["domain"], ports=[1]), flow("gone", users=["x"], ports=[2])
    flows = flow_set([flow(users=["www-data"]), everybody, gone])
    said = warnings.owner_warnings(["owner"], False, flows, Accounts({"www-data": 33}, {}))
    assert [text.partition(",")[0] for text in said] == [
        "SELinux is disabled",
        "Every program of x may use the flow 'gone'",
        "Every program of www-data may use the flow 'web_db'",
        "Everybody on this host may use the flow 'all': its source is every domain",
        "Nobody on this host may use the flow 'gone' as a client",
    ]
    assert warnings.owner_warnings(["selinux"], True, flows, Accounts({}, {})) == []
    beside = warnings.owner_warnings(["selinux", "owner"], True, flows, Accounts({}, {}))
    assert not any("NO domain" in text for text in beside)
