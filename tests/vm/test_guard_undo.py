# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guard itself: whose interpreter it runs, whether systemd can run it, and what an undo that fails leads to."""

from itertools import count

from tests.lab.controller import Controller
from tests.lab.probes import ADDRESSES, connect
from tests.lab.vm import Host
from tests.vm.conftest import WEB_DB, wait_until, without_confirmation

FLOWS = "senet.firewall.flows"
# What every command of iptables is on Debian
TOOL = "/usr/sbin/xtables-nft-multi"
# One for each change, since the tests share a journal
TOKENS = (f"heldup{number}" for number in count())


def refused(host: Host) -> list[bool]:
    """Whether root's connection to PostgreSQL is refused, per family."""
    return [connect(host, address, 5432).result == "refused" for address in ADDRESSES.values()]


def journal(host: Host, unit: str) -> str:
    return host.run(f"journalctl -b -u {unit}").stdout


def confirm_unit(token: str) -> str:
    return f"senet-firewall-confirm-{token}.service"


def fail_to_undo(host: Host) -> str:
    """An unconfirmed change whose undoing has failed. Returns its token."""
    token = next(TOKENS)
    with Controller(host, patch=without_confirmation) as controller:
        result = controller.module(host, FLOWS, flows=[WEB_DB], token=token, confirm_timeout=10)
        assert result["guard"] == {"token": token, "confirmed": False}, result
    host.run(f"mount --bind /bin/false {TOOL}")
    wait_until(lambda: "is tried again in" in journal(host, confirm_unit(token)))
    assert refused(host) == [True, True]
    return token


def test_an_undo_that_fails_is_tried_again_until_it_works(released: Host) -> None:
    token = fail_to_undo(released)
    released.run(f"umount {TOOL}")
    wait_until(lambda: f"The change {token} was undone" in journal(released, confirm_unit(token)))
    assert refused(released) == [False, False]
    with Controller(released) as controller:
        assert controller.module(released, FLOWS, flows=[WEB_DB])["guard"]["confirmed"] is True


def test_the_watch_undoes_what_the_timer_could_not(released: Host) -> None:
    # Stopped with the service whose labels are gone; it does not put them back while a change is on record.
    token = fail_to_undo(released)
    released.run(f"systemctl stop {confirm_unit(token)} && umount {TOOL}")
    released.run("systemctl start senet-firewall-watch")
    wait_until(lambda: f"The change {token} was undone" in journal(released, "senet-firewall-watch"), 180)
    assert released.run("ls /var/lib/senet-firewall").stdout.split() == ["code", "outcome.json"]
    # Then it does its own work: the flow was in force before its service was stopped.
    wait_until(lambda: refused(released) == [True, True])


def test_a_change_that_could_not_be_undone_is_undone_by_the_next_run(released: Host) -> None:
    token = fail_to_undo(released)
    released.run(f"systemctl stop {confirm_unit(token)} && umount {TOOL}")
    with Controller(released) as controller:
        checked = controller.module(released, FLOWS, flows=[WEB_DB], check=True)
        assert f"The change {token} of this host was not confirmed in time" in checked["msg"]
        result = controller.module(released, FLOWS, flows=[WEB_DB])
        assert result["guard"]["confirmed"] is True
        assert any(f"The earlier change {token} was not confirmed in time" in said for said in result["warnings"])
    assert refused(released) == [True, True]


def test_a_guard_that_systemd_cannot_run_stops_the_change(released: Host) -> None:
    drop_in = "/run/systemd/system/senet-firewall-check-.service.d"
    released.run(
        f"mkdir -p {drop_in} && printf '[Service]\\nExecStartPre=/bin/false\\n' >{drop_in}/no.conf && "
        "systemctl daemon-reload"
    )
    with Controller(released) as controller:
        result = controller.module(released, FLOWS, flows=[WEB_DB])
        assert "A trial run of the guard failed" in result["msg"]
        assert "undone" in result["msg"]
        assert refused(released) == [False, False]
        released.run(f"rm -r {drop_in} && systemctl daemon-reload")
        assert controller.module(released, FLOWS, flows=[WEB_DB])["guard"]["confirmed"] is True
    assert refused(released) == [True, True]


def test_root_runs_no_interpreter_that_a_user_owns(released: Host) -> None:
    released.run(
        "useradd --create-home admin && python3 -m venv --without-pip --copies /home/admin/venv && "
        "chown -R admin: /home/admin/venv"
    )
    units = "cat /etc/systemd/system/senet-firewall*.service"
    before = released.run(units).stdout
    task = {FLOWS: {"flows": [WEB_DB]}}
    play = {"hosts": "all", "gather_facts": False, "tasks": [task]}
    with Controller(released) as controller:
        done = controller.playbook([{**play, "vars": {"ansible_python_interpreter": "/home/admin/venv/bin/python"}}])
        assert done.rc == 0, done.output
        assert released.run(units).stdout == before
        assert "ExecStart=/usr/bin/python3 " in before
        again = controller.playbook([play])
        assert again.recap["web"]["changed"] == 0
        other = controller.playbook([{**play, "vars": {"ansible_python_interpreter": "/home/admin/venv/bin/python"}}])
        assert other.recap["web"]["changed"] == 0
    assert refused(released) == [True, True]
