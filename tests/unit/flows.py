# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sets of flows that several tests use, and random ones."""

from typing import Any

from hypothesis import strategies as st

from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.fields import PortRange
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import (
    MODES,
    PROTOCOLS,
    Flow,
    FlowSet,
    flow_set,
)
from ansible_collections.senet.firewall.plugins.module_utils._values.parsing import parse_flow, parse_peer_label


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

# Flows that ports alone do not tell, three of them on one port
PLACED = flow_set(
    [
        flow(source_addresses=["192.0.2.7", "198.51.100.0/24", "2001:db8::7"]),
        flow("backup", source=["bacula_t"], source_addresses=["192.0.2.8"]),
        flow("zone", destination=["init_t"], source_addresses=["203.0.113.0/24"], mode="observe"),
        flow("lo", ports=[6379, "7000-7005"], interfaces=["lo"]),
        flow("wan", ports=[6379], interfaces=["eth0", "eth1"], destination_addresses=["2001:db8:1::/64"]),
        flow("any4", protocol="udp", ports=[53], source=["domain"], source_addresses=["0.0.0.0/0"]),
    ],
    {"httpd_t": "enforce", "redis_t": "observe", "named_t": "enforce"}.items(),
)
# Flows that verify their source: on loopback, by address, the same addresses in two of them, and observing
PEERS = flow_set(
    [
        flow(verify_source="loopback"),
        flow("db_names", source=["postgresql_t"], destination=["named_t"], protocol="udp", ports=[53]),
        flow(
            "cache",
            destination=["redis_t"],
            ports=[6379],
            source_addresses=["192.0.2.7", "2001:db8::/64"],
            verify_source="address",
        ),
        flow(
            "mail", destination=["init_t"], ports=[25], source_addresses=["192.0.2.0/24"], verify_source="address",
            mode="observe",
        ),
    ]
)  # fmt: skip
# Clients of other hosts by IPsec: both ends of a flow between databases, and a flow on this host that nothing verifies
BY_IPSEC = flow_set(
    [
        flow(verify_source="ipsec"),
        flow("copy", source=["postgresql_t"], destination=["postgresql_t"], ports=[5433], verify_source="ipsec"),
        flow("cache", destination=["redis_t"], ports=[6379], verify_source="ipsec", mode="observe"),
        flow("local", source=["sshd_t"], destination=["postgresql_t"], ports=[5434], interfaces=["lo"]),
    ]
)
# Peer labels beside a flow that verifies by address: for everybody, for some domains, on some interfaces, on loopback
LABELLED = flow_set(
    [
        flow(verify_source="address", source_addresses=["203.0.113.7"]),
        flow("cache", destination=["redis_t"], ports=[6379]),
    ]
).with_peers(
    [
        parse_peer_label(label)
        for label in (
            {"type": "office_peer_t", "addresses": ["198.51.100.0/24"]},
            {
                "type": "partner_peer_t",
                "addresses": ["192.0.2.0/24", "2001:db8::/64"],
                "receivers": ["httpd_t", "init_t"],
            },
            {
                "type": "backup_peer_t",
                "addresses": ["192.0.2.7"],
                "receivers": ["postgresql_t"],
                "interface_type": "dmz_iface_t",
            },
        )
    ],
    ["httpd_t", "redis_t"],
)
ADDRESSES = ("192.0.2.7", "192.0.2.8", "198.51.100.9", "203.0.113.1", "127.0.0.1")
ADDRESSES6 = ("2001:db8::7", "2001:db8::8", "2001:db8:1::1", "::1")
INTERFACES = ("lo", "eth0", "eth1")


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
        if draw(st.booleans()):
            networks = st.lists(st.sampled_from([*ADDRESSES, *ADDRESSES6, "192.0.2.0/24", "2001:db8::/32"]), max_size=3)
            new = parse_flow(
                {
                    **new.as_dict(),
                    "source_addresses": draw(networks),
                    "destination_addresses": draw(networks),
                    "interfaces": draw(st.lists(st.sampled_from(INTERFACES), max_size=2)),
                }
            )
        try:
            flows = flows.with_flows([new])
        except SenetError:
            continue
    confine = draw(st.dictionaries(st.sampled_from(["httpd_t", "redis_t"]), st.sampled_from(MODES)))
    return flow_set(flows.flows, confine.items())
