# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
import errno
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.senet.firewall.plugins.module_utils._host import installed
from ansible_collections.senet.firewall.plugins.module_utils._host.files import read_owned, remove, write_owned
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from tests.unit.labels import Labels
from tests.unit.owner import pretend_owner


@pytest.fixture(autouse=True)
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_owner(monkeypatch, 0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "senet" / "flows.json"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_comes_back_as_it_was_written_and_is_for_its_owner_alone(path: Path) -> None:
    old = os.umask(0)
    try:
        write_owned(str(path), "é\n")
    finally:
        os.umask(old)
    assert read_owned(str(path)) == "é\n"
    assert (mode(path), mode(path.parent)) == (0o600, 0o700)
    path.chmod(0o644)
    write_owned(str(path), "new")
    assert (read_owned(str(path)), mode(path)) == ("new", 0o600)
    assert os.listdir(path.parent) == ["flows.json"]
    write_owned(str(path), "code", 0o644)
    assert mode(path) == 0o644


def test_what_is_missing_is_none(path: Path) -> None:
    assert read_owned(str(path)) is None
    path.parent.mkdir()
    assert read_owned(str(path)) is None


@pytest.mark.parametrize("bits", [0o620, 0o602, 0o666])
def test_a_file_that_others_may_write_is_not_trusted(path: Path, bits: int) -> None:
    write_owned(str(path), "x")
    path.chmod(bits)
    with pytest.raises(SenetError, match=rf"^{path} is writable by others than root \(owner 0, mode {bits:04o}"):
        read_owned(str(path))


def test_a_directory_that_others_may_write_is_not_trusted(path: Path) -> None:
    write_owned(str(path), "x")
    path.parent.chmod(0o770)
    with pytest.raises(SenetError, match=rf"^{path.parent} is writable by others than root \(owner 0, mode 0770\)"):
        read_owned(str(path))


def test_a_file_of_somebody_else_is_not_trusted(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_owned(str(path), "x")
    pretend_owner(monkeypatch, 1000)
    with pytest.raises(SenetError, match="is writable by others than root .owner 1000, mode 0700"):
        read_owned(str(path))


def test_a_link_is_not_followed(path: Path, tmp_path: Path) -> None:
    write_owned(str(tmp_path / "elsewhere"), "secret")
    path.parent.mkdir(mode=0o700)
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SenetError, match="is writable by others than root"):
        read_owned(str(path))
    # and writing does not go through one that lies in the way
    Path(f"{path}.new").symlink_to(tmp_path / "elsewhere")
    write_owned(str(path), "new")
    assert not path.is_symlink()
    assert (tmp_path / "elsewhere").read_text() == "secret"


def test_something_else_in_the_files_place_is_told(path: Path) -> None:
    path.mkdir(parents=True, mode=0o700)
    path.parent.chmod(0o700)
    with pytest.raises(SenetError, match="cannot be read .Is a directory."):
        read_owned(str(path))
    with pytest.raises(SenetError, match="cannot be written .Is a directory.; make its file system writable"):
        write_owned(str(path), "new")
    assert os.listdir(path.parent) == ["flows.json"]


def full(descriptor: int, data: bytes) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


def refuse(*args: Any, **kwargs: Any) -> Any:
    raise OSError(errno.EROFS, "Read-only file system")


@pytest.mark.parametrize(
    ("call", "failure", "said"),
    [
        ("write", full, "No space left on device"),
        ("open", refuse, "Read-only file system"),
        ("fsync", refuse, "Read-only file system"),
        ("rename", refuse, "Read-only file system"),
    ],
)
def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(
    path: Path, monkeypatch: pytest.MonkeyPatch, call: str, failure: Any, said: str
) -> None:
    write_owned(str(path), "old")
    with monkeypatch.context() as patched:
        patched.setattr(os, call, failure)
        with pytest.raises(SenetError, match=f"^{path} cannot be written .{said}.; make its file system writable"):
            write_owned(str(path), "new and longer")
    assert path.read_text() == "old"
    assert os.listdir(path.parent) == ["flows.json"]


def test_a_write_that_takes_a_part_at_a_time_is_whole_in_the_end(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:2]))
    write_owned(str(path), "seven..")
    assert path.read_text() == "seven.."


def test_removing_takes_files_empty_directories_and_nothing_that_is_not_there(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_owned(str(path), "x")
    with pytest.raises(SenetError, match=f"^{path.parent} cannot be removed .Directory not empty.; remove it by hand"):
        remove(str(path.parent))
    remove(str(path))
    remove(str(path.parent))
    assert not path.parent.exists()
    # a read-only file system refuses even where there is nothing
    monkeypatch.setattr(os, "unlink", refuse)
    remove(str(path))


def test_removing_a_link_leaves_what_it_leads_to(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    path.parent.mkdir()
    link.symlink_to(path.parent)
    remove(str(link))
    assert path.parent.is_dir()
    link.symlink_to(tmp_path / "nowhere")
    remove(str(link))
    assert not link.is_symlink()


@pytest.fixture
def labels(monkeypatch: pytest.MonkeyPatch) -> Labels:
    return Labels(monkeypatch)


def test_a_file_that_was_made_under_the_temporary_name_is_not_written_into(path: Path, labels: Labels) -> None:
    write_owned(str(path), "old")
    made = Path(f"{path}.new")
    made.touch()
    labels.give(made)
    with made.open() as held:
        write_owned(str(path), "new")
        assert held.read() == ""
    assert (read_owned(str(path)), labels.type(path)) == ("new", "var_lib_t")


def test_a_file_that_is_made_under_the_temporary_name_meanwhile_is_an_error(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_owned(str(path), "old")
    unlink = os.unlink

    def again(name: str) -> None:
        with suppress(FileNotFoundError):
            unlink(name)
        Path(name).touch()

    with monkeypatch.context() as patched:
        patched.setattr(os, "unlink", again)
        with pytest.raises(SenetError, match=r"cannot be written .File exists"):
            write_owned(str(path), "new")
    assert path.read_text() == "old"


@pytest.mark.parametrize("strange", ["file", "directory"])
def test_what_a_confined_service_has_made_is_not_trusted(path: Path, labels: Labels, strange: str) -> None:
    write_owned(str(path), "x")
    part = path if strange == "file" else path.parent
    labels.give(part)
    with pytest.raises(
        SenetError, match=f"^{part} has another SELinux type than .*run 'chcon --reference={part.parent} {part}', or"
    ):
        read_owned(str(path))
    assert read_owned(str(path), by_type=False) == "x"


def test_a_directory_that_a_confined_service_has_made_is_taken_over(path: Path, labels: Labels) -> None:
    path.parent.mkdir(mode=0o700)
    labels.give(path.parent)
    planted = path.parent / "planted.json"
    planted.touch()
    labels.give(planted)
    write_owned(str(path), "x")
    assert (labels.type(path.parent), labels.type(path), read_owned(str(path))) == ("var_lib_t", "var_lib_t", "x")
    with pytest.raises(SenetError, match="has another SELinux type"):
        read_owned(str(planted))


def test_where_a_type_cannot_be_set_what_is_written_is_not_trusted(path: Path, labels: Labels) -> None:
    path.parent.mkdir(mode=0o700)
    labels.give(path.parent)
    labels.refuses = True
    write_owned(str(path), "x")
    with pytest.raises(SenetError, match="has another SELinux type"):
        read_owned(str(path))


def test_a_directory_that_is_a_link_is_not_written_into(path: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    path.parent.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SenetError, match="cannot be written"):
        write_owned(str(path), "x")
    assert os.listdir(tmp_path / "elsewhere") == []


@pytest.mark.parametrize("name", ["file_contexts", "file_contexts.local"])
def test_types_that_the_hosts_file_contexts_give_to_our_paths_are_ours(
    path: Path, labels: Labels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    contexts = tmp_path / "selinux/targeted/contexts/files" / name
    contexts.parent.mkdir(parents=True)
    (tmp_path / "selinux/config").touch()
    monkeypatch.setattr(installed, "POLICIES", str(tmp_path / "selinux"))
    contexts.write_text(
        "# /senet is commented on\n/var/lib/senet-firewall(/.*)?    system_u:object_r:senet_var_lib_t:s0\n"
        "/run/senet-firewall/none\t<<none>>\n/var/lib/httpd(/.*)?  --  system_u:object_r:httpd_var_lib_t:s0\n"
    )
    path.parent.mkdir(mode=0o700)
    labels.give(path.parent, "senet_var_lib_t")
    write_owned(str(path), "x")
    assert (labels.type(path), read_owned(str(path))) == ("senet_var_lib_t", "x")
    labels.give(path)
    with pytest.raises(SenetError, match="has another SELinux type"):
        read_owned(str(path))
