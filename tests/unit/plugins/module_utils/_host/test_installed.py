# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Optional

import pytest

from ansible_collections.senet.firewall.plugins.module_utils._host import compiled, installed
from tests.unit.labels import Labels
from tests.unit.owner import pretend_owner

ECHO = "import json\nfrom {0} import _words\n\ndef run(*call):\n    return json.dumps([_words.SAID, *call])\n"
SOURCES = {
    "_agent": (True, ""),
    "_agent.module_call": (False, ECHO.format(installed.PACKAGE)),
    "_words": (False, "SAID = 'one'\n"),
}  # fmt: skip
CALL = {"name": "flows"}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Where the compiled file is; the directories above it are taken for root's alone."""
    tmp_path.chmod(0o755)
    compiled.write(installed.compiled_path(str(tmp_path)), SOURCES)
    return tmp_path


def said(directory: Path, sources: Optional[compiled.Sources] = None, before: str = "") -> list[str]:
    """What the program prints in a process of its own, with the lines between dropped that are empty."""
    program = Path(installed.__file__).read_text(encoding="utf-8")
    # The directories that lead to the test's own belong to whoever runs it
    program += f"\nread = lambda path: open(path, 'rb').read()\n{before}\n"
    program += f"main({compiled.digest(sources or SOURCES)!r}, {CALL!r}, {str(directory)!r})\n"
    done = subprocess.run([sys.executable, "-IBS", "-"], input=program, check=True, capture_output=True, text=True)
    return [line for line in done.stdout.splitlines() if line]


def test_the_same_code_is_run(directory: Path) -> None:
    assert said(directory) == [installed.BEGUN, installed.RESULT + json.dumps(["one", CALL, compiled.digest(SOURCES)])]


@pytest.mark.parametrize(
    "other",
    [
        {**SOURCES, "_words": (False, "SAID = 'two'\n")},
        {**SOURCES, "_more": (False, "")},
        {name: SOURCES[name] for name in ("_agent", "_agent.module_call")},
        {**SOURCES, "_words": (True, SOURCES["_words"][1])},
    ],
)
def test_other_code_is_not_begun(directory: Path, other: compiled.Sources) -> None:
    (line,) = said(directory, other)
    assert line.startswith(installed.REFUSED + "it is of another version of the collection")


def test_code_that_another_python_has_compiled_is_not_begun(directory: Path) -> None:
    (line,) = said(directory, before="sys.hexversion += 1")
    assert line.endswith("or for another version of Python")


def test_no_damage_goes_unnoticed(directory: Path) -> None:
    path = Path(installed.compiled_path(str(directory)))
    whole = path.read_bytes()
    head = installed.header(compiled.digest(SOURCES))
    for harmed in (
        whole[:-1], whole + b"\0", whole[:len(head) + 3], head, b"", whole[:-9] + b"\0" + whole[-8:],
        whole[:len(head)] + whole[len(head):].replace(b"0", b"1", 1),
    ):  # fmt: skip
        path.write_bytes(harmed)
        (line,) = said(directory)
        assert line.startswith(installed.REFUSED), harmed[:80]
        assert not compiled.is_current(str(path), SOURCES)
    path.unlink()
    assert not compiled.is_current(str(path), SOURCES)


def test_code_is_compiled_again_only_where_it_is_not_current(directory: Path) -> None:
    path = Path(installed.compiled_path(str(directory)))
    inode = path.stat().st_ino
    compiled.write(str(path), SOURCES)
    assert path.stat().st_ino == inode
    path.write_bytes(path.read_bytes()[:-1])
    compiled.write(str(path), SOURCES)
    assert compiled.is_current(str(path), SOURCES)
    assert [part.name for part in directory.iterdir()] == [path.name], "nothing half written is left"


def test_what_is_roots_alone_is_read(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    take_for(monkeypatch, directory, 0)
    path = installed.compiled_path(str(directory))
    assert installed.read(path) == Path(path).read_bytes()


def take_for(monkeypatch: pytest.MonkeyPatch, directory: Path, uid: int) -> None:
    """Take the test's files for those of a user, and leave the directories above out, since /tmp is everybody's."""
    pretend_owner(monkeypatch, uid)
    real = os.fstat

    def fstat(descriptor: int) -> os.stat_result:
        status = list(real(descriptor))
        status[4] = uid if status[4] == os.geteuid() else status[4]
        return os.stat_result(status)

    monkeypatch.setattr(os, "fstat", fstat)
    refuse = installed._refuse_others

    def below(path: str, status: os.stat_result, is_kind: Any) -> None:
        if path.startswith(str(directory)):
            refuse(path, status, is_kind)

    monkeypatch.setattr(installed, "_refuse_others", below)


@pytest.mark.parametrize("harm", ["group", "others", "directory", "link", "linked directory", "pipe", "missing"])
def test_what_others_could_have_changed_is_not_read(
    directory: Path, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    take_for(monkeypatch, directory, 0)
    path = Path(installed.compiled_path(str(directory)))
    if harm == "group":
        path.chmod(0o664)
    elif harm == "others":
        path.chmod(0o646)
    elif harm == "directory":
        directory.chmod(0o775)
    elif harm == "link":
        path.rename(directory / "other")
        path.symlink_to(directory / "other")
    elif harm == "linked directory":
        (directory / "linked").symlink_to(directory)
        path = directory / "linked" / path.name
    elif harm == "pipe":
        path.unlink()
        os.mkfifo(path)
    else:
        path.unlink()
    with pytest.raises(installed.Refused, match=r"is writable by others than root|cannot be read"):
        installed.read(str(path))


def test_what_somebody_else_owns_is_not_read(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    take_for(monkeypatch, directory, 1000)
    with pytest.raises(installed.Refused, match="is writable by others than root"):
        installed.read(installed.compiled_path(str(directory)))


@pytest.mark.parametrize("strange", ["file", "directory"])
def test_what_a_confined_service_has_made_is_not_run_and_compiled_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strange: str
) -> None:
    directory = tmp_path / "senet-firewall"
    path = Path(installed.compiled_path(str(directory)))
    take_for(monkeypatch, directory, 0)
    compiled.write(str(path), SOURCES)
    labels = Labels(monkeypatch)
    labels.give(path if strange == "file" else directory)
    with pytest.raises(installed.Refused, match="has the SELinux type of another program's files"):
        installed.read(str(path))
    assert not compiled.is_current(str(path), SOURCES)
    compiled.write(str(path), SOURCES)
    assert installed.read(str(path)) == path.read_bytes()
    assert labels.type(path) == "var_lib_t"


def test_a_directory_anybody_may_write_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_owner(monkeypatch, 0)
    with pytest.raises(installed.Refused, match=r"^/tmp is writable by others than root$"):
        installed.read("/tmp/compiled")


def test_a_module_that_fails_was_begun_all_the_same(directory: Path) -> None:
    harmful = {**SOURCES, "_agent.module_call": (False, "def run(call, digest):\n    raise ValueError(1)\n")}
    compiled.write(installed.compiled_path(str(directory)), harmful)
    program = Path(installed.__file__).read_text(encoding="utf-8")
    program += f"\nread = lambda path: open(path, 'rb').read()\nmain({compiled.digest(harmful)!r}, 0, '{directory}')\n"
    done = subprocess.run([sys.executable, "-IBS", "-"], input=program, check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stdout.split() == [installed.BEGUN]
    assert "ValueError" in done.stderr
