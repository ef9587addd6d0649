# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from ansible_collections.senet.firewall.plugins.module_utils._host.commands import run_command


def test_a_command_that_ends_before_it_has_read_its_input_is_told_by_its_return_code() -> None:
    assert run_command(["/bin/sh", "-c", "echo no >&2; exit 3"], "-A INPUT\n" * 100_000) == (3, "", "no\n")


def test_a_command_gets_its_input_unchanged() -> None:
    assert run_command(["/bin/cat"], "no newline at the end") == (0, "no newline at the end", "")
