# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.senet.firewall.plugins.filter.role_variables import SHARED
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import flow_set
from ansible_collections.senet.firewall.plugins.module_utils._values.options import FLOW_OPTIONS, GUARD_OPTIONS, OPTIONS
from ansible_collections.senet.firewall.plugins.module_utils._values.pairs import PAIRS, expand
from ansible_collections.senet.firewall.plugins.module_utils._values.parsing import parse_flow
from ansible_collections.senet.firewall.plugins.module_utils._values.services import DISTRIBUTIONS
from tests.collection_tree import ROOT
from tests.pair_roles.tree import files, stale, write

ROLES = ROOT / "roles"
GENERIC = ("service_pair", "flow_set")
# About no flow of its own
OTHERS = {"container_hook", "labelled_ipsec"}
NAMES = sorted(PAIRS)
# What the module does without the option
OTHERWISE = {
    option: spec["default"]
    for option, spec in {**OPTIONS, **GUARD_OPTIONS}.items()
    if option in SHARED and "default" in spec
}


def content(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def options(name: str) -> dict[str, dict[str, Any]]:
    specs: dict[str, dict[str, Any]] = content(ROLES / name / "meta/argument_specs.yml")["argument_specs"]
    return specs["main"]["options"]


def defaults(name: str) -> dict[str, Any]:
    found: dict[str, Any] = content(ROLES / name / "defaults/main.yml")
    return found


def test_every_pair_has_a_role_and_every_role_a_pair() -> None:
    assert {path.name for path in ROLES.iterdir() if path.is_dir()} == {*PAIRS, *GENERIC, *OTHERS}


def test_the_files_in_the_tree_are_those_that_are_made() -> None:
    assert stale() == [], "run 'make roles'"


def test_a_file_changed_by_hand_is_found_and_made_anew(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/pairs.md").write_text("mine\n<!-- made from the catalogue -->\nold\n<!-- end -->\nmine\n")
    assert set(stale(tmp_path)) == set(files(tmp_path))
    write(tmp_path)
    assert stale(tmp_path) == []
    text = (tmp_path / "docs/pairs.md").read_text()
    assert re.fullmatch("mine\n.*-->\nmine\n", text, re.DOTALL)
    assert "httpd_to_redis" in text
    assert "old" not in text
    (tmp_path / "roles/httpd_to_redis/README.md").write_text("by hand")
    (tmp_path / "roles/service_pair/vars/main.yml").unlink()
    assert stale(tmp_path) == ["roles/httpd_to_redis/README.md", "roles/service_pair/vars/main.yml"]


@pytest.mark.parametrize("name", [*NAMES, *GENERIC])
def test_what_is_documented_of_a_role_is_what_it_has(name: str) -> None:
    documented = {key: option["default"] for key, option in options(name).items() if "default" in option}
    shared = {key: value for key, value in defaults(name).items() if key.removeprefix(f"{name}_") in SHARED}
    assert {**documented, **shared} == defaults(name)
    for option in SHARED:
        otherwise = {"layers": "['auto']"}.get(option, repr(OTHERWISE[option])) if option in OTHERWISE else "omit"
        assert shared[f"{name}_{option}"] == f"{{{{ senet_firewall_{option} | default({otherwise}) }}}}"
    assert not any(default == [] for default in defaults(name).values())
    readme = (ROLES / name / "README.md").read_text()
    assert set(options(name)) == set(re.findall(rf"`({name}_[a-z_]+)`", readme)) - {"flow_set_result"}
    assert "docs/operation.md#in-trouble" in readme or name in GENERIC


@pytest.mark.parametrize("name", NAMES)
def test_a_roles_defaults_are_those_of_the_catalogue(name: str) -> None:
    pair, given = PAIRS[name], {key.removeprefix(f"{name}_"): value for key, value in defaults(name).items()}
    assert given["flow_name"] == name
    assert tuple(given["ports"]) == pair.ports
    assert (given["booleans"], given["port_contexts"]) == (False, False)
    for family in DISTRIBUTIONS:
        assert tuple(given.get("source", ())) in ((), pair.client[family].domains)
        assert tuple(given.get("destination", ())) in ((), pair.server[family].domains)


@pytest.mark.parametrize("name", NAMES)
def test_a_role_leaves_its_variables_to_service_pair(name: str) -> None:
    (task,) = content(ROLES / name / "tasks/main.yml")
    assert task["ansible.builtin.include_role"]["name"] == "senet.firewall.service_pair"
    assert task["vars"] == {"__service_pair_role": name}
    own, generic = ({key.removeprefix(f"{role}_") for key in options(role)} for role in (name, "service_pair"))
    assert generic - own == {"name", "protocol"}
    assert own <= generic


def test_each_variable_of_service_pair_is_one_of_the_change_or_of_a_flow() -> None:
    ((task),) = content(ROLES / "service_pair/tasks/main.yml")
    of_the_change = set(task["vars"]["__service_pair_of_the_change"])
    assert {key.removeprefix("service_pair_") for key in options("service_pair")} - of_the_change <= set(FLOW_OPTIONS)


@pytest.mark.parametrize("name", NAMES)
def test_the_example_of_a_readme_makes_flows_on_both_families(name: str) -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", (ROLES / name / "README.md").read_text(), re.DOTALL)
    (play,) = yaml.safe_load(example)
    (role,) = play["roles"]
    assert role["role"] == f"senet.firewall.{name}"
    given = {**defaults(name), **role.get("vars", {})}
    assert set(given) <= set(options(name))
    raw = {key.removeprefix(f"{name}_"): value for key, value in given.items() if "{{" not in str(value)}
    for family in DISTRIBUTIONS:
        assert flow_set(parse_flow(flow) for flow in expand({"pair": name, **raw}, family)).flows


def test_service_pair_knows_what_booleans_and_types_the_catalogue_has() -> None:
    known = content(ROLES / "service_pair/vars/main.yml")["__service_pair_known"]
    assert set(known) == set(PAIRS)
    for name, pair in PAIRS.items():
        assert known[name]["port_type"] == pair.port_type
        assert (known[name]["protocols"], known[name]["ports"]) == (list(pair.protocols), list(pair.ports))
        assert known[name]["booleans"] == {family: list(pair.booleans.get(family, ())) for family in DISTRIBUTIONS}
