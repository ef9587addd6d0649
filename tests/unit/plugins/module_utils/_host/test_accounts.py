# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from pathlib import Path
from typing import Optional

import pytest

from ansible_collections.senet.firewall.plugins.module_utils._compile.owner import Accounts, Cgroup
from ansible_collections.senet.firewall.plugins.module_utils._host.accounts import HostAccounts
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from tests.unit.commands import Commands

CONTROL_GROUPS = [f"ControlGroup={path}" for path in ("", "/system.slice/b.service", "/system.slice/just-gone.service")]


def accounts(root: Path, answer: str = "", code: int = 0) -> tuple[HostAccounts, Commands]:
    commands = Commands("systemctl")
    commands.answers["/sbin/systemctl"] = (code, answer, "")
    return HostAccounts(commands.run, commands.find, str(root), str(root / "os-release")), commands


@pytest.mark.parametrize(
    ("text", "family"),
    [
        ('NAME="Debian GNU/Linux"\nID=debian\n', "Debian"),
        ("ID=ubuntu\nID_LIKE=debian\n", "Debian"),
        ('ID="rhel"\nID_LIKE="fedora"\n', "RedHat"),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"\n', "RedHat"),
        ("ID=fedora\nVERSION_ID=41\n", "RedHat"),
        ("ID=arch\nBUILD_ID=debian\n", None),
    ],
)
def test_the_distribution_family(tmp_path: Path, text: str, family: Optional[str]) -> None:
    (tmp_path / "os-release").write_text(text)
    assert accounts(tmp_path)[0].distribution() == family


def test_without_os_release_there_is_no_family(tmp_path: Path) -> None:
    assert accounts(tmp_path)[0].distribution() is None


def test_users_are_looked_up_by_name_and_numbers_are_taken_as_they_are(tmp_path: Path) -> None:
    found = accounts(tmp_path)[0].look_up(["root", "nobody", "65533", "no-such-user"], [])
    assert found == Accounts({"root": 0, "nobody": 65534, "65533": 65533}, {})


def test_units_that_run_have_a_control_group_with_a_number(tmp_path: Path) -> None:
    group = tmp_path / "system.slice" / "b.service"
    group.mkdir(parents=True)
    host, commands = accounts(tmp_path, "\n\n".join(CONTROL_GROUPS))
    found = host.look_up([], ["c.service", "b.service", "a.service"])
    assert found.units == {"b.service": Cgroup("system.slice/b.service", group.stat().st_ino)}
    assert commands.lines == ["/sbin/systemctl show --property=ControlGroup -- a.service b.service c.service"]


def test_units_that_systemd_does_not_know(tmp_path: Path) -> None:
    host, dummy = accounts(tmp_path, "LoadState=loaded\n\nLoadState=not-found\n")
    assert host.unknown_units(["a.service", "b.service"]) == ["b.service"]


@pytest.mark.parametrize(("answer", "code"), [("", 1), ("ControlGroup=\nLoadState=loaded\n", 1), ("", 0)])
def test_where_systemd_does_not_answer_no_unit_counts_as_stopped(tmp_path: Path, answer: str, code: int) -> None:
    host, dummy = accounts(tmp_path, answer, code)
    for ask in (host.unknown_units, lambda units: host.look_up([], units)):
        with pytest.raises(SenetError, match=r"did not answer about the units a.service \(it says nothing\); run"):
            ask(["a.service"])


def test_without_systemd_no_unit_is_known(tmp_path: Path) -> None:
    commands = Commands()
    host = HostAccounts(commands.run, commands.find, str(tmp_path))
    assert host.unknown_units(["a.service"]) == ["a.service"]
    assert host.look_up([], ["a.service"]).units == {}


def test_only_control_groups_of_version_2_can_be_matched(tmp_path: Path) -> None:
    host, dummy = accounts(tmp_path)
    assert not host.matches_cgroups()
    (tmp_path / "cgroup.controllers").touch()
    assert host.matches_cgroups()
