# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Across reboots: labels before the network, unconfirmed changes undone, trouble told in the journal."""

from typing import Any

import pytest

from tests.lab.controller import Controller
from tests.lab.probes import ADDRESSES, connect, through_apache
from tests.lab.vm import Host
from tests.vm.conftest import TOKEN, WEB_DB, both_backends, each_backend, without_confirmation
from tests.vm.facts import POSTGRESQL, facts

pytestmark = pytest.mark.core

FLOWS = "senet.firewall.flows"
JOURNAL = "journalctl -b -u senet-firewall.service -o cat"


def refused(host: Host) -> list[bool]:
    """Whether root's connection to PostgreSQL is refused, per family."""
    return [connect(host, address, 5432).result == "refused" for address in ADDRESSES.values()]


def active_since(host: Host, unit: str) -> int:
    """When a unit became active in this boot, in microseconds of the kernel's clock."""
    shown = host.run(f"systemctl show --value -p ActiveState -p ActiveEnterTimestampMonotonic {unit}").stdout.split()
    assert "active" in shown, f"{unit}: {shown}"
    return int(next(word for word in shown if word.isdigit()))


@both_backends
def test_labels_are_back_before_the_network(slim_enforced: Host) -> None:
    before = facts(slim_enforced)
    slim_enforced.reboot()
    assert facts(slim_enforced)._replace(kernel="") == before._replace(kernel="")
    assert refused(slim_enforced) == [True, True]
    assert through_apache(slim_enforced, "pg4").result == "connected"
    assert through_apache(slim_enforced, "pg6").result == "connected"
    order = ["senet-firewall.service", "network-pre.target", "systemd-networkd.service", POSTGRESQL]
    times = [active_since(slim_enforced, unit) for unit in order]
    assert times == sorted(times)
    with Controller(slim_enforced) as controller:
        again = controller.module(slim_enforced, FLOWS, flows=[WEB_DB])
    assert again["changed"] is False, again


@each_backend
def test_a_module_removed_behind_our_back_fails_the_unit_until_the_watch_has_it_back(slim_enforced: Host) -> None:
    slim_enforced.run("semodule -n -X 400 -r senet_firewall", timeout=180)
    slim_enforced.reboot(degraded_ok=True)
    journal = slim_enforced.run(JOURNAL).stdout
    assert "Failed with result 'exit-code'" in journal
    assert "The flow 'web_db' is NOT enforced: its types are not in the loaded policy" in journal
    assert slim_enforced.run("echo back", fresh=True).stdout == "back\n"
    back = "journalctl -b -u senet-firewall-watch | grep -q 'was missing and has been put back'"
    slim_enforced.run(f"timeout 180 sh -c \"until {back}; do sleep 0.5; done\"", timeout=190)
    with Controller(slim_enforced) as controller:
        again = controller.module(slim_enforced, FLOWS, flows=[WEB_DB])
        assert again["changed"] is False, again
    assert slim_enforced.run("systemctl is-active senet-firewall.service").stdout == "active\n"
    assert refused(slim_enforced) == [True, True]


@each_backend
def test_a_reboot_undoes_a_first_change_that_was_not_confirmed(slim: Host, backend: str) -> None:
    before = facts(slim)
    with Controller(slim, patch=without_confirmation) as controller:
        options: dict[str, Any] = {"backend": backend, "token": TOKEN, "confirm_timeout": 3600}
        waiting = controller.module(slim, FLOWS, flows=[WEB_DB], **options)
        assert "guard" in waiting, waiting
    assert refused(slim) == [True, True]
    slim.reboot()
    # The unit itself is gone with the change, its journal is not.
    assert f"The change {TOKEN} had not been confirmed before the restart; it is undone." in slim.run(JOURNAL).stdout
    after = facts(slim)
    assert after._replace(kernel="") == before._replace(kernel="")
    assert refused(slim) == [False, False]


@pytest.mark.thorough
@each_backend
def test_a_reboot_undoes_a_change_of_an_existing_set(slim_enforced: Host) -> None:
    before = facts(slim_enforced)
    wider = {**WEB_DB, "source": ["httpd_t", "unconfined_t"]}
    with Controller(slim_enforced, patch=without_confirmation) as controller:
        waiting = controller.module(slim_enforced, FLOWS, flows=[wider], token=TOKEN, confirm_timeout=3600)
        assert "guard" in waiting, waiting
    assert refused(slim_enforced) == [False, False]
    slim_enforced.power_cut()
    assert facts(slim_enforced)._replace(kernel="") == before._replace(kernel="")
    assert refused(slim_enforced) == [True, True]
    with Controller(slim_enforced) as controller:
        again = controller.module(slim_enforced, FLOWS, flows=[WEB_DB])
    assert again["changed"] is False, again


@each_backend
def test_stopping_the_service_opens_and_says_so_and_starting_closes(slim_enforced: Host) -> None:
    slim_enforced.run("systemctl stop senet-firewall.service")
    assert refused(slim_enforced) == [False, False]
    assert "NO flow is enforced until senet-firewall.service is started again" in slim_enforced.run(JOURNAL).stdout
    slim_enforced.run("systemctl start senet-firewall.service")
    assert refused(slim_enforced) == [True, True]
    assert slim_enforced.run("systemctl is-active senet-firewall-watch.service", check=False).stdout == "active\n"
