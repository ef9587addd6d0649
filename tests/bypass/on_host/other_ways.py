# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""By other processes, other namespaces, and what root can do to conntrack."""

import json
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

from .job import SECONDS, Job, exchange
from .ways import tcp


def passed_socket(job: Job) -> str:
    """A connected socket that another domain hands over."""
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(SECONDS)
        asking.connect(job.path)
        files = socket.recv_fds(asking, 1, 1)[1]
        if not files:
            return "no socket came"
        with socket.socket(fileno=files[0]) as made:
            made.settimeout(SECONDS)
            return exchange(made, job.nonce)


def other_program(job: Job) -> str:
    """A program that the policy runs in another domain."""
    inner = job._replace(how="tcp", domain="")
    if job.domain:
        Path("/proc/self/attr/exec").write_text(job.domain)
    done = subprocess.run([*job.path.split(), "ask", json.dumps([inner])], capture_output=True, text=True, check=False)
    if not done.stdout:
        return "denied" if "ermission denied" in done.stderr or "nvalid" in done.stderr else done.stderr[-200:]
    return str(json.loads(done.stdout)["happened"])


def flushed_table(job: Job) -> str:
    """Connections while conntrack's table is emptied again and again."""
    stop = threading.Event()

    def flush() -> None:
        while not stop.is_set():
            subprocess.run(["conntrack", "-F"], capture_output=True, check=False)

    flusher = threading.Thread(target=flush)
    flusher.start()
    ended = "timeout"
    try:
        for dummy in range(20):
            with suppress(OSError):
                ended = tcp(job)
            if ended == "answered":
                break
    finally:
        stop.set()
        flusher.join()
    return ended


def full_table(job: Job) -> str:
    """A connection that finds no room in conntrack's table."""
    limit = Path("/proc/sys/net/netfilter/nf_conntrack_max")
    before = limit.read_text()
    try:
        limit.write_text("1")
        return tcp(job)
    finally:
        limit.write_text(before)


def new_namespace(job: Job) -> str:
    """A network namespace of one's own, linked to the host's. It has no rules; a veth pair leads to the host."""
    enter = ["ip", "netns", "exec", "near"]
    inner = job._replace(how=job.path, path="")
    done = subprocess.run(
        [*enter, sys.executable, sys.argv[0], "ask", json.dumps([inner])], capture_output=True, text=True, check=False
    )
    if not done.stdout:
        return "denied" if "ermi" in done.stderr else done.stderr[-200:]
    return str(json.loads(done.stdout)["happened"])
