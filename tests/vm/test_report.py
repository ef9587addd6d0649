# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of two hosts is one command; what they refused is in it, and a process's name is text on its page."""

import json

import pytest

from tests.collection_tree import ROOT
from tests.lab.controller import Controller
from tests.lab.lab import Lab
from tests.lab.probes import connect

WEB, DB = "10.77.0.1", "10.77.0.2"
PAIR = {"pair": "httpd_to_postgresql"}
PROBE = "/run/<b>x"
REPORT = ROOT / "playbooks" / "report.yml"


@pytest.mark.thorough
def test_one_command_for_two_hosts(lab: Lab) -> None:
    with (
        lab.start("web", state="slim", link=True) as web,
        lab.start("db", state="slim", link=True) as db,
        Controller(web, db) as controller,
    ):
        for host, addresses in ((web, {"destination_addresses": [DB, "127.0.0.0/8", "::1"]}),
                                (db, {"source_addresses": [WEB]})):  # fmt: skip
            made = controller.module(host, "senet.firewall.flows", flows=[{**PAIR, **addresses}])
            assert made.get("changed"), made
        web.run(f"cp $(command -v senet-probe) '{PROBE}'")
        web.run(f"'{PROBE}' connect 127.0.0.1 5432", check=False)
        assert connect(web, DB, 5432).result == "refused"
        out = controller.path / "out"
        out.mkdir()
        done = controller.playbook(REPORT, "-e", f"senet_report_directory={out}")
        assert done.rc == 0, done.output
        data = json.loads((out / "senet-report.json").read_text())
        hosts = {host["name"]: host for host in data["hosts"]}
        assert {name: host["state"] for name, host in hosts.items()} == {"web": "enforced", "db": "enforced"}
        assert [flow["hosts"] for flow in data["flows"]] == [["db", "web"]]
        refused = [one for one in hosts["web"]["denials"] if one["verdict"] == "refused"]
        assert {(one["domain"], one["flow"]) for one in refused} == {("unconfined_t", "httpd_to_postgresql")}
        assert {server for one in refused for server in one["servers"]} == {"127.0.0.1", DB}
        cells = {cell["domain"]: cell["granted"] for cell in hosts["web"]["access"]}
        assert (cells["httpd_t"], cells["postgresql_t"]) == (["connects"], ["serves"])
        page = (out / "senet-report.html").read_text()
        assert "&lt;b&gt;x" in page
        assert "<b>" not in page
        # To be looked at, and for the picture in the docs
        place = ROOT / "build" / "report"
        place.mkdir(parents=True, exist_ok=True)
        (place / "senet-report.html").write_text(page)

        db.run("setenforce 0")
        done = controller.playbook(REPORT, "-e", f"senet_report_directory={out}", "-e", "senet_hosts=db")
        assert done.rc == 0, done.output
        (alone,) = json.loads((out / "senet-report.json").read_text())["hosts"]
        assert (alone["name"], alone["state"]) == ("db", "not enforced")
