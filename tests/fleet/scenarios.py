# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes wrong in a rollout, one function each, and how it shall end."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

from .hosts import Host
from .judge import TO_BE_CHANGED, Expected
from .scene import CONFIRM_SECONDS, Outcome, Scene, until

_JOB_SECONDS = 600
_FLAPS, _FLAP_SECONDS = 4, 2
_RESTORE = "/usr/local/sbin/iptables-restore"
# Found before the real one. The trial of a load succeeds, so that only the change itself fails.
_BROKEN = """#!/bin/sh
case "$*" in *--test*) exec /usr/sbin/iptables-restore "$@" ;; esac
echo "iptables-restore: line 2 failed: Resource temporarily unavailable." >&2
exit 4
"""
# Stops the change between the rules and whatever comes after them, once
_HELD = """#!/bin/sh
/usr/sbin/iptables-restore "$@"
code=$?
case "$*" in *--test*) exit $code ;; esac
[ -e /run/loaded.before ] || { touch /run/loaded /run/loaded.before; while [ -e /run/loaded ]; do sleep 0.05; done; }
exit $code
"""


def full(scene: Scene) -> Outcome:
    last = len(scene.plan.batches) - 1
    return scene.roll("none: a full rollout", Expected("successful", last))


def bad_change(scene: Scene) -> Outcome:
    """The operator forgets that the controller needs port 22 as well."""
    admin = {"name": "admin", "source": ["sysadm_t"], "destination": ["sshd_t"], "ports": [22], "users": ["root"]}
    canaries = {host.name: "rolled_back" for host in scene.batch(0)}
    return scene.roll(
        "a change that closes port 22 of the web servers to the controller",
        Expected("failed", 0, canaries),
        flows=({**admin, "clients": "databases", "servers": "webservers"},),
    )


def failing_hosts(scene: Scene) -> Outcome:
    """3 % of the hosts, all in the second batch after the canaries."""
    victims = scene.batch(2)[: math.ceil(len(scene.plan.hosts) * 0.03)]
    for host in victims:
        _replace_restore(host, _BROKEN)
    try:
        return scene.roll(
            f"iptables-restore fails on {', '.join(host.name for host in victims)}",
            Expected("failed", 2, {host.name: "refused" for host in victims}),
        )
    finally:
        for host in victims:
            _mend(host)


def cut_off(scene: Scene) -> Outcome:
    """The link goes once the rules are loaded, and comes back when the host has undone the change by itself and the
    controller has given up its connection."""
    victim = scene.batch(1)[0]
    _replace_restore(victim, _HELD)

    def inject() -> None:
        until(victim.path("/run/loaded").exists, f"{victim.name} has loaded the rules", _JOB_SECONDS)
        calls = _calls(victim)
        victim.cut_off(True)
        try:
            victim.path("/run/loaded").unlink()
            until(lambda: victim.waits, f"the change waits on {victim.name}")
            until(lambda: not victim.changing, f"{victim.name} has undone the change")
            until(lambda: not any(call.exists() for call in calls), f"the connection to {victim.name} is given up")
        finally:
            victim.cut_off(False)

    try:
        return scene.roll(
            f"the link of {victim.name} is gone after its rules were loaded, until its timer has undone them and more",
            Expected("failed", 1, {victim.name: "rolled_back"}),
            inject,
        )
    finally:
        _mend(victim)


def flapping(scene: Scene) -> Outcome:
    """The link comes and goes during the change. Whatever the job then says of the host must be true."""
    victim = scene.batch(1)[0]

    def inject() -> None:
        until(lambda: victim.changing, f"{victim.name} is changed", _JOB_SECONDS)
        for dummy in range(_FLAPS):
            for away in (True, False):
                victim.cut_off(away)
                time.sleep(_FLAP_SECONDS)

    last = len(scene.plan.batches) - 1
    return scene.roll(
        f"the link of {victim.name} goes for {_FLAP_SECONDS} s and comes for {_FLAP_SECONDS} s, {_FLAPS} times",
        Expected("successful", last),
        inject,
    )


def cancelled(scene: Scene) -> Outcome:
    """Somebody cancels the job while all hosts of a batch wait for a health command that takes long. Nobody is there
    then to say more of them than the look at all hosts did."""
    batch = scene.batch(1)
    for host in batch:
        host.path("/run/slow").touch()
    words = dict.fromkeys((host.name for host in batch), TO_BE_CHANGED)
    try:
        return scene.roll(
            f"the job is cancelled while {', '.join(words)} wait for their confirmation",
            Expected("canceled", 1, words),
            cancel=lambda: all(host.waits for host in batch),
            senet_firewall_health_commands=[f"test ! -e /run/slow || sleep {2 * CONFIRM_SECONDS}"],
        )
    finally:
        for host in batch:
            host.path("/run/slow").unlink()


def _calls(host: Host) -> list[Path]:
    """The processes of ssh that wait for an answer of the host."""
    address = f"\0{host.address}\0".encode()
    return [process for process in Path("/proc").glob("[0-9]*") if address in _words(process)]


def _words(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:  # it has ended
        return b""


def _replace_restore(host: Host, script: str) -> None:
    host.path(_RESTORE).write_text(script)
    host.path(_RESTORE).chmod(0o755)


def _mend(host: Host) -> None:
    host.path(_RESTORE).unlink()


SCENARIOS: dict[str, Callable[[Scene], Outcome]] = {
    "bad_change": bad_change,
    "failing_hosts": failing_hosts,
    "cut_off": cut_off,
    "flapping": flapping,
    "cancelled": cancelled,
}
