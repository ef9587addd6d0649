# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab from a shell: `python3 -m tests.lab up`, `ssh web`, `down`, `image`."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from .building import cache_root, timed
from .errors import LabError
from .guests import DEFAULT_GUEST, GUESTS
from .lab import Lab, build
from .machines import choose_kind
from .vm import LINK_NUMBERS, POLL_SECONDS, Host

Running = dict[str, dict[str, Any]]


def show(line: str) -> None:
    print(line, flush=True)


def running_file() -> Path:
    return cache_root() / "running.json"


def ours(host: dict[str, Any]) -> list[int]:
    """The processes of a host that still run and are what was started for it: their commands name the run directory."""
    return [pid for pid in host["pids"] if f"{host['run_dir']}/" in command(pid)]


def command(pid: int) -> str:
    """The command line of a process; empty where there is none of that number."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def read_running() -> Running:
    """The hosts that `up` has started and that still run."""
    try:
        hosts: Running = json.loads(running_file().read_text())
    except FileNotFoundError:
        return {}
    return {name: host for name, host in hosts.items() if len(ours(host)) == len(host["pids"])}


def up(names: list[str], guest: str) -> int:
    running = read_running()
    if running and not set(names) <= set(running):
        raise LabError(f"{', '.join(running)} is up, and the private link joins hosts of one start: run 'down' first.")
    if not running:
        lab = Lab(progress=show, keep=True, guest=guest)
        hosts = []
        try:
            for name in names:
                lab.progress(f"starting {name}")
                hosts.append(lab.start(name, link=True))
            running = {host.name: entry(host, lab) for host in hosts}
            running_file().write_text(json.dumps(running, indent=2))
        except BaseException:
            for host in hosts:
                host.stop()
            shutil.rmtree(lab.run_dir, ignore_errors=True)
            raise
        lab.close()
    for name in running:
        show(f"{name}: up, ssh port {running[name]['ssh_port']}; a shell: make lab-ssh HOST={name}")
    return 0


def entry(host: Host, lab: Lab) -> dict[str, Any]:
    """What later commands need to know of a running host."""
    return {
        "pids": [*host.pids, *lab.pids()],
        "run_dir": str(lab.run_dir),
        "ssh_port": host.ssh_port,
        "ssh_args": host.ssh_args,
        "inventory": host.inventory_vars(),
    }


def ssh(name: str, command: list[str]) -> int:
    running = read_running()
    if name not in running:
        raise LabError(f"Host {name} is not up: start it with 'make lab-up'.")
    return subprocess.run(["ssh", *running[name]["ssh_args"], *command], check=False).returncode


def down() -> int:
    running = read_running()
    for name, host in running.items():
        for pid in ours(host):
            os.kill(pid, signal.SIGKILL)
        while ours(host):
            time.sleep(POLL_SECONDS)
        shutil.rmtree(host["run_dir"], ignore_errors=True)
        show(f"{name}: stopped")
    if not running:
        show("no lab host is up")
    running_file().unlink(missing_ok=True)
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python3 -m tests.lab", description=__doc__)
    parser.add_argument("--guest", choices=list(GUESTS), default=DEFAULT_GUEST, help="what the command is about")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("build", help="build the kernel and the image, and boot nothing")
    commands.add_parser("image", help="build the image and its booted state")
    sub = commands.add_parser("up", help="start hosts that outlive this command")
    sub.add_argument("hosts", nargs="*", metavar="HOST", help="web, db; both when none is named")
    sub = commands.add_parser("ssh", help="a shell or a command in a host")
    sub.add_argument("host")
    sub.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND")
    commands.add_parser("down", help="stop the hosts")
    commands.add_parser("inventory", help="the running hosts as an Ansible inventory (JSON, for YAML readers)")
    args = parser.parse_args()
    try:
        if args.command == "build":
            build(timed(show), choose_kind(os.environ.get("SENET_LAB_KIND"), show), args.guest)
            return 0
        if args.command == "image":
            Lab(progress=show, guest=args.guest).close()
            return 0
        if args.command == "up":
            return up(args.hosts or list(LINK_NUMBERS), args.guest)
        if args.command == "ssh":
            return ssh(args.host, args.words)
        if args.command == "inventory":
            hosts = {name: host["inventory"] for name, host in read_running().items()}
            show(json.dumps({"all": {"hosts": hosts}}, indent=2))
            return 0
        return down()
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
