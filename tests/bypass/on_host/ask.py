# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Making attempts: each in a process of its own."""

import errno
import json
import os
import select
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from . import other_ways, raw_ways, ways
from .job import ENDS, Job

JOB_SECONDS = 12
HOW: dict[str, Callable[[Job], str]] = {
    name: way
    for module in (ways, raw_ways, other_ways)
    for name, way in vars(module).items()
    if getattr(way, "__module__", "") == module.__name__ and not name.startswith("_")
}


def attempt(job: Job) -> str:
    try:
        return HOW[job.how](job)
    except TimeoutError:
        return "timeout"
    except OSError as error:
        return ENDS.get(error.errno or 0, errno.errorcode.get(error.errno or 0, str(error)))


def in_a_child(job: Job) -> str:
    """An attempt in a process of its own, which may not last."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        try:
            os.write(writer, attempt(job).encode())
        except BaseException as error:
            os.write(writer, f"broken: {error!r}".encode())
        os._exit(0)
    os.close(writer)
    ready = select.select([reader], [], [], JOB_SECONDS)[0]
    happened = os.read(reader, 4096).decode() if ready else "no end"
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(reader)
    return happened or "no answer"


def ask(jobs: list[Job]) -> None:
    domain = Path("/proc/self/attr/current").read_text().strip("\0\n").split(":")[2]
    for job in jobs:
        print(json.dumps({"id": job.id, "happened": in_a_child(job), "domain": domain}), flush=True)
