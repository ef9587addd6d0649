# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of a flow: each string of a user is checked here once, and is safe in a rule and a policy then. No I/O."""

import ipaddress
import re
from socket import AF_INET, AF_INET6, inet_ntop
from typing import Any, Callable, Iterable, List, Mapping, NamedTuple, Optional, Tuple, Union

from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError

# The attribute of every process domain, in both policy families: for services that everybody uses
EVERY_DOMAIN = "domain"
PROTOCOL_NUMBERS = {"tcp": 6, "udp": 17, "dccp": 33, "sctp": 132}

# A type inside a CIL block (what udica writes) has dots: my_app.process
TYPE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,127}(\.[A-Za-z0-9_]{1,127})*")
_PORTS = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", re.ASCII)
# No zone (%eth0), which no rule can hold
_ADDRESS = re.compile(r"[0-9A-Fa-f.:/]{2,64}")
# IFNAMSIZ is 16 with the closing zero (linux/if.h); '+' and '*' would be wildcards. No packet has an interface named as
# ifconfig shows an alias (eth0:1) or ip-link(8) a pair's end (eth0@if7).
_INTERFACE = re.compile(r"[A-Za-z0-9_.-]{1,15}")
# useradd(8), also with the capitals and dots that directories have; or a uid
_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}|[0-9]{1,10}")
# The number after it stands for no user at all (chown(2))
_LAST_UID = 2**32 - 2
# As the reference policy names types; '_t' keeps it apart from every keyword of CIL
_NEW_TYPE = re.compile(r"[a-z][a-z0-9_]{0,60}_t")
NO_METRICS = "none"
_DIRECTORY = re.compile(r"(/[A-Za-z0-9_+@:-][A-Za-z0-9_.+@:-]{0,254})+")
# systemd.unit(5), less the backslash of escaped names, which each tool quotes in its own way
_UNIT = re.compile(r"[A-Za-z0-9_.:@-]{1,200}\.(service|slice|scope)")

Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]


class PortRange(NamedTuple):
    """Ports low to high, both included, 1 to 65535."""

    low: int
    high: int

    def __str__(self) -> str:
        return str(self.low) if self.low == self.high else "{0}-{1}".format(self.low, self.high)

    def overlaps(self, other: "PortRange") -> bool:
        return self.low <= other.high and other.low <= self.high

    def holds(self, port: int) -> bool:
        return self.low <= port <= self.high


# What to do about an option that is empty
_ADVICE = {
    "flows": "list the flows that are meant",
    "source_addresses": "leave it out if any address may",
    "destination_addresses": "leave it out if the server may have any address",
    "addresses": "list the addresses that are meant",
    "interfaces": "leave it out if the flow applies to every interface",
    "users": "leave it out if any user may, or the pair's",
    "units": "leave it out if any unit may, or the pair's",
    "confine": "leave it out if no domain is to be confined",
    "health_checks": "leave it out if nothing has to answer",
    "health_commands": "leave it out if nothing has to succeed",
    "receivers": "leave it out if every domain may receive",
}


def refuse_empty(options: Mapping[str, Any]) -> None:
    """Refuse what is given and empty: a variable that holds nothing would otherwise permit everything.

    :raises SenetError: an option is an empty string or list, or has an empty item.
    """
    for option, value in sorted(options.items()):
        if value == "" or (isinstance(value, list) and (not value or "" in value)):
            named = options.get("name") or options.get("pair")
            raise SenetError(
                "The option {0}{1} is given and empty; {2}.".format(
                    option,
                    " of the flow '{0}'".format(named) if named else "",
                    _ADVICE.get(option, "fill it, or leave it out"),
                )
            )


def parse_domains(flow: str, side: str, raw: Optional[Iterable[Any]], kind: str = "flow") -> Tuple[str, ...]:
    """Domains, sorted and unique; every domain stands for all others.

    :raises SenetError: there is none, or one is not the name of a type.
    """
    domains = list(raw or ())
    if not domains:
        raise SenetError(
            "The {2} '{0}' has no {1}; name at least one SELinux domain, such as httpd_t.".format(flow, side, kind)
        )
    for domain in domains:
        if not isinstance(domain, str) or not TYPE_NAME.fullmatch(domain):
            raise SenetError(
                "The {1} {2!r} of the {3} '{0}' is not an SELinux type; give the type alone, such as httpd_t "
                "out of system_u:system_r:httpd_t:s0.".format(flow, side, domain, kind)
            )
    return (EVERY_DOMAIN,) if EVERY_DOMAIN in domains else tuple(sorted(set(domains)))


def parse_confined(raw: Optional[Iterable[Any]]) -> Tuple[str, ...]:
    """The domains of ``confine``, sorted and unique.

    :raises SenetError: one is not the name of a type that can be confined.
    """
    domains = list(raw or ())
    for domain in domains:
        if not isinstance(domain, str) or not TYPE_NAME.fullmatch(domain):
            raise SenetError(
                "The domain {0!r} of confine is not an SELinux type; give the type alone, such as httpd_t out of "
                "system_u:system_r:httpd_t:s0.".format(domain)
            )
        if domain in (EVERY_DOMAIN, "kernel_t"):
            raise SenetError(
                "'{0}' cannot be confined, since the kernel itself answers for every service; confine the domains of "
                "single services, such as httpd_t.".format(domain)
            )
    return tuple(sorted(set(domains)))


def parse_ports(flow: str, raw: Optional[Iterable[Any]]) -> Tuple[PortRange, ...]:
    """Ports as ranges, sorted, none touching another.

    :raises SenetError: there is none, or one is not a port.
    """
    texts = [str(port) for port in raw or ()]
    if not texts:
        raise SenetError("The flow '{0}' has no ports; list at least one, such as 5432 or 8000-8010.".format(flow))
    ranges = sorted(_port_range(flow, text) for text in texts)
    joined = ranges[:1]  # type: List[PortRange]
    for ports in ranges[1:]:
        last = joined[-1]
        if ports.low <= last.high + 1:
            joined[-1] = PortRange(last.low, max(last.high, ports.high))
        else:
            joined.append(ports)
    return tuple(joined)


def parse_networks(
    flow: str, option: str, raw: Optional[Iterable[Any]], kind: str = "flow"
) -> Tuple[Network, ...]:
    """Addresses and networks, IPv4 first, none inside another.

    :raises SenetError: one is neither, or a network has bits of a host.
    """
    networks = []  # type: List[Network]
    for text in raw or ():
        try:
            # Not a number: the library takes 1 for 0.0.0.1.
            network = ipaddress.ip_network(text if isinstance(text, str) and _ADDRESS.fullmatch(text) else "")
        except ValueError:
            raise SenetError(
                "The address {2!r} in {1} of the {3} '{0}' is neither an address nor a network; write for example "
                "192.0.2.7, 192.0.2.0/24 or 2001:db8::/64, with no bits set beyond the prefix.".format(
                    flow, option, text, kind
                )
            ) from None
        networks.append(_on_the_wire(network))
    result = []  # type: List[Network]
    result.extend(ipaddress.collapse_addresses(net for net in networks if isinstance(net, ipaddress.IPv4Network)))
    result.extend(ipaddress.collapse_addresses(net for net in networks if isinstance(net, ipaddress.IPv6Network)))
    return tuple(result)


def address_text(network: Network) -> str:
    """A network as inet_ntop(3) and every tool spell it: a single address without a prefix."""
    family = AF_INET if network.version == 4 else AF_INET6
    address = inet_ntop(family, network.network_address.packed)
    return address if network.num_addresses == 1 else "{0}/{1}".format(address, network.prefixlen)


def of_family(networks: Iterable[Network], family: str) -> List[Network]:
    """Those of ``ipv4``, or of ``ipv6``."""
    return [network for network in networks if network.version == (4 if family == "ipv4" else 6)]


def parse_interfaces(flow: str, raw: Optional[Iterable[Any]]) -> Tuple[str, ...]:
    """Names of network interfaces, sorted and unique.

    :raises SenetError: one is not such a name.
    """
    what = "the name of a network interface; write for example eth0, in full, without wildcards, ':' and '@'"
    return _names(flow, "interface", _INTERFACE.fullmatch, raw, what)


def parse_interface_name(name: Any) -> str:
    """The name of one network interface.

    :raises SenetError: it is not such a name.
    """
    if not isinstance(name, str) or not _INTERFACE.fullmatch(name):
        raise SenetError(
            "The interface {0!r} is not the name of a network interface; write for example eth0, in full, without "
            "wildcards, ':' and '@'.".format(name)
        )
    return name


def parse_new_type(user: str, name: Any) -> str:
    """The name of a type that our policy module is to declare; ``user`` is what it is for.

    :raises SenetError: it is not such a name.
    """
    if not isinstance(name, str) or not _NEW_TYPE.fullmatch(name) or name.startswith("senet_"):
        raise SenetError(
            "The type {0!r} of {1} cannot be created; use lower-case letters, digits and '_', with '_t' at the end and "
            "without 'senet_' in front, such as partner_t.".format(name, user)
        )
    return name


def parse_users(flow: str, raw: Optional[Iterable[Any]]) -> Tuple[str, ...]:
    """Login names and uids, sorted and unique.

    :raises SenetError: one is neither.
    """
    return _names(flow, "user", is_user, raw, "a login name or a uid; write for example www-data or 33")


def parse_units(flow: str, raw: Optional[Iterable[Any]]) -> Tuple[str, ...]:
    """Names of systemd units, sorted and unique.

    :raises SenetError: one is not the name of a service, slice or scope.
    """
    what = "the name of a systemd service, slice or scope; write for example apache2.service"
    return _names(flow, "unit", is_unit, raw, what)


def is_user(name: str) -> bool:
    """Whether a flow can have a user of this name."""
    return _USER.fullmatch(name) is not None and not (name.isdigit() and int(name) > _LAST_UID)


def is_unit(name: str) -> bool:
    """Whether a flow can have a unit of this name."""
    return _UNIT.fullmatch(name) is not None


def _on_the_wire(network: Network) -> Network:
    """What sockets show as ::ffff:192.0.2.1 travels as IPv4."""
    if isinstance(network, ipaddress.IPv6Network) and network.prefixlen >= 96:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return ipaddress.IPv4Network((int(mapped), network.prefixlen - 96))
    return network


def _names(
    flow: str, option: str, fits: Callable[[str], Any], raw: Optional[Iterable[Any]], what: str
) -> Tuple[str, ...]:
    names = [str(name) for name in raw or ()]
    for name in names:
        if not fits(name):
            raise SenetError("The {1} {2!r} of the flow '{0}' is not {3}.".format(flow, option, name, what))
    return tuple(sorted(set(names)))


def _port_range(flow: str, text: str) -> PortRange:
    match = _PORTS.fullmatch(text)
    if match:
        low = int(match.group(1))
        high = int(match.group(2) or low)
        if 1 <= low <= high <= 65535:
            return PortRange(low, high)
    raise SenetError(
        "The port {1!r} of the flow '{0}' is not a port; use a number from 1 to 65535, or a range of them with "
        "the lower one first, such as 8000-8010.".format(flow, text)
    )


def parse_metrics_directory(raw: Any) -> str:
    """The directory that a monitoring system reads files from.

    :raises SenetError: it is not an absolute path of plain characters.
    """
    path = raw.rstrip("/") if isinstance(raw, str) else ""
    if not _DIRECTORY.fullmatch(path):
        raise SenetError(
            "The metrics_directory {0!r} is not an absolute path of letters, digits and '_.+@:-'; give the directory "
            "of the node exporter's option --collector.textfile.directory, or 'none'.".format(raw)
        )
    return path
