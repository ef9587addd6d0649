# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a source of Fedora's policy is found, what of it counts, and how it is configured."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.lab import policy
from tests.lab.errors import LabError

NEEDED = ("Makefile", "policy/flask/classes", "dist/permissivedomains.cil", "dist/targeted/booleans.conf",
          "dist/targeted/modules.conf", "dist/targeted/users", *policy.SETTINGS)  # fmt: skip


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The outline of a source tree."""
    top = tmp_path / "tree" / "selinux-policy"
    for name in NEEDED:
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(name)
    (top / "policy/modules/contrib").mkdir(parents=True)
    return top


def test_the_source_is_the_one_named_or_the_only_archive_beside_the_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy, "SHARED", tmp_path)
    monkeypatch.delenv(policy.SOURCE_VARIABLE, raising=False)
    assert policy.policy_source() is None
    (tmp_path / "a.tar.xz").touch()
    assert policy.policy_source() == tmp_path / "a.tar.xz"
    (tmp_path / "b.tar.xz").touch()
    assert policy.policy_source() is None
    monkeypatch.setenv(policy.SOURCE_VARIABLE, "/src/policy")
    assert policy.required_source() == Path("/src/policy")


def test_a_source_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="nowhere is no source of a policy: it does not exist"):
        policy.policy_digest(tmp_path / "nowhere")


def test_what_make_leaves_in_a_directory_does_not_count(tree: Path) -> None:
    before = policy.policy_digest(tree)
    (tree / "tmp").mkdir()
    (tree / "tmp/base.mod").touch()
    (tree / "base.pp").touch()
    assert policy.policy_digest(tree) == before
    (tree / "Makefile").write_text("changed")
    assert policy.policy_digest(tree) != before


def test_of_a_git_checkout_what_git_ignores_does_not_count(tree: Path) -> None:
    (tree / ".gitignore").write_text("*.log\n")
    subprocess.run(["git", "init", "-q", str(tree)], check=True)
    before = policy.policy_digest(tree)
    (tree / "make.log").touch()
    assert policy.policy_digest(tree) == before
    (tree / "policy/new.te").touch()
    assert policy.policy_digest(tree) != before


def test_the_archive_s_only_directory_is_the_tree(tree: Path) -> None:
    assert policy.top_directory(tree.parent, Path("a.tar.xz")) == tree
    assert policy.top_directory(tree, Path("checkout")) == tree


@pytest.mark.parametrize("name", ["Makefile", "dist/targeted/users", "dist/booleans.subs_dist"])
def test_a_tree_of_another_kind_is_refused_with_what_it_lacks(tree: Path, name: str) -> None:
    (tree / name).unlink()
    with pytest.raises(LabError, match=f"a.tar.xz is no source tree of Fedora's policy: it has no {name}"):
        policy.top_directory(tree, Path("a.tar.xz"))


def test_the_targeted_configuration_is_chosen(tree: Path) -> None:
    (tree / "policy/users").symlink_to("../dist/targeted/users")
    policy.configure(tree)
    assert [(tree / "policy" / name).read_text() for name in policy.CONFIGURATION] == [
        "dist/targeted/booleans.conf", "dist/targeted/modules.conf", "dist/targeted/users"
    ]  # fmt: skip
    assert (tree / "dist/targeted/users").read_text() == "dist/targeted/users"


@pytest.mark.parametrize(
    ("listed", "expected"),
    [("a = module\n", "a = module\ncontainer = module\n"), ("container = off\n", "container = off\n")],
)
def test_a_module_that_the_tree_has_beside_its_list_is_built_too(tree: Path, listed: str, expected: str) -> None:
    (tree / "dist/targeted/modules.conf").write_text(listed)
    (tree / "policy/modules/contrib/container.te").touch()
    policy.configure(tree)
    assert (tree / "policy/modules.conf").read_text() == expected
