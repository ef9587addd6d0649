# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
import os
import struct
from pathlib import Path
from typing import Optional

import pytest

from ansible_collections.senet.firewall.plugins.module_utils._host.decisions import Decisions
from ansible_collections.senet.firewall.plugins.module_utils._host.selinuxfs import Decision, SELinuxFS

HTTPD, PACKET = "system_u:system_r:httpd_t:s0", "system_u:object_r:senet_web_db_client_packet_t:s0"
GRANTED = Decision(frozenset(["send", "recv"]), False)


class Kernel:
    """Answers with what is granted now, and counts the questions."""

    def __init__(self) -> None:
        self.load: Optional[int] = 7
        self.decision = GRANTED
        self.asked = 0

    def policy_load(self) -> Optional[int]:
        return self.load

    def access(self, source: str, target: str, tclass: str) -> Decision:
        assert tclass == "packet"
        self.asked += 1
        return self.decision


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


def run(kernel: Kernel, path: Path, keep: bool = True) -> Decision:
    """What one run of the module learns."""
    decisions = Decisions(kernel, str(path))  # type: ignore[arg-type]
    decisions.refresh()
    answer = decisions.access(HTTPD, PACKET)
    assert decisions.access(HTTPD, PACKET) == answer
    if keep:
        decisions.keep()
    return answer


def test_the_kernel_is_asked_once_a_policy(kernel: Kernel, tmp_path: Path) -> None:
    path = tmp_path / "run" / "decisions.json"
    assert [run(kernel, path), run(kernel, path)] == [GRANTED, GRANTED]
    assert kernel.asked == 1
    assert path.stat().st_mode & 0o777 == 0o600
    kernel.load, kernel.decision = 8, Decision(frozenset(["recv"]), True)
    assert [run(kernel, path), run(kernel, path)] == [kernel.decision] * 2
    assert kernel.asked == 2


def test_a_policy_loaded_meanwhile_is_noticed_before_answers_are_kept(kernel: Kernel, tmp_path: Path) -> None:
    decisions = Decisions(kernel, str(tmp_path / "decisions.json"))  # type: ignore[arg-type]
    decisions.refresh()
    decisions.access(HTTPD, PACKET)
    kernel.load = 8
    decisions.keep()
    assert not (tmp_path / "decisions.json").exists()
    decisions.refresh()
    decisions.access(HTTPD, PACKET)
    assert kernel.asked == 2


def test_check_mode_keeps_nothing(kernel: Kernel, tmp_path: Path) -> None:
    path = tmp_path / "decisions.json"
    run(kernel, path, keep=False)
    assert not path.exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"policy_load": 7}', '{"policy_load": 7, "answers": [1]}', "7"])
def test_a_broken_file_is_asked_anew(kernel: Kernel, tmp_path: Path, text: str) -> None:
    path = tmp_path / "decisions.json"
    path.write_text(text)
    assert run(kernel, path) == GRANTED
    assert kernel.asked == 1


def test_a_file_that_others_may_write_is_not_believed(kernel: Kernel, tmp_path: Path) -> None:
    path = tmp_path / "decisions.json"
    run(kernel, path)
    os.chmod(path, 0o666)
    run(kernel, path)
    assert kernel.asked == 2


def test_without_a_number_of_the_policy_every_run_asks(kernel: Kernel, tmp_path: Path) -> None:
    kernel.load = None
    for dummy in range(2):
        run(kernel, tmp_path / "decisions.json")
    assert kernel.asked == 2


def test_the_number_is_the_fourth_of_the_status(tmp_path: Path) -> None:
    selinux = SELinuxFS(str(tmp_path))
    assert selinux.policy_load() is None
    (tmp_path / "status").write_bytes(struct.pack("=5I", 1, 40, 1, 9, 0) + b"\0" * 4076)
    assert selinux.policy_load() == 9
    (tmp_path / "status").write_bytes(b"\1")
    assert selinux.policy_load() is None
