# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs Molecule's container scenarios on an engine of their own: python -m tests.containers [SCENARIO...]"""

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.collection_tree import ROOT, link
from tests.containers.engine import EngineError, engine
from tests.containers.image import cache_directory, image

BIN = Path(sys.executable).parent


def run(scenarios: list[str]) -> int:
    """Molecule's exit code for these scenarios, all of them one after the other; the first failure ends it."""
    archive = image()
    (ROOT / "build" / "junit").mkdir(parents=True, exist_ok=True)
    with engine(cache_directory()) as sockets:
        environment = {
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(link()),
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(sockets / "ssh"),
            "DOCKER_HOST": f"unix://{sockets}/docker.sock",
            "NO_COLOR": "1",
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "SENET_IMAGE": "senet-debian",
            "SENET_JUNIT": str(ROOT / "build" / "junit"),
        }
        change = ["--change", 'CMD ["/sbin/init"]', "--change", "ENV container=docker"]
        subprocess.run(["docker", "import", *change, archive, "senet-debian"], env=environment, check=True)
        for scenario in scenarios:
            command = ["molecule", "--base-config", "molecule/config.yml", "test", "--scenario-name", scenario]
            code = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
            if code:
                return code
    return 0


if __name__ == "__main__":
    known = sorted(path.parent.name for path in (ROOT / "molecule").glob("*/molecule.yml"))
    # The engine is in a session of its own and outlives whoever does not stop it.
    signal.signal(signal.SIGTERM, lambda *_signal: sys.exit(128 + signal.SIGTERM))
    try:
        sys.exit(run(sys.argv[1:] or known))
    except (EngineError, subprocess.CalledProcessError) as error:
        sys.exit(str(error))
