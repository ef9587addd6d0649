# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of the lab's User Mode Linux that need no machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab import uml
from tests.lab.errors import LabError
from tests.lab.image import Image
from tests.lab.machines import choose_kind, emptiest
from tests.lab.uml_kernel import Kernel, missing_options, source_package


def test_the_source_is_the_one_the_metapackage_depends_on() -> None:
    shown = "Package: linux-source\nDepends: linux-source-7.3 (= 7.3.4-1~bpo13+1)\n"
    assert source_package(shown) == "linux-source-7.3"
    with pytest.raises(LabError, match="has no package linux-source"):
        source_package("")


def test_an_option_that_the_source_does_not_know_is_found() -> None:
    fragment = "# why\nCONFIG_A=y\nCONFIG_B=y\nCONFIG_C=n\n"
    assert missing_options(fragment, "CONFIG_A=y\n# CONFIG_B is not set\n") == ["CONFIG_B=y"]


@pytest.mark.parametrize(("name", "mac"), [("web", "01"), ("db", "02"), ("lab", "ff")])
def test_every_machine_has_both_nics(name: str, mac: str) -> None:
    command = uml.command_line(Kernel(Path("/k")), Image(Path("/i")), name, Path("/r/disk.cow"))
    nics = [word for word in command if word.startswith("vec")]
    assert [nic.partition("mac=")[2] for nic in nics] == ["52:54:00:77:ff:01", f"52:54:00:77:00:{mac}"]
    assert "ubd0c=/r/disk.cow,/i/disk.raw" in command


@pytest.mark.parametrize(("taken", "core"), [([], 0), ([0], 1), ([0, 1], 2), ([0, 1, 2], 0), ([2, 1, 0, 0, 2, 7], 1)])
def test_a_machine_goes_to_the_core_with_the_fewest(taken: list[int], core: int) -> None:
    assert emptiest([0, 1, 2], taken) == core


def test_a_machine_that_cannot_have_it_says_so_and_uses_qemu(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr("shutil.which", lambda name: name)
    monkeypatch.setattr(uml, "why_not", lambda: "its network needs root")
    assert choose_kind(None, lines.append) == "qemu"
    assert lines == [
        "User Mode Linux cannot run here (its network needs root): using QEMU, which is several times slower"
    ]
    with pytest.raises(LabError, match="its network needs root"):
        choose_kind("uml", lines.append)
    monkeypatch.setattr(uml, "why_not", lambda: None)
    assert choose_kind(None, lines.append) == "uml"
    assert choose_kind("qemu", lines.append) == "qemu"
    with pytest.raises(LabError, match="no kind of machine kvm: use uml or qemu"):
        choose_kind("kvm", lines.append)
