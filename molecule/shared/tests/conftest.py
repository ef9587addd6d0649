# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of all pairs share: the probe, run by Apache or by somebody else, and the results of the plays."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """A report of its own for each of the scenario's verify steps, named by the step's directory."""
    report = Path(config.option.xmlpath)
    config.option.xmlpath = str(report.with_stem(f"{report.stem}-{Path(config.args[0]).parent.name}"))


@pytest.fixture(scope="module")
def pair(host: Host) -> dict[str, Any]:
    """The scenario's variables: what the probe says if it is answered, and if its connection is refused."""
    return dict(host.ansible.get_variables())


@pytest.fixture
def ask(host: Host) -> Callable[[str, str], str]:
    """Has somebody, "apache" or a login name, run the probe against an address; returns what the probe says."""

    def asked(who: str, address: str) -> str:
        if who == "apache":
            return asked_by_apache(host, address)
        return str(host.run("runuser -u %s -- probe %s 2>&1", who, address).stdout)

    return asked


def asked_by_apache(host: Host, address: str) -> str:
    """The page that Apache's CGI child makes of the probe."""
    request = f"GET /cgi-bin/probe?{address} HTTP/1.0\r\n\r\n"
    response = host.check_output("printf %%s %s | nc -w 20 127.0.0.1 80", request)
    head, dummy, body = response.partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 200 "), response
    return body


@pytest.fixture(scope="session")
def results() -> list[dict[str, Any]]:
    """What module flows returned, in every play of the scenario up to now."""
    written = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"], "results.jsonl").read_text()
    return [json.loads(line) for line in written.splitlines()]
