# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses as a real kernel tells them, in a network namespace of the test's own."""

import json
import os
import subprocess
import sys

ASK = """
import json, sys
from ansible_collections.senet.firewall.plugins.module_utils._host.addresses import interface_addresses
print(json.dumps(interface_addresses()))
"""
SETUP = "ip link set lo up && ip link add one type veth peer name two && ip addr add 192.0.2.1/24 dev one"
# More than fit into the room that is asked for first, an alias, and a second family
MORE = (
    " && for n in $(seq 2 99); do ip addr add 192.0.2.$n/24 dev one; done && ip addr add 198.51.100.1/24 dev one label "
    "one:alias && ip addr add 2001:db8::1/64 dev one nodad && ip link set one up"
)


def test_every_address_of_both_families_is_told() -> None:
    command = ["unshare", "--user", "--map-root-user", "--net", "sh", "-c", f'{SETUP}{MORE} && exec "$0" -c "$1"']
    done = subprocess.run(
        [*command, sys.executable, ASK], check=True, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": os.environ["ANSIBLE_COLLECTIONS_PATH"]},
    )  # fmt: skip
    found = json.loads(done.stdout)
    assert set(found["lo"]) == {"127.0.0.1", "::1"}
    own = {f"192.0.2.{number}" for number in range(1, 100)} | {"198.51.100.1", "2001:db8::1"}
    assert own == {address for address in found["one"] if not address.startswith("fe80:")}
    assert set(found) <= {"lo", "one", "two"}
