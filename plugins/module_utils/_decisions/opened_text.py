# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sentences on what a change opens, and the numbers that stand for addresses, interfaces and domains. No I/O."""

import ipaddress
from typing import Dict, Iterable, List, Optional, Sequence, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._values.fields import (
    EVERY_DOMAIN,
    Network,
    PortRange,
    address_text,
)
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import (
    OBSERVE,
    VERIFY_ADDRESS,
    VERIFY_LOOPBACK,
    Flow,
)
from ansible_collections.senet.firewall.plugins.module_utils._values.regions import Box, Span, less, span

# The addresses of IPv4, and after them those of IPv6
_FIRST_IPV6 = 2**32
_EVERY_ADDRESS = ((0, _FIRST_IPV6 + 2**128 - 1),)  # type: Span
# More of them nobody reads in a sentence
_NAMED = 5
_UNCHECKED = {
    VERIFY_LOOPBACK: "the domain of clients on the same host is not verified",
    VERIFY_ADDRESS: "the address of clients on other hosts is not verified",
}
_UNCHECKED_DOMAIN = "the domain of clients on other hosts is not verified"


class Space:
    """Numbers for what flows name; of interfaces and of domains the last one stands for all others."""

    def __init__(self, flows: Iterable[Flow]) -> None:
        flows = list(flows)
        self._interfaces = _numbered(name for flow in flows for name in flow.interfaces)
        self._domains = _numbered(name for flow in flows for name in flow.source + flow.destination)

    @property
    def every_domain(self) -> Span:
        return ((0, len(self._domains)),)

    @property
    def every_interface(self) -> Span:
        return ((0, len(self._interfaces)),)

    @property
    def every_address(self) -> Span:
        return _EVERY_ADDRESS

    @property
    def families(self) -> Tuple[Span, Span]:
        """The addresses of IPv4, and those of IPv6."""
        return ((0, _FIRST_IPV6 - 1),), ((_FIRST_IPV6, _EVERY_ADDRESS[0][1]),)

    def domains(self, names: Sequence[str]) -> Span:
        return self.every_domain if EVERY_DOMAIN in names else span((self._domains[name],) * 2 for name in names)

    def interfaces(self, names: Sequence[str]) -> Span:
        return span((self._interfaces[name],) * 2 for name in names) if names else self.every_interface

    def addresses(self, networks: Sequence[Network]) -> Span:
        return span(_range(network) for network in networks) if networks else self.every_address

    def domain_text(self, numbers: Span) -> str:
        named = _named(self._domains, numbers)
        return "every domain" if named is None else _list(named)

    def interface_text(self, numbers: Span) -> str:
        named = _named(self._interfaces, numbers)
        others = _named(self._interfaces, less(self.every_interface, numbers)) or ()
        return "every interface but {0}".format(_list(others)) if named is None else _list(named)


def of_everybody(space: Space, protocol: str, box: Box) -> str:
    """That nobody is refused in a box."""
    return "{0} is open to everybody{1}{2}".format(
        _ports(protocol, box[0]), " at {0}".format(_addresses(box[3])) if box[3] != _EVERY_ADDRESS else "",
        _where(space, box),
    )  # fmt: skip


def of_clients(space: Space, protocol: str, box: Box) -> str:
    """That domains are not refused in a box."""
    return "{0} at {1} may use {2} of {3}{4}".format(
        space.domain_text(box[4]), _addresses(box[3]), _ports(protocol, box[0]), space.domain_text(box[5]),
        _where(space, box),
    )  # fmt: skip


def of_check(check: str) -> str:
    """That something is not verified by peer labels."""
    return _UNCHECKED.get(check, _UNCHECKED_DOMAIN)


def of_check_for(check: str, domains: Sequence[str]) -> str:
    """The same of domains that a flow does not name any more, or only observes."""
    return "{0} for {1}, on any port".format(of_check(check), _list(domains))


def of_same_host(domain: str) -> str:
    """That nothing verifies a domain's clients on the same host any more."""
    return "No flow and no loopback_domains verify clients on the same host any more, so {0}.".format(
        of_check_for(VERIFY_LOOPBACK, [domain])
    )


def of_flow(flow: Flow, parts: Sequence[str], moved: bool) -> str:
    """All that the change of a flow opens; ``moved`` says that its ports are others now."""
    return "{0} opens what was closed: {1}.{2}".format(
        "The flow '{0}', which is only observed now,".format(flow.name)
        if flow.mode == OBSERVE
        else "The change of the flow '{0}'".format(flow.name),
        "; ".join(parts[:_NAMED]) + ("; and {0} more".format(len(parts) - _NAMED) if parts[_NAMED:] else ""),
        " If the earlier ports are meant as well, give these a flow of another name." if moved else "",
    )


def of_domain(domain: str, observed: bool) -> str:
    """That a domain may use more than its flows."""
    if observed:
        return "The domain '{0}' was confined, and is only observed now: it may use what no flow allows.".format(domain)
    return "The domain '{0}' is no longer confined: it may use what no flow allows.".format(domain)


def _where(space: Space, box: Box) -> str:
    text = " where the server is at {0}".format(_addresses(box[1])) if box[1] != _EVERY_ADDRESS else ""
    return text + (" through {0}".format(space.interface_text(box[2])) if box[2] != space.every_interface else "")


def _ports(protocol: str, numbers: Span) -> str:
    return "{0}/{1}".format(protocol, ",".join(str(PortRange(low, high)) for low, high in numbers))


def _addresses(numbers: Span) -> str:
    if numbers == _EVERY_ADDRESS:
        return "every address"
    named, others = _networks(numbers), _networks(less(_EVERY_ADDRESS, numbers))
    return "every address but {0}".format(_list(others)) if len(others) < len(named) else _list(named)


def _networks(numbers: Span) -> List[str]:
    found = []  # type: List[Network]
    for low, high in numbers:
        if low < _FIRST_IPV6:
            last = min(high, _FIRST_IPV6 - 1)
            found += ipaddress.summarize_address_range(ipaddress.IPv4Address(low), ipaddress.IPv4Address(last))
        if high >= _FIRST_IPV6:
            first, last = max(low, _FIRST_IPV6) - _FIRST_IPV6, high - _FIRST_IPV6
            found += ipaddress.summarize_address_range(ipaddress.IPv6Address(first), ipaddress.IPv6Address(last))
    return [address_text(network) for network in found]


def _range(network: Network) -> Tuple[int, int]:
    offset = 0 if network.version == 4 else _FIRST_IPV6
    return int(network.network_address) + offset, int(network.broadcast_address) + offset


def _numbered(names: Iterable[str]) -> Dict[str, int]:
    return {name: number for number, name in enumerate(sorted(set(names)))}


def _named(numbered: Dict[str, int], numbers: Span) -> Optional[List[str]]:
    """The names of these numbers; None if they stand for others too."""
    if numbers and numbers[-1][1] == len(numbered):
        return None
    return [name for name, number in sorted(numbered.items()) if any(low <= number <= high for low, high in numbers)]


def _list(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (" and {0} more".format(len(names) - _NAMED) if names[_NAMED:] else "")
