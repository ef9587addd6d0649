# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts for the tests: as booted, with the role's flow enforced, and with more flows beside it.

A run of semodule takes from ten seconds to half a minute, so what it leads to is made once and saved.
"""

import pickle
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.lab.controller import Controller, Play
from tests.lab.guests import DEFAULT_GUEST, FEDORA, GUESTS, guest_named
from tests.lab.lab import Lab
from tests.lab.machines import KINDS
from tests.lab.policy import SOURCE_VARIABLE, policy_source
from tests.lab.states import State
from tests.lab.vm import Host
from tests.vm.facts import Facts, facts
from tests.vm.shared import SharedStates
from tests.vm.ssh_watch import SshReport, SshWatch

ROLE = [{"hosts": "all", "gather_facts": False, "roles": ["senet.firewall.httpd_to_postgresql"]}]
ROLE_ABSENT = [{**ROLE[0], "vars": {"httpd_to_postgresql_state": "absent"}}]
MORE_FLOWS = [
    {"name": "cache", "source": ["httpd_t"], "destination": ["redis_t"], "ports": [6379]},
    # Ports of the ephemeral range: the policy asks no name_bind for them, so any domain can use them on either end.
    {"name": "names_tcp", "source": ["httpd_t"], "destination": ["named_t"], "ports": [60997]},
    {"name": "names_udp", "source": ["httpd_t"], "destination": ["named_t"], "ports": [60998], "protocol": "udp"},
]
WEB_DB = {"name": "web_db", "source": ["httpd_t"], "destination": ["postgresql_t"], "ports": ["5432"]}
TOKEN = "heldup"
FIRST_RUN = "first_run.pickle"
STATES = pytest.StashKey[str]()
ON_RECORD = "cat /etc/senet/flows.json; find /var/lib/senet-firewall -name 'pending*'"
INSTALL_POLICY = "install the policy module senet_firewall"

BACKENDS = ("iptables", "nftables")
# For tests of what the backend has a part in. Those without it run with iptables alone: messages about the policy, the
# policy store or the intent, which no backend has a word in.
both_backends = pytest.mark.parametrize("backend", BACKENDS)


def thorough(*values: str) -> Any:
    """A case much like another one, for `make vm-thorough` alone."""
    return pytest.param(*values, marks=pytest.mark.thorough)


# The same, where the part is small: the engine does for one family of rules what it does for another.
EACH_BACKEND = [BACKENDS[0], thorough(BACKENDS[1])]
each_backend = pytest.mark.parametrize("backend", EACH_BACKEND)
# For a module whose tests share a host of enforced_by_each or more_flows
each_backends_host = pytest.mark.parametrize("state_of_backend", EACH_BACKEND, indirect=True)

# What takes longest goes first, or one worker ends long before the other
LONGEST = (
    *("bypass", "guard", "pairs", "trouble", "places", "guard_undo", "boot", "messages", "flow_set", "windows"),
    *("confine", "denials", "opened_before", "observe", "bypass_namespaces", "role", "reverted"),
)

Module = Callable[..., dict[str, Any]]


def wait_until(is_so: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(1)


class FirstRun(NamedTuple):
    """What the role did on a booted host, and the facts of the host around each run."""

    before: Facts
    check: Play
    after_check: Facts
    run: Play
    ssh: SshReport
    denials: str
    enforced: Facts
    again: Play
    after_again: Facts


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--guest", choices=list(GUESTS), default=DEFAULT_GUEST, help="the hosts' distribution and policy")
    parser.addoption("--kind", choices=list(KINDS), help="the kind of machine; by default the fastest that works here")


def pytest_configure(config: pytest.Config) -> None:
    if guest_named(config.getoption("guest")).policy == FEDORA and policy_source() is None:
        pytest.exit(f"The tests on Fedora's policy did not run: {SOURCE_VARIABLE} names no source of it.", 0)
    if not hasattr(config, "workerinput"):
        config.stash[STATES] = tempfile.mkdtemp(prefix="senet-states-", dir="/var/tmp")
        # They are large: pytest_unconfigure runs for whoever ends the run before its time as well.
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    node.workerinput["states"] = node.config.stash[STATES]


def pytest_unconfigure(config: pytest.Config) -> None:
    if STATES in config.stash:
        shutil.rmtree(config.stash[STATES])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {f"test_{name}": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


@pytest.fixture(scope="session")
def lab(pytestconfig: pytest.Config) -> Iterator[Lab]:
    with Lab(kind=pytestconfig.getoption("kind"), guest=pytestconfig.getoption("guest")) as made:
        yield made


@pytest.fixture(scope="session")
def states(pytestconfig: pytest.Config) -> SharedStates:
    worker: dict[str, str] | None = getattr(pytestconfig, "workerinput", None)
    return SharedStates(Path(worker["states"] if worker else pytestconfig.stash[STATES]))


@pytest.fixture
def host(lab: Lab) -> Iterator[Host]:
    """A host as booted."""
    with lab.start("web") as started:
        yield started


def run_the_role(lab: Lab, save_as: Path) -> None:
    """The role in check mode, for real, and again, by Ansible's own defaults; the host is then saved, with a FirstRun
    beside it."""
    with lab.start("web") as host, Controller(host, pipelining=False) as controller:
        before = facts(host)
        check = controller.playbook(ROLE, "--check", "--diff", "-v")
        after_check = facts(host)
        with SshWatch(host) as watch:
            run = controller.playbook(ROLE, "-v")
        denials = host.run("ausearch --input-logs --message AVC </dev/null | grep tclass=packet", check=False).stdout
        enforced = facts(host)
        again = controller.playbook(ROLE, "-v")
        after_again = facts(host)
        controller.close()
        host.save_state(save_as)
    first = FirstRun(before, check, after_check, run, watch.report, denials, enforced, again, after_again)
    (save_as / FIRST_RUN).write_bytes(pickle.dumps(first))


@pytest.fixture(scope="session")
def enforced_state(lab: Lab, states: SharedStates) -> State:
    """A host on which the role ran."""
    return states.get("enforced", lambda save_as: run_the_role(lab, save_as))


@pytest.fixture(scope="session")
def first_run(enforced_state: State) -> FirstRun:
    """What the role did on that host."""
    first: FirstRun = pickle.loads((enforced_state.directory / FIRST_RUN).read_bytes())
    return first


@pytest.fixture
def enforced(lab: Lab, enforced_state: State) -> Iterator[Host]:
    """A fresh host on which the role ran."""
    with lab.start("web", state=enforced_state) as started:
        yield started


@pytest.fixture(scope="module")
def enforced_shared(lab: Lab, enforced_state: State) -> Iterator[Host]:
    """A host on which the role ran, for tests that leave it as they find it."""
    with lab.start("web", state=enforced_state) as started:
        yield started


@pytest.fixture(scope="session")
def enforced_by_nftables(lab: Lab, states: SharedStates, enforced_state: State) -> State:
    """The same, moved to the other backend."""

    def move(save_as: Path) -> None:
        with lab.start("web", state=enforced_state) as host, Controller(host) as controller:
            moved = controller.module(host, "senet.firewall.flows", backend="nftables")
            assert moved.get("backend") == "nftables", moved
            assert INSTALL_POLICY not in moved["steps"], moved
            controller.close()
            host.save_state(save_as)

    return states.get("enforced-nftables", move)


@pytest.fixture(scope="module", params=BACKENDS)
def state_of_backend(request: pytest.FixtureRequest) -> State:
    """The state on which the role's flow is in force by each of the backends."""
    return enforced_state_by(request.param, request)


@pytest.fixture
def enforced_by(request: pytest.FixtureRequest, backend: str) -> State:
    """The state on which the role's flow is in force by the test's backend."""
    return enforced_state_by(backend, request)


def enforced_state_by(backend: str, request: pytest.FixtureRequest) -> State:
    state: State = request.getfixturevalue("enforced_by_nftables" if backend == "nftables" else "enforced_state")
    return state


@pytest.fixture(scope="module")
def enforced_by_each(lab: Lab, state_of_backend: State) -> Iterator[Host]:
    """A host on which the flow is in force by each of the backends, for tests that leave it as they find it."""
    with lab.start("web", state=state_of_backend) as started:
        yield started


@pytest.fixture(scope="module")
def more_flows(lab: Lab, state_of_backend: State) -> Iterator[Host]:
    """A host on which MORE_FLOWS were added to the role's, for tests that leave it as they find it."""
    with lab.start("web", state=state_of_backend) as started, Controller(started) as controller:
        result = controller.module(started, "senet.firewall.flows", flows=MORE_FLOWS)
        assert result.get("changed"), result
        yield started


@pytest.fixture
def module(request: pytest.FixtureRequest) -> Iterator[Callable[[Host], Module]]:
    """`module(host)("flows", check=True, ...)` runs a module of the collection on a host and returns its result."""
    controllers: list[Controller] = []

    def on(host: Host) -> Module:
        controller = Controller(host)
        controllers.append(controller)
        return lambda name, **options: controller.module(host, f"senet.firewall.{name}", **options)

    yield on
    for controller in controllers:
        controller.close()


@pytest.fixture
def slim(lab: Lab) -> Iterator[Host]:
    """A host as booted, with few policy modules."""
    with lab.start("web", state="slim") as started:
        yield started


@pytest.fixture
def backend() -> str:
    """The backend that a test's hosts use; each_backend puts both in its place."""
    return "iptables"


class SlimStates:
    """Slim hosts on which WEB_DB is in force, saved once a backend."""

    def __init__(self, lab: Lab, states: SharedStates) -> None:
        self._lab = lab
        self._states = states

    def enforced(self, backend: str) -> State:
        """The state, made with the one before it if it is not there."""
        return self._states.get(f"slim-enforced-{backend}", lambda save_as: self._enforce(backend, save_as))

    def _enforce(self, backend: str, save_as: Path) -> None:
        # The policy is the same by both: only the first host installs it.
        base = "slim" if backend == BACKENDS[0] else self.enforced(BACKENDS[0])
        with self._lab.start("web", state=base) as host:
            with Controller(host) as controller:
                made = controller.module(host, "senet.firewall.flows", flows=[WEB_DB], backend=backend)
                assert made.get("changed"), made
            host.save_state(save_as)


@pytest.fixture(scope="session")
def slim_states(lab: Lab, states: SharedStates) -> SlimStates:
    return SlimStates(lab, states)


def without_confirmation(collection: Path) -> None:
    """Patches a copy of the collection: as if the controller had died right after the change."""
    (collection / "plugins" / "action" / "flows.py").unlink()


@pytest.fixture
def slim_enforced(lab: Lab, slim_states: SlimStates, backend: str) -> Iterator[Host]:
    """A slim host on which WEB_DB is in force."""
    with lab.start("web", state=slim_states.enforced(backend)) as started:
        yield started


@pytest.fixture(scope="module")
def kept(lab: Lab, slim_states: SlimStates) -> Iterator[Callable[[str], Host]]:
    """`kept(backend)` is a slim host on which WEB_DB is in force, the same one until it is stopped."""
    hosts: dict[str, Host] = {}

    def of(backend: str) -> Host:
        if backend not in hosts or not hosts[backend].alive():
            hosts[backend] = lab.start("web", state=slim_states.enforced(backend))
        return hosts[backend]

    yield of
    for host in hosts.values():
        host.stop()


@pytest.fixture
def released(request: pytest.FixtureRequest, kept: Callable[[str], Host], backend: str) -> Iterator[Host]:
    """A slim host with WEB_DB whose service was stopped: the labels are gone, the next run brings them back. The next
    test has the same host, if this one passed and left that flow and no change on record."""
    host = kept(backend)
    # The watch may have brought the labels back without the service, whose stop is what takes them away
    host.run("systemctl start senet-firewall.service && systemctl stop senet-firewall.service")
    found = host.run(ON_RECORD).stdout
    failed = request.session.testsfailed
    yield host
    if request.session.testsfailed > failed or host.run(ON_RECORD, check=False).stdout != found:
        host.stop()


@pytest.fixture
def pending(released: Host) -> Host:
    """The host `released` after a run that brought the labels back and was not confirmed."""
    with Controller(released, patch=without_confirmation) as controller:
        waiting = controller.module(
            released, "senet.firewall.flows", flows=[WEB_DB], token=TOKEN, confirm_timeout=3600
        )
    assert waiting.get("guard") == {"token": TOKEN, "confirmed": False}, waiting
    return released
