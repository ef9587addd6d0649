# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
import pytest

from ansible_collections.senet.firewall.plugins.module_utils._decisions.access import (
    CHECKED,
    Access,
    contexts_by_domain,
    cut_domains,
    deviations,
)
from ansible_collections.senet.firewall.plugins.module_utils._host.selinuxfs import Decision
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import flow_set
from tests.unit.flows import WEB_DB, flow
from tests.unit.scripted_host import listens, process

NONE: frozenset[str] = frozenset()
SEND = frozenset(["send"])
RECV = frozenset(["recv"])
OBSERVED = flow_set([flow(mode="observe")])


@pytest.mark.parametrize(
    ("domain", "client", "server", "said"),
    [
        pytest.param("httpd_t", CHECKED, RECV, "", id="source"),
        pytest.param("postgresql_t", RECV, CHECKED, "", id="destination"),
        pytest.param("unconfined_t", NONE, NONE, "", id="other"),
        pytest.param("kernel_t", SEND, SEND, "", id="kernel-answers"),
        pytest.param("kernel_t", CHECKED, CHECKED, "may recv packets of the flow 'web_db'", id="kernel-receives"),
        pytest.param("httpd_t", RECV, RECV, "'httpd_t' may not connect by the flow 'web_db'", id="source-mute"),
        pytest.param("httpd_t", SEND, RECV, "'httpd_t' may not connect by the flow 'web_db'", id="source-sends-only"),
        pytest.param("postgresql_t", RECV, RECV, "'postgresql_t' may not serve the flow 'web_db'", id="server-mute"),
        pytest.param("httpd_t", CHECKED, CHECKED, "'httpd_t' may send packets of the flow 'web_db'",
                     id="source-serves"),
        pytest.param("postgresql_t", CHECKED, CHECKED, "may send packets of the flow 'web_db'",
                     id="destination-connects"),
        pytest.param("unconfined_t", SEND, NONE, "'unconfined_t' may send packets of the flow", id="other-sends"),
        pytest.param("unconfined_t", NONE, RECV, "may recv packets of the flow 'web_db'", id="other-receives"),
        pytest.param("unconfined_t", CHECKED, CHECKED, "may recv and send packets of the flow 'web_db'",
                     id="other-does-both"),
    ],
)  # fmt: skip
def test_an_answer_of_the_kernel_that_is_not_the_flow_is_told(
    domain: str, client: frozenset[str], server: frozenset[str], said: str
) -> None:
    clauses = deviations(WEB_DB, [Access("web_db", domain, client, server, False)])
    assert len(clauses) == bool(said)
    assert said in "".join(clauses)


@pytest.mark.parametrize(
    ("domain", "client", "server", "cut"),
    [
        ("unconfined_t", CHECKED, CHECKED, False),
        ("unconfined_t", CHECKED, RECV, True),
        ("httpd_t", SEND, CHECKED, True),
        ("kernel_t", SEND, SEND, False),
    ],
)
def test_a_flow_that_observes_must_cut_nobody(
    domain: str, client: frozenset[str], server: frozenset[str], cut: bool
) -> None:
    clauses = deviations(OBSERVED, [Access("web_db", domain, client, server, False)])
    assert clauses == ([f"'{domain}' is cut by the flow 'web_db', which only observes"] if cut else [])


@pytest.mark.parametrize(
    ("domain", "client", "server", "good"),
    [("httpd_t", CHECKED, RECV, True), ("httpd_t", CHECKED, CHECKED, False), ("redis_t", NONE, NONE, True),
     ("redis_t", CHECKED, NONE, False), ("unconfined_t", CHECKED, CHECKED, True), ("unconfined_t", NONE, NONE, False)],
)  # fmt: skip
def test_a_flow_that_observes_opens_nothing_to_a_confined_domain(
    domain: str, client: frozenset[str], server: frozenset[str], good: bool
) -> None:
    flows = flow_set(OBSERVED.flows, confine=[("httpd_t", "enforce"), ("redis_t", "enforce")])
    assert (deviations(flows, [Access("web_db", domain, client, server, False)]) == []) == good


def test_a_row_says_who_can_connect_and_serve_only_with_both_permissions() -> None:
    row = Access("web_db", "httpd_t", CHECKED, SEND, True).as_dict()
    assert row == {
        "flow": "web_db", "domain": "httpd_t", "client": ["recv", "send"], "server": ["send"],
        "can_connect": True, "can_serve": False, "permissive": True,
    }  # fmt: skip


def test_the_running_domains_that_lack_a_permission_are_cut() -> None:
    granted = {("httpd_t", "unlabeled_t"): CHECKED, ("sshd_t", "unlabeled_t"): SEND, ("sshd_t", "other_t"): CHECKED}
    asked = []

    def ask(source: str, target: str, tclass: str) -> Decision:
        asked.append((source, target, tclass))
        return Decision(granted.get((source.split(":")[2], target.split(":")[2]), NONE), False)

    running = [
        process(1, "sshd_t"), process(2, "httpd_t"), process(3, "httpd_t"),
        process(4, "kernel_t")._replace(context=None),
    ]  # fmt: skip
    unlabelled, other = "system_u:object_r:unlabeled_t:s0", "system_u:object_r:other_t:s0"
    assert cut_domains(ask, running, [unlabelled]) == ["sshd_t"]
    assert ("system_u:system_r:httpd_t:s0", unlabelled, "packet") in asked
    assert cut_domains(ask, running, [unlabelled, other]) == ["httpd_t", "sshd_t"]
    assert sorted(contexts_by_domain(running)) == ["httpd_t", "sshd_t"]


def test_the_label_of_a_socket_counts_as_a_running_domain() -> None:
    # As systemd makes it for a service that is started by its first connection
    waiting = process(1, "init_t", listens(22)._replace(context="system_u:system_r:sshd_t:s0"))
    assert contexts_by_domain([waiting]) == {
        "init_t": "system_u:system_r:init_t:s0", "sshd_t": "system_u:system_r:sshd_t:s0"
    }  # fmt: skip
