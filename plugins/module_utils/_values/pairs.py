# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The service pairs that have a role, and what a pair's name stands for in a flow. No I/O."""

from typing import Any, Dict, FrozenSet, Iterable, List, Mapping, NamedTuple, Optional, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.layers import Owners
from ansible_collections.senet.firewall.plugins.module_utils._values.services import (
    CHRONYD,
    CONTAINER,
    DEBIAN,
    DISTRIBUTIONS,
    DOVECOT,
    EVERY_SERVICE,
    HAPROXY,
    HTTPD,
    MEMCACHED,
    MYSQLD,
    NAMED,
    NGINX,
    NODE_EXPORTER,
    PHP_FPM,
    POSTFIX,
    POSTFIX_CLIENT,
    POSTGRESQL,
    REDHAT,
    REDIS,
    RSYSLOGD,
    SLAPD,
    SNMPD,
    SPAMC,
    SPAMD,
    SQUID,
    SSHD,
    UNBOUND,
    ZABBIX_AGENT,
    ZABBIX_SERVER,
    Services,
)


class Pair(NamedTuple):
    """A client service and a server service that speak on ``ports``, one flow for each of ``protocols``.

    ``booleans`` are by distribution what the policy's own check of the connect wants, beside the packets; a boolean
    that is on by default is not among them. ``port_type`` is the type of the server's ports, which both sides may use.
    Without the options that it ``needs``, the pair would cut other services, or permit every client.
    """

    client: Services
    server: Services
    protocols: Tuple[str, ...]
    ports: Tuple[str, ...]
    booleans: Mapping[str, Tuple[str, ...]] = {}
    port_type: str = ""
    needs: Tuple[str, ...] = ()

    @property
    def clients(self) -> FrozenSet[str]:
        """The client's domains on any distribution."""
        return frozenset(domain for service in self.client.values() for domain in service.domains)

    @property
    def servers(self) -> FrozenSet[str]:
        """The server's domains on any distribution."""
        return frozenset(domain for service in self.server.values() for domain in service.domains)


_TCP = ("tcp",)
_UDP = ("udp",)
_BOTH = ("tcp", "udp")

# Booleans: `sesearch -A -s CLIENT -t PORT_TYPE -c tcp_socket -p name_connect` of Debian 12's policy, apache.te of
# Fedora's. Port types: corenetwork.te.in of both.
PAIRS = {
    "httpd_to_postgresql": Pair(
        HTTPD, POSTGRESQL, _TCP, ("5432",),
        booleans={DEBIAN: ("httpd_can_network_connect_db",), REDHAT: ("httpd_can_network_connect_db",)},
        port_type="postgresql_port_t",
    ),
    "httpd_to_mysqld": Pair(
        HTTPD, MYSQLD, _TCP, ("3306",),
        booleans={DEBIAN: ("httpd_can_network_connect_db",), REDHAT: ("httpd_can_network_connect_db",)},
        port_type="mysqld_port_t",
    ),
    # refpolicy has no boolean for Redis alone.
    "httpd_to_redis": Pair(
        HTTPD, REDIS, _TCP, ("6379",),
        booleans={DEBIAN: ("httpd_can_network_connect",), REDHAT: ("httpd_can_network_redis",)},
        port_type="redis_port_t",
    ),
    "httpd_to_memcached": Pair(
        HTTPD, MEMCACHED, _TCP, ("11211",),
        booleans={DEBIAN: ("httpd_can_network_connect_memcache",), REDHAT: ("httpd_can_network_memcache",)},
        port_type="memcache_port_t",
    ),
    "httpd_to_slapd": Pair(
        HTTPD, SLAPD, _TCP, ("389", "636"),
        booleans={DEBIAN: ("httpd_can_network_connect_ldap",), REDHAT: ("httpd_can_connect_ldap",)},
        port_type="ldap_port_t",
    ),
    # Postfix delivers to port 25 of other hosts, and is not among the clients.
    "httpd_to_postfix": Pair(
        HTTPD, POSTFIX, _TCP, ("25",),
        booleans={DEBIAN: ("httpd_can_sendmail",), REDHAT: ("httpd_can_sendmail",)},
        port_type="smtp_port_t",
        needs=("destination_addresses",),
    ),
    # 9000 is http_port_t on Fedora; on Debian it is cslistener_port_t, which httpd_t may not listen on.
    "httpd_to_php_fpm": Pair(
        HTTPD, PHP_FPM, _TCP, ("9000",),
        booleans={DEBIAN: ("httpd_can_network_relay",), REDHAT: ("httpd_can_network_relay",)},
        port_type="http_port_t",
    ),
    # Not 80, where the proxy itself listens.
    "haproxy_to_httpd": Pair(HAPROXY, HTTPD, _TCP, ("8080",), port_type="http_cache_port_t"),
    "nginx_to_http": Pair(
        NGINX, HTTPD, _TCP, ("8080",),
        booleans={DEBIAN: ("httpd_can_network_relay",), REDHAT: ("httpd_can_network_relay",)},
        port_type="http_cache_port_t",
    ),
    "squid_to_http": Pair(SQUID, HTTPD, _TCP, ("80", "443"), port_type="http_port_t"),
    # LMTP (RFC 2033), and the port that Dovecot's manual gives its authentication.
    "postfix_to_dovecot": Pair(POSTFIX_CLIENT, DOVECOT, _TCP, ("24", "12345"), port_type="lmtp_port_t"),
    "postfix_to_spamd": Pair(SPAMC, SPAMD, _TCP, ("783",), port_type="spamd_port_t"),
    # Transfers by TCP, the notice of a change by UDP. The place is every resolver's too.
    "named_to_named": Pair(
        NAMED, NAMED, _BOTH, ("53",), port_type="dns_port_t", needs=("destination_addresses",)
    ),
    "domain_to_named": Pair(EVERY_SERVICE, NAMED, _BOTH, ("53",), port_type="dns_port_t"),
    "domain_to_unbound": Pair(EVERY_SERVICE, UNBOUND, _BOTH, ("53",), port_type="dns_port_t"),
    "zabbix_agent_to_zabbix_server": Pair(
        ZABBIX_AGENT, ZABBIX_SERVER, _TCP, ("10051",), port_type="zabbix_port_t"
    ),
    "zabbix_server_to_zabbix_agent": Pair(
        ZABBIX_SERVER, ZABBIX_AGENT, _TCP, ("10050",), port_type="zabbix_agent_port_t"
    ),
    "chronyd_to_ntp": Pair(CHRONYD, CHRONYD, _UDP, ("123",), port_type="ntp_port_t"),
    # syslogd_port_t is udp/514 alone; tcp/514 is rsh_port_t, which syslogd_t may use as well.
    "rsyslogd_to_rsyslogd": Pair(RSYSLOGD, RSYSLOGD, _BOTH, ("514",), port_type="syslogd_port_t"),
    "domain_to_sshd": Pair(
        EVERY_SERVICE, SSHD, _TCP, ("22",), port_type="ssh_port_t", needs=("source_addresses",)
    ),
    "domain_to_snmpd": Pair(
        EVERY_SERVICE, SNMPD, _UDP, ("161",), port_type="snmp_port_t", needs=("source_addresses",)
    ),
    # 9100 is the printers' hplip_port_t, and unconfined services need no port type.
    "domain_to_node_exporter": Pair(
        EVERY_SERVICE, NODE_EXPORTER, _TCP, ("9100",), needs=("source_addresses",)
    ),
    "container_to_postgresql": Pair(CONTAINER, POSTGRESQL, _TCP, ("5432",), port_type="postgresql_port_t"),
}  # fmt: skip


def expand(raw: Mapping[str, Any], distribution: Optional[str]) -> List[Dict[str, Any]]:
    """The flows that one flow's options stand for: what its ``pair`` knows of the host's distribution, in place
    of what is not given. The pair also names the flow; one of several protocols is a flow each, NAME_tcp and NAME_udp.

    :raises SenetError: there is no such pair, it needs what is not given, or is not known on this distribution.
    """
    given = {key: value for key, value in raw.items() if key != "pair" and value}
    name = raw.get("pair")
    if not name:
        return [given]
    pair = _pair(name)
    for option in pair.needs:
        if option not in given:
            raise SenetError(
                "The pair '{0}' needs {1}, since without it the flow would cut connections to other servers or permit "
                "every client; give the addresses to which the flow is limited.".format(name, option)
            )
    known = {"source": pair.client, "destination": pair.server}
    flow = {side: _domains(name, services, distribution) for side, services in known.items() if side not in given}
    flow.update(ports=pair.ports)
    flow.update(given)
    return [
        dict(flow, name=_flow_name(raw, pair, protocol), protocol=protocol) for protocol in _protocols(raw, pair)
    ]


def names(raw: Mapping[str, Any]) -> List[Optional[str]]:
    """The names of the flows that :func:`expand` makes, for flows that are to go.

    :raises SenetError: there is no such pair.
    """
    if not raw.get("pair"):
        return [raw.get("name")]
    pair = _pair(raw["pair"])
    return [_flow_name(raw, pair, protocol) for protocol in _protocols(raw, pair)]


def owners(flows: Iterable[Mapping[str, Any]], distribution: Optional[str]) -> Dict[str, Owners]:
    """By name of the flow, the users and units that its client has on a distribution, for the layer owner; on one
    that is not known, those of all. A flow with a source of its own is not the pair's client's.

    :raises SenetError: there is no such pair.
    """
    found = {}  # type: Dict[str, Owners]
    for raw in flows:
        if raw.get("pair"):
            client = _pair(raw["pair"]).client
            known = (distribution,) if distribution in DISTRIBUTIONS else DISTRIBUTIONS
            services = [client[str(one)] for one in known]
            if raw.get("source") and set(raw["source"]) != {domain for one in services for domain in one.domains}:
                continue
            users = sorted({user for service in services for user in service.users})
            units = sorted({unit for service in services for unit in service.units})
            found.update((str(name), Owners(tuple(users), tuple(units))) for name in names(raw))
    return found


def _pair(name: str) -> Pair:
    if name not in PAIRS:
        raise SenetError(
            "The pair '{0}' is not in the catalogue; use one of {1}, or give source, destination and ports.".format(
                name, ", ".join(sorted(PAIRS))
            )
        )
    return PAIRS[name]


def _domains(name: str, services: Services, distribution: Optional[str]) -> Tuple[str, ...]:
    if distribution in DISTRIBUTIONS:
        return services[str(distribution)].domains
    known = {service.domains for service in services.values()}
    if len(known) > 1:
        raise SenetError(
            "The pair '{0}' is known on hosts of the Debian and RHEL families only, and this host is of neither; give "
            "source and destination as well.".format(name)
        )
    return known.pop()


def _protocols(raw: Mapping[str, Any], pair: Pair) -> Tuple[str, ...]:
    return (raw["protocol"],) if raw.get("protocol") else pair.protocols


def _flow_name(raw: Mapping[str, Any], pair: Pair, protocol: str) -> str:
    name = raw.get("name") or raw["pair"]
    return "{0}_{1}".format(name, protocol) if len(pair.protocols) > 1 else str(name)
