# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sets of flows that several tests use, and random ones."""

from typing import Any

from hypothesis import strategies as st

from ansible_collections.senet.firewall.plugins.module_utils._model import (
    MODES,
    PROTOCOLS,
    Flow,
    FlowSet,
    PortRange,
    SenetError,
    flow_set,
    parse_flow,
)


def flow(name: str = "web_db", **change: Any) -> Flow:
    raw = {"name": name, "source": ["httpd_t"], "destination": ["postgresql_t"], "ports": [5432]}
    return parse_flow({**raw, **change})


WEB_DB = flow_set([flow()])

SEVERAL = flow_set(
    [
        flow(),
        flow("cache", source=["httpd_t", "my_app.process"], destination=["redis_t"], ports=[6379, "7000-7005"]),
        flow("dns", source=["named_t"], destination=["named_t"], protocol="udp", ports=[53], mode="observe"),
    ]
)


@st.composite
def flow_sets(draw: st.DrawFn) -> FlowSet:
    """Sets of up to four flows; a flow that would overlap is left out."""
    domains = st.lists(st.sampled_from(["httpd_t", "postgresql_t", "redis_t", "named_t"]), min_size=1, max_size=3)
    flows = FlowSet(())
    for name in draw(st.lists(st.from_regex(r"[a-z][a-z0-9_]{0,5}", fullmatch=True), max_size=4, unique=True)):
        low = draw(st.integers(1, 65535))
        new = Flow(
            name,
            tuple(sorted(set(draw(domains)))),
            tuple(sorted(set(draw(domains)))),
            draw(st.sampled_from(PROTOCOLS)),
            (PortRange(low, draw(st.integers(low, 65535) | st.just(low))),),
            draw(st.sampled_from(MODES)),
        )
        try:
            flows = flows.with_flows([new])
        except SenetError:
            continue
    return flow_set(flows.flows)
