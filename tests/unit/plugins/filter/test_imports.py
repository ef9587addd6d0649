# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible imports every filter file of the collection to find one filter by its name, in each of its processes."""

import subprocess
import sys

from tests.collection_tree import ROOT

PLUGINS = "ansible_collections.senet.firewall.plugins"
# Every role refuses the variables of its neighbours
WANTED_BY_ALL = {"_flow_items"}


def test_a_filter_file_imports_no_work_of_another() -> None:
    names = [path.stem for path in (ROOT / "plugins" / "filter").glob("[!_]*.py")]
    assert "process_query" in names
    code = (
        f"import importlib, sys\nfor name in {names}: importlib.import_module('{PLUGINS}.filter.' + name)\n"
        f"print(*(name for name in sys.modules if name.startswith('{PLUGINS}.plugin_utils.') or name == 'jmespath'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": ":".join(sys.path)}, check=True, capture_output=True, text=True
    )
    assert set(done.stdout.split()) == {f"{PLUGINS}.plugin_utils.{name}" for name in WANTED_BY_ALL}
