# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
import re

import pytest
import yaml

from ansible_collections.senet.firewall.plugins.module_utils._catalogue import PAIRS, resolve
from ansible_collections.senet.firewall.plugins.module_utils._model import SenetError, parse_flow
from tests.collection_tree import ROOT

PAIR = "httpd_to_postgresql"
GENERIC = {"service_pair"}


def test_every_pair_has_a_role_and_every_role_a_pair() -> None:
    assert {path.parent.parent.name for path in ROOT.glob("roles/*/meta/main.yml")} == set(PAIRS) | GENERIC


@pytest.mark.parametrize("name", sorted(PAIRS))
def test_a_roles_defaults_are_those_of_the_catalogue(name: str) -> None:
    pair = PAIRS[name]
    defaults = yaml.safe_load((ROOT / "roles" / name / "defaults" / "main.yml").read_text())
    assert defaults[f"{name}_flow_name"] == name
    assert tuple(defaults[f"{name}_source"]) == pair.source
    assert tuple(defaults[f"{name}_destination"]) == pair.destination
    assert tuple(defaults[f"{name}_ports"]) == pair.ports
    documented = yaml.safe_load((ROOT / "roles" / name / "meta" / "argument_specs.yml").read_text())
    options = documented["argument_specs"]["main"]["options"]
    assert {key: option["default"] for key, option in options.items() if "default" in option} == defaults
    (task,) = yaml.safe_load((ROOT / "roles" / name / "tasks" / "main.yml").read_text())
    assert task["vars"]["service_pair_name"] == name
    used = set(re.findall(rf"\b{name}_[a-z_]+", " ".join(map(str, task["vars"].values()))))
    assert used == set(defaults)


@pytest.mark.parametrize("name", sorted(PAIRS))
def test_a_pair_alone_is_a_flow(name: str) -> None:
    flow = parse_flow(resolve({"pair": name}))
    assert (flow.name, flow.source, flow.protocol) == (name, PAIRS[name].source, PAIRS[name].protocol)
    assert all(unit.endswith(".service") for units in PAIRS[name].units.values() for unit in units)
    assert set(PAIRS[name].units) == {"RedHat", "Debian"}


def test_what_is_given_goes_before_what_the_pair_knows_and_nothing_is_no_gift() -> None:
    flow = resolve({"pair": PAIR, "name": "reports", "ports": ["5433"], "source": [], "protocol": None, "mode": None})
    known = {"source": ("httpd_t",), "destination": ("postgresql_t",), "protocol": "tcp"}
    assert flow == {**known, "name": "reports", "ports": ["5433"]}


def test_a_flow_without_a_pair_is_left_as_it_is() -> None:
    assert resolve({"name": "web_db", "pair": None, "ports": ["1"], "mode": None}) == {"name": "web_db", "ports": ["1"]}


def test_a_pair_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(SenetError, match=f"'httpd_to_redis' is not in the catalogue; use one of .*{PAIR}"):
        resolve({"pair": "httpd_to_redis"})
