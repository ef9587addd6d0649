# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The roles as Ansible runs them: what reaches the modules, and what is refused before it does."""

from pathlib import Path
from typing import Any

import pytest

from tests.unit.roles.stubbed import Done, Stubbed

pytestmark = pytest.mark.long

DEFAULTS = {"mode": "enforce", "layers": ["auto"], "backend": "auto", "confirm_timeout": 30}
CALL = {**DEFAULTS, "state": "present", "purge": False, "confirm": "auto"}
WEB_DB = {
    "pair": "httpd_to_postgresql",
    "name": "httpd_to_postgresql",
    "source": ["httpd_t"],
    "destination": ["postgresql_t"],
    "ports": ["5432"],
}
SHARED = {
    "mode": "observe",
    "layers": ["owner"],
    "backend": "nftables",
    "confirm_timeout": 60,
    "health_checks": ["localhost:22"],
    "health_commands": ["true"],
}
COLLECTION_WIDE = {f"senet_firewall_{option}": value for option, value in SHARED.items()}


@pytest.fixture(scope="module")
def stubbed(tmp_path_factory: pytest.TempPathFactory) -> Stubbed:
    return Stubbed(tmp_path_factory.mktemp("roles"))


def role(name: str, **variables: Any) -> dict[str, Any]:
    return {"role": f"senet.firewall.{name}", "vars": variables}


def message(done: Done) -> str:
    assert (done.rc, done.calls) == (2, []), done.output
    return " ".join(done.output.split())


def test_what_is_not_set_is_left_out(stubbed: Stubbed) -> None:
    done = stubbed.play(
        {"roles": [role("httpd_to_postgresql"), role("domain_to_sshd", domain_to_sshd_source_addresses=["192.0.2.1"])]},
        {"roles": [role("service_pair", service_pair_name="httpd_to_redis", service_pair_flow_name="cache")]},
        {"roles": [role("flow_set", flow_set_flows=[{"pair": "httpd_to_redis"}, {"pair": "httpd_to_mysqld"}])]},
    )
    sshd = {"pair": "domain_to_sshd", "name": "domain_to_sshd", "source": ["domain"], "destination": ["sshd_t"]}
    assert done.calls == [
        {**CALL, "flows": [WEB_DB]},
        {**CALL, "flows": [{**sshd, "ports": ["22"], "source_addresses": ["192.0.2.1"]}]},
        {**CALL, "flows": [{"pair": "httpd_to_redis", "name": "cache"}]},
        {**CALL, "flows": [{"pair": "httpd_to_redis"}, {"pair": "httpd_to_mysqld"}]},
    ], done.output
    assert done.rc == 0


def test_a_variable_of_the_collection_counts_where_the_roles_own_is_not_set(stubbed: Stubbed) -> None:
    done = stubbed.play(
        {
            "vars": COLLECTION_WIDE,
            "roles": [
                role("httpd_to_postgresql"),
                role("httpd_to_redis", httpd_to_redis_mode="enforce", httpd_to_redis_health_checks=["localhost:80"]),
                role("flow_set", flow_set_flows=[{"pair": "httpd_to_mysqld"}], flow_set_backend="iptables"),
            ],
        }
    )
    given = [{option: call.get(option) for option in SHARED} for call in done.calls]
    assert given == [
        SHARED,
        {**SHARED, "mode": "enforce", "health_checks": ["localhost:80"]},
        {**SHARED, "backend": "iptables"},
    ], done.output


def test_the_directory_for_metrics_is_every_roles(stubbed: Stubbed) -> None:
    done = stubbed.play(
        {
            "vars": {"senet_firewall_metrics_directory": "/var/lib/metrics"},
            "roles": [
                role("httpd_to_postgresql"),
                role("flow_set", flow_set_flows=[{"pair": "httpd_to_redis"}]),
                role("flow_set", flow_set_flows=[{"pair": "httpd_to_redis"}], flow_set_metrics_directory="none"),
            ],
        }
    )
    found = [call.get("metrics_directory") for call in done.calls]
    assert found == ["/var/lib/metrics", "/var/lib/metrics", "none"], done.output


@pytest.mark.parametrize(
    ("name", "variables", "wrong", "nearest"),
    [
        (
            "httpd_to_postgresql",
            {"httpd_to_postgresql_source_adresses": ["192.0.2.1"]},
            "httpd_to_postgresql_source_adresses",
            "httpd_to_postgresql_source_addresses",
        ),
        ("httpd_to_postgresql", {"senet_firewall_layer": ["owner"]}, "senet_firewall_layer", "senet_firewall_layers"),
        (
            "service_pair",
            {"service_pair_name": "httpd_to_redis", "service_pair_sources": ["a_t"]},
            "service_pair_sources",
            "service_pair_source",
        ),
        ("flow_set", {"flow_set_flow": [{"pair": "httpd_to_redis"}]}, "flow_set_flow", "flow_set_flows"),
    ],
)
def test_a_misspelt_variable_is_an_error_that_names_the_nearest(
    stubbed: Stubbed, name: str, variables: dict[str, Any], wrong: str, nearest: str
) -> None:
    said = message(stubbed.play({"roles": [role(name, **variables)]}))
    assert f"The variable '{wrong}' is none of" in said
    assert f"write '{nearest}' if you mean that" in said


IGNORED = {"httpd_to_postgresql_source_addresses": ["192.0.2.1"]}


@pytest.mark.parametrize(
    ("name", "variables", "advice"),
    [
        (
            "flow_set",
            {"flow_set_flows": [{"pair": "httpd_to_redis"}, {"pair": "httpd_to_postgresql"}]},
            "put source_addresses in the item of the pair in flow_set_flows",
        ),
        ("service_pair", {"service_pair_name": "httpd_to_postgresql"}, "set service_pair_source_addresses"),
    ],
)
def test_a_variable_of_a_pair_that_another_role_puts_in_force_is_an_error(
    stubbed: Stubbed, name: str, variables: dict[str, Any], advice: str
) -> None:
    said = message(stubbed.play({"vars": IGNORED, "roles": [role(name, **variables)]}))
    assert f"'httpd_to_postgresql_source_addresses' is one of the role httpd_to_postgresql, and the role {name}" in said
    assert advice in said


def test_the_role_of_a_pair_reads_its_variables_beside_other_roles(stubbed: Stubbed) -> None:
    done = stubbed.play(
        {
            "vars": IGNORED,
            "roles": [
                role("httpd_to_postgresql"),
                role("flow_set", flow_set_flows=[{"pair": "httpd_to_postgresql", "name": "second", "ports": [5433]}]),
            ],
        },
        {
            "vars": IGNORED,
            "roles": [role("flow_set", flow_set_flows=[{"pair": "httpd_to_postgresql"}], flow_set_state="absent")],
        },
    )
    assert done.rc == 0, done.output
    assert [call["flows"][0].get("source_addresses") for call in done.calls] == [["192.0.2.1"], None, None]


def test_a_variable_that_is_like_one_of_a_pair_is_warned_of(stubbed: Stubbed) -> None:
    variables = {"httpd_to_postgres_source_addresses": ["192.0.2.1"]}
    done = stubbed.play({"vars": variables, "roles": [role("httpd_to_postgresql")]})
    assert done.rc == 0, done.output
    assert "'httpd_to_postgres_source_addresses' is ignored here" in " ".join(done.output.split())


@pytest.mark.parametrize("nothing", [[], None, "{{ groups['nobody'] | default([]) }}"])
def test_a_list_that_comes_out_empty_is_an_error(stubbed: Stubbed, nothing: Any) -> None:
    said = message(stubbed.play({"roles": [role("httpd_to_postgresql", httpd_to_postgresql_source_addresses=nothing)]}))
    assert "source_addresses of the flow 'httpd_to_postgresql' is given and empty; leave it out if any address" in said


def test_service_pair_without_a_name_says_so(stubbed: Stubbed) -> None:
    assert "missing required arguments: service_pair_name" in message(stubbed.play({"roles": [role("service_pair")]}))


@pytest.mark.parametrize(
    ("option", "collection"), [("booleans", "ansible.posix"), ("port_contexts", "community.general")]
)
def test_a_missing_collection_is_named_with_how_to_install_it(stubbed: Stubbed, option: str, collection: str) -> None:
    said = message(stubbed.play({"roles": [role("httpd_to_postgresql", **{f"httpd_to_postgresql_{option}": True})]}))
    assert f"httpd_to_postgresql_{option} needs the collection {collection}" in said
    assert f"'ansible-galaxy collection install {collection}'" in said


def test_a_loop_of_the_play_keeps_its_item_beside_those_of_a_role(tmp_path: Path) -> None:
    stubbed = Stubbed(tmp_path)
    stubbed.add_modules(
        {
            "ansible.posix.seboolean": ["name", "state", "persistent"],
            "community.general.seport": ["ports", "proto", "setype", "state"],
        }
    )
    # Each passes the item on, which is templated wherever it is read
    variables = {
        "service_pair_name": "{{ item.pair }}", "service_pair_ports": "{{ item.ports }}",
        "service_pair_booleans": True, "service_pair_port_contexts": True,
    }  # fmt: skip
    done = stubbed.play(
        {
            "tasks": [
                {
                    "ansible.builtin.include_role": {"name": "senet.firewall.service_pair"},
                    "loop": [{"pair": "httpd_to_postgresql", "ports": ["5433"]}],
                    "vars": variables,
                }
            ]
        },
        flags=("-e", '{"ansible_facts": {"os_family": "Debian", "selinux": {"status": "enabled"}}}'),
    )
    assert done.rc == 0, done.output
    boolean, port, call = done.calls
    assert boolean["name"] == "httpd_can_network_connect_db"
    assert (port["ports"], port["proto"]) == (["5433"], "tcp")
    assert call["flows"][0]["ports"] == ["5433"]
    assert "already in use" not in done.output


def test_a_host_set_is_one_task_whose_result_is_registered(stubbed: Stubbed, tmp_path: Path) -> None:
    done = stubbed.play(
        {
            "roles": [role("flow_set", flow_set_flows=[{"pair": "httpd_to_redis"}], flow_set_confirm="manual")],
            "post_tasks": [
                {"ansible.builtin.assert": {"that": "flow_set_result.removed == []"}},
                # Its own result is no misspelt variable
                {
                    "ansible.builtin.include_role": {"name": "senet.firewall.flow_set"},
                    "vars": {"flow_set_state": "absent", "flow_set_purge": True},
                },
            ],
        }
    )
    assert done.rc == 0, done.output
    assert [(call["state"], len(call.get("flows", []))) for call in done.calls] == [("present", 1), ("absent", 0)]
    assert [call["confirm"] for call in done.calls] == ["manual", "auto"]
    assert sum("flow_set" in task and "Validating" not in task for task in done.tasks) == 3


def test_all_flows_are_removed_only_if_that_is_asked_for(stubbed: Stubbed) -> None:
    absent = {"flow_set_state": "absent"}
    message(stubbed.play({"roles": [role("flow_set", **absent, flow_set_flows="{{ retired | default(omit) }}")]}))
    said = message(stubbed.play({"roles": [role("flow_set", **absent)]}))
    assert "flow_set_state=absent needs flow_set_flows, the flows that are to be removed" in said
    done = stubbed.play(
        {
            "vars": {"senet_firewall_layers": ["owner"], "senet_firewall_metrics_directory": "/srv/metrics"},
            "roles": [
                role("flow_set", **absent, flow_set_purge=True),
                role("flow_set", **absent, flow_set_confine=["httpd_t"]),
                role("flow_set", flow_set_state="absent", flow_set_flows=[{"name": "web_db"}]),
            ],
        }
    )
    assert done.rc == 0, done.output
    assert done.calls[0] == {**CALL, "state": "absent"}
    assert (done.calls[1]["confine"], done.calls[1]["layers"]) == (["httpd_t"], ["owner"])
    assert done.calls[2]["flows"] == [{"name": "web_db"}]


@pytest.mark.parametrize("name", ["senet.firewall.flows", "group/senet.firewall.firewall"])
def test_no_module_defaults_reach_into_a_role(stubbed: Stubbed, name: str) -> None:
    defaults = {
        "mode": "observe", "purge": True, "confine": ["httpd_t"], "confirm": "manual",
        "health_checks": ["localhost:22"], "metrics_directory": "/srv/metrics",
    }  # fmt: skip
    done = stubbed.play(
        {
            "module_defaults": {name: defaults},
            "roles": [
                role("httpd_to_postgresql"),
                role("service_pair", service_pair_name="httpd_to_redis"),
                role("flow_set", flow_set_flows=[{"pair": "httpd_to_redis"}]),
            ],
        }
    )
    assert done.rc == 0, done.output
    given = [{option: value for option, value in call.items() if option != "flows"} for call in done.calls]
    assert given == [CALL] * 3


def test_defaults_of_the_action_group_reach_the_modules_that_have_the_options(stubbed: Stubbed) -> None:
    done = stubbed.play(
        {
            "module_defaults": {"group/senet.firewall.firewall": SHARED},
            "tasks": [
                {"senet.firewall.flows": {"flows": [{"pair": "httpd_to_redis"}]}},
                {"senet.firewall.flow": {"pair": "httpd_to_redis", "mode": "enforce"}},
                # None of these has the options, so none of them is in the group
                {"senet.firewall.process_context_info": {"ports": [1]}},
            ],
        }
    )
    assert done.rc == 0, done.output
    given = [{option: call.get(option) for option in SHARED} for call in done.calls]
    assert given == [SHARED, {**SHARED, "mode": "enforce"}]
