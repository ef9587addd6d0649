# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of the lab that need no virtual machine."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest

from tests.lab.image import Image, apt_options, digest, one_line_sources, packages
from tests.lab.qemu import Drive, command_line
from tests.lab.states import recipe_digest, to_prune


def test_digest_depends_on_names_and_contents_only() -> None:
    assert digest({"a": b"1", "b": b"2"}) == digest({"b": b"2", "a": b"1"})
    others = [{"a": b"1"}, {"a": b"2", "b": b"1"}, {"a": b"1b", "": b"2"}, {"a": b"1", "b": b"2", "c": b""}]
    assert len({digest(inputs) for inputs in [{"a": b"1", "b": b"2"}, *others]}) == 5


def test_sources_of_the_suite_become_one_line_entries() -> None:
    targets = (
        "http://m.example/debian/ bookworm main\nhttp://m.example/debian/ bookworm contrib\n"
        "http://s.example/sec/ bookworm-security main\nhttp://m.example/debian/ trixie main\n"
    )
    assert one_line_sources(targets, "bookworm") == [
        "deb http://m.example/debian/ bookworm main contrib",
        "deb http://s.example/sec/ bookworm-security main",
    ]


@pytest.mark.parametrize("release", ["", "trixie", "bookworm-security"])
def test_a_machine_without_the_suite_leaves_the_choice_to_mmdebstrap(release: str) -> None:
    assert one_line_sources(f"http://m.example/debian/ {release} main\n" if release else "", "bookworm") == []


def test_only_options_about_reaching_mirrors_are_taken() -> None:
    lines = ('APT::Architecture "amd64"', 'Acquire::http::Proxy "http://proxy:3128"', 'Acquire::http::Proxy::h ""')
    dump = "".join(f"{line};\n" for line in lines)
    assert apt_options(dump) == ['Acquire::http::Proxy "http://proxy:3128"']


def test_package_list_has_no_blanks() -> None:
    assert packages("a\n\n b \n") == ["a", "b"]


def drive(name: str, link: Path | None, incoming: Path | None) -> Drive:
    return Drive(name, "tcg", Path("/r/disk.qcow2"), Path("/r"), 2222, link, incoming)


def devices(command: list[str]) -> list[str]:
    return [command[index + 1].split(",")[0] for index, word in enumerate(command) if word == "-device"]


def test_a_state_fits_hosts_with_and_without_link() -> None:
    alone = command_line(Image(Path("/i")), drive("web", None, None))
    linked = command_line(Image(Path("/i")), drive("db", Path("/l"), Path("/s/ram")))
    assert devices(alone) == devices(linked)
    assert "-incoming" not in alone
    assert linked[linked.index("-incoming") + 1] == "exec:cat '/s/ram'"


def test_the_two_ends_of_the_link_point_at_each_other() -> None:
    commands = [command_line(Image(Path("/i")), drive(name, Path("/l"), None)) for name in ("web", "db")]
    web, db = (next(word for word in command if word.startswith("dgram")) for command in commands)
    assert "local.path=/l/web,remote.type=unix,remote.path=/l/db" in web
    assert "local.path=/l/db,remote.type=unix,remote.path=/l/web" in db


def test_ssh_is_forwarded_from_the_loopback_only() -> None:
    command = command_line(Image(Path("/i")), drive("web", None, None))
    assert [word for word in command if "hostfwd" in word] == [
        "user,id=ssh,restrict=on,ipv6=off,hostfwd=tcp:127.0.0.1:2222-:22"
    ]


def test_a_derived_state_depends_on_what_it_is_made_from() -> None:
    cases = itertools.product(("booted", "slim"), ("QEMU 1", "QEMU 2"))
    keys = {recipe_digest(*case) for case in cases}
    assert len(keys) == 4


def test_pruning_keeps_the_current_and_the_last_used(tmp_path: Path) -> None:
    for age, name in enumerate(("a", "b", "c", "d")):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (age, age))
    assert to_prune(tmp_path.iterdir(), tmp_path / "a") == [tmp_path / "b", tmp_path / "c"]
