# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules that other programs saved while flows were in force."""

from pathlib import Path

import pytest

from ansible_collections.senet.firewall.plugins.module_utils._change import change, engine
from ansible_collections.senet.firewall.plugins.module_utils._compile import nftables
from ansible_collections.senet.firewall.plugins.module_utils._host.saved_rules import saved_rules
from ansible_collections.senet.firewall.plugins.module_utils._values import requests
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import FlowSet, flow_set
from tests.unit.flows import WEB_DB, flow
from tests.unit.scripted_host import ScriptedHost

RENAMED = flow_set([flow("webdb")])
FILES = {
    "iptables": ("/etc/iptables/rules.v4", "/etc/sysconfig/iptables"),
    "nftables": ("/etc/nftables.conf", "/etc/nftables/main.nft"),
}


def warnings(host: ScriptedHost, flows: FlowSet, check_mode: bool = False) -> list[str]:
    outcome = engine.run(host.host(), requests.Replace(flows), change.Options(0, "t0"), check_mode)
    return [warning for warning in outcome.warnings if "saved by another program" in warning]


@pytest.mark.parametrize("backend", FILES)
@pytest.mark.parametrize("after", [RENAMED, FlowSet(())], ids=["renamed", "removed"])
def test_saved_rules_with_types_that_go_are_told_by_file_and_line(backend: str, after: FlowSet) -> None:
    host = ScriptedHost()
    assert warnings(host, WEB_DB) == []
    text = host.families["ipv4"].save() if backend == "iptables" else "\n".join(nftables.compile_rules(WEB_DB))
    host.saved_rules = dict.fromkeys(FILES[backend], text) | {"/etc/iptables/rules.v6": "*filter\nCOMMIT\n"}
    # As long as the flow is there its types are, too.
    assert warnings(host, WEB_DB) == []
    gone = [
        number
        for number, line in enumerate(text.splitlines(), 1)
        if "object_r:senet_web_db" in line or (after.empty and "object_r:senet_default" in line)
    ]
    for check_mode in (True, False, False):
        found = warnings(host, after, check_mode)
        assert [one.split(" ")[0] for one in found] == list(FILES[backend])
        assert all(f": line {gone[0]} (and {len(gone) - 1} more) names" in one for one in found)


def test_the_files_of_every_distribution_family_are_read(tmp_path: Path) -> None:
    paths = ["etc/iptables/rules.v4", "etc/iptables/rules.v6", "etc/sysconfig/iptables", "etc/sysconfig/ip6tables",
             "etc/nftables.conf", "etc/sysconfig/nftables.conf", "etc/nftables/main.nft"]  # fmt: skip
    for path in [*paths, "etc/nftables/readme", "etc/iptables/other"]:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(path)
    assert saved_rules(str(tmp_path)) == {str(tmp_path / path): path for path in paths}
    assert saved_rules(str(tmp_path / "nowhere")) == {}
