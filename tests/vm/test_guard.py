# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A change that cuts the way it came is refused, or undone by the host itself; whatever is not confirmed is undone."""

import json
import re
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from tests.lab.controller import Controller, Play
from tests.lab.lab import Lab
from tests.lab.probes import ADDRESSES, connect
from tests.lab.vm import Host
from tests.vm.conftest import TOKEN, WEB_DB, each_backend, thorough, without_confirmation
from tests.vm.facts import facts

pytestmark = pytest.mark.core

FLOWS = "senet.firewall.flows"
GUARD = "senet.firewall.guard"
# SSH's own port as that of a database: sshd_t may neither receive nor send there.
CUTS_SSH = {"name": "lockout", "source": ["httpd_t"], "destination": ["postgresql_t"], "ports": ["22"]}
PLACES = "/etc /usr/local $(ls -d /var/lib/senet-firewall/code 2>/dev/null)"
CONTENT = (
    f"find {PLACES} -xdev -type f -print0 | sort -z | xargs -0 sha256sum; "
    f"find {PLACES} -xdev '(' -type l -o -type d ')' -printf '%p %m %u %g %l\\n' | sort"
)


def content(host: Host) -> set[str]:
    """What the collection may change, and every file of /etc, /usr/local and its own code, the loaded policy's too."""
    found = facts(host)._replace(kernel="", files="")
    return {f"{part}: {line}" for part, text in found._asdict().items() for line in text.splitlines()} | set(
        host.run(CONTENT, timeout=120).stdout.splitlines()
    )


def refused(host: Host) -> list[bool]:
    """Whether root's connection to PostgreSQL is refused, per family."""
    return [connect(host, address, 5432).result == "refused" for address in ADDRESSES.values()]


def failure(play: Play, host: str = "web") -> dict[str, Any]:
    """The result of the task that failed on a host."""
    found = re.search(rf"^fatal: \[{host}\]: FAILED! => (\{{.*\}})$", play.output, re.MULTILINE)
    assert found, play.output
    result: dict[str, Any] = json.loads(found[1])
    return result


def without_preflight(collection: Path) -> None:
    """Patches a copy of the collection: nothing is refused for what it would cut."""
    path = collection / "plugins" / "module_utils" / "_decisions" / "preflight.py"
    head, found, rest = path.read_text().partition("def refusal(")
    signature, body, rest = rest.partition("unmeant = ")
    assert body, "refusal() has changed"
    path.write_text(f"{head}{found}{signature}return None\n    {body}{rest}")


def closed_port() -> int:
    """A port of the controller that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_preflight_refuses_to_cut_ssh(slim: Host) -> None:
    before = content(slim)
    with Controller(slim) as controller:
        result = controller.module(slim, FLOWS, flows=[CUTS_SSH])
    assert "'sshd_t'" in result["msg"]
    assert "Nothing was changed" in result["msg"]
    assert content(slim) == before


@each_backend
def test_a_lock_out_is_undone_by_the_host_and_stops_the_play(lab: Lab, slim: Host, backend: str) -> None:
    play = [
        {
            "hosts": "all",
            "gather_facts": False,
            "order": "reverse_sorted",
            "serial": 1,
            "max_fail_percentage": 0,
            "tasks": [{FLOWS: {"flows": [CUTS_SSH], "confirm_timeout": 10, "backend": backend}}],
        }
    ]
    before = content(slim)
    with lab.start("db", state="slim") as second, Controller(slim, second, patch=without_preflight) as controller:
        second_before = facts(second)
        done = controller.playbook(play)
        assert facts(second) == second_before
    assert done.rc != 0
    assert done.recap == {"web": {"ok": 0, "changed": 0, "unreachable": 0, "failed": 1}}
    result = failure(done)
    assert result["rolled_back"] is True
    assert result["changed"] is False
    # The new connection is either given up, or gets through once the guard has let it.
    assert "could not be reached over a new connection" in result["msg"] or "was not confirmed in time" in result["msg"]
    assert slim.run("echo back", fresh=True).stdout == "back\n"
    assert content(slim) == before


@each_backend
@pytest.mark.parametrize("kind", ["health_checks", thorough("health_commands")])
def test_a_failing_health_check_undoes_the_change(released: Host, kind: str) -> None:
    port = closed_port()
    checks: dict[str, Any] = {
        "health_checks": [f"127.0.0.1:{port}"],
        "health_commands": ["true", "echo no such page >&2; exit 7"],
    }
    said = {"health_checks": f"127.0.0.1 port {port} failed", "health_commands": "return code 7: no such page"}
    before = content(released)
    with Controller(released) as controller:
        result = controller.module(released, FLOWS, **{"flows": [WEB_DB], kind: checks[kind]})
    assert result["failed"]
    assert result["rolled_back"] is True
    assert said[kind] in result["msg"]
    assert content(released) == before
    assert refused(released) == [False, False]


@each_backend
def test_passing_health_checks_confirm_the_change(released: Host) -> None:
    with Controller(released) as controller:
        result = controller.module(
            released,
            FLOWS,
            flows=[WEB_DB],
            health_checks=[f"127.0.0.1:{released.ssh_port}"],
            health_commands=["test $(id -u) = 0", "! senet-probe connect 127.0.0.1 5432"],
        )
    assert result["guard"]["confirmed"] is True
    assert refused(released) == [True, True]


@each_backend
def test_a_second_change_is_refused_until_the_first_is_confirmed(pending: Host) -> None:
    other = {**WEB_DB, "name": "other", "ports": ["5433"]}
    with Controller(pending) as controller:
        for check in (False, True):
            result = controller.module(pending, FLOWS, flows=[other], check=check)
            assert f"The change {TOKEN} of this host waits" in result["msg"]
            assert f"token={TOKEN} state=confirmed" in result["msg"]
            assert "state=aborted" in result["msg"]
        assert refused(pending) == [True, True]
        confirmed = controller.module(pending, GUARD, token=TOKEN, state="confirmed")
        assert confirmed["changed"] is True
        assert confirmed["rolled_back"] is False
        assert refused(pending) == [True, True]
        again = controller.module(pending, FLOWS, flows=[WEB_DB])
        assert again["changed"] is False, again
        assert controller.module(pending, GUARD, token=TOKEN, state="confirmed")["changed"] is False


@each_backend
def test_a_pending_change_can_be_aborted(pending: Host) -> None:
    with Controller(pending) as controller:
        assert refused(pending) == [True, True]
        aborted = controller.module(pending, GUARD, token=TOKEN, state="aborted")
        assert aborted["changed"] is True
        assert aborted["rolled_back"] is True
        assert refused(pending) == [False, False]
        assert controller.module(pending, FLOWS, flows=[WEB_DB], check=True)["changed"] is True


@each_backend
@pytest.mark.parametrize("state", ["confirmed", thorough("aborted")])
def test_a_change_that_others_confirm_is_in_force_until_they_decide(released: Host, state: str) -> None:
    with Controller(released) as controller:
        result = controller.module(released, FLOWS, flows=[WEB_DB], confirm="manual", confirm_timeout=600)
        assert 0 < result["guard"]["confirm_by"] <= 600
        assert result["guard"]["confirmed"] is False
        assert refused(released) == [True, True]
        assert controller.module(released, GUARD, token=result["guard"]["token"], state=state)["changed"] is True
        assert refused(released) == [state == "confirmed"] * 2


@each_backend
def test_a_change_that_nobody_decides_on_is_undone_in_time(released: Host) -> None:
    before = content(released)
    with Controller(released) as controller:
        result = controller.module(released, FLOWS, flows=[WEB_DB], confirm="manual", confirm_timeout=5)
        assert result["guard"]["confirm_by"] <= 5
        deadline = time.monotonic() + 60
        while content(released) != before:
            assert time.monotonic() < deadline
            time.sleep(1)
        late = controller.module(released, GUARD, token=result["guard"]["token"], state="confirmed")
        assert (late["failed"], late["rolled_back"]) == (True, True)


@each_backend
def test_a_change_whose_controller_died_is_undone_in_time(released: Host) -> None:
    token = "died"
    before = content(released)
    with Controller(released, patch=without_confirmation) as controller:
        result = controller.module(released, FLOWS, flows=[WEB_DB], token=token, confirm_timeout=5)
        assert result["guard"] == {"token": token, "confirmed": False}
        deadline = time.monotonic() + 60
        while content(released) != before:
            assert time.monotonic() < deadline
            time.sleep(1)
        journal = released.run(f"journalctl -b -u senet-firewall-confirm-{token}.service").stdout
        assert f"The change {token} was undone: it was not confirmed in time." in journal
        late = controller.module(released, GUARD, token=token, state="confirmed")
        assert (late["failed"], late["rolled_back"]) == (True, True)


@each_backend
def test_it_works_with_become_and_pipelining(released: Host) -> None:
    released.run(
        "useradd --create-home --shell /bin/bash admin && "
        "echo 'admin ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/admin && "
        "cp -r /root/.ssh /home/admin/ && chown -R admin: /home/admin/.ssh && restorecon -RF /home/admin"
    )
    with Controller(released) as controller:
        for pipelining in (False, True):
            released.run("systemctl stop senet-firewall.service")
            variables = {"ansible_user": "admin", "ansible_become": True, "ansible_pipelining": pipelining}
            task = {FLOWS: {"flows": [WEB_DB], "health_commands": ["test $(id -u) = 0"]}}
            play = [{"hosts": "all", "gather_facts": False, "vars": variables, "tasks": [task]}]
            done = controller.playbook(play, "-v")
            assert done.rc == 0, done.output
            assert '"confirmed": true' in done.output
            assert refused(released) == [True, True]
            again = controller.playbook(play)
            assert again.recap["web"]["changed"] == 0


@each_backend
def test_check_mode_and_no_timeout_leave_no_guard(released: Host) -> None:
    guards = (
        "find /var/lib/senet-firewall -name 'pending*'; "
        "systemctl list-timers --all --no-legend 'senet-firewall-*' --output json"
    )
    none = released.run(guards).stdout
    before = content(released)
    with Controller(released) as controller:
        checked = controller.module(released, FLOWS, flows=[WEB_DB], check=True)
        assert any("arm the guard" in step for step in checked["steps"])
        assert "guard" not in checked
        assert content(released) == before
        assert released.run(guards).stdout == none
        unguarded = controller.module(released, FLOWS, flows=[WEB_DB], confirm_timeout=0)
        assert unguarded["changed"] is True
        assert "guard" not in unguarded
        assert not any("guard" in step or "confirmation" in step for step in unguarded["steps"])
        assert released.run(guards).stdout == none
        assert refused(released) == [True, True]
        assert released.run("systemctl is-active senet-firewall senet-firewall-watch").stdout == "active\nactive\n"
