# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.senet.firewall.plugins.filter.role_variables import role_variables
from ansible_collections.senet.firewall.plugins.test.collection_installed import collection_installed

OPTIONS = ["a_to_b_mode", "a_to_b_ports"]


def test_the_set_variables_of_a_role_are_found_by_option() -> None:
    names = ["a_to_b_mode", "senet_firewall_layers", "other", "a_to_b", "a_to_b_result"]
    assert role_variables(names, "a_to_b", OPTIONS) == {"mode": "a_to_b_mode"}


def test_a_variable_of_a_role_with_a_longer_name_is_not_this_ones() -> None:
    roles = ["a_to_b", "a_to_b_local", "service_pair"]
    assert role_variables(["a_to_b_local_mode"], "a_to_b", OPTIONS, roles) == {}
    with pytest.raises(AnsibleFilterError, match="'a_to_b_locl_mode' is none of the role a_to_b.*write 'a_to_b_mode'"):
        role_variables(["a_to_b_locl_mode"], "a_to_b", OPTIONS, roles)


@pytest.mark.parametrize("name", ["senet_firewall_health_check", "senet_firewall_flows"])
def test_a_variable_that_no_role_has_is_refused(name: str) -> None:
    with pytest.raises(AnsibleFilterError, match=f"'{name}' is none of the collection senet.firewall"):
        role_variables([name], "a_to_b", OPTIONS)


def test_a_collection_is_there_or_not() -> None:
    assert collection_installed("senet.firewall")
    assert not collection_installed("senet.nothing")
    assert not collection_installed("nobody.nothing")
