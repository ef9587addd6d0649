# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a guest's image is built from, and which older ones go."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.lab.bases import apt_options, base_name, guest_packages, one_line_sources
from tests.lab.building import digest
from tests.lab.errors import LabError
from tests.lab.guests import GUESTS, RENAMED, Guest, guest_named, packages
from tests.lab.image import GUEST, ensure_image, guest_files, image_inputs, images_to_prune
from tests.lab.policy import SOURCE_VARIABLE

TARGETS = """\
http://m.example/debian/ bookworm main
http://m.example/debian/ bookworm contrib
http://m.example/debian/ bookworm-backports main
http://s.example/sec/ bookworm-security main
"""


def test_digest_depends_on_names_and_contents_only() -> None:
    assert digest({"a": b"1", "b": b"2"}) == digest({"b": b"2", "a": b"1"})
    others = [{"a": b"1"}, {"a": b"2", "b": b"1"}, {"a": b"1b", "": b"2"}, {"a": b"1", "b": b"2", "c": b""}]
    assert len({digest(inputs) for inputs in [{"a": b"1", "b": b"2"}, *others]}) == 5


def test_sources_of_the_suite_become_one_line_entries() -> None:
    assert one_line_sources(TARGETS + "http://m.example/debian/ trixie main\n", "bookworm") == [
        "deb http://m.example/debian/ bookworm main contrib",
        "deb http://m.example/debian/ bookworm-backports main",
        "deb http://s.example/sec/ bookworm-security main",
    ]


def test_another_suite_comes_from_the_same_mirrors() -> None:
    assert one_line_sources(TARGETS, "trixie") == [
        "deb http://m.example/debian/ trixie main",
        "deb http://s.example/sec/ trixie-security main",
    ]


def test_of_a_suite_whose_updates_are_gone_only_the_release_is_used() -> None:
    assert one_line_sources(TARGETS, "bullseye") == ["deb http://m.example/debian/ bullseye main"]


@pytest.mark.parametrize("targets", ["", "http://m.example/debian/ bookworm-security main\n"])
def test_a_machine_without_a_suite_leaves_the_choice_to_mmdebstrap(targets: str) -> None:
    assert one_line_sources(targets, "bookworm") == []


def test_only_options_about_reaching_mirrors_are_taken() -> None:
    lines = ('APT::Architecture "amd64"', 'Acquire::http::Proxy "http://proxy:3128"', 'Acquire::http::Proxy::h ""')
    dump = "".join(f"{line};\n" for line in lines)
    assert apt_options(dump) == ['Acquire::http::Proxy "http://proxy:3128"']


def test_packages_are_the_list_s_as_the_suite_calls_them_and_the_kernel() -> None:
    assert packages(Guest("bookworm", "linux"), "spamd\n\n b \n") == ["b", "linux", "spamd"]
    assert packages(Guest("bullseye", "linux"), "spamd\n\n b \n") == ["b", "linux", "spamassassin"]


def test_a_renamed_package_is_in_the_list() -> None:
    names = guest_packages(Guest("bookworm"))
    assert [name for renamed in RENAMED.values() for name in renamed if name not in names] == []


def test_an_unknown_guest_is_refused_with_those_that_are() -> None:
    with pytest.raises(LabError, match="There is no guest debian1: choose one of debian12, debian13"):
        guest_named("debian1")


def test_guests_of_one_suite_share_its_packages_and_no_image() -> None:
    stock, fedora = GUESTS["debian12"], GUESTS["debian12-fedora"]
    assert base_name(stock) == base_name(fedora)
    assert len({digest(image_inputs(guest)) for guest in GUESTS.values()}) == len(GUESTS)


def test_an_image_depends_on_its_policy_and_a_stock_one_not_on_files_for_fedora_s() -> None:
    fedora = GUESTS["debian12-fedora"]
    assert digest(image_inputs(fedora, "one")) != digest(image_inputs(fedora, "another"))
    only_there = set(guest_files(fedora)) - set(guest_files(GUESTS["debian12"]))
    assert GUEST / "fedora/paths.cil" in only_there
    assert all(GUEST / "fedora" in path.parents for path in only_there)


def test_a_guest_with_fedora_s_policy_needs_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SOURCE_VARIABLE, raising=False)
    monkeypatch.setattr("tests.lab.policy.SHARED", tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(LabError, match="No source of Fedora's policy is known: set SENET_POLICY_SOURCE"):
        ensure_image(print, "debian12-fedora")
    assert list(tmp_path.iterdir()) == []


def test_pruning_images_keeps_the_current_the_last_used_and_other_guests(tmp_path: Path) -> None:
    for age, name in enumerate(("debian12-a", "debian12-fedora-b", "debian12-c", "debian12-d", "debian12-building")):
        (tmp_path / name).mkdir()
        if name != "debian12-building":
            (tmp_path / name / "disk.raw").touch()
        os.utime(tmp_path / name, (age, age))
    assert images_to_prune(tmp_path, "debian12", tmp_path / "debian12-a") == [tmp_path / "debian12-c"]
    assert images_to_prune(tmp_path, "debian12-fedora", tmp_path / "debian12-fedora-x") == []
