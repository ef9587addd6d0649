# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of many hosts: its data is as the schema says, and whatever a host says is text on the page."""

import json
from collections.abc import Callable, Mapping
from html.parser import HTMLParser
from typing import Any

import jsonschema
import pytest
from ansible.errors import AnsibleFilterError
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.senet.firewall.plugins.filter.report_data import FilterModule as Data
from ansible_collections.senet.firewall.plugins.filter.report_data import report_data
from ansible_collections.senet.firewall.plugins.filter.report_page import FilterModule as Page
from ansible_collections.senet.firewall.plugins.filter.report_page import report_page
from ansible_collections.senet.firewall.plugins.module_utils._change import change, drift, engine, packet_access
from ansible_collections.senet.firewall.plugins.module_utils._decisions.advice import Known
from ansible_collections.senet.firewall.plugins.module_utils._decisions.denial_rows import rows
from ansible_collections.senet.firewall.plugins.module_utils._decisions.denials import Collector, Wish
from ansible_collections.senet.firewall.plugins.module_utils._values import requests
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import FlowSet, flow_set
from ansible_collections.senet.firewall.plugins.module_utils._values.records import AUDITD, Line
from ansible_collections.senet.firewall.plugins.plugin_utils._report_picture import MOST, picture
from tests.collection_tree import ROOT
from tests.unit.flows import WEB_DB, flow
from tests.unit.records import auditd, avc
from tests.unit.scripted_host import ScriptedHost, process

SCHEMA = json.loads((ROOT / "docs" / "report.schema.json").read_text())
VOID = {"meta", "rect", "path", "br"}
# The only elements that the template has
ELEMENTS = {
    "html", "head", "meta", "title", "style", "body", "h1", "h2", "h3", "p", "a", "div", "span", "section", "table",
    "thead", "tbody", "tr", "th", "td", "ul", "li", "svg", "path", "g", "rect", "text", "br",
}  # fmt: skip
Three = tuple[dict[str, Any], dict[str, Any], dict[str, Any]]


def asked(flows: FlowSet | None = WEB_DB, *lines: str, mode: str = "enforcing", extra: str = "") -> Three:
    """What the three modules return of a host."""
    host = ScriptedHost(process(1, "init_t"), process(2, "httpd_t"), process(3, "redis_t"))
    if flows is not None:
        engine.run(host.host(), requests.Replace(flows), change.Options(0, "t1"), check_mode=False)
    host.mode, host.extra_policy = mode, extra
    collector = Collector(flows or FlowSet(()), Wish())
    for line in lines:
        collector.feed(Line(AUDITD, line))
    denials = {"groups": rows(collector, Known(flows or FlowSet(())), host.running), "lost": False}
    return drift.report(host.host()), packet_access.access(host.host(), (), ()), denials


def data(**hosts: Three) -> dict[str, Any]:
    flows, access, denials = ({name: three[number] for name, three in hosts.items()} for number in range(3))
    made = report_data(flows, access, denials, "2026-11-22T00:10:00Z", "1d")
    jsonschema.validate(json.loads(json.dumps(made)), SCHEMA, cls=jsonschema.Draft202012Validator)
    return made


def host_of(**hosts: Three) -> dict[str, Any]:
    (one,) = data(**hosts)["hosts"]
    return dict(one)


class Reader(HTMLParser):
    """The page's elements, its text, and whether every element is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.elements.add(tag)
        self.attributes.update(name for name, dummy in attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_filters_have_their_names() -> None:
    assert Data().filters() == {"report_data": report_data}
    assert Page().filters() == {"report_page": report_page}


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_a_host_that_enforces_its_flows() -> None:
    host = host_of(web=asked())
    assert (host["state"], host["problems"], host["findings"]) == ("enforced", [], [])
    cells = {cell["domain"]: cell for cell in host["access"]}
    assert cells["httpd_t"] == {
        "flow": "web_db", "domain": "httpd_t", "asked": ["connects"], "granted": ["connects"], "missing": [],
        "extra": [], "partly": False,
    }  # fmt: skip


def test_what_was_refused_and_what_would_be_is_counted() -> None:
    lines = [auditd(avc(), 1), auditd(avc(src="40001"), 2), auditd(avc(verdict="granted"), 3)]
    made = data(web=asked(WEB_DB, *lines))
    assert (made["summary"]["refused"], made["summary"]["observed"]) == (2, 1)
    text = Reader(report_page(made)).text
    assert "Would be refused" in text
    assert "as intended, since it does not name that domain" in text


@pytest.mark.parametrize(
    ("asking", "state", "says"),
    [
        (lambda: asked(None), "no flows", ""),
        (lambda: asked(flow_set([flow(mode="observe")])), "observed", ""),
        (lambda: asked(mode="permissive"), "not enforced", "SELinux is permissive on this host"),
        (
            lambda: asked(extra="(allow redis_t senet_web_db_client_packet_t (packet (send recv)))"),
            "drifted",
            "'redis_t' may recv and send packets of the flow 'web_db' that are for other domains only",
        ),
        (
            lambda: ({"unreachable": True, "msg": "No route to host"}, {"skipped": True}, {"skipped": True}),
            "unknown",
            "did not answer: No route to host",
        ),
        (lambda: ({"failed": True}, {}, {}), "unknown", "failed without a message"),
        (lambda: ({"flows": [{"name": "<b>"}], "confine": {}}, {}, {}), "unknown", "has another form"),
        (lambda: ({"flows": 7}, {}, {}), "unknown", "has another form"),
        (lambda: (asked()[0], {"failed": True, "msg": "No answer."}, {}), "unknown", "No answer."),
    ],
)
def test_the_state_of_a_host(asking: Callable[[], Three], state: str, says: str) -> None:
    three = asking()
    host = host_of(web=three)
    assert host["state"] == state
    assert says in " ".join(host["problems"] + host["findings"])
    assert state in Reader(report_page(data(web=three))).text


def test_drift_is_told() -> None:
    record, access, denials = asked()
    host = host_of(web=({**record, "drift": ["restore the ipv6 rules"]}, access, denials))
    assert (host["state"], host["problems"]) == ("drifted", ["Not in force as asked: restore the ipv6 rules."])


@pytest.mark.parametrize("flows", [WEB_DB, None])
def test_a_host_with_a_change_that_waits_is_not_said_to_be_as_asked(flows: FlowSet | None) -> None:
    record, access, denials = asked(flows)
    host = host_of(web=({**record, "drift": None, "pending": {"token": "t1"}}, access, denials))
    assert (host["state"], host["problems"]) == ("drifted", ["The change t1 waits to be confirmed."])


@pytest.mark.parametrize(
    ("place", "key", "value"),
    [("denials", "count", "7"), ("denials", "users", 7), ("denials", "last", 7), ("denials", "clients", [7]),
     ("access", "domain", 7), ("access", "flow", ["a"])],
)  # fmt: skip
def test_a_host_that_makes_up_an_answer_spoils_its_own_report_alone(place: str, key: str, value: Any) -> None:
    good, bad = asked(WEB_DB, auditd(avc(), 1)), asked(WEB_DB, auditd(avc(), 1))
    rows = {"denials": bad[2]["groups"], "access": bad[1]["access"]}[place]
    rows[0] = {**rows[0], key: value}
    made = data(bad=bad, good=good)
    assert [(host["name"], host["state"]) for host in made["hosts"]] == [("bad", "unknown"), ("good", "enforced")]
    assert "has another form" in Reader(report_page(made)).text


def test_the_worst_host_comes_first_and_flows_of_several_hosts_are_one() -> None:
    made = data(a=asked(), b=asked(flow_set([flow(source_addresses=["192.0.2.7"])])), c=asked(mode="permissive"))
    assert [host["name"] for host in made["hosts"]] == ["c", "a", "b"]
    assert [one["hosts"] for one in made["flows"]] == [["a", "b", "c"]]


def test_the_page_needs_nothing_beside_itself() -> None:
    page = report_page(data(web=asked()))
    reader = Reader(page)
    assert reader.elements == ELEMENTS - {"ul", "li", "br"}
    assert not reader.attributes & {"src", "onload", "onclick", "style", "xlink:href"}
    assert "default-src 'none'" in page
    assert "//" not in page.replace("<!doctype html>", "")
    assert '<th scope="row">httpd_t</th><td class="as-asked">connects</td>' in page


TEXT = st.text(max_size=30) | st.sampled_from(
    ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{ 7 * 7 }}", "</style><script>", "&lt;",
     "' onload='", "\u202egpj.exe", "\x00\x1b[31m", "\ud800", "]]>", "<!--", "javascript:alert(1)"]
)  # fmt: skip


@settings(max_examples=40)
@given(TEXT, TEXT, TEXT, TEXT)
def test_whatever_a_host_says_is_text(name: str, domain: str, advice: str, step: str) -> None:
    group = {
        "verdict": "refused", "domain": domain, "users": [name], "flow": step, "side": "client", "direction": "out",
        "protocol": name, "port": 5432, "clients": [advice], "servers": [step], "classes": [domain],
        "permissions": [name], "count": 1, "first": step, "last": step, "advice": [{"kind": name, "text": advice}],
        "processes": [{"pid": 1, "command": name}], "processes_reliable": bool(step),
    }  # fmt: skip
    record = {
        "flows": [flow().as_dict()], "confine": {domain: "enforce"}, "layers": ["selinux", name], "backend": name,
        "selinux": step, "pending": {"token": advice}, "outcome": {"rolled_back": True, "reason": advice},
        "repaired": step, "drift": [step],
    }  # fmt: skip
    cell = {
        "flow": "web_db", "domain": domain, "source": True, "destination": False, "client": [], "server": [name],
        "can_connect": False, "can_serve": True,
    }  # fmt: skip
    access = {"access": [cell], "findings": [{"text": advice}]}
    made = report_data({name: record}, {name: access}, {name: {"groups": [group]}}, "now", "1d")
    json.dumps(made).encode()
    page = report_page(made)
    page.encode()
    reader = Reader(page)
    assert reader.elements <= ELEMENTS
    assert reader.attributes == Reader(report_page(_plain(made))).attributes
    shown = made["hosts"][0]["problems"][-1] if made["hosts"][0]["problems"] else ""
    assert shown in reader.text


def _plain(made: dict[str, Any]) -> dict[str, Any]:
    """The same data with letters alone in it, where the page does not go by the word."""

    def plain(key: str, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {own: plain(own, item) for own, item in value.items()}
        if isinstance(value, list):
            return [plain(key, item) for item in value]
        kept = (
            "state", "mode", "verdict", "asked", "granted", "missing", "extra", "ports", "protocol", "source",
            "destination",
        )  # fmt: skip
        return value if not isinstance(value, str) or key in kept else "x" if value else value

    return {**made, "hosts": plain("hosts", made["hosts"]), "flows": plain("flows", made["flows"])}


def test_the_picture_has_every_flow_up_to_a_number() -> None:
    flows = [
        {**flow(f"flow{n}", source=[f"a{n % 7}_t", "b_t"]).as_dict(), "mode": "observe" if n % 2 else "enforce"}
        for n in range(MOST + 3)
    ]
    drawn = picture(flows, frozenset(["a1_t"]))
    kinds = [box["kind"] for box in drawn["boxes"]]
    assert (drawn["left_out"], kinds.count("flow enforce") + kinds.count("flow observe")) == (3, MOST)
    assert kinds.count("domain confined") == 1
    assert len(drawn["lines"]) == 3 * MOST
    assert sum(line["dashed"] for line in drawn["lines"]) == 3 * MOST // 2
    assert all(box["y"] >= 0 and box["y"] + box["height"] <= drawn["height"] for box in drawn["boxes"])
    columns: dict[int, list[int]] = {}
    for box in drawn["boxes"]:
        columns.setdefault(box["x"], []).append(box["y"])
    for tops in columns.values():
        assert all(low + 38 <= high for low, high in zip(sorted(tops), sorted(tops)[1:], strict=False))


def test_long_names_are_cut_in_the_picture_and_whole_in_its_titles() -> None:
    long = "a" * 40 + "_t"
    box = picture([flow(source=[long]).as_dict()], frozenset())["boxes"][0]
    assert len(box["name"]) < len(long)
    assert box["title"] == long


@pytest.mark.parametrize("given_data", [[], {}, {"format": 2}])
def test_other_data_is_an_error(given_data: Any) -> None:
    with pytest.raises(AnsibleFilterError, match="give what the filter report_data"):
        report_page(given_data)
    with pytest.raises(AnsibleFilterError, match="give the results of flows_info"):
        report_data("no", {}, {}, "now", "1d")
