# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A pair that spans two hosts: the client's holds it to users and units, the server's to the client's addresses."""

import os
from functools import cache

import pytest
import testinfra
from testinfra.host import Host

both_families = pytest.mark.parametrize("family", [0, 1], ids=["ipv4", "ipv6"])


@cache
def host(name: str) -> Host:
    return testinfra.get_host(f"ansible://{name}", ansible_inventory=os.environ["MOLECULE_INVENTORY_FILE"])


def ask(name: str, who: str, family: int) -> str:
    """What PostgreSQL's own client says, run on a host by Apache or by the user `who`, about the host db."""
    asking = host(name)
    address = asking.ansible.get_variables()["servers"][family]
    if who == "apache":
        request = f"GET /cgi-bin/probe?{address} HTTP/1.0\r\n\r\n"
        return str(asking.check_output("printf %%s %s | nc -w 20 127.0.0.1 80", request))
    return str(asking.run("runuser -u %s -- probe %s 2>&1", who, address).stdout)


@both_families
def test_apache_on_the_clients_host_reaches_the_server(family: int) -> None:
    assert "answer 42" in ask("web", "apache", family)


@both_families
@pytest.mark.parametrize("who", ["www-data", "root", "nobody"])
def test_others_on_the_clients_host_are_refused(who: str, family: int) -> None:
    assert "Connection refused" in ask("web", who, family)


@both_families
@pytest.mark.parametrize("who", ["apache", "root", "nobody"])
def test_the_server_refuses_another_host(who: str, family: int) -> None:
    assert "Connection refused" in ask("other", who, family)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("who", ["postgres", "root"])
def test_the_server_refuses_its_own_host(who: str, address: str) -> None:
    assert "Connection refused" in host("db").run("runuser -u %s -- probe %s 2>&1", who, address).stdout


def test_the_servers_unix_socket_is_not_affected() -> None:
    assert host("db").check_output("runuser -u postgres -- psql -Atc 'SELECT 6 * 7'") == "42"
