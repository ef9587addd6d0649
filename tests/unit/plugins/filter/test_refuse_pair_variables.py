# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible.utils.display import Display

from ansible_collections.senet.firewall.plugins.filter.refuse_pair_variables import refuse_pair_variables

PAIR = {"pair": "httpd_to_postgresql"}
ADDRESSES = "httpd_to_postgresql_source_addresses"


def handed_on(flows: Any, names: list[str], roles: tuple[str, ...] = ()) -> Any:
    return refuse_pair_variables(flows, names, "the role flow_set", "put {option} in the item of the pair", roles)


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    said: list[str] = []
    monkeypatch.setattr(Display, "warning", lambda self, text: said.append(text))
    return said


@pytest.mark.parametrize("flow", [PAIR, {**PAIR, "name": "db"}, '{"pair": "httpd_to_postgresql"}'])
@pytest.mark.parametrize("name", [ADDRESSES, "httpd_to_postgresql_source_adresses"])
def test_a_variable_of_a_pair_that_nobody_reads_is_refused(flow: Any, name: str) -> None:
    with pytest.raises(AnsibleFilterError) as error:
        handed_on([{"name": "x"}, flow], ["other", name])
    option = name.removeprefix("httpd_to_postgresql_")
    assert str(error.value) == (
        f"The variable '{name}' is one of the role httpd_to_postgresql, and the role flow_set does not read it, so it "
        f"would be ignored; put {option} in the item of the pair, or remove the variable."
    )


@pytest.mark.parametrize(
    ("flows", "names", "roles"),
    [
        ([{"pair": "httpd_to_redis"}], [ADDRESSES], ()),
        ([{"name": "httpd_to_postgresql"}], [ADDRESSES], ()),
        ([PAIR], ["httpd_to_postgresql_result", "httpd_to_postgresql"], ()),
        # The role is in the play and reads it
        ([PAIR], [ADDRESSES], ("senet.firewall.httpd_to_postgresql",)),
        ([PAIR], [ADDRESSES], ("httpd_to_postgresql",)),
        # One of another pair whose name this one begins
        ([{"pair": "named_to_named"}], ["domain_to_named_ports"], ()),
        ("nonsense", [ADDRESSES], ()),
        (None, [ADDRESSES], ()),
    ],
)
def test_what_somebody_reads_or_nobody_runs_is_handed_on(
    warnings: list[str], flows: Any, names: list[str], roles: tuple[str, ...]
) -> None:
    assert handed_on(flows, names, roles) is flows
    assert warnings == []


@pytest.mark.parametrize("prefix", ["httpd_to_postgres", "http_to_postgresql", "httpd_to_postgresl"])
def test_a_prefix_like_that_of_a_pair_is_warned_of(warnings: list[str], prefix: str) -> None:
    handed_on([PAIR], [f"{prefix}_source_addresses"])
    [said] = warnings
    assert f"The variable '{prefix}_source_addresses' is ignored here, since there is no pair '{prefix}'" in said
    assert "meant for the pair 'httpd_to_postgresql'" in said


@pytest.mark.parametrize("name", ["nginx_ports", "site_to_site_ports", "httpd_to_postgres_note", "httpd_to_redis_mode"])
def test_variables_of_other_roles_are_not_warned_of(warnings: list[str], name: str) -> None:
    handed_on([PAIR], [name])
    handed_on([PAIR], ["httpd_to_postgres_ports"], ("httpd_to_postgres",))
    assert warnings == []
