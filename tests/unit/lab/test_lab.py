# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of the lab that need no virtual machine."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

from tests.lab.image import Image
from tests.lab.qemu import Drive, command_line
from tests.lab.states import recipe_digest, recipes, to_prune


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
    keys = {recipe_digest(*case, recipes("stock")) for case in cases}
    assert len(keys) == 4


def test_pruning_keeps_the_current_and_the_last_used(tmp_path: Path) -> None:
    for age, name in enumerate(("a", "b", "c", "d")):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (age, age))
    assert to_prune(tmp_path.iterdir(), tmp_path / "a") == [tmp_path / "b", tmp_path / "c"]
