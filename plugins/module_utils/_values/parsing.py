# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flows, peer labels and names out of what a user or a file says."""

import re
from typing import Any, Iterable, Mapping, Optional, Sequence, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.fields import (
    EVERY_DOMAIN,
    parse_confined,
    parse_domains,
    parse_interfaces,
    parse_networks,
    parse_new_type,
    parse_ports,
    parse_units,
    parse_users,
)
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import (
    ENFORCE,
    MODES,
    PROTOCOLS,
    VERIFY,
    VERIFY_NONE,
    Flow,
    FlowSet,
    PeerLabel,
    flow_set,
)

_PEER_LABEL = "peer label"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")
_TOKEN = re.compile(r"[a-z0-9]{1,32}")


def parse_flow_set(raw: Mapping[str, Any]) -> FlowSet:
    """A set from :meth:`FlowSet.as_dict`.

    :raises SenetError: a part is missing or malformed, or two flows claim one packet.
    """
    confine = raw.get("confine") or {}
    modes = ((domain, _choice(domain, "mode", confine[domain], MODES)) for domain in parse_confined(confine))
    types = (parse_new_type("an interface", name) for name in raw.get("interface_types") or ())
    flows = flow_set((parse_flow(flow) for flow in raw["flows"]), modes).with_interface_types(types)
    labels = (parse_peer_label(label) for label in raw.get("peers") or ())
    return flows.with_peers(labels, parse_loopback_domains(raw.get("loopback_domains")))


def parse_flow(raw: Mapping[str, Any]) -> Flow:
    """A flow from the module's options (keys as in :meth:`Flow.as_dict`).

    :raises SenetError: a part is missing or malformed.
    """
    name = parse_name(raw.get("name"))
    return Flow(
        name,
        parse_domains(name, "source", raw.get("source")),
        parse_domains(name, "destination", raw.get("destination")),
        _choice(name, "protocol", raw.get("protocol") or "tcp", PROTOCOLS),
        parse_ports(name, raw.get("ports")),
        _choice(name, "mode", raw.get("mode") or ENFORCE, MODES),
        parse_networks(name, "source_addresses", raw.get("source_addresses")),
        parse_networks(name, "destination_addresses", raw.get("destination_addresses")),
        parse_interfaces(name, raw.get("interfaces")),
        parse_users(name, raw.get("users")),
        parse_units(name, raw.get("units")),
        _choice(name, "verify_source", raw.get("verify_source") or VERIFY_NONE, VERIFY),
    )


def parse_peer_label(raw: Mapping[str, Any]) -> PeerLabel:
    """A peer label from the module's options (keys as in :meth:`PeerLabel.as_dict`).

    :raises SenetError: a part is missing or malformed.
    """
    name = parse_peer_type(raw.get("type"))
    addresses = parse_networks(name, "addresses", raw.get("addresses"), _PEER_LABEL)
    if not addresses:
        raise SenetError(
            "The peer label '{0}' has no addresses; list at least one address or network, such as 192.0.2.0/24.".format(
                name
            )
        )
    receivers, interface = raw.get("receivers"), raw.get("interface_type")
    domains = parse_domains(name, "receivers", receivers, _PEER_LABEL) if receivers else ()
    interface_type = parse_domains(name, "interface_type", [interface], _PEER_LABEL)[0] if interface else ""
    return PeerLabel(name, addresses, () if EVERY_DOMAIN in domains else domains, interface_type)


def parse_peer_type(name: Any) -> str:
    """The type of a peer label, which our policy module declares.

    :raises SenetError: it is not the name of a type that can be created.
    """
    return parse_new_type("a peer label", name)


def parse_loopback_domains(raw: Optional[Iterable[Any]]) -> Tuple[str, ...]:
    """The domains whose packets carry their own label over IPv4 loopback, sorted and unique.

    :raises SenetError: one is not the name of a type, or stands for every domain.
    """
    domains = parse_domains("loopback", "domain", raw, _PEER_LABEL) if raw else ()
    if EVERY_DOMAIN in domains:
        raise SenetError(
            "The loopback domain '{0}' stands for every domain, and each domain's packets are labelled by a mapping of "
            "its own; name the domains one by one.".format(EVERY_DOMAIN)
        )
    return domains


def parse_name(name: Any) -> str:
    """A flow's name, which becomes part of its packet types.

    :raises SenetError: it is not a lower-case identifier of at most 31 characters.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise SenetError(
            "The flow name {0!r} cannot become part of a type name; use a lower-case letter, then up to 30 "
            "lower-case letters, digits or '_'.".format(name)
        )
    return name


def parse_token(token: str) -> str:
    """The name of a change.

    :raises SenetError: it is not of lower-case letters and digits.
    """
    if not _TOKEN.fullmatch(token):
        raise SenetError(
            "The token {0!r} cannot name a change; use 1 to 32 lower-case letters and digits.".format(token)
        )
    return token


def _choice(flow: str, option: str, value: str, choices: Sequence[str]) -> str:
    if value not in choices:
        raise SenetError(
            "The flow '{0}' has the {1} '{2}'; use one of {3}.".format(flow, option, value, ", ".join(choices))
        )
    return value
