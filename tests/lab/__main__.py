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

from .errors import LabError
from .image import cache_root
from .lab import Lab
from .qemu import LINK_NUMBERS
from .qmp import POLL_SECONDS

Running = dict[str, dict[str, Any]]


def show(line: str) -> None:
    print(line, flush=True)


def running_file() -> Path:
    return cache_root() / "running.json"


def is_ours(entry: dict[str, Any]) -> bool:
    """Whether the process of an entry is still the QEMU that was started for it: its command names the run directory."""
    try:
        command = Path(f"/proc/{entry['pid']}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return False
    return f"{entry['run_dir']}/" in command


def read_running() -> Running:
    """The hosts that `up` has started and that still run."""
    try:
        entries: Running = json.loads(running_file().read_text())
    except FileNotFoundError:
        return {}
    return {name: entry for name, entry in entries.items() if is_ours(entry)}


def up(names: list[str]) -> int:
    running = read_running()
    wanted = [name for name in names if name not in running]
    if wanted:
        if running:
            raise LabError(f"{', '.join(running)} is already up, and the private link joins hosts of one start: run 'down' first.")
        lab = Lab(progress=show, keep=True)
        entries: Running = {}
        try:
            for name in wanted:
                lab.progress(f"starting {name}")
                host = lab.start(name, link=True)
                entries[name] = {
                    "pid": host.pid, "run_dir": str(lab.run_dir), "ssh_port": host.ssh_port, "ssh_args": host.ssh_args,
                    "inventory": host.inventory_vars(),
                }  # fmt: skip
        finally:
            running_file().write_text(json.dumps(entries, indent=2))
        running = entries
    for name, entry in running.items():
        show(f"{name}: up, ssh port {entry['ssh_port']}; a shell: make lab-ssh HOST={name}")
    return 0


def ssh(name: str, command: list[str]) -> int:
    entry = read_running().get(name)
    if entry is None:
        raise LabError(f"Host {name} is not up: start it with 'make lab-up'.")
    return subprocess.run(["ssh", *entry["ssh_args"], *command], check=False).returncode


def down() -> int:
    running = read_running()
    for name, entry in running.items():
        os.kill(entry["pid"], signal.SIGTERM)
        while is_ours(entry):
            time.sleep(POLL_SECONDS)
        shutil.rmtree(entry["run_dir"], ignore_errors=True)
        show(f"{name}: stopped")
    if not running:
        show("no lab host is up")
    running_file().unlink(missing_ok=True)
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python3 -m tests.lab", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("image", help="build the image and its booted state")
    sub = commands.add_parser("up", help="start hosts that outlive this command")
    sub.add_argument("hosts", nargs="*", choices=[*LINK_NUMBERS, []], metavar="HOST")
    sub = commands.add_parser("ssh", help="a shell or a command in a host")
    sub.add_argument("host")
    sub.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND")
    commands.add_parser("down", help="stop the hosts")
    commands.add_parser("inventory", help="the running hosts as an Ansible inventory (JSON, for YAML readers)")
    args = parser.parse_args()
    try:
        if args.command == "image":
            Lab(progress=show).close()
            return 0
        if args.command == "up":
            return up(args.hosts or list(LINK_NUMBERS))
        if args.command == "ssh":
            return ssh(args.host, args.words)
        if args.command == "inventory":
            hosts = {name: entry["inventory"] for name, entry in read_running().items()}
            show(json.dumps({"all": {"hosts": hosts}}, indent=2))
            return 0
        return down()
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
