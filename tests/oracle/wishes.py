# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wishes as Hypothesis draws them."""

from __future__ import annotations

from hypothesis import strategies as st

from .compilers import refused
from .judge import CONFINABLE, NAMED
from .promise import Flow, Wish

NETWORKS = ("192.0.2.7/32", "192.0.2.0/24", "203.0.113.0/25", "0.0.0.0/0", "2001:db8::7/128", "2001:db8::/48", "::/0")
INTERFACES = ("lo", "eth0", "eth1")
_PORTS = (1, 53, 80, 5432, 5433, 8080, 32768, 50000, 65535)

_names = st.sampled_from(("cache", "dns", "lo4", "mail", "web", "web_db", "zone"))
_domains = st.lists(st.sampled_from(NAMED), min_size=1, max_size=2, unique=True).map(tuple) | st.just(("domain",))
_networks = st.lists(st.sampled_from(NETWORKS), max_size=2, unique=True).map(tuple)


@st.composite
def _ranges(draw: st.DrawFn) -> tuple[int, int]:
    low = draw(st.sampled_from(_PORTS) | st.integers(1, 65535))
    return low, min(65535, low + draw(st.sampled_from((0, 0, 1, 7, 999, 20000))))


@st.composite
def _flows(draw: st.DrawFn, names: st.SearchStrategy[str]) -> Flow:
    ranges: list[tuple[int, int]] = []
    # Sometimes more than a flat list of rules holds
    for low, high in draw(st.lists(_ranges(), min_size=1, max_size=draw(st.sampled_from((1, 2, 6))))):
        if not any(low <= other_high and other_low <= high for other_low, other_high in ranges):
            ranges.append((low, high))
    flow = Flow(
        draw(names),
        draw(_domains),
        draw(_domains),
        draw(st.sampled_from(("tcp", "tcp", "tcp", "udp", "udp", "sctp", "dccp"))),
        tuple(sorted(ranges)),
        draw(st.sampled_from((False, False, True))),
    )
    if draw(st.booleans()):
        return flow
    return flow._replace(
        source_addresses=draw(_networks),
        destination_addresses=draw(_networks),
        interfaces=draw(st.lists(st.sampled_from(INTERFACES), max_size=2, unique=True).map(tuple)),
    )


@st.composite
def wishes(draw: st.DrawFn) -> Wish:
    """Up to four flows that the collection takes, without what contradicts the ones before."""
    confined = draw(st.lists(st.sampled_from(CONFINABLE), max_size=2, unique=True).map(tuple))
    watched = draw(st.lists(st.sampled_from(CONFINABLE), max_size=1).map(tuple))
    wish = Wish((), confined, tuple(domain for domain in watched if domain not in confined))
    for flow in draw(st.lists(_flows(_names), min_size=1, max_size=4, unique_by=lambda flow: flow.name)):
        more = wish._replace(flows=(*wish.flows, flow))
        wish = wish if refused(more) else more
    return wish
