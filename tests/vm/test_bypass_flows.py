# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several flows beside each other: none lends its ports to another, and a flow may be UDP."""

import pytest

from tests.lab.probes import ADDRESSES, as_domain, connect, context, listener, through_apache
from tests.lab.vm import Host
from tests.vm.conftest import each_backends_host
from tests.vm.test_bypass import notrack, refused_at_once, stopped

pytestmark = each_backends_host

POSTGRESQL, REDIS, NAMES_TCP, NAMES_UDP = 5432, 6379, 60997, 60998
each_family = pytest.mark.parametrize("family", sorted(ADDRESSES))


@each_family
def test_each_flow_has_its_own_clients(more_flows: Host, family: str) -> None:
    for path in ("pg", "redis"):
        assert through_apache(more_flows, f"{path}{family[-1]}").result == "connected"
    for port in (POSTGRESQL, REDIS):
        assert refused_at_once(connect(more_flows, ADDRESSES[family], port))


@each_family
def test_the_port_of_another_flow_as_source_port_opens_nothing(more_flows: Host, family: str) -> None:
    address = ADDRESSES[family]
    with stopped(more_flows, "redis-server"):
        assert refused_at_once(connect(more_flows, address, POSTGRESQL, "--source-port", str(REDIS)))
    # named_t may send from its own flow's port, as the server there.
    assert refused_at_once(as_domain(more_flows, "named_t", address, POSTGRESQL, "--source-port", str(NAMES_TCP)))


@each_family
def test_nor_does_it_when_packets_are_untracked(more_flows: Host, family: str) -> None:
    with notrack(more_flows, POSTGRESQL):
        probe = as_domain(more_flows, "named_t", ADDRESSES[family], POSTGRESQL, "--source-port", str(NAMES_TCP))
        assert refused_at_once(probe)
        assert through_apache(more_flows, f"pg{family[-1]}").result == "connected"


@each_family
def test_a_chosen_source_port_does_not_cut_a_permitted_client(more_flows: Host, family: str) -> None:
    probe = as_domain(more_flows, "httpd_t", ADDRESSES[family], POSTGRESQL, "--source-port", str(NAMES_TCP))
    assert probe.result == "connected"


@each_family
def test_a_udp_flow_serves_its_source_only(more_flows: Host, family: str) -> None:
    address = ADDRESSES[family]
    options = ("--protocol", "udp")
    with listener(more_flows, address, NAMES_UDP, *options, "--as-context", context("named_t")):
        ask = (address, NAMES_UDP, *options, "--expect-reply")
        assert as_domain(more_flows, "httpd_t", *ask).result == "connected"
        for domain in ("unconfined_t", "named_t"):
            assert refused_at_once(as_domain(more_flows, domain, *ask))
    # The number belongs to the UDP flow alone.
    with listener(more_flows, address, NAMES_UDP):
        assert connect(more_flows, address, NAMES_UDP).result == "connected"
