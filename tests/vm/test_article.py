# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The article's rules, read by the filter and enforced: each line has its effect, and nothing it did not ask for."""

from collections.abc import Iterator

import pytest

from tests.article import ARTICLE
from tests.lab.controller import Controller
from tests.lab.lab import Lab
from tests.lab.probes import ADDRESSES, as_domain, connect, context, listener, through_apache
from tests.lab.vm import Host
from tests.vm.facts import POSTGRESQL

each_family = pytest.mark.parametrize("family", sorted(ADDRESSES))
PLAY = [
    {
        "hosts": "all",
        "gather_facts": False,
        "vars": {
            "rules": "\n".join(ARTICLE),
            "meaning": "{{ rules | senet.firewall.flows_from_iptables }}",
            # Apache must be asked before it can ask.
            "web": [{"name": "web", "source": ["domain"], "destination": ["httpd_t"], "ports": [80, 443]}],
        },
        "tasks": [{"senet.firewall.flows": {"flows": "{{ meaning.flows + web }}", "confine": "{{ meaning.confine }}"}}],
    }
]


@pytest.fixture(scope="module")
def article(lab: Lab) -> Iterator[Host]:
    with lab.start("web", state="slim") as host, Controller(host) as controller:
        for changed in (1, 0):
            done = controller.playbook(PLAY)
            assert (done.rc, done.recap["web"]["changed"]) == (0, changed), done.output
        yield host


@each_family
def test_lines_1_and_2_the_source_gets_through_and_another_program_of_the_user_does_not(
    article: Host, family: str
) -> None:
    assert through_apache(article, f"pg{family[-1]}").result == "connected"
    assert connect(article, ADDRESSES[family], 5432, user="www-data").result == "refused"


def test_line_3_an_answer_comes_back_on_an_established_connection(article: Host) -> None:
    with listener(article, "127.0.0.1", 60912):
        asked = connect(article, "127.0.0.1", 60912, "--send", "question", "--expect-reply")
    assert asked.result == "connected"


@each_family
def test_line_4_the_source_reaches_nothing_else_and_others_of_its_user_do(article: Host, family: str) -> None:
    assert through_apache(article, f"redis{family[-1]}").result == "refused"
    assert as_domain(article, "httpd_t", ADDRESSES[family], 22).result == "refused"
    assert connect(article, ADDRESSES[family], 6379, user="www-data").result == "connected"


@each_family
def test_lines_5_and_6_only_the_destination_answers_and_nobody_else_reaches_it(article: Host, family: str) -> None:
    assert connect(article, ADDRESSES[family], 5432).result == "refused"
    article.run(f"systemctl stop {POSTGRESQL}")
    try:
        with listener(article, ADDRESSES[family], 5432):
            assert as_domain(article, "httpd_t", ADDRESSES[family], 5432).result == "timeout"
        with listener(article, ADDRESSES[family], 5432, "--as-context", context("postgresql_t")):
            assert as_domain(article, "httpd_t", ADDRESSES[family], 5432).result == "connected"
    finally:
        article.run(f"systemctl start {POSTGRESQL}")
