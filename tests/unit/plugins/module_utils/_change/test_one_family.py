# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flows whose addresses are of one family, on a host that has two."""

from pathlib import Path

import pytest

from ansible_collections.senet.firewall.plugins.module_utils._change import change, engine
from ansible_collections.senet.firewall.plugins.module_utils._compile import iptables, nftables
from ansible_collections.senet.firewall.plugins.module_utils._host.netfilter import Netfilter
from ansible_collections.senet.firewall.plugins.module_utils._values import requests
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import FlowSet, flow_set
from tests.unit.commands import Commands
from tests.unit.flows import flow
from tests.unit.scripted_host import ScriptedHost

LOCAL = "Local:\n  +-- 127.0.0.0/8 2 0 2\n     |-- 127.0.0.1\n        /32 host LOCAL\n"
BOTH = ["192.0.2.20", "2001:db8::20"]


def warnings(host: ScriptedHost, flows: FlowSet, check_mode: bool = False) -> list[str]:
    outcome = engine.run(host.host(), requests.Replace(flows), change.Options(0, "t0"), check_mode)
    return [warning for warning in outcome.warnings if "stay open" in warning]


@pytest.mark.parametrize(
    ("addresses", "host", "open_family"),
    [
        (["192.0.2.20"], [4, 6], "IPv6"),
        (["192.0.2.20", "127.0.0.1"], [4, 6], "IPv6"),
        (["::1"], [4, 6], "IPv4"),
        (["192.0.2.20"], [4], ""),
        (["2001:db8::20"], [6], ""),
        (BOTH, [4, 6], ""),
        ([], [4, 6], ""),
    ],
)
def test_servers_of_one_family_are_warned_about_where_the_host_has_the_other(
    addresses: list[str], host: list[int], open_family: str
) -> None:
    scripted = ScriptedHost()
    scripted.ip = host
    flows = flow_set([flow(destination_addresses=addresses)])
    told = [f"over {open_family} its ports stay open to everybody"] if open_family else []
    for check_mode in (True, False, True, False):
        found = warnings(scripted, flows, check_mode)
        assert len(found) == len(told)
        assert all(part in one and "'web_db'" in one for part, one in zip(told, found, strict=True))


def test_clients_of_one_family_need_no_warning_since_the_other_is_refused() -> None:
    flows = flow_set([flow(source_addresses=["192.0.2.7"])])
    assert warnings(ScriptedHost(), flows) == []
    refused = flows.flows[0].refused_type
    rules = iptables.compile_rules(flows, "ipv6")
    assert any(refused in rule for rule in rules)
    assert not any(name in rule for rule in rules for name in flows.flows[0].packet_types if name != refused)
    # nft says the family in the rule: none for IPv6, and the refusal without one.
    lines = [line for line in nftables.compile_rules(flows) if f'set "{refused}"' in line]
    assert lines
    assert not any(" ip " in line or " ip6 " in line or "nfproto" in line for line in lines)


@pytest.mark.parametrize(
    ("files", "versions"),
    [
        ({"fib_trie": LOCAL, "if_inet6": "00000000000000000000000000000001 01 80 10 80       lo\n"}, [4, 6]),
        ({"fib_trie": LOCAL}, [4]),
        ({"fib_trie": "", "if_inet6": ""}, []),
    ],
)
def test_the_host_is_asked_for_its_versions_of_ip(tmp_path: Path, files: dict[str, str], versions: list[int]) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    commands = Commands()
    assert Netfilter(commands.run, commands.find, str(tmp_path)).versions() == versions
