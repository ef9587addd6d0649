# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Three of the faults that `make crash` goes through in full: one half-way, one before and one after the change."""

import pytest

from tests.crash.faults import Stepper, crash
from tests.lab.lab import Lab
from tests.lab.states import State

FAULTS = {
    "install the policy module senet_firewall": "power_cut",
    "restore the ipv4 rules": "kill",
    "wait for the confirmation over a new connection": "power_cut",
}


@pytest.fixture(scope="module")
def saved(lab: Lab) -> dict[str, State]:
    """A host after each step of a first change."""
    with lab.start("web", state="slim") as host:
        points = Stepper(host).points()
        return {point: host.save_state(f"crash-{number}") for number, point in enumerate(points)}


@pytest.mark.parametrize(("point", "kind"), FAULTS.items())
def test_a_change_that_ends_half_way(lab: Lab, saved: dict[str, State], point: str, kind: str) -> None:
    fault = crash(lab, saved[point], point, kind)
    assert fault.good, fault
