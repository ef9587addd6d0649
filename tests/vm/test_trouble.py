# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Trouble on the host: labels taken away, files damaged, disks full or read-only, locks held. Told, nothing lost."""

import bz2
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.lab.controller import Controller
from tests.lab.probes import ADDRESSES, connect
from tests.lab.vm import Host
from tests.vm.conftest import WEB_DB, each_backend, thorough, wait_until
from tests.vm.facts import facts

FLOWS = "senet.firewall.flows"
INTENT = "/etc/senet/flows.json"
SANDBOX = "/var/lib/selinux/default/tmp/modules/400/senet_firewall"
# The module's own promise for putting labels back, and the time that looking takes on an emulated processor.
WATCH_SECONDS = 10 + 5


def refused(host: Host) -> list[bool]:
    """Whether root's connection to PostgreSQL is refused, per family."""
    return [connect(host, address, 5432).result == "refused" for address in ADDRESSES.values()]


def run(host: Host, **options: Any) -> dict[str, Any]:
    with Controller(host) as controller:
        return controller.module(host, FLOWS, **{"flows": [WEB_DB], **options})


@pytest.mark.parametrize(
    ("backend", "event"),
    [
        ("iptables", "iptables -F -t security; ip6tables -F -t security"),
        thorough("iptables", "nft flush ruleset"),
        thorough("iptables", "systemctl restart nftables.service"),
        thorough("nftables", "nft delete table inet senet"),
        thorough("nftables", "nft flush table inet senet"),
        thorough("nftables", "nft delete element inet senet tcp_client '{ 5432 }'"),
        ("nftables", "nft flush ruleset"),
        thorough("nftables", "systemctl restart nftables.service"),
    ],
)
def test_labels_taken_away_come_back_and_the_next_run_tells(slim_enforced: Host, event: str) -> None:
    slim_enforced.run(event)
    since = time.monotonic()
    while refused(slim_enforced) != [True, True]:
        assert time.monotonic() - since < WATCH_SECONDS
        time.sleep(0.2)
    result = run(slim_enforced)
    assert result["changed"] is False
    assert any("Another program removed labels or policy" in said for said in result["warnings"]), result


def test_a_table_that_is_put_to_sleep_is_told_until_it_is_awake(slim_enforced: Host) -> None:
    slim_enforced.run("nft add table ip security '{ flags dormant; }'")
    assert refused(slim_enforced) == [False, True]
    result = run(slim_enforced)
    assert "The table 'ip security' is dormant" in result["msg"]
    alerts = "journalctl -b -u senet-firewall-watch -o cat"
    wait_until(lambda: "The table 'ip security' is dormant" in slim_enforced.run(alerts).stdout)
    slim_enforced.run("nft add table ip security")
    assert refused(slim_enforced) == [True, True]
    assert run(slim_enforced)["changed"] is False


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (f"echo '{{\"version\": ' >{INTENT}", INTENT),
        (f"chown www-data {INTENT}", "writable by others than root (owner 33, mode 0600)"),
        thorough(f"chmod g+w {INTENT}", "writable by others than root (owner 0, mode 0620)"),
        thorough("chmod o+w /etc/senet", "/etc/senet is writable by others than root (owner 0, mode 0702)"),
    ],
    ids=["damaged", "owner", "mode", "directory"],
)
def test_an_intent_that_cannot_be_trusted_is_refused(slim_enforced: Host, damage: str, said: str) -> None:
    slim_enforced.run(damage)
    before = facts(slim_enforced)
    result = run(slim_enforced, flows=[{**WEB_DB, "ports": ["5432", "5433"]}])
    assert result["failed"]
    assert said in result["msg"]
    assert facts(slim_enforced) == before
    assert refused(slim_enforced) == [True, True]
    load = slim_enforced.run("systemctl reload senet-firewall.service", check=False)
    assert load.rc != 0
    journal = slim_enforced.run("journalctl -b -u senet-firewall.service -o cat").stdout
    assert said in journal
    assert refused(slim_enforced) == [True, True]


@contextmanager
def read_only_etc(host: Host) -> Iterator[None]:
    host.run("mount --bind /etc /etc && mount -o remount,ro,bind /etc")
    try:
        yield
    finally:
        # Ours alone, not what the services that were started meanwhile have open
        host.run("umount --lazy /etc")


@contextmanager
def full_disk(host: Host) -> Iterator[None]:
    """The guard's directory on a file system without room."""
    place = "/var/lib/senet-firewall"
    host.run(f"mount -t tmpfs -o size=4k,mode=700,rootcontext=$(stat -c %C {place}) full {place}")
    host.run(f"head -c 4096 /dev/zero >{place}/filler")
    try:
        yield
    finally:
        host.run(f"umount {place}")


@contextmanager
def held_xtables_lock(host: Host) -> Iterator[None]:
    """The legacy variant of iptables, which has one lock for the host, and somebody who holds it."""
    host.run("for name in iptables ip6tables; do update-alternatives --quiet --set $name /usr/sbin/$name-legacy; done")
    host.run("iptables-save; ip6tables-save; setsid flock /run/xtables.lock sleep 601 >/dev/null 2>&1 </dev/null &")
    try:
        yield
    finally:
        host.run("pkill -x -f 'sleep 601'")


@contextmanager
def broken_store(host: Host) -> Iterator[None]:
    """A module in the store that names a type nobody declares: semodule fails when it links."""
    place = "/var/lib/selinux/default/active/modules/400/broken"
    host.run(f"mkdir -p {place} && printf cil >{place}/lang_ext")
    host.put(bz2.compress(b"(allow no_such_t no_such_t (file (read)))\n"), f"{place}/cil", 0o600)
    try:
        yield
    finally:
        host.run(f"rm -r {place}")


@each_backend
def test_a_read_only_etc_undoes_the_change(released: Host) -> None:
    before = facts(released)
    with read_only_etc(released):
        result = run(released, flows=[{**WEB_DB, "mode": "observe"}])
    assert result["failed"]
    assert "Read-only file system" in result["msg"]
    assert "What had been done was undone" in result["msg"]
    after = facts(released)
    assert after._replace(files="") == before._replace(files="")
    # What semodule leaves of a transaction that failed, until its next one
    assert set(after.files.split()) ^ set(before.files.split()) <= {SANDBOX}


@each_backend
def test_a_read_only_etc_refuses_to_confirm(released: Host) -> None:
    released.run(f"echo ' ' >>{INTENT}")
    before = facts(released)
    with read_only_etc(released):
        result = run(released)
    assert result["failed"]
    assert f"{INTENT} cannot be written (Read-only file system)" in result["msg"]
    assert result["rolled_back"] is True
    assert facts(released) == before
    assert refused(released) == [False, False]


@each_backend
def test_a_full_disk_is_told_before_anything_is_written(released: Host) -> None:
    before = facts(released)
    with full_disk(released):
        result = run(released)
    assert result["failed"]
    assert "pending.json cannot be written (No space left on device)" in result["msg"]
    assert facts(released) == before


def test_a_held_xtables_lock_is_told(slim_enforced: Host) -> None:
    slim_enforced.run("systemctl stop senet-firewall.service")
    with held_xtables_lock(slim_enforced):
        before = facts(slim_enforced)
        result = run(slim_enforced)
        assert result["failed"]
        assert "Another program held the lock of iptables for more than 30 seconds" in result["msg"]
    assert facts(slim_enforced) == before


def test_semodule_that_fails_half_way_leaves_the_policy_as_it_was(slim: Host) -> None:
    before = facts(slim)
    loaded = slim.run("sha256sum </sys/fs/selinux/policy; sha256sum /etc/selinux/default/policy/*").stdout
    with broken_store(slim):
        result = run(slim)
    assert result["failed"]
    assert "semodule could not install the policy module 'senet_firewall'" in result["msg"]
    assert "What had been done was undone" in result["msg"]
    assert slim.run("sha256sum </sys/fs/selinux/policy; sha256sum /etc/selinux/default/policy/*").stdout == loaded
    after = facts(slim)
    assert after._replace(kernel="", files="") == before._replace(kernel="", files="")
    assert set(after.files.split()) - set(before.files.split()) <= {"/var/lib/senet-firewall", SANDBOX}
    assert refused(slim) == [False, False]
