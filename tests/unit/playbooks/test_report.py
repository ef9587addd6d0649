# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook report: one page and one JSON file, with a host that does not answer, and nothing changed on any."""

import json
import stat
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.collection_tree import ROOT
from tests.unit.playbooks.fleet import Fleet

pytestmark = pytest.mark.long

HOSTILE = "<script>alert('{{ 7 * 7 }}')</script>"
_STUB = """
import os
from ansible.module_utils.basic import AnsibleModule
module = AnsibleModule(argument_spec={{"since": {{"type": "str"}}}}, supports_check_mode=True)
if os.environ["SENET_HOST"] == "web2":
    module.fail_json(msg="The record is damaged.")
module.exit_json(changed=False, **{result!r})
"""
RECORD: dict[str, Any] = {
    "flows": [
        {"name": "web_db", "source": ["httpd_t"], "destination": ["postgresql_t"], "protocol": "tcp", "ports": ["5432"],
         "mode": "enforce"}
    ],
    "confine": {}, "layers": ["selinux"], "backend": "nftables", "selinux": "enforcing", "pending": None,
    "outcome": None, "repaired": None, "drift": [],
}  # fmt: skip
ACCESS: dict[str, Any] = {"access": [], "findings": []}
GROUP = {
    "verdict": "refused", "domain": "unconfined_t", "users": [], "flow": "web_db", "side": "client", "direction": "out",
    "protocol": "tcp", "port": 5432, "clients": ["::1"], "servers": ["::1"], "classes": ["packet"],
    "permissions": ["send"], "count": 3, "first": "2026-11-21T14:31:38Z", "last": "2026-11-21T14:31:38Z",
    "processes": [{"pid": 7, "command": HOSTILE}], "processes_reliable": False,
    "advice": [{"kind": "as_asked", "text": "That is what it is for."}],
}  # fmt: skip


class ReportFleet(Fleet):
    """A fleet whose hosts say these things of themselves."""

    def says(self, name: str, result: dict[str, Any]) -> None:
        self._plugin("modules", name).write_text(_STUB.format(result=result))


@pytest.fixture
def fleet(tmp_path: Path) -> ReportFleet:
    made = ReportFleet(tmp_path, webservers=3)
    made.says("flows_info", RECORD)
    made.says("packet_access_info", ACCESS)
    made.says("packet_denial_info", {"groups": [GROUP], "lost": False})
    return made


def test_one_page_and_one_file_with_every_host(fleet: ReportFleet, tmp_path: Path) -> None:
    fleet.down("web3")
    place = tmp_path / "out"
    place.mkdir()
    job = fleet.run("report", senet_report_directory=str(place), senet_report_since="2h")
    assert job.status == "successful", job.output
    data = json.loads((place / "senet-report.json").read_text())
    jsonschema.validate(data, json.loads((ROOT / "docs" / "report.schema.json").read_text()))
    states = {host["name"]: host["state"] for host in data["hosts"]}
    assert states == {"web1": "enforced", "db1": "enforced", "web2": "unknown", "web3": "unknown"}
    assert (data["since"], data["summary"]["refused"]) == ("2h", 6)
    problems = {host["name"]: " ".join(host["problems"]) for host in data["hosts"]}
    assert "The record is damaged." in problems["web2"]
    assert "flows_info did not answer" in problems["web3"]
    page = (place / "senet-report.html").read_text()
    assert "&lt;script&gt;alert(&#39;{{ 7 * 7 }}&#39;)&lt;/script&gt;" in page
    assert "<script" not in page
    for name in ("senet-report.json", "senet-report.html"):
        assert stat.S_IMODE((place / name).stat().st_mode) == 0o600


def test_hosts_are_chosen_and_check_mode_writes_nothing(fleet: ReportFleet, tmp_path: Path) -> None:
    job = fleet.run("report", "--check", senet_report_directory=str(tmp_path), senet_hosts="databases")
    assert job.status == "successful", job.output
    assert list(tmp_path.glob("senet-report*")) == []
    job = fleet.run("report", senet_report_directory=str(tmp_path), senet_hosts="databases")
    data = json.loads((tmp_path / "senet-report.json").read_text())
    assert [host["name"] for host in data["hosts"]] == ["db1"]
