# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is told of each pair: pairs.yml, beside the catalogue. C(...) is code, as in Ansible's documentation."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from ansible_collections.senet.firewall.plugins.module_utils._values.pairs import PAIRS, Pair
from ansible_collections.senet.firewall.plugins.module_utils._values.services import DEBIAN, REDHAT, Services

_CODE = re.compile(r"C\(([^)]+)\)")


class Told(NamedTuple):
    """A pair with its name and the words about it; ``example`` has variables of its role, without the prefix."""

    name: str
    pair: Pair
    client: str
    server: str
    promise: str
    limits: tuple[str, ...]
    example: dict[str, Any]


def told() -> list[Told]:
    """Every pair, in the order of the catalogue."""
    words = yaml.safe_load((Path(__file__).parent / "pairs.yml").read_text())
    assert list(words) == list(PAIRS), "pairs.yml and the catalogue have other pairs, or another order"
    return [
        Told(name, pair, word["client"], word["server"], word["promise"],
             tuple(word.get("limits", ())), word.get("example", {}))
        for (name, pair), word in zip(PAIRS.items(), words.values(), strict=True)
    ]  # fmt: skip


def markdown(text: str) -> str:
    return _CODE.sub(r"`\1`", text)


def common_domains(services: Services) -> list[str]:
    """The domains that a service has on every family; none if they differ."""
    domains = {service.domains for service in services.values()}
    return list(domains.pop()) if len(domains) == 1 else []


def place(pair: Pair) -> str:
    """Where the server listens: tcp+udp/53."""
    return f"{'+'.join(pair.protocols)}/{','.join(pair.ports)}"


def boolean(pair: Pair) -> str:
    """The boolean that the connect wants, per family where it differs; empty if it wants none."""
    debian, redhat = (" ".join(pair.booleans.get(family, ())) for family in (DEBIAN, REDHAT))
    if debian == redhat:
        return f"C({debian})" if debian else ""
    return f"C({redhat}) on the RHEL family, C({debian}) on Debian's"
