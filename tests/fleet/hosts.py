# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts in namespaces of their own, each with systemd, sshd and netfilter, on one bridge of this network namespace."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from pathlib import Path

from .state import DIRECTORY, LOOK, State, parse

BRIDGE, CONTROLLER = "fleet", "10.77.0.1"
_SCRIPT = Path(__file__).with_name("host.sh")
_BOOT_SECONDS = 120


class Host:
    """One host, from its boot to its end."""

    def __init__(self, name: str, number: int, lower: Path, scratch: Path, cgroups: Path, key: str) -> None:
        self.name, self.link = name, f"host{number}"
        self.address = f"10.77.{number // 250 + 1}.{number % 250 + 1}"
        upper = scratch / name / "upper"
        (upper / "root/.ssh").mkdir(parents=True, mode=0o700)
        (upper / "root/.ssh/authorized_keys").write_text(key)
        (upper / "etc").mkdir()
        (upper / "etc/hostname").write_text(f"{name}\n")
        cgroup = cgroups / name
        cgroup.mkdir()
        script = ["sh", str(_SCRIPT), name, str(lower), str(scratch / name), self.address, f"fd00:77::{number + 2:x}"]
        spaces = ["--mount", "--net", "--pid", "--uts", "--ipc", "--cgroup", "--fork", "--kill-child"]
        self._process = subprocess.Popen(
            ["sh", "-c", 'echo $$ >"$0" && exec "$@"', f"{cgroup}/cgroup.procs", "unshare", *spaces, *script],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if self._process.stdout.readline() != b"ready\n":
            raise RuntimeError(f"{name} did not start")
        pid = self._process.pid
        ip("link", "add", self.link, "type", "veth", "peer", "name", "eth0", "netns", str(pid))
        ip("link", "set", self.link, "master", BRIDGE, "up")
        self._init = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0]
        self._process.stdin.write(b"go\n")
        self._process.stdin.close()

    def wait_ready(self) -> None:
        deadline = time.monotonic() + _BOOT_SECONDS
        while True:
            try:
                socket.create_connection((self.address, 22), timeout=1).close()
                return
            except OSError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise
                time.sleep(0.1)

    def run(self, command: str) -> str:
        """What a command of the shell prints, whatever its return code."""
        done = subprocess.run(
            ["nsenter", "--target", self._init, "--all", "sh", "-c", command],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.stdout

    def path(self, path: str) -> Path:
        """A file of the host, as it is seen from this machine."""
        return Path(f"/proc/{self._init}/root", path.lstrip("/"))

    @property
    def waits(self) -> bool:
        """Whether the change of the host is in force and waits to be confirmed."""
        try:
            return bool(json.loads(self.path(f"{DIRECTORY}/pending.json").read_text())["complete"])
        except (OSError, ValueError):
            return False

    @property
    def changing(self) -> bool:
        """Whether a change of the host is under way, or waits."""
        return self.path(f"{DIRECTORY}/pending.json").exists()

    def state(self) -> State:
        return parse(self.run(LOOK))

    def cut_off(self, away: bool) -> None:
        """Take the host's link away, or give it back."""
        ip("link", "set", self.link, "down" if away else "up")

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


class Hosts:
    """All hosts: one database, and web servers, which are its clients."""

    def __init__(self, count: int, lower: Path, scratch: Path, cgroups: Path, key: str) -> None:
        ip("link", "set", "lo", "up")
        ip("link", "add", BRIDGE, "type", "bridge")
        ip("address", "add", f"{CONTROLLER}/16", "dev", BRIDGE)
        ip("link", "set", BRIDGE, "up")
        names = [*(f"web{number}" for number in range(1, count)), "db1"]
        self.all = {name: Host(name, number, lower, scratch, cgroups, key) for number, name in enumerate(names)}
        for host in self.all.values():
            host.wait_ready()

    def states(self) -> dict[str, State]:
        return {name: host.state() for name, host in self.all.items()}

    def bytes(self) -> tuple[int, int]:
        """Sent to the hosts and received from them, until now."""
        done = subprocess.run(["ip", "-json", "-stats", "link"], check=True, text=True, capture_output=True)
        links = {host.link for host in self.all.values()}
        counts = [link["stats64"] for link in json.loads(done.stdout) if link["ifname"] in links]
        return sum(count["tx"]["bytes"] for count in counts), sum(count["rx"]["bytes"] for count in counts)

    def stop(self) -> None:
        for host in self.all.values():
            host.stop()


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)
