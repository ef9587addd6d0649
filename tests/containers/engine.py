# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Docker engine of our own: its sockets, data and containerd apart from a Docker that the machine may run.

python -m tests.containers.engine COMMAND... runs a command that meets this engine in DOCKER_HOST.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.containers.image import cache_directory

START_SECONDS = 60
STOP_SECONDS = 60
SBIN = "/usr/local/sbin:/usr/sbin:/sbin"


class EngineError(Exception):
    """The engine did not start; the message has what it said."""


@contextmanager
def engine(data: Path) -> Iterator[Path]:
    """Runs containerd and dockerd, storing in a directory below `data`; gives the directory of their sockets.

    The engine listens on docker.sock there. It touches neither the host's iptables nor its interfaces: containers get
    `--network none`. Both processes are stopped, and all they stored is removed, at the end. Raises EngineError.
    """
    # Sockets have short paths: 107 bytes is all a Unix socket address holds.
    run = Path(tempfile.mkdtemp(prefix="senet-docker-"))
    stored = Path(tempfile.mkdtemp(prefix="run-", dir=data))
    (run / "daemon.json").write_text("{}")
    containerd = ["containerd", "--address", f"{run}/containerd.sock", "--root", f"{stored}/containerd",
                  "--state", f"{run}/containerd", "--config", "/dev/null"]
    dockerd = ["dockerd", "--host", f"unix://{run}/docker.sock", "--containerd", f"{run}/containerd.sock",
               "--data-root", f"{stored}/docker", "--exec-root", f"{run}/docker", "--pidfile", f"{run}/docker.pid",
               "--config-file", f"{run}/daemon.json", "--exec-opt", "native.cgroupdriver=cgroupfs",
               "--iptables=false", "--ip6tables=false", "--bridge=none"]
    try:
        with _daemon(containerd, run), _daemon(dockerd, run):
            yield run
    finally:
        _unmount_below(run, stored)
        shutil.rmtree(run)
        shutil.rmtree(stored)


@contextmanager
def _daemon(command: list[str], run: Path) -> Iterator[None]:
    """Runs a daemon that tells systemd's notify socket when it is ready, and stops it."""
    name = command[0]
    log = run / f"{name}.log"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready, log.open("wb") as output:
        ready.bind(f"{run}/{name}.notify")
        environment = {**os.environ, "PATH": f"{os.environ['PATH']}:{SBIN}", "NOTIFY_SOCKET": f"{run}/{name}.notify"}
        # A session of its own: an interrupt at the terminal is for the scenarios, who need the engine to clean up.
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output, start_new_session=True)
        try:
            _await_ready(process, ready, name, log)
            yield
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _await_ready(process: "subprocess.Popen[bytes]", ready: socket.socket, name: str, log: Path) -> None:
    ready.settimeout(1)
    for _second in range(START_SECONDS):
        try:
            if b"READY=1" in ready.recv(4096):
                return
        except TimeoutError:
            if process.poll() is not None:
                break
    said = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
    raise EngineError(f"{name} ended, or was not ready within {START_SECONDS} seconds. It said:\n{said}")


def _unmount_below(*directories: Path) -> None:
    """Unmounts what a daemon left mounted: removing files below a mount would remove another's."""
    mounted = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for place in reversed(mounted):
        if any(Path(place).is_relative_to(directory) for directory in directories):
            subprocess.run(["umount", "--lazy", place], check=True)


def run(command: list[str]) -> int:
    """Runs a command on an engine of its own; returns its exit code. Raises EngineError."""
    with engine(cache_directory()) as sockets:
        environment = {**os.environ, "DOCKER_HOST": f"unix://{sockets}/docker.sock"}
        return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    # The engine is in a session of its own and outlives whoever does not stop it.
    signal.signal(signal.SIGTERM, lambda *_signal: sys.exit(128 + signal.SIGTERM))
    try:
        sys.exit(run(sys.argv[1:]))
    except EngineError as error:
        sys.exit(str(error))
