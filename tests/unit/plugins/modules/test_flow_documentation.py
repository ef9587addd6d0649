# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules say the same of the same suboptions and results, which a fragment cannot carry."""

from typing import Any

import pytest
import yaml

from ansible_collections.senet.firewall.plugins.modules import flow, flows, packet_access_info

FLOW = yaml.safe_load(flow.DOCUMENTATION)["options"]
SUBOPTIONS = yaml.safe_load(flows.DOCUMENTATION)["options"]["flows"]["suboptions"]
RETURNED, RETURNED_BY_FLOWS = yaml.safe_load(flow.RETURN), yaml.safe_load(flows.RETURN)


def of_one(documented: Any) -> Any:
    """What flows says, with the names that a single flow has for its options, and without what confirm=manual adds."""
    if isinstance(documented, dict) and "confirm_by" in documented.get("contains", {}):
        documented = {**documented, "contains": {**documented["contains"]}}
        del documented["contains"]["confirm_by"]
    return yaml.safe_load(yaml.safe_dump(documented, width=10000).replace("flows[].", ""))


def test_the_options_are_the_same() -> None:
    assert set(FLOW) - {"state"} == set(SUBOPTIONS)


# The mode of one flow in flows comes before that of all, which flow does not have
@pytest.mark.parametrize("name", sorted(set(SUBOPTIONS) - {"mode"}))
def test_an_option_says_the_same(name: str) -> None:
    assert of_one(SUBOPTIONS[name]) == FLOW[name]


# flow has no purge, of whose removals flows also warns
@pytest.mark.parametrize("name", sorted(set(RETURNED_BY_FLOWS) - {"removed"}))
def test_a_result_says_the_same(name: str) -> None:
    assert of_one(RETURNED_BY_FLOWS[name]) == RETURNED[name]


@pytest.mark.parametrize("name", ["confined", "peers"])
def test_the_columns_of_a_result_say_the_same_where_it_is_asked_for(name: str) -> None:
    asked_for = yaml.safe_load(packet_access_info.RETURN)[name]
    assert asked_for["contains"] == RETURNED_BY_FLOWS[name]["contains"]
