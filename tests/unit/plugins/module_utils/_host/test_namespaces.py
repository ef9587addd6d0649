# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Network namespaces of this machine. Needs root."""

import os
import subprocess
from pathlib import Path

import pytest

from ansible_collections.senet.firewall.plugins.module_utils._host import namespaces, netfilter
from ansible_collections.senet.firewall.plugins.module_utils._host.commands import find_command, run_command
from ansible_collections.senet.firewall.plugins.module_utils._host.netfilter import Netfilter
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from tests.unit.network_namespace import NetworkNamespace

RULES = "*security\n-A OUTPUT -j MARK --set-xmark 0x7/0xffffffff\nCOMMIT\n"


def inodes(paths: list[str]) -> list[int]:
    return [os.stat(path).st_ino for path in paths]


def test_a_namespace_of_a_process_is_found_once_and_our_own_is_not() -> None:
    with NetworkNamespace("nf_tables") as space:
        mine, other = (os.stat(f"/proc/{pid}/ns/net").st_ino for pid in ("self", space.holder))
        found = namespaces.other_namespaces(named=())
        assert inodes(found).count(other) == 1
        assert mine not in inodes(found)


def test_a_namespace_without_a_process_is_found_by_its_name_and_a_plain_file_is_none(tmp_path: Path) -> None:
    kept, plain = tmp_path / "kept", tmp_path / "plain"
    kept.touch()
    plain.touch()
    with NetworkNamespace("nf_tables") as space:
        subprocess.run(["mount", "--bind", f"/proc/{space.holder}/ns/net", kept], check=True)
    try:
        assert str(kept) in namespaces.other_namespaces(named=[str(tmp_path), "/nonexistent"])
        assert str(plain) not in namespaces.other_namespaces(named=[str(tmp_path)])
    finally:
        subprocess.run(["umount", kept], check=True)


def test_the_rules_of_another_namespace_are_read_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with NetworkNamespace("nf_tables") as space:
        path = f"/proc/{space.holder}/ns/net"
        monkeypatch.setattr(netfilter, "other_namespaces", lambda: [path])
        space.load("iptables-nft", RULES)
        texts = Netfilter(run_command, space.find).elsewhere(["ipv4", "ipv6", "inet"])[path]
    assert "-A OUTPUT -j MARK" in texts["ipv4"]
    assert "MARK" not in texts["ipv6"] + texts["inet"]


def test_a_namespace_that_has_ended_is_left_out_and_a_command_that_fails_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tools = Netfilter(run_command, find_command)
    monkeypatch.setattr(netfilter, "other_namespaces", lambda: [str(tmp_path / "gone")])
    assert tools.elsewhere(["ipv4"]) == {}
    (tmp_path / "gone").touch()
    with pytest.raises(SenetError, match="cannot read the rules"):
        tools.elsewhere(["ipv4"])


def test_without_nsenter_its_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netfilter, "other_namespaces", lambda: ["/proc/1/ns/net"])
    with pytest.raises(SenetError, match="'nsenter' is not on this host; install the package util-linux"):
        Netfilter(run_command, lambda name: None).elsewhere(["ipv4"])
