# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The examples of README and docs, one after the other on one host: none opens what the ones before have closed."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import yaml

from ansible_collections.senet.firewall.plugins.module_utils._values.pairs import PAIRS, names
from tests.collection_tree import ROOT
from tests.lab.controller import Controller
from tests.lab.lab import Lab
from tests.lab.probes import ADDRESSES, connect
from tests.lab.vm import Host

# They are about hosts of their own, and these tests run them.
ELSEWHERE = {
    "docs/article.md": "tests/vm/test_article.py",
    "docs/containers.md": "tests/vm/test_containers.py",
    "docs/labelled-ipsec.md": "tests/vm/test_labelled_ipsec.py",
}
# What listens on the host, for the flows that close it wherever it is
LISTENING = {"httpd_to_postgresql": 5432, "httpd_to_redis": 6379}
# Whom the examples speak of
PREPARE = """
useradd --system reports
printf '[Service]\\nUser=reports\\nExecStart=/bin/sleep infinity\\n' >/etc/systemd/system/reports.service
systemctl daemon-reload
mkdir -p /var/lib/prometheus/node-exporter
"""


class Example(NamedTuple):
    place: str
    content: Any

    def plays(self) -> list[dict[str, Any]]:
        """As plays for the one host there is."""
        content = [self.content] if isinstance(self.content, dict) else self.content
        if not all("hosts" in part for part in content):
            content = [{"tasks": content}]
        return [{**play, "hosts": "all", "gather_facts": False} for play in content]


def examples() -> list[Example]:
    """What names a module or a role of the collection, in the order of the pages."""
    found = []
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        place = str(page.relative_to(ROOT))
        blocks = re.findall(r"^```yaml[^\n]*\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
        for number, text in enumerate(blocks, start=1):
            if "senet.firewall." in text and place not in ELSEWHERE:
                found.append(Example(f"{place}:{number}", yaml.safe_load(text)))
    return found


def named(part: Any) -> set[str]:
    """The flows that an example names, itself or by a role."""
    if isinstance(part, list):
        return {name for item in part for name in named(item)}
    if not isinstance(part, dict):
        return set()
    found = {name for item in part.values() for name in named(item)}
    role = str(part.get("role", "")).removeprefix("senet.firewall.")
    if role in PAIRS:
        part = {"pair": role}
    if "pair" in part or {"name", "ports"} <= set(part):
        found.update(str(name) for name in names(part))
    return found


@pytest.fixture(scope="module")
def documented(lab: Lab) -> Iterator[tuple[Host, Controller]]:
    with lab.start("web", state="slim", link=True) as host, Controller(host, pipelining=False) as controller:
        host.run(PREPARE)
        yield host, controller


def enforced(host: Host, controller: Controller) -> dict[str, dict[str, Any]]:
    """The flows that are in force and refuse somebody."""
    found = controller.module(host, "senet.firewall.flows_info")
    assert (found["drift"], found["pending"]) == ([], None), found
    return {flow["name"]: flow for flow in found["flows"] if flow["mode"] == "enforce"}


def test_the_pages_that_are_left_out_have_their_own_tests() -> None:
    for page, test in ELSEWHERE.items():
        assert (ROOT / test).exists(), page
    assert len(examples()) > 8


# Those of README in `make vm`; in `make vm-thorough` the pages' go on with what they leave
CASES = [
    pytest.param(each, id=each.place, marks=() if each.place.startswith("README.md:") else pytest.mark.thorough)
    for each in examples()
]


@pytest.mark.parametrize("example", CASES)
def test_an_example_leaves_in_force_what_it_does_not_name(
    documented: tuple[Host, Controller], example: Example
) -> None:
    host, controller = documented
    before = enforced(host, controller)
    plays = [
        {**play, "vars": {**play.get("vars", {}), "flows_of_this_host": list(before.values())}}
        for play in example.plays()
    ]
    done = controller.playbook(plays, "-v")
    assert done.rc == 0, done.output
    after = enforced(host, controller)
    kept = set(before) - named(example.content)
    for name in sorted(kept):
        here, there = ({**found[name], "users": [], "units": []} for found in (before, after))
        assert here == there
    for name in kept.intersection(LISTENING):
        for address in ADDRESSES.values():
            assert connect(host, address, LISTENING[name]).result != "connected", name
