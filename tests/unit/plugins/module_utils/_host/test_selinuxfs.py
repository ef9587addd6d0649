# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
import errno
from collections.abc import Callable
from pathlib import Path
from typing import Optional

import pytest

from ansible_collections.senet.firewall.plugins.module_utils._host.selinuxfs import Decision, SELinuxFS
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError

# As include/uapi/…/flask.h numbers them: a permission's bit counts from 1
PERMISSIONS = {"send": 1, "recv": 2, "relabelto": 3, "forward_in": 6, "forward_out": 7}
HTTPD = "system_u:system_r:httpd_t:s0"
PACKET = "system_u:object_r:senet_default_packet_t:s0"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "selinux"
    (root / "class" / "packet" / "perms").mkdir(parents=True)
    (root / "class" / "packet" / "index").write_text("26")
    for name, number in PERMISSIONS.items():
        (root / "class" / "packet" / "perms" / name).write_text(str(number))
    for name, content in {"enforce": "1", "mls": "1", "policyvers": "33"}.items():
        (root / name).write_text(content)
    return root


def answering(monkeypatch: pytest.MonkeyPatch, tree: Path, answer: Callable[[str, str], str]) -> SELinuxFS:
    """selinuxfs whose transaction files answer; only the kernel's can."""
    monkeypatch.setattr(SELinuxFS, "_ask", lambda self, node, question: answer(node, question))
    return SELinuxFS(str(tree))


def refusing(code: int) -> Callable[[str, str], str]:
    def refuse(node: str, question: str) -> str:
        raise OSError(code, "strerror of the kernel")

    return refuse


def test_a_host_is_what_selinuxfs_says(tree: Path) -> None:
    selinux = SELinuxFS(str(tree))
    assert (selinux.status(), selinux.mls(), selinux.policy_version()) == ("enforcing", True, 33)
    assert selinux.context("senet_a_packet_t") == "system_u:object_r:senet_a_packet_t:s0"
    (tree / "enforce").write_text("0")
    (tree / "mls").write_text("0")
    assert (selinux.status(), selinux.mls()) == ("permissive", False)
    assert selinux.context("senet_a_packet_t") == "system_u:object_r:senet_a_packet_t"


def test_contexts_keep_their_level_while_another_policy_is_loaded(tree: Path) -> None:
    # Before Linux 5.9 a load empties the directory and fills it again
    (tree / "class").rename(tree / "gone")
    assert SELinuxFS(str(tree)).context("senet_a_packet_t") == "system_u:object_r:senet_a_packet_t:s0"
    assert not SELinuxFS(str(tree / "nothing")).has_levels()


def test_without_a_mount_or_a_policy_selinux_is_disabled(tmp_path: Path, tree: Path) -> None:
    assert SELinuxFS(str(tmp_path / "nothing")).status() == "disabled"
    # mounted, but no policy has been loaded
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "enforce").write_text("0")
    assert SELinuxFS(str(tmp_path / "empty")).status() == "disabled"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("SELINUX=enforcing\nSELINUXTYPE=targeted\n", "targeted"),
        ("# SELINUXTYPE= can take one of\nSELINUXTYPE = x\n  SELINUXTYPE=default \n", "default"),
        ("SELINUXTYPE=targeted\nSELINUXTYPE=mls\n", "mls"),
        ("SELINUX=disabled\n", None),
        (None, None),
    ],
)
def test_the_policy_is_the_one_that_the_configuration_names(
    tmp_path: Path, text: Optional[str], name: Optional[str]
) -> None:
    config = tmp_path / "config"
    if text is not None:
        config.write_text(text)
    assert SELinuxFS(str(tmp_path), str(config)).policy_name() == name


def test_a_context_is_given_back_as_the_kernel_spells_it(monkeypatch: pytest.MonkeyPatch, tree: Path) -> None:
    asked = []

    def answer(node: str, question: str) -> str:
        asked.append((node, question))
        return "system_u:object_r:httpd_t:s0\0"

    selinux = answering(monkeypatch, tree, answer)
    assert selinux.canonical("system_u:object_r:apache_t:s0") == "system_u:object_r:httpd_t:s0"
    assert asked == [("context", "system_u:object_r:apache_t:s0\0")]


def test_a_context_that_the_policy_does_not_know_is_none(monkeypatch: pytest.MonkeyPatch, tree: Path) -> None:
    assert answering(monkeypatch, tree, refusing(errno.EINVAL)).canonical("system_u:object_r:no_t:s0") is None


def test_an_access_vector_is_read_by_the_permissions_bits(monkeypatch: pytest.MonkeyPatch, tree: Path) -> None:
    asked = []

    def answer(node: str, question: str) -> str:
        asked.append((node, question))
        return "63 ffffffff 0 ffffffff 4 0"

    decision = answering(monkeypatch, tree, answer).access(HTTPD, PACKET, "packet")
    assert asked == [("access", f"{HTTPD} {PACKET} 26")]
    # 0x63: the bits 1, 2, 6, 7
    assert decision == Decision(frozenset(["send", "recv", "forward_in", "forward_out"]), False)


@pytest.mark.parametrize(("allowed", "names"), [("0", []), ("4", ["relabelto"]), ("ffffffff", sorted(PERMISSIONS))])
@pytest.mark.parametrize(("flags", "permissive"), [("0", False), ("1", True), ("2", False), ("3", True)])
def test_each_permission_has_its_bit_and_permissive_is_a_flag(
    monkeypatch: pytest.MonkeyPatch, tree: Path, allowed: str, names: list[str], flags: str, permissive: bool
) -> None:
    selinux = answering(monkeypatch, tree, lambda node, question: f"{allowed} ffffffff 0 ffffffff 4 {flags}")
    decision = selinux.access(HTTPD, PACKET, "packet")
    assert (sorted(decision.allowed), decision.permissive) == (names, permissive)


def test_a_question_the_kernel_refuses_is_told(monkeypatch: pytest.MonkeyPatch, tree: Path) -> None:
    selinux = answering(monkeypatch, tree, refusing(errno.EINVAL))
    with pytest.raises(SenetError, match=f"knows no context '{HTTPD}' or '{PACKET}'; check"):
        selinux.access(HTTPD, PACKET, "packet")
    selinux = answering(monkeypatch, tree, refusing(errno.EACCES))
    for node, ask in (
        ("access", lambda: selinux.access(HTTPD, PACKET, "packet")),
        ("context", lambda: selinux.canonical(HTTPD)),
    ):
        with pytest.raises(SenetError, match=f"refused to answer .*/{node} .strerror of the kernel.; run as root"):
            ask()


def test_a_transaction_is_one_write_and_one_read_of_one_descriptor(tree: Path) -> None:
    # A plain file gives back what follows the question in it.
    (tree / "context").write_text("x" * len("system_u:object_r:a_t\0") + "system_u:object_r:b_t\0")
    assert SELinuxFS(str(tree)).canonical("system_u:object_r:a_t") == "system_u:object_r:b_t"
    assert (tree / "context").read_text().startswith("system_u:object_r:a_t\0")
