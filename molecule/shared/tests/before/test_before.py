# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Without the collection everybody reaches the service, so that whoever is refused later is refused by it."""

from typing import Any

import pytest

testinfra_hosts = ["ansible://all"]


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("who", ["apache", "www-data", "root", "nobody"])
def test_everybody_reaches_the_service(ask: Any, pair: Any, who: str, address: str) -> None:
    assert pair["answer"] in ask(who, address)
