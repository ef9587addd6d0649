# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from pathlib import Path
from typing import Optional

import pytest

from ansible_collections.senet.firewall.plugins.module_utils._change import change, engine
from ansible_collections.senet.firewall.plugins.module_utils._host.mptcp import is_unlabelled_mptcp
from ansible_collections.senet.firewall.plugins.module_utils._values import requests
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import FlowSet, flow_set
from tests.unit.flows import WEB_DB, flow
from tests.unit.scripted_host import ScriptedHost

HAS_IT = "0000000000000000 T security_mptcp_add_subflow\n"
CONFINED = flow_set([flow()], {"httpd_t": "enforce"}.items())
OBSERVED = flow_set([flow(mode="observe")], {"httpd_t": "observe"}.items())


@pytest.mark.parametrize(
    ("enabled", "release", "symbols", "unlabelled"),
    [
        pytest.param("1\n", "6.1.0-40-cloud-amd64\n", "ffff T security_file_open\n", True, id="debian-12"),
        pytest.param("0\n", "6.1.0-40-cloud-amd64\n", "", False, id="turned-off"),
        pytest.param(None, "4.18.0-553.el8.x86_64\n", "", False, id="without-mptcp"),
        pytest.param("1\n", "5.14.0-503.el9.x86_64\n", HAS_IT, False, id="backported"),
        pytest.param("1\n", "5.14.0-70.el9.x86_64\n", None, True, id="old-without-a-table-of-symbols"),
        pytest.param("1\n", "6.5.0\n", None, False, id="new-without-a-table-of-symbols"),
        pytest.param("1\n", "6.12.57+deb13-amd64\n", "", False, id="debian-13"),
        pytest.param("1\n", "7.0.1\n", "", False, id="later"),
    ],
)
def test_whether_mptcp_is_a_way_past_the_domains(
    tmp_path: Path, enabled: Optional[str], release: str, symbols: Optional[str], unlabelled: bool
) -> None:
    files = {"sys/net/mptcp/enabled": enabled, "sys/kernel/osrelease": release, "kallsyms": symbols}
    for name, text in files.items():
        if text is not None:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
    assert is_unlabelled_mptcp(str(tmp_path)) == unlabelled


def warnings(host: ScriptedHost, flows: FlowSet) -> list[str]:
    outcome = engine.run(host.host(), requests.Replace(flows), change.Options(0, "t1"), check_mode=False)
    return [warning for warning in outcome.warnings if "MPTCP" in warning]


def test_a_confinement_that_mptcp_leads_around_is_told_in_every_run() -> None:
    host = ScriptedHost()
    host.unlabelled_mptcp = True
    said = warnings(host, CONFINED)
    assert len(said) == 2
    assert "the confined domain 'httpd_t' reaches what no flow allows when it uses MPTCP" in said[0]
    assert "sysctl -w net.mptcp.enabled=0" in said[0]
    assert "are cut off where the flow is enforced, and logged as kernel_t" in said[1]
    assert warnings(host, CONFINED) == said[:1]


@pytest.mark.parametrize("flows", [WEB_DB, OBSERVED])
def test_programs_that_use_mptcp_are_told_of_once_where_nobody_is_confined(flows: FlowSet) -> None:
    host = ScriptedHost()
    host.unlabelled_mptcp = True
    assert len(warnings(host, flows)) == 1
    assert warnings(host, flows) == []


def test_nothing_is_said_where_mptcp_has_labels() -> None:
    assert warnings(ScriptedHost(), CONFINED) == []
