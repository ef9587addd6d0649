# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which tables are dormant, from a real kernel, and from answers that it can give."""

import struct
import subprocess
import sys

import pytest

from ansible_collections.senet.firewall.plugins.module_utils._host.nf_tables import dormant_among
from tests.collection_tree import link

ASK = """\
import sys
sys.path.insert(0, sys.argv[1])
from ansible_collections.senet.firewall.plugins.module_utils._host.nf_tables import dormant_tables
print(dormant_tables())
"""


def message(kind: int, payload: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(payload), kind, 2, 1, 0) + payload + b"\0" * (-len(payload) % 4)


def attribute(kind: int, content: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(content), kind) + content + b"\0" * (-len(content) % 4)


def table(family: int, name: bytes, flags: int) -> bytes:
    head = struct.pack("=BBH", family, 0, 0)
    return message(10 << 8, head + attribute(1, name + b"\0") + attribute(2, struct.pack(">I", flags)))


END = message(3, struct.pack("=i", 0))


def test_the_kernel_tells_which_tables_are_dormant() -> None:
    put = "add table ip security { flags dormant; }; add table ip6 security; add table inet senet { flags dormant; }"
    command = ["unshare", "--net", "sh", "-c", 'nft "$1" && exec "$2" -c "$3" "$4"', "sh", put]
    asked = subprocess.run(
        [*command, sys.executable, ASK, str(link())], capture_output=True, text=True, check=True
    )
    assert asked.stdout == "['inet senet', 'ip security']\n"


def test_other_flags_and_other_families_are_told_apart() -> None:
    answer = table(2, b"filter", 2) + table(10, b"security", 3) + table(99, b"new", 1) + table(7, b"odd name", 0)
    assert dormant_among(answer) == (["ip6 security", "99 new"], False)
    assert dormant_among(answer + END) == (["ip6 security", "99 new"], True)
    assert dormant_among(END + answer) == ([], True)


def test_an_error_is_the_kernels() -> None:
    with pytest.raises(PermissionError):
        dormant_among(message(2, struct.pack("=i", -1)))


@pytest.mark.parametrize("answer", [b"", b"\0" * 40, table(2, b"security", 1)[:24], END[:15]])
def test_an_answer_that_makes_no_sense_is_no_table(answer: bytes) -> None:
    assert dormant_among(answer) == ([], False)
