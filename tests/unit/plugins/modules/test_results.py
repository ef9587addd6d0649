# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds for the results of all modules."""

import ast
from pathlib import Path

import pytest
import yaml

MODULES = sorted((Path(__file__).parents[4] / "plugins/modules").glob("[a-z]*.py"))
# By these Ansible judges a task, or hands the result on, whatever the module means by them
RESERVED = {
    "add_group", "add_host", "ansible_facts", "exception", "failed", "invocation", "rc", "results", "skipped", "stderr",
    "stdout", "unreachable",
}  # fmt: skip


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.stem)
def test_no_result_has_a_name_that_ansible_reads(module: Path) -> None:
    documented = next(
        ast.literal_eval(node.value)
        for node in ast.parse(module.read_text()).body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == "RETURN"
    )
    assert not RESERVED & set(yaml.safe_load(documented))
