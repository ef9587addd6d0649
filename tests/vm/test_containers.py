# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A pair as two containers with domains of their own, and containers with the host's PostgreSQL (docs/containers.md):
each network namespace has labels of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pytest
import yaml

from tests.lab.controller import Controller
from tests.lab.lab import Lab
from tests.lab.probes import ADDRESSES, connect, through_apache
from tests.lab.vm import Host
from tests.vm.conftest import BACKENDS
from tests.vm.containers import (
    DB,
    DEFAULT_DOMAIN,
    GATEWAY,
    OTHER,
    PORT,
    Reached,
    block,
    domain_of,
    labels,
    namespace,
    reach,
    reach_from_new,
    reach_postgresql,
    start_containers,
)
from tests.vm.facts import Facts, facts
from tests.vm.ssh_watch import SshReport, SshWatch

pytestmark = [pytest.mark.thorough, pytest.mark.stock_kernel("podman asks for BPF, which the lab's own leaves out")]

LOAD = "/usr/local/sbin/senet-container load"
HOOK = "yaml the labels in each container"
# What the role brings beside the labels
HOOK_FILES = (
    "/etc/containers/containers.conf.d/senet-firewall.conf",
    "/etc/containers/oci/hooks.d/senet-firewall.json",
    "/usr/local/sbin/senet-container",
)
CLIENTS = {"web": "httpd_t", "other": DEFAULT_DOMAIN, "guest": DEFAULT_DOMAIN}
# guest is in the one of web
NAMESPACES = ("db", "web", "other")
LISTEN = """
set -e
echo "listen_addresses = '*'" > "/etc/postgresql/$(ls /etc/postgresql)/main/conf.d/containers.conf"
systemctl restart "postgresql@$(ls /etc/postgresql)-main"
"""
each_family = pytest.mark.parametrize("family", sorted(ADDRESSES))


class Pair(NamedTuple):
    """The host with the flow in force, and what was seen on the way there."""

    host: Host
    ssh: SshReport
    before: Facts
    after: Facts


@contextmanager
def with_containers(lab: Lab) -> Iterator[Host]:
    """A host whose containers run. Each test module's part starts its own: no saved disk has running containers."""
    with lab.start("web", state="slim") as host:
        start_containers(host)
        host.run(LISTEN, timeout=120)
        yield host


@pytest.fixture(scope="module")
def without_flows(lab: Lab) -> dict[tuple[str, str], Reached]:
    """How each container fares with db while there is no flow."""
    with with_containers(lab) as host:
        return {(client, family): reach(host, client, address) for client in CLIENTS for family, address in DB.items()}


@pytest.fixture(scope="module", params=[BACKENDS[0], pytest.param(BACKENDS[1], marks=pytest.mark.thorough)])
def pair(lab: Lab, request: pytest.FixtureRequest) -> Iterator[Pair]:
    """The page's first flow, in force on the host and in each container's namespace."""
    with with_containers(lab) as host:
        enforce(host, "yaml only httpd_t reaches postgresql_t", request.param)
        before = facts(host)
        with SshWatch(host) as watch:
            assert changes(host, HOOK) > 0
        after = facts(host)
        yield Pair(host, watch.report, before, after)


@pytest.fixture(scope="module")
def shared(lab: Lab) -> Iterator[Host]:
    """The page's second flow in place of the first: the host's PostgreSQL for containers of the default domain."""
    with with_containers(lab) as host:
        enforce(host, "yaml only container_t reaches postgresql_t", BACKENDS[0])
        changes(host, HOOK)
        yield host


def changes(host: Host, tasks: str) -> int:
    """How many tasks changed the host when those of the page ran."""
    with Controller(host) as controller:
        done = controller.playbook([{"hosts": "all", "gather_facts": False, "tasks": yaml.safe_load(block(tasks))}])
        assert done.rc == 0, done.output
        return int(done.recap[host.name]["changed"])


def enforce(host: Host, tasks: str, backend: str) -> None:
    """The page's tasks, by one backend."""
    wanted = yaml.safe_load(block(tasks))
    for task in wanted:
        # Beside containers a loaded machine may take its time for the new connection.
        task["senet.firewall.flows"].update(backend=backend, confirm_timeout=300)
    with Controller(host) as controller:
        done = controller.playbook([{"hosts": "all", "gather_facts": False, "tasks": wanted}])
        assert (done.rc, done.recap[host.name]["changed"]) == (0, 1), done.output


@each_family
@pytest.mark.parametrize("client", sorted(CLIENTS))
def test_without_flows_every_container_connects(
    without_flows: dict[tuple[str, str], Reached], client: str, family: str
) -> None:
    assert without_flows[client, family] == Reached("connected", CLIENTS[client])


@each_family
def test_the_source_domain_reaches_the_destination_domain(pair: Pair, family: str) -> None:
    assert domain_of(pair.host, "db") == "postgresql_t"
    assert reach(pair.host, "web", DB[family]) == Reached("connected", "httpd_t")


@each_family
@pytest.mark.parametrize("client", ["other", "guest"])
def test_a_container_of_another_domain_is_refused(pair: Pair, client: str, family: str) -> None:
    """In its own namespace, and in the source's."""
    assert reach(pair.host, client, DB[family]) == Reached("refused", DEFAULT_DOMAIN)


@each_family
def test_root_is_refused_from_every_namespace(pair: Pair, family: str) -> None:
    for container in NAMESPACES:
        refused = connect(pair.host, DB[family], PORT, prefix=namespace(pair.host, container))
        assert (refused.result, refused.context.split(":")[2]) == ("refused", "unconfined_t")
    assert connect(pair.host, DB[family], PORT).result == "refused"


@each_family
def test_the_source_gets_nothing_from_an_impostor(pair: Pair, family: str) -> None:
    enter = namespace(pair.host, "other")
    pair.host.run(f"podman exec -d other nc -ll -p {PORT} -e cat")
    try:
        pair.host.run(f"until {enter} ss -Hltn sport = :{PORT} | grep -q .; do sleep 0.1; done")
        assert reach(pair.host, "web", OTHER[family]) == Reached("timeout", "httpd_t")
    finally:
        pair.host.run(f"kill $({enter} ss -Hltnp sport = :{PORT} | sed 's/.*pid=\\([0-9]*\\).*/\\1/')")


def test_a_refusal_is_logged_with_the_containers_domain_and_address(pair: Pair) -> None:
    reach(pair.host, "other", DB["ipv4"])
    log = pair.host.run("ausearch --input-logs --message AVC </dev/null | grep tclass=packet | tail -n 1").stdout
    assert "denied  { send }" in log
    assert f"saddr={OTHER['ipv4']}" in log
    assert f":{DEFAULT_DOMAIN}:" in log


def test_the_hook_labels_a_container_before_it_starts(pair: Pair) -> None:
    for domain, result in (("httpd_t", "connected"), (DEFAULT_DOMAIN, "refused")):
        assert reach_from_new(pair.host, domain, DB["ipv6"]) == Reached(result, domain)


def test_loading_again_changes_nothing(pair: Pair) -> None:
    before = [labels(pair.host, container) for container in NAMESPACES]
    assert all("SECMARK" in text or "secmark" in text for text in before)
    assert pair.host.run(LOAD, timeout=300).stderr == ""
    assert changes(pair.host, HOOK) == 0
    assert [labels(pair.host, container) for container in NAMESPACES] == before


def test_the_hosts_own_namespace_stays_as_it_is(pair: Pair) -> None:
    hook = {f"{path}\n" for path in HOOK_FILES}
    files = "".join(line for line in pair.after.files.splitlines(keepends=True) if line not in hook)
    assert pair.after._replace(files=files) == pair.before._replace(kernel=pair.after.kernel)
    assert pair.ssh.failures == ()
    assert through_apache(pair.host, "pg6").result == "connected"
    assert through_apache(pair.host, "redis4").result == "connected"
    assert connect(pair.host, "127.0.0.1", 6379).result == "connected"


@each_family
def test_a_container_reaches_the_hosts_postgresql_by_its_domain(shared: Host, family: str) -> None:
    address = GATEWAY[family]
    assert reach_postgresql(shared, "other", address) == Reached("connected", DEFAULT_DOMAIN)
    assert reach_postgresql(shared, "guest", address) == Reached("connected", DEFAULT_DOMAIN)
    assert reach_postgresql(shared, "web", address) == Reached("refused", "httpd_t")
    assert connect(shared, address, PORT, prefix=namespace(shared, "other")).result == "refused"


def test_the_flows_can_go_once_the_containers_have_no_labels(shared: Host) -> None:
    with Controller(shared) as controller:
        left = controller.module(shared, "senet.firewall.flows", state="absent")
        assert left["failed"]
        assert "has labels of its own" in left["msg"]
        assert changes(shared, "yaml no labels in any container") > 0
        assert changes(shared, "yaml no labels in any container") == 0
        gone = controller.module(shared, "senet.firewall.flows", state="absent", confirm_timeout=300)
        assert (gone["failed"], gone["changed"]) == (False, True), gone
    assert "SECMARK" not in "".join(labels(shared, container) for container in NAMESPACES)
    assert reach(shared, "web", DB["ipv4"]).result == "connected"
