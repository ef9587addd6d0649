# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The attempts: who tries what, by which way, and what limit of the docs it meets where it is not blocked.

Whoever is outside a flow asks for its server; the confined domain asks for a server of no flow.
"""

from __future__ import annotations

from typing import NamedTuple

from .on_host.job import Job

V4, V6 = "ipv4", "ipv6"
BOTH = (V4, V6)


class Asker(NamedTuple):
    """Who asks: by a process of a domain and user, or by a root process's socket with a domain's label."""

    domain: str
    user: str
    by: str = "process"

    @property
    def confined(self) -> bool:
        return self.domain == "httpd_t"


ROOT = Asker("unconfined_t", "root")
USER = Asker("unconfined_t", "www-data")
CONFINED = Asker("httpd_t", "root")
LABEL = Asker("httpd_t", "root", "a socket's label")
PROCESSES = (ROOT, USER, CONFINED)
OUTSIDERS = (ROOT, USER)

UNCONFINED = "Unconfined domains can undo it"
PACKETS = "Everything but TCP, UDP, SCTP and DCCP"
NAMESPACES = "Network namespaces without labels"
PASSED = "Sockets that are handed over"
PROGRAMS = "Programs in other domains"
ICMP_ERRORS = "ICMP errors"
ESP_IN_UDP = "ESP in UDP with iptables"
BEHIND_TUNNELS = "Confined domains behind tunnels"
TUNNEL_ENDS = "Tunnels from another namespace"

FLOW_TCP, FLOW_UDP, OTHER = 5432, 60998, 60911
WEB, CONFINED_LISTENER = 8080, 60912
TUNNELS = {"veth": 2, "GRE": 3, "VXLAN": 4, "WireGuard": 5}


CALLER = "10.99.1.17 fd99:1::17"


class Port(NamedTuple):
    """The port that outsiders ask for, and the one that a confined domain does."""

    outsider: int
    confined: int

    def of(self, asker: Asker) -> int:
        return self.confined if asker.confined else self.outsider


TCP, UDP = Port(FLOW_TCP, OTHER), Port(FLOW_UDP, OTHER)


class Limits(NamedTuple):
    """The limit of the docs that an attempt meets, by backend; none where it is blocked."""

    iptables: str
    nftables: str


def always(limit: str) -> Limits:
    return Limits(limit, limit)


NONE = always("")
# Where the label of an answer does not come out at the tunnel's far end
LOST_LABELS = {
    "GRE": Limits(TUNNEL_ENDS, ""),
    "VXLAN": Limits(TUNNEL_ENDS, ""),
    "WireGuard": always(TUNNEL_ENDS),
}


class Attempt(NamedTuple):
    """One way, for each of the askers, by each family. `host` is the end of the address: net and number."""

    name: str
    how: str
    askers: tuple[Asker, ...] = PROCESSES
    port: Port = TCP
    host: str = "1.9"
    families: tuple[str, ...] = BOTH
    source_port: int = 0
    domain: str = ""
    path: str = ""
    limits: Limits = NONE
    # Whom the limit is for; nobody else gets through
    limit_of: tuple[Asker, ...] = PROCESSES
    # Why nothing gets through without flows either
    never: str = ""

    def limit_for(self, asker: Asker, backend: str) -> str:
        limit: str = getattr(self.limits, backend)
        return limit if asker in self.limit_of else ""

    def job(self, number: str, asker: Asker, family: str) -> Job:
        path = self.path.format(family=family, domain=asker.domain)
        address = address_of(self.host, family)
        return Job(number, self.how, family, address, self.port.of(asker), self.source_port, self.domain, path)


def address_of(host: str, family: str) -> str:
    net, number = host.split(".")
    return f"10.99.{net}.{number}" if family == V4 else f"fd99:{net}::{number}"


def both(port: int) -> Port:
    return Port(port, port)


def through_tunnels() -> list[Attempt]:
    made = []
    for name, number in TUNNELS.items():
        place = f"{number}.2"
        made.append(Attempt(f"to another namespace by {name}", "tcp", host=place))
        made.append(Attempt(f"to another namespace by {name}, UDP", "udp", port=UDP, host=place))
        back, place = f"from another namespace by {name}", f"{number}.1"
        lost = LOST_LABELS.get(name, NONE)
        arriving = Limits(*(limit or NAMESPACES for limit in lost))
        made.append(Attempt(back, "new_namespace", (ROOT,), host=place, path="tcp", limits=lost))
        made.append(Attempt(f"{back}, UDP", "new_namespace", (ROOT,), UDP, place, path="udp", limits=arriving))
    return made


ATTEMPTS: tuple[Attempt, ...] = (
    Attempt("connect", "tcp"),
    Attempt("v4-mapped", "tcp_mapped", families=(V4,)),
    Attempt("v4-mapped, UDP", "udp_mapped", port=UDP, families=(V4,)),
    Attempt("DNAT to the port", "tcp", port=Port(15432, 15911)),
    Attempt("DNAT to the port, UDP", "udp", port=Port(15098, 15911)),
    Attempt("DNAT from a flow's port", "tcp", (CONFINED,), both(FLOW_TCP), "1.10"),
    Attempt("DNAT from a flow's port, UDP", "udp", (CONFINED,), both(FLOW_UDP), "1.10"),
    Attempt("REDIRECT to the port", "tcp", (CONFINED,), both(15911), "1.10"),
    Attempt("SNAT to a flow's port", "tcp", (CONFINED,), source_port=46080),
    Attempt("NOTRACK, from a flow's port", "tcp", (CONFINED,), source_port=WEB),
    Attempt("raw socket, TCP", "raw_tcp"),
    Attempt("raw socket, UDP", "raw_udp", port=UDP),
    Attempt("raw socket, fragments of eight bytes", "raw_fragments", port=UDP, families=(V4,)),
    Attempt("raw socket, a forged SYN of the server first", "forged_open", families=(V4,)),
    Attempt("packet socket", "packet_udp", port=UDP, limits=always(PACKETS), limit_of=(ROOT,)),
    Attempt("an interface of one's own (tun)", "tun_udp", port=UDP, limits=always(PACKETS), limit_of=(ROOT,)),
    Attempt("fragments", "udp_fragments", port=UDP),
    Attempt("UDP, connected", "udp", port=UDP),
    Attempt("UDP, not connected", "udp_unconnected", port=UDP),
    Attempt("MPTCP", "mptcp"),
    Attempt("MPTCP to a server of MPTCP", "mptcp", host="1.14"),
    Attempt("TCP fast open", "fast_open"),
    Attempt("SCTP", "sctp", (CONFINED, LABEL)),
    Attempt("IPv6 extension headers", "tcp_headers", families=(V6,)),
    Attempt("IPv6 extension headers, UDP", "udp_headers", port=UDP, families=(V6,)),
    Attempt("an impostor's listener", "tcp", (CONFINED,), both(FLOW_TCP), "1.11"),
    Attempt("a listener opened before, of the confined domain", "tcp", OUTSIDERS, both(CONFINED_LISTENER)),
    Attempt("TIME_WAIT reuse", "time_wait", OUTSIDERS, source_port=45002, domain="httpd_t"),
    Attempt("TIME_WAIT reuse, the server calls back", "time_wait_back", (LABEL,), both(60913), source_port=WEB),
    Attempt("simultaneous open", "simultaneous_open", OUTSIDERS, host="1.16", source_port=FLOW_TCP,
            domain="postgresql_t", path=CALLER),
    Attempt("simultaneous open, of the confined domain", "simultaneous_open", OUTSIDERS, both(60914), "1.16",
            source_port=46002, domain="httpd_t", path=CALLER),
    Attempt("ICMP echo", "icmp_echo", (CONFINED, LABEL)),
    Attempt("ICMP errors", "icmp_error", port=both(FLOW_UDP), families=(V4,), domain="httpd_t",
            askers=(ROOT,), limits=always(ICMP_ERRORS)),
    Attempt("a connected socket of another domain (SCM_RIGHTS)", "passed_socket", path="/run/apache2/give-{family}",
            askers=OUTSIDERS, limits=always(PASSED)),
    Attempt("a connected socket of another domain (SCM_RIGHTS)", "passed_socket", path="/run/bypass/give-{family}",
            askers=(CONFINED,)),
    Attempt("setsockcreate", "tcp", OUTSIDERS, domain="httpd_t", limits=always(UNCONFINED)),
    Attempt("setsockcreate", "tcp", (CONFINED,), domain="unconfined_t"),
    Attempt("exec into another domain", "other_program", OUTSIDERS, domain="system_u:system_r:httpd_t:s0",
            path="/usr/local/bin/python-httpd_t /usr/local/bin/bypass-guest"),
    Attempt("a service in another domain", "other_program", (ROOT,), path="/usr/local/bin/bypass-service",
            limits=always(UNCONFINED)),
    Attempt("exec into another domain", "other_program", (CONFINED,),
            path="/usr/bin/python3 /usr/local/bin/bypass-guest", domain="unconfined_u:unconfined_r:unconfined_t:s0"),
    Attempt("exec into another domain, a CGI script", "other_program", (CONFINED,), path="/usr/local/bin/bypass-cgi",
            limits=always(PROGRAMS)),
    Attempt("conntrack flush, again and again", "flushed_table", (ROOT,)),
    Attempt("conntrack's table full", "full_table", (ROOT, CONFINED), never="a full table has no room"),
    Attempt("a second network namespace", "new_namespace", (USER, CONFINED), host="2.1", path="tcp"),
    Attempt("a second network namespace, by a socket's label", "new_namespace", (LABEL,), path="tcp", domain="httpd_t"),
    Attempt("IPsec, ESP", "tcp", host="1.20"),
    Attempt("IPsec, ESP, UDP", "udp", port=UDP, host="1.20"),
    Attempt("IPsec, ESP in UDP", "tcp", host="1.21"),
    Attempt("IPsec, ESP in UDP, UDP", "udp", port=UDP, host="1.21", limits=Limits(ESP_IN_UDP, ""),
            limit_of=OUTSIDERS),
    *through_tunnels(),
)  # fmt: skip


def permitted_through(name: str, host: str, limits: Limits = NONE) -> list[Attempt]:
    """A flow's source, by another way; here a limit is that the way cuts it off."""
    return [
        Attempt(f"permitted: {name}", "tcp", (CONFINED,), both(FLOW_TCP), host, limits=limits),
        Attempt(f"permitted: {name}, UDP", "udp", (CONFINED,), both(FLOW_UDP), host, limits=limits),
    ]


# What a flow lets through; otherwise nothing above says anything
PERMITTED: tuple[Attempt, ...] = (
    Attempt("permitted: everybody else's traffic", "tcp", OUTSIDERS, both(OTHER)),
    *permitted_through("the flow", "1.9"),
    *permitted_through("IPsec, ESP", "1.20"),
    *permitted_through("IPsec, ESP in UDP", "1.21", Limits(ESP_IN_UDP, "")),
    *permitted_through("another namespace by veth", "2.2"),
    *permitted_through("another namespace by GRE", "3.2", Limits(BEHIND_TUNNELS, "")),
    *permitted_through("another namespace by VXLAN", "4.2", Limits(BEHIND_TUNNELS, "")),
    *permitted_through("another namespace by WireGuard", "5.2", always(BEHIND_TUNNELS)),
)


class Referred(NamedTuple):
    """An attempt that the tests on virtual machines make."""

    name: str
    askers: tuple[Asker, ...]
    verdict: str
    tests: tuple[str, ...]


VM = "tests/vm/"
REFERRED: tuple[Referred, ...] = (
    Referred("IPv6, and as root or as the service's user", OUTSIDERS, "blocked",
             (f"{VM}test_bypass.py::test_same_user_and_root_outside_httpd_t_are_refused",)),
    Referred("REDIRECT to the port", (ROOT,), "blocked",
             (f"{VM}test_bypass.py::test_redirected_port_is_the_port_that_answers",)),
    Referred("NOTRACK", (ROOT,), "blocked",
             (f"{VM}test_bypass.py::test_untracked_packets_are_matched_by_port",
              f"{VM}test_bypass_flows.py::test_nor_does_it_when_packets_are_untracked")),
    Referred("INVALID", (ROOT,), "blocked", (f"{VM}test_bypass.py::test_invalid_packets_are_matched_by_port",)),
    Referred("an impostor in the server's place", (CONFINED,), "blocked",
             (f"{VM}test_bypass.py::test_an_impostor_gets_nothing",)),
    Referred("the port of another flow as source port", (ROOT,), "blocked",
             (f"{VM}test_bypass_flows.py::test_the_port_of_another_flow_as_source_port_opens_nothing",)),
    Referred("a flow's port as source port", (LABEL,), "blocked",
             (f"{VM}test_source_ports.py::test_a_confined_domain_gets_nowhere_from_a_port_of_its_flow",
              f"{VM}test_source_ports.py::test_nobody_reaches_a_confined_domain_from_a_port_of_its_flow")),
    Referred("connections opened before", OUTSIDERS, "blocked",
             (f"{VM}test_opened_before.py::test_an_outsiders_connection_is_dead_once_the_rules_are_loaded",)),
    Referred("connections opened before, of a confined domain", (LABEL,), "blocked",
             (f"{VM}test_source_ports.py::test_a_confined_domain_cannot_go_on_with_what_it_had_opened_from_a_flows_port",)),
    Referred("conntrack flush", OUTSIDERS, "blocked",
             (f"{VM}test_opened_before.py::test_an_outsiders_connection_is_dead_after_a_flush",)),
    Referred("MPTCP of a confined domain, by kernel", (LABEL,), "limit: MPTCP before Linux 6.5",
             (f"{VM}test_mptcp.py::test_where_mptcp_leads_around_a_confinement_it_is_told",)),
    Referred("a second network namespace", (ROOT,), "blocked",
             (f"{VM}test_bypass_namespaces.py::test_only_the_source_domain_reaches_the_host_from_another_namespace",
              f"{VM}test_bypass_namespaces.py::test_an_impostor_in_another_namespace_gets_nothing")),
    Referred("a container", (ROOT,), "blocked",
             (f"{VM}test_containers.py::test_a_container_of_another_domain_is_refused",
              f"{VM}test_containers.py::test_root_is_refused_from_every_namespace")),
    Referred("changes while connections run", (ROOT,), "blocked",
             (f"{VM}test_windows.py::test_no_change_opens_the_port_or_cuts_its_client",
              f"{VM}test_windows.py::test_undoing_a_change_of_names_or_places_opens_and_cuts_nothing")),
    Referred("SCTP", (ROOT,), "blocked",
             (f"{VM}test_protocols.py::test_the_source_gets_through_and_root_does_not",)),
)  # fmt: skip
