# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What extensions/ has for AWX, against the argument specifications of awx.awx and the playbooks that it starts."""

import ast
import configparser
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import ansible
import pytest
import yaml

from ansible_collections.senet.firewall.plugins.filter.flows_for_host import flows_for_host
from tests.collection_tree import ROOT

pytestmark = pytest.mark.long

BIN = Path(sys.executable).parent
AWX = ROOT / "extensions" / "awx"
PROJECT = AWX / "project"
MODULES = Path(ansible.__file__).parents[1] / "ansible_collections/awx/awx/plugins/modules"
# The variables of configuration.yml, by the module that has them
OBJECTS = {
    "execution_environment": "controller_execution_environments",
    "project": "controller_projects",
    "inventory": "controller_inventories",
    "inventory_source": "controller_inventory_sources",
    "job_template": "controller_templates",
    "workflow_job_template": "controller_workflows",
}
VARIABLES = {"senet_awx_image": "registry.example.com/senet-ee", "senet_awx_project": "https://git.example.com/f.git"}
STUB = """
import json
from ansible.module_utils.basic import AnsibleModule
module = AnsibleModule(argument_spec={spec})
with open({written!r}, "a") as written:
    written.write(json.dumps(["{name}", module.params]) + "\\n")
module.exit_json(changed=True)
"""


def specification(module: str) -> str:
    """The source of a module's argument_spec."""
    tree = ast.parse((MODULES / f"{module}.py").read_text())
    (found,) = (
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "argument_spec"
    )
    return ast.unparse(found)


@pytest.fixture(scope="module")
def configured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """What each module of awx.awx is given by configure.yml, after it has been held against its specification."""
    place = tmp_path_factory.mktemp("awx")
    modules = place / "ansible_collections/awx/awx/plugins/modules"
    modules.mkdir(parents=True)
    for name in OBJECTS:
        stub = STUB.format(spec=specification(name), written=str(place / "written"), name=name)
        (modules / f"{name}.py").write_text(stub)
    done = subprocess.run(
        [BIN / "ansible-playbook", "-i", "localhost,", "-e", json.dumps(VARIABLES), AWX / "configure.yml"],
        env={
            **{key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")},
            "ANSIBLE_COLLECTIONS_PATH": str(place),
            "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        },
        text=True, stdin=subprocess.DEVNULL, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in OBJECTS}
    for line in (place / "written").read_text().splitlines():
        name, given = json.loads(line)
        found[name].append({key: value for key, value in given.items() if value is not None})
    return found


def test_every_object_reaches_its_module_whole(configured: dict[str, list[dict[str, Any]]]) -> None:
    written = yaml.safe_load((AWX / "configuration.yml").read_text())
    assert {name for name in written if name.startswith("controller_")} == set(OBJECTS.values())
    for module, variable in OBJECTS.items():
        for item, given in zip(written[variable], configured[module], strict=True):
            assert set(item) <= set(given)
            assert item["name"] == given["name"]


def test_a_job_template_runs_a_playbook_of_the_project_once_and_unsliced(configured: Any) -> None:
    # A report is a file beside whoever runs it, which a job's container loses
    playbooks = {path.stem for path in (ROOT / "playbooks").glob("*.yml")} - {"report"}
    assert {path.stem for path in PROJECT.glob("*.yml")} == playbooks
    templates = configured["job_template"]
    assert {Path(template["playbook"]).stem for template in templates} == playbooks
    for template in templates:
        assert (template["job_slice_count"], template["allow_simultaneous"]) == (1, False)
        # Whose name is the workflow's would count as a slice
        assert template["name"] not in {workflow["name"] for workflow in configured["workflow_job_template"]}
        assert template["execution_environment"] in {one["name"] for one in configured["execution_environment"]}


def test_the_project_has_ansible_pipeline_and_ssh_give_up_a_host_that_is_gone() -> None:
    project = configparser.ConfigParser()
    project.read(PROJECT / "ansible.cfg")
    assert project.getboolean("ssh_connection", "pipelining")
    assert "-o ServerAliveInterval=10 -o ServerAliveCountMax=3" in project["ssh_connection"]["ssh_args"]


def test_a_survey_asks_for_variables_that_the_playbooks_have(configured: Any) -> None:
    known = set(re.findall(r"'(senet_\w+)'", (ROOT / "playbooks/steps/variables.yml").read_text()))
    for template in [*configured["job_template"], *configured["workflow_job_template"]]:
        assert {question["variable"] for question in template["survey_spec"]["spec"]} <= known


def test_the_workflow_goes_through_each_node_and_only_by_success(configured: Any) -> None:
    # AWX calls a workflow successful whose failed node has others that follow always, or on failure
    (workflow,) = configured["workflow_job_template"]
    nodes = {node["identifier"]: node for node in workflow["workflow_nodes"]}
    passed, place = [], "audit"
    while place != "report":
        passed.append(place)
        (follower,) = nodes[place]["related"]["success_nodes"]
        assert set(nodes[place]["related"]) == {"success_nodes"}
        place = follower["identifier"]
    assert passed == ["audit", "approve canary", "canary", "health", "approve fleet", "fleet"]
    assert "related" not in nodes["report"]
    assert len(nodes) == 7
    templates = {template["name"] for template in configured["job_template"]}
    kinds = {"job_template": templates, "workflow_approval": {"Change the canaries?", "Change all hosts?"}}
    assert all(
        node["unified_job_template"]["name"] in kinds[node["unified_job_template"]["type"]] for node in nodes.values()
    )


def test_each_node_has_only_what_the_module_documents(configured: Any) -> None:
    # Which its specification leaves open
    source = (MODULES / "workflow_job_template.py").read_text()
    (documentation,) = re.findall(r"^DOCUMENTATION = '''(.*?)'''", source, re.DOTALL | re.MULTILINE)
    options = yaml.safe_load(documentation)["options"]["workflow_nodes"]["suboptions"]

    def hold(given: Any, known: dict[str, Any]) -> None:
        for one in given if isinstance(given, list) else [given]:
            for key, value in one.items():
                if "suboptions" in known[key]:
                    hold(value, known[key]["suboptions"])

    (workflow,) = configured["workflow_job_template"]
    hold(workflow["workflow_nodes"], options)


def test_the_inventory_of_the_project_is_three_hosts_with_their_flows() -> None:
    done = subprocess.run(
        [BIN / "ansible-inventory", "-i", PROJECT / "inventory/hosts.yml", "--list"],
        text=True, capture_output=True, check=True,
    )  # fmt: skip
    read = json.loads(done.stdout)
    hostvars = read["_meta"]["hostvars"]
    groups = {name: group["hosts"] for name, group in read.items() if "hosts" in group} | {"all": list(hostvars)}
    assert len(hostvars) == 3
    for host, variables in hostvars.items():
        assert flows_for_host(variables["senet_flows"], host, groups, hostvars)


@pytest.mark.parametrize("name", ["execution-environment", "execution-environment-2.16"])
def test_ansible_builder_takes_the_execution_environment(name: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ansible_builder", "create", "-f", AWX / f"{name}.yml", "-c", tmp_path],
        text=True, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    core = {"execution-environment": "ansible-core>=2.19", "execution-environment-2.16": "ansible-core>=2.16"}[name]
    assert core in next(tmp_path.glob("*file")).read_text()
    assert "senet.firewall" in (tmp_path / "_build/requirements.yml").read_text()


def test_ansible_builder_finds_what_the_collection_needs(tmp_path: Path) -> None:
    collection = tmp_path / "ansible_collections/senet/firewall"
    collection.parent.mkdir(parents=True)
    collection.symlink_to(ROOT)
    done = subprocess.run(
        [sys.executable, "-m", "ansible_builder", "introspect", tmp_path],
        text=True, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found = [line.partition("#")[0].strip() for line in yaml.safe_load(done.stdout)["python"]]
    assert found == (ROOT / "meta/ee-requirements.txt").read_text().split()


def test_the_rulebook_starts_a_job_template_that_there_is(configured: Any) -> None:
    templates = {template["name"]: template for template in configured["job_template"]}
    (ruleset,) = yaml.safe_load((ROOT / "extensions/eda/rulebooks/audit.yml").read_text())
    for rule in ruleset["rules"]:
        started = templates[rule["action"]["run_job_template"]["name"]]
        assert started["playbook"] == "audit.yml"
        assert started["ask_limit_on_launch"]


def test_the_rulebook_knows_the_telling_and_of_the_kernel() -> None:
    (ruleset,) = yaml.safe_load((ROOT / "extensions/eda/rulebooks/audit.yml").read_text())
    words, refusals = (re.findall(r'search\("(.*)"\)', rule["condition"])[0] for rule in ruleset["rules"])
    said = " ".join(path.read_text() for path in sorted((ROOT / "plugins/module_utils").rglob("*.py")))
    for telling in ("Rules were missing for", "policy module was missing", "are NOT enforced", "may NOT be enforced"):
        assert telling in said
        assert re.search(words, telling)
    # docs/observe.md has such a record of the test machine
    record = (ROOT / "README.md").read_text().partition("type=AVC ")[2].partition("\n")[0]
    assert re.search(refusals, record)
