# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
import pytest

from ansible_collections.senet.firewall.plugins.module_utils._preflight import find_cuts, refusal
from ansible_collections.senet.firewall.plugins.module_utils._processes import Process
from tests.unit.flows import WEB_DB, flow
from tests.unit.scripted_host import connected, listens, process

OWN = 100
SERVER = process(3, "postgresql_t", listens(5432), connected(5432, 40001))


@pytest.mark.parametrize(
    ("processes", "cut", "meant"),
    [
        pytest.param([process(4, "httpd_t", connected(40001, 5432))], False, True, id="source"),
        pytest.param([process(4, "unconfined_t", connected(40001, 5432))], True, True, id="other-client"),
        pytest.param([process(4, "unconfined_t", listens(5432))], True, False, id="other-server"),
        pytest.param([process(4, "unconfined_t", connected(40001, 80))], False, True, id="other-service"),
        pytest.param([process(4, "unconfined_t", listens(5432, "udp"))], False, True, id="other-protocol"),
        pytest.param([process(4, "redis_t", listens(6379), connected(6379, 5432))], True, False, id="peer-of-a-server"),
        pytest.param([process(4, "sshd_t", connected(2222, 5432))], True, False, id="sshd"),
        pytest.param([process(4, "httpd_t", connected(5432, 5432))], False, True, id="one-end-permits"),
    ],
)
def test_who_is_cut_and_whether_that_is_meant(processes: list[Process], cut: bool, meant: bool) -> None:
    cuts = find_cuts(WEB_DB, [SERVER, *processes], OWN)
    assert [(one.flow, one.meant) for one in cuts] == ([("web_db", meant)] if cut else [])
    assert (refusal(cuts) is None) == (not cut or meant)


def test_the_processes_that_the_change_came_through_are_never_cut() -> None:
    agent = process(50, "unconfined_t", connected(40001, 5432), command="agent")
    child = process(OWN, "unconfined_t", ppid=50)
    assert find_cuts(WEB_DB, [agent, process(OWN, "unconfined_t")], OWN)[0].meant
    cuts = find_cuts(WEB_DB, [agent, child], OWN)
    assert "agent, pid 50" in (refusal(cuts) or "")


def test_a_long_list_of_cuts_is_cut_short() -> None:
    cuts = find_cuts(WEB_DB, [process(pid, "redis_t", listens(5432)) for pid in range(10, 20)], OWN)
    assert "and 5 more" in (refusal(cuts) or "")


def test_kernel_threads_without_a_domain_are_left_alone() -> None:
    nameless = process(2, "kernel_t", listens(5432))._replace(context=None)
    assert find_cuts(WEB_DB, [nameless], OWN) == []
    assert flow().has_port(5432)
