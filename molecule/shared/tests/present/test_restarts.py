# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The same after Apache was restarted, which gives it a new cgroup, and after the host was."""

import subprocess
import time
from typing import Any

import pytest
from testinfra.host import Host

testinfra_hosts = ["ansible://all"]

both_families = pytest.mark.parametrize("address", ["127.0.0.1", "::1"])


@pytest.fixture(scope="module")
def apache_restarted(host: Host) -> None:
    host.check_output("systemctl restart apache2.service")


@pytest.fixture(scope="module")
def host_restarted(host: Host, apache_restarted: None) -> None:
    name = f"senet-{host.backend.get_hostname()}"
    subprocess.run(["docker", "restart", name], check=True, capture_output=True)
    state = ["docker", "exec", name, "systemctl", "is-system-running", "--wait"]
    for _second in range(60):
        said = subprocess.run(state, text=True, capture_output=True, check=False)
        if said.stdout.strip() == "running":
            return
        time.sleep(1)
    raise AssertionError(f"{name} is not running 60 seconds after its restart: {said.stdout}{said.stderr}")


@both_families
@pytest.mark.usefixtures("apache_restarted")
def test_apache_restarted_reaches_the_service(ask: Any, pair: Any, address: str) -> None:
    assert pair["answer"] in ask("apache", address)


@both_families
@pytest.mark.usefixtures("apache_restarted")
def test_another_user_is_refused_still(ask: Any, pair: Any, address: str) -> None:
    assert pair["refusal"] in ask("root", address)


@both_families
@pytest.mark.usefixtures("host_restarted")
def test_apache_on_the_restarted_host_reaches_the_service(ask: Any, pair: Any, address: str) -> None:
    assert pair["answer"] in ask("apache", address)


@both_families
@pytest.mark.usefixtures("host_restarted")
def test_another_user_of_the_restarted_host_is_refused(ask: Any, pair: Any, address: str) -> None:
    assert pair["refusal"] in ask("root", address)
