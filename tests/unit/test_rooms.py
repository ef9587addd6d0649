# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the packages of plugins/module_utils may import, as CONTRIBUTING.md says it."""

import ast
import re
from collections.abc import Iterator

import pytest

from tests.collection_tree import ROOT

MODULE_UTILS = ROOT / "plugins" / "module_utils"
PREFIX = "ansible_collections.senet.firewall.plugins.module_utils."
TABLE = re.findall(r"^\| `(_\w+)` \|.*\| (.*) \|$", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
ORDER = [room for room, dummy in TABLE]
MAY_IMPORT = {
    room: set(ORDER[:number] if said == "all above" else re.findall(r"`(\w+)`", said)) | {room}
    for number, (room, said) in enumerate(TABLE)
}
PURE = ("_values", "_compile", "_decisions")
NO_INPUT = {
    "array", "collections", "contextlib", "datetime", "fnmatch", "functools", "ipaddress", "itertools", "json", "re",
    "sys", "typing",
}  # fmt: skip
# datetime does no more than count, but for these
CLOCKS = {"now", "utcnow", "today"}
# They only turn an address into text
TEXT_OF_ADDRESSES = {"AF_INET", "AF_INET6", "inet_ntop"}


def imports(room: str) -> Iterator[tuple[str, str, set[str]]]:
    """File, module and names of each import in a room, also those inside functions."""
    for path in sorted((MODULE_UTILS / room).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert node.module, f"{path}: Ansible's packer needs the full name"
                yield f"{room}.{path.stem}", node.module, {alias.name for alias in node.names}
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    yield f"{room}.{path.stem}", alias.name, set()


def test_the_rooms_are_those_that_contributing_lists() -> None:
    assert set(ORDER) == {path.name for path in MODULE_UTILS.iterdir() if path.name != "__pycache__"}


def test_the_architecture_page_has_the_rooms_and_its_files_are_there() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    assert sorted(re.findall(r"^- `(_\w+)`: ", page, re.MULTILINE)) == sorted(ORDER)
    named = re.findall(r"`(_\w+/\w+\.py)`", page)
    assert {name.split("/")[0] for name in named} == set(ORDER)
    assert [name for name in named if not (MODULE_UTILS / name).is_file()] == []


@pytest.mark.parametrize("room", ORDER)
def test_a_room_imports_those_it_may(room: str) -> None:
    for file, module, dummy in imports(room):
        if module.startswith(PREFIX):
            assert module.removeprefix(PREFIX).split(".")[0] in MAY_IMPORT[room], file


@pytest.mark.parametrize("room", PURE)
def test_a_pure_room_does_no_input_or_output(room: str) -> None:
    for file, module, names in imports(room):
        if module == "socket":
            assert set() < names <= TEXT_OF_ADDRESSES, file
        elif not module.startswith(PREFIX):
            assert module in NO_INPUT, file
    calls = [node.func for path in (MODULE_UTILS / room).glob("*.py") for node in ast.walk(ast.parse(path.read_text()))
             if isinstance(node, ast.Call)]  # fmt: skip
    assert not [call for call in calls if isinstance(call, ast.Name) and call.id in ("open", "print", "input")]
    assert not [call for call in calls if isinstance(call, ast.Attribute) and call.attr in CLOCKS]


def test_a_look_gets_all_its_input_from_its_host() -> None:
    """Else :mod:`_agent.unchanged` would not know of it. A clock is asked only of a change that waits, and the audit
    log only by a module that changes nothing."""
    for file, module, names in imports("_change"):
        if module.startswith(f"{PREFIX}_host"):
            no_input = {"Host", "Pending", "INTENT_PATH", "boot_id", "clock", "new_token", "locked_message"}
            assert file == "_change.denial_records" or names <= no_input, file
        elif not module.startswith(PREFIX):
            assert module in NO_INPUT, file


def test_no_imports_make_a_circle() -> None:
    arrows: dict[str, set[str]] = {}
    for room in ORDER:
        for file, module, names in imports(room):
            here = module.removeprefix(PREFIX)
            found = {here} if "." in here else {f"{here}.{name}" for name in names}
            arrows.setdefault(file, set()).update(found if module.startswith(PREFIX) else ())
    while arrows:
        free = [file for file, others in arrows.items() if not others & set(arrows)]
        assert free, f"in a circle: {sorted(arrows)}"
        arrows = {file: others for file, others in arrows.items() if file not in free}
