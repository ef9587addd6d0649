# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.senet.firewall.plugins.module_utils._catalogue import PAIRS, expand
from ansible_collections.senet.firewall.plugins.module_utils._model import flow_set, parse_flow
from ansible_collections.senet.firewall.plugins.module_utils._services import FAMILIES
from tests.collection_tree import ROOT
from tests.pair_roles.tree import files, stale, write

ROLES = ROOT / "roles"
GENERIC = {"service_pair"}
NAMES = sorted(PAIRS)


def content(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def options(name: str) -> dict[str, dict[str, Any]]:
    specs: dict[str, dict[str, Any]] = content(ROLES / name / "meta/argument_specs.yml")["argument_specs"]
    return specs["main"]["options"]


def defaults(name: str) -> dict[str, Any]:
    found: dict[str, Any] = content(ROLES / name / "defaults/main.yml")
    return found


def test_every_pair_has_a_role_and_every_role_a_pair() -> None:
    assert {path.name for path in ROLES.iterdir() if path.is_dir()} == set(PAIRS) | GENERIC


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
    computed = {"service_pair_flow_name"}
    assert documented == {key: value for key, value in defaults(name).items() if key not in computed}
    readme = (ROLES / name / "README.md").read_text()
    assert set(options(name)) == set(re.findall(rf"`({name}_[a-z_]+)`", readme))
    assert "docs/operation.md#in-trouble" in readme or name in GENERIC


@pytest.mark.parametrize("name", NAMES)
def test_a_roles_defaults_are_those_of_the_catalogue(name: str) -> None:
    pair, given = PAIRS[name], {key.removeprefix(f"{name}_"): value for key, value in defaults(name).items()}
    assert given["flow_name"] == name
    assert tuple(given["ports"]) == pair.ports
    assert (given["booleans"], given["port_contexts"]) == (False, False)
    for family in FAMILIES:
        assert tuple(given["source"]) in ((), pair.client[family].domains)
        assert tuple(given["destination"]) in ((), pair.server[family].domains)


@pytest.mark.parametrize("name", NAMES)
def test_a_role_hands_each_variable_on_to_service_pair(name: str) -> None:
    (task,) = content(ROLES / name / "tasks/main.yml")
    assert task["ansible.builtin.include_role"] == {"name": "senet.firewall.service_pair"}
    handed = {f"service_pair_{key.removeprefix(f'{name}_')}": f"{{{{ {key} }}}}" for key in options(name)}
    assert task["vars"] == {"service_pair_name": name, **handed}
    assert set(options("service_pair")) - set(task["vars"]) == {"service_pair_protocol"}


def test_service_pair_hands_each_variable_on_to_the_module() -> None:
    tasks = "".join(path.read_text() for path in ROLES.glob("service_pair/tasks/*"))
    used = set(re.findall(r"service_pair_[a-z_]+", tasks))
    assert used - {"service_pair_known"} == set(options("service_pair"))


@pytest.mark.parametrize("name", NAMES)
def test_the_example_of_a_readme_makes_flows_on_both_families(name: str) -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", (ROLES / name / "README.md").read_text(), re.DOTALL)
    (play,) = yaml.safe_load(example)
    (role,) = play["roles"]
    assert role["role"] == f"senet.firewall.{name}"
    given = {**defaults(name), **role.get("vars", {})}
    assert set(given) == set(defaults(name))
    raw = {key.removeprefix(f"{name}_"): value for key, value in given.items() if "{{" not in str(value)}
    for family in FAMILIES:
        assert flow_set(parse_flow(flow) for flow in expand({"pair": name, **raw}, family)).flows


def test_service_pair_knows_what_booleans_and_types_the_catalogue_has() -> None:
    known = content(ROLES / "service_pair/vars/main.yml")["service_pair_known"]
    assert set(known) == set(PAIRS)
    for name, pair in PAIRS.items():
        assert known[name]["port_type"] == pair.port_type
        assert (known[name]["protocols"], known[name]["ports"]) == (list(pair.protocols), list(pair.ports))
        assert known[name]["booleans"] == {family: list(pair.booleans.get(family, ())) for family in FAMILIES}
