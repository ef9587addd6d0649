# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Other network namespaces of the same host, which have no rules: as clients, servers, and routed through the host."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab.controller import Controller
from tests.lab.probes import as_domain, connect, context, listener
from tests.lab.vm import Host
from tests.vm.conftest import each_backends_host

pytestmark = each_backends_host

POSTGRESQL = 5432
# The host's own address on the link to the first namespace
HOST_ADDRESSES = {"ipv4": "10.9.1.1", "ipv6": "fd99:1::1"}
# The second namespace's address
FAR_ADDRESSES = {"ipv4": "10.9.2.2", "ipv6": "fd99:2::2"}
NEAR, FAR = "ip netns exec near", "ip netns exec far"
ECHO = ("--send", "x", "--expect-reply")

LINKS = """
set -e
sysctl -q -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
for link in near:1 far:2; do
    name=${link%:*} n=${link#*:}
    ip netns add $name
    ip link add to-$name type veth peer name eth0 netns $name
    ip address add 10.9.$n.1/24 dev to-$name
    ip address add fd99:$n::1/64 dev to-$name nodad
    ip link set to-$name up
    ip -n $name address add 10.9.$n.2/24 dev eth0
    ip -n $name address add fd99:$n::2/64 dev eth0 nodad
    ip -n $name link set eth0 up
    ip -n $name link set lo up
    ip -n $name route add default via 10.9.$n.1
    ip -n $name route add default via fd99:$n::1
done
"""
# What the host forwards comes from a peer with a label
PARTNER: dict[str, Any] = {"type": "partner_peer_t", "addresses": ["10.9.1.0/24", "fd99:1::/64"]}

each_family = pytest.mark.parametrize("family", ["ipv4", "ipv6"])


@pytest.fixture(scope="module")
def host(enforced_by_each: Host) -> Iterator[Host]:
    enforced_by_each.run(LINKS)
    yield enforced_by_each
    enforced_by_each.run("ip netns delete near; ip netns delete far")


@each_family
def test_only_the_source_domain_reaches_the_host_from_another_namespace(host: Host, family: str) -> None:
    address = HOST_ADDRESSES[family]
    with listener(host, address, POSTGRESQL, "--as-context", context("postgresql_t")):
        assert as_domain(host, "httpd_t", address, POSTGRESQL, *ECHO, prefix=NEAR).result == "connected"
        assert as_domain(host, "unconfined_t", address, POSTGRESQL, *ECHO, prefix=NEAR).result == "timeout"
        assert as_domain(host, "unconfined_t", address, POSTGRESQL, *ECHO).result == "refused"


@each_family
def test_an_impostor_in_another_namespace_gets_nothing(host: Host, family: str) -> None:
    with listener(host, FAR_ADDRESSES[family], POSTGRESQL, prefix=FAR):
        assert as_domain(host, "httpd_t", FAR_ADDRESSES[family], POSTGRESQL).result == "timeout"


@pytest.mark.parametrize("port", [POSTGRESQL, 9999])
@each_family
def test_what_the_host_forwards_passes(host: Host, family: str, port: int) -> None:
    with listener(host, FAR_ADDRESSES[family], port, prefix=FAR):
        assert connect(host, FAR_ADDRESSES[family], port, *ECHO, prefix=NEAR).result == "connected"


@pytest.fixture(scope="module")
def labelled_peers(host: Host) -> Iterator[Host]:
    """The same host, where one of the namespaces is a peer with a label."""
    with Controller(host) as controller:
        result = controller.module(host, "senet.firewall.peer_label", **PARTNER)
        assert result.get("guard", {}).get("confirmed"), result
        yield host
        gone = controller.module(host, "senet.firewall.peer_label", type=PARTNER["type"], state="absent")
        assert gone.get("guard", {}).get("confirmed"), gone


@pytest.mark.parametrize("port", [POSTGRESQL, 9999])
@each_family
def test_what_the_host_forwards_passes_from_labelled_peers_too(labelled_peers: Host, family: str, port: int) -> None:
    assert "partner_peer_t" in labelled_peers.run("netlabelctl unlbl list").stdout
    with listener(labelled_peers, FAR_ADDRESSES[family], port, prefix=FAR):
        assert connect(labelled_peers, FAR_ADDRESSES[family], port, *ECHO, prefix=NEAR).result == "connected"
