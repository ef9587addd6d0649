# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from typing import Any, Optional

import pytest

from ansible_collections.senet.firewall.plugins.module_utils._decisions.preflight import (
    find_cuts,
    interface_of,
    refusal,
)
from ansible_collections.senet.firewall.plugins.module_utils._decisions.warnings import confinement_warnings
from ansible_collections.senet.firewall.plugins.module_utils._values.processes import Process
from tests.unit.flows import WEB_DB, flow, flow_set
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


def test_a_socket_counts_by_its_own_label_and_not_by_the_process_that_holds_it() -> None:
    ssh = flow_set([flow("ssh", source=["domain"], destination=["sshd_t"], ports=[22])])
    listening = process(1, "init_t", listens(22)._replace(context="system_u:system_r:sshd_t:s0"))
    session = connected(22, 40001)._replace(context="system_u:system_r:sshd_t:s0-s0:c0.c1023")
    # As sshd has it on the RHEL family: a child in its user's domain, on a socket that sshd accepted
    child = process(7, "unconfined_t", session, command="sshd")
    assert find_cuts(ssh, [listening, child], OWN) == []
    strangers = connected(22, 40002)._replace(context="system_u:system_r:unconfined_t:s0")
    cuts = find_cuts(ssh, [listening, process(8, "sshd_t", strangers)], OWN)
    assert [(one.domain, one.pid) for one in cuts] == [("unconfined_t", 8)]


@pytest.mark.parametrize(
    ("local", "remote", "interface"),
    [
        ("192.0.2.1", "198.51.100.9", "eth0"),
        ("fe80::1%eth0", "fe80::2%eth0", "eth0"),
        ("192.0.2.1", "192.0.2.1", "lo"),
        ("192.0.2.1", "10.77.0.2", "lo"),
        ("127.0.0.1", "127.0.0.2", "lo"),
        ("::1", "::1", "lo"),
        ("203.0.113.1", "198.51.100.9", None),
        ("192.0.2.1", None, None),
    ],
)
def test_a_connection_takes_the_interface_of_its_address_or_lo(
    local: str, remote: Optional[str], interface: Optional[str]
) -> None:
    addresses = {"lo": ["127.0.0.1", "::1"], "eth0": ["192.0.2.1", "fe80::1"], "eth1": ["10.77.0.2"]}
    sock = connected(22, 40001)._replace(local_address=local, remote_address=remote)
    assert interface_of(sock, addresses) == interface


def far(domain: str, local: tuple[str, int], remote: tuple[str, int]) -> Process:
    """A process with a connection between two addresses."""
    sock = connected(local[1], remote[1])._replace(local_address=local[0], remote_address=remote[0])
    return process(4, domain, sock)


HERE, CLIENT, STRANGER = "192.0.2.1", "192.0.2.7", "192.0.2.9"


@pytest.mark.parametrize(
    ("options", "one", "cut", "meant"),
    [
        pytest.param({"source_addresses": [CLIENT]}, far("postgresql_t", (HERE, 5432), (CLIENT, 4)), False, True,
                     id="client-of-the-address"),
        pytest.param({"source_addresses": [CLIENT]}, far("postgresql_t", (HERE, 5432), (STRANGER, 4)), True, True,
                     id="client-of-another-address"),
        pytest.param({"source_addresses": [CLIENT]}, far("redis_t", (HERE, 5432), (CLIENT, 4)), True, False,
                     id="another-server"),
        pytest.param({"source_addresses": [CLIENT], "destination": ["sshd_t"]},
                     far("sshd_t", (HERE, 5432), (STRANGER, 4)), True, False, id="ssh-from-another-address"),
        pytest.param({"source_addresses": [HERE]}, far("httpd_t", (HERE, 4), (STRANGER, 5432)), False, True,
                     id="source-from-its-address"),
        pytest.param({"source_addresses": [CLIENT]}, far("httpd_t", (HERE, 4), (STRANGER, 5432)), True, True,
                     id="source-from-another-address"),
        pytest.param({"destination_addresses": [CLIENT]}, far("redis_t", (HERE, 4), (STRANGER, 5432)), False, True,
                     id="another-place"),
        pytest.param({"destination_addresses": [CLIENT]}, far("redis_t", (HERE, 4), (CLIENT, 5432)), True, True,
                     id="the-place"),
        pytest.param({"source": ["domain"]}, far("redis_t", (HERE, 4), (CLIENT, 5432)), False, True,
                     id="every-domain"),
    ],
)  # fmt: skip
def test_addresses_say_whose_sockets_are_cut(options: dict[str, Any], one: Process, cut: bool, meant: bool) -> None:
    cuts = find_cuts(flow_set([flow(**options)]), [SERVER, one], OWN)
    cuts = [found for found in cuts if found.pid == one.pid]
    assert [found.meant for found in cuts] == ([meant] if cut else [])


def test_a_server_that_listens_everywhere_serves_the_place_too() -> None:
    place = flow_set([flow(destination_addresses=[HERE])])
    for address, cut in (("0.0.0.0", True), ("::", True), (HERE, True), (CLIENT, False)):
        one = process(4, "redis_t", listens(5432)._replace(local_address=address))
        assert bool(find_cuts(place, [one], OWN)) == cut


def test_a_confined_domain_loses_what_no_flow_allows_and_is_told() -> None:
    web = process(4, "httpd_t", listens(80), connected(40001, 5432), connected(40002, 25))
    flows = flow_set([flow()], {"httpd_t": "enforce", "redis_t": "observe"}.items())
    cuts = find_cuts(flows, [SERVER, web, process(5, "redis_t", listens(6379))], OWN)
    assert [(cut.domain, cut.flow, cut.mode, cut.meant) for cut in cuts] == [
        ("httpd_t", "", "enforce", True), ("httpd_t", "", "enforce", True), ("redis_t", "", "observe", True)
    ]  # fmt: skip
    assert cuts[0].as_dict()["flow"] is None
    assert refusal(cuts) is None
    first, second = confinement_warnings(cuts)
    assert "'httpd_t' has sockets that no flow allows: tcp 0.0.0.0 port 80 (program, pid 4); tcp 127.0.0.1" in first
    assert "port 25 (program, pid 4); add flows" in first
    assert "'redis_t'" in second
    assert confinement_warnings(find_cuts(WEB_DB, [process(6, "unconfined_t", connected(4, 5432))], OWN)) == []


def test_ssh_and_the_processes_of_the_change_are_not_to_be_confined_away() -> None:
    for one in (process(4, "sshd_t", listens(22)), process(OWN, "unconfined_t", connected(4, 22))):
        domain = one.context.type if one.context else ""
        cuts = find_cuts(flow_set([], [(domain or "", "enforce")]), [one], OWN)
        assert "by its confinement" in (refusal(cuts) or "")
    ssh = flow_set([flow("ssh", destination=["sshd_t"], ports=[22])], [("sshd_t", "enforce")])
    assert find_cuts(ssh, [process(4, "sshd_t", listens(22), connected(22, 4))], OWN) == []


def test_the_processes_that_the_change_came_through_are_never_cut() -> None:
    agent = process(50, "unconfined_t", connected(40001, 5432), command="agent")
    child = process(OWN, "unconfined_t", ppid=50)
    assert find_cuts(WEB_DB, [agent, process(OWN, "unconfined_t")], OWN)[0].meant
    cuts = find_cuts(WEB_DB, [agent, child], OWN)
    assert "agent, pid 50" in (refusal(cuts) or "")


def test_a_login_from_an_address_that_the_flow_does_not_list_is_refused_with_that_as_the_repair() -> None:
    ssh = flow_set([flow("ssh", source=["domain"], destination=["sshd_t"], ports=[22], source_addresses=["192.0.2.7"])])
    message = refusal(find_cuts(ssh, [process(4, "sshd_t", listens(22), connected(22, 4))], OWN)) or ""
    assert "'sshd_t' (program, pid 4, tcp 127.0.0.1 port 22 to 127.0.0.1 port 4) by the flow 'ssh'" in message
    assert "add the client's address to source_addresses" in message
    # The flow does name it
    assert "no flow names" not in message


def test_a_long_list_of_cuts_is_cut_short() -> None:
    cuts = find_cuts(WEB_DB, [process(pid, "redis_t", listens(5432)) for pid in range(10, 20)], OWN)
    assert "and 5 more" in (refusal(cuts) or "")


def test_kernel_threads_without_a_domain_are_left_alone() -> None:
    nameless = process(2, "kernel_t", listens(5432))._replace(context=None)
    assert find_cuts(WEB_DB, [nameless], OWN) == []
    assert flow().has_port(5432)
