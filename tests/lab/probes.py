# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real connections by real processes of a lab host, as the demo and the tests make them."""

from __future__ import annotations

import json
from typing import NamedTuple

from .errors import LabError
from .vm import Host

ADDRESSES = {"ipv4": "127.0.0.1", "ipv6": "::1"}
# mod_proxy: a server that speaks no HTTP was reached (502), or the connection was refused (503)
_PROXY_RESULTS = {"502": "connected", "503": "refused"}


class Probe(NamedTuple):
    """How a connection went: connected, refused, timeout, unreachable or denied; the prober's own context."""

    result: str
    seconds: float
    context: str


def connect(host: Host, address: str, port: int, *options: str, user: str = "root", prefix: str = "") -> Probe:
    """A TCP connection by a process of a user, in the domain of a root shell over SSH (unconfined_t)."""
    command = " ".join(["senet-probe", "connect", address, str(port), *options])
    if user != "root":
        command = f"runuser -u {user} -- {command}"
    answer = json.loads(host.run(f"{prefix} {command}", check=False).stdout)
    return Probe(answer["result"], answer["seconds"], answer["context"])


def through_apache(host: Host, path: str) -> Probe:
    """A connection by Apache's proxy, to where its path leads."""
    command = f"curl --silent --output /dev/null --write-out '%{{http_code}} %{{time_total}}' http://127.0.0.1/{path}"
    status, seconds = host.run(command).stdout.split()
    if status not in _PROXY_RESULTS:
        raise LabError(f"{host.name}: Apache answers {status} to /{path}, which says nothing of a connection.")
    context = host.run("ps -o label= -C apache2 | sort -u").stdout.strip()
    return Probe(_PROXY_RESULTS[status], float(seconds), context)
