# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter process_query."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError

from ansible_collections.senet.firewall.plugins.filter import process_query as plugin
from ansible_collections.senet.firewall.plugins.filter.process_query import process_query

LISTENING = [
    {"protocol": "tcp", "family": "ipv4", "address": "0.0.0.0", "port": 80},
    {"protocol": "tcp", "family": "ipv6", "address": "::", "port": 80},
]
CONNECTED = [{"protocol": "tcp", "family": "ipv4", "local_port": 40000, "remote_port": 5432, "state": "established"}]
PROCESSES: list[dict[str, Any]] = [
    {"pid": 1, "uid": 0, "unit": "apache2.service", "context": {"type": "httpd_t"}, "listening": LISTENING,
     "connected": []},
    {"pid": 2, "uid": 33, "unit": "apache2.service", "context": {"type": "httpd_t"}, "listening": LISTENING,
     "connected": CONNECTED},
    {"pid": 3, "uid": 0, "unit": None, "executable": "/bin/sh", "context": {"type": "unconfined_t"}, "listening": [],
     "connected": CONNECTED},
]
RESULT = {
    "selinux": True,
    "processes": PROCESSES,
    "domains": {"httpd_t": {"listening": LISTENING, "connected": CONNECTED}, "unconfined_t": {"listening": []}},
}


@pytest.mark.parametrize(
    ("data", "expression", "expected"),
    [
        (PROCESSES, "[?context.type=='httpd_t'].pid", [1, 2]),
        (RESULT, "processes[].pid", [1, 2, 3]),
        (RESULT, "selinux", True),
        (RESULT, "unique(domains.httpd_t.listening[].port)", [80]),
        (PROCESSES, "unique([].listening)[0]", LISTENING),
        ([1, True, 1.5, "1", None, True, 1], "unique(@)", [1, True, 1.5, "1", None]),
        (PROCESSES, "[?pid==`9`].pid", []),
        (RESULT, "nothing.here", None),
        (tuple(PROCESSES), "length(@)", 3),
    ],
)
def test_answers(data: Any, expression: str, expected: Any) -> None:
    answer = process_query(data, expression)
    assert (answer, json.dumps(answer)) == (expected, json.dumps(expected))


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("[?pid==1]", r"'\[\?pid==1\]' .* wrong at position 7: write the number in backticks, `1`\.$"),
        ("a b", r"'a b' .* wrong at position 2 \(Unexpected token: b\)"),
        ("a.#", r"'a\.#' .* wrong at position 2 \(Unknown token #\)"),
        ("[?a=='b'", r"\"\[\?a=='b'\" .* ends too early, at position 8"),
        ("", r"'' .* \(Invalid JMESPath expression: cannot be empty\)"),
        ("uniq(@)", r"'uniq\(@\)' .* is wrong \(Unknown function: uniq\(\)\): correct it\."),
        ("length(@, @)", r"'length\(@, @\)' .* \(Expected 1 argument for function length\(\), received 2\)"),
        ("unique(`1`)", r"gives the function unique\(\) a value of type number: give it array\.$"),
    ],
)
def test_a_bad_expression_is_named(expression: str, message: str) -> None:
    with pytest.raises(AnsibleFilterError, match=message):
        process_query(PROCESSES, expression)


def test_an_error_does_not_print_the_data() -> None:
    with pytest.raises(AnsibleFilterError) as caught:
        process_query(PROCESSES, "abs(@)")
    assert "apache2" not in str(caught.value)


def test_an_expression_that_is_not_a_string() -> None:
    with pytest.raises(AnsibleFilterError, match=r"expression 5 .* is not a string"):
        process_query(PROCESSES, 5)


@pytest.mark.parametrize("data", ["text", 5, None])
def test_an_input_that_holds_no_processes(data: Any) -> None:
    with pytest.raises(AnsibleFilterError, match=f"is of type {type(data).__name__}: give the result of"):
        process_query(data, "@")


def test_without_jmespath_the_error_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['jmespath'] = None\n"
        "from ansible_collections.senet.firewall.plugins.filter.process_query import FilterModule\n"
        "try:\n    FilterModule().filters()['process_query']([], '@')\n"
        "except Exception as exc:\n    print(exc)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": ":".join(sys.path)}, check=True, capture_output=True, text=True
    )
    assert "needs the Python library jmespath on the controller: pip install jmespath" in done.stdout


class _Text(str):
    """A string type with a name of its own, as Ansible's templating hands them over."""


def test_functions_take_the_strings_of_ansible() -> None:
    data = [{_Text("unit"): _Text("apache2.service")}]
    assert process_query(data, _Text("[?starts_with(unit, 'apache2')].unit")) == ["apache2.service"]


def play(directory: Path, tasks: list[dict[str, Any]]) -> list[Any]:
    """Runs the tasks by ansible-playbook, with RESULT as the registered result `host`; what the debug tasks showed."""
    playbook = directory / "play.yml"
    plays = [{"hosts": "localhost", "gather_facts": False, "vars": {"host": RESULT}, "tasks": tasks}]
    playbook.write_text(yaml.safe_dump(plays, sort_keys=False))
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", "-i", "localhost,", "-c", "local", str(playbook)],
        env={**os.environ, "ANSIBLE_STDOUT_CALLBACK": "minimal", "ANSIBLE_NOCOLOR": "1",
             "ANSIBLE_PYTHON_INTERPRETER": sys.executable},
        check=False, capture_output=True, text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    decoder = json.JSONDecoder()
    results = [decoder.raw_decode(part)[0] for part in done.stdout.split(" | SUCCESS => ")[1:]]
    return [result["msg"] for result in results if "msg" in result]


def test_every_example_answers_as_its_comment_says(tmp_path: Path) -> None:
    assert play(tmp_path, [task for task in yaml.safe_load(plugin.EXAMPLES) if "ansible.builtin.debug" in task]) == [
        [80],
        [{"domain": "httpd_t", "ports": [80]}, {"domain": "unconfined_t", "ports": []}],
        ["httpd_t", "unconfined_t"],
        ["apache2.service"],
        [{"pid": 3, "executable": "/bin/sh"}],
    ]


def test_a_process_cannot_smuggle_in_a_template(tmp_path: Path) -> None:
    """What comes from a host must stay text, also after the filter and a fact."""
    hostile = tmp_path / "hostile.json"
    hostile.write_text(json.dumps([{"pid": 1, "command": "{{ 40 + 2 }}"}]))
    query = "{{ file.content | b64decode | from_json | senet.firewall.process_query('[].command') }}"
    tasks: list[dict[str, Any]] = [
        {"ansible.builtin.slurp": {"src": str(hostile)}, "register": "file"},
        {"ansible.builtin.set_fact": {"taken": query}},
        {"ansible.builtin.debug": {"msg": "{{ taken }}"}},
    ]
    assert play(tmp_path, tasks) == [["{{ 40 + 2 }}"]]
