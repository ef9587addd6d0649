# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection as a user gets it: built, installed elsewhere, and read with ansible-doc."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.collection_tree import ROOT

BIN = Path(sys.executable).parent
DOCUMENTED = ("action", "filter", "lookup", "modules")


def run(*command: str | Path, collections: Path | None = None) -> str:
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(collections or ROOT / "build" / "none")}
    done = subprocess.run([*command], cwd=ROOT, env=environment, check=False, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def plugins(kind: str) -> list[str]:
    return sorted(path.stem for path in (ROOT / "plugins" / kind).glob("[!_]*.py"))


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The path of collections that holds the installed one, and only it."""
    place = tmp_path_factory.mktemp("collections")
    run(BIN / "ansible-galaxy", "collection", "build", "--output-path", place)
    (archive,) = place.glob("senet-firewall-*.tar.gz")
    run(BIN / "ansible-galaxy", "collection", "install", "--offline", "-p", place, archive, collections=place)
    return place


def test_the_archive_holds_the_collection_and_nothing_of_the_checkout_around_it(installed: Path) -> None:
    held = {path.name for path in (installed / "ansible_collections" / "senet" / "firewall").iterdir()}
    assert {"COPYING", "MANIFEST.json", "README.md", "extensions", "meta", "playbooks", "plugins", "roles"} <= held
    assert not held & {".ci", ".git", ".gitignore", ".mypy_cache", ".pytest_cache", ".venv", "build"}


@pytest.mark.parametrize("kind", [kind for kind in DOCUMENTED if plugins(kind)])
def test_every_plugin_has_documentation(installed: Path, kind: str) -> None:
    names = [f"senet.firewall.{name}" for name in plugins(kind)]
    # An action plugin's documentation is that of the module of the same name.
    plugin_type = "module" if kind in ("action", "modules") else kind
    docs = json.loads(run(BIN / "ansible-doc", "--type", plugin_type, "--json", *names, collections=installed))
    assert sorted(docs) == names
    for name in names:
        assert docs[name]["doc"]["description"], name
        assert docs[name]["examples"], name
        assert docs[name]["return"], name


def test_every_role_has_an_argument_specification(installed: Path) -> None:
    names = sorted(f"senet.firewall.{path.name}" for path in (ROOT / "roles").iterdir())
    docs = json.loads(run(BIN / "ansible-doc", "--type", "role", "--json", *names, collections=installed))
    assert sorted(docs) == names
    for name in names:
        assert docs[name]["entry_points"]["main"]["description"], name


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml")))
def test_every_playbook_runs_by_its_full_name_without_the_checkout(installed: Path, name: str) -> None:
    shown = run(
        BIN / "ansible-playbook", f"senet.firewall.{name}", "--list-tasks", "-i", "localhost,", collections=installed
    )
    assert "Preflight" in shown or f"{name.capitalize()} of" in shown


def test_the_action_group_is_the_modules_that_share_the_options_of_a_change() -> None:
    runtime = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())
    sharing = [name for name in plugins("modules") if "- senet.firewall.change\n" in module(name)]
    assert sorted(runtime["action_groups"]["firewall"]) == sharing


def module(name: str) -> str:
    return (ROOT / "plugins" / "modules" / f"{name}.py").read_text()
