# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The service pairs that have a role: their domains, protocol, ports and units. Data, and its one look-up."""

from typing import Any, Dict, Iterable, Mapping, NamedTuple, Optional, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._layers import Owners
from ansible_collections.senet.firewall.plugins.module_utils._model import SenetError


class Pair(NamedTuple):
    """A client service and a server service. By distribution family (os_family), ``units`` are their systemd units and
    ``users`` those that the client's processes run as."""

    source: Tuple[str, ...]
    destination: Tuple[str, ...]
    protocol: str
    ports: Tuple[str, ...]
    units: Mapping[str, Tuple[str, ...]]
    users: Mapping[str, Tuple[str, ...]]


PAIRS = {
    # Domains: apache_domtrans, postgresql_domtrans in refpolicy's services/apache.if and services/postgresql.if, the
    # same in Fedora's. Port: postgresql_port_t in corenetwork.te. Units: the packages httpd, apache2, postgresql-server
    # and postgresql-common.
    "httpd_to_postgresql": Pair(
        source=("httpd_t",),
        destination=("postgresql_t",),
        protocol="tcp",
        ports=("5432",),
        units={
            "RedHat": ("httpd.service", "postgresql.service"),
            "Debian": ("apache2.service", "postgresql.service"),
        },
        # User= or APACHE_RUN_USER; root's process only accepts
        users={"RedHat": ("apache",), "Debian": ("www-data",)},
    ),
}


def resolve(raw: Mapping[str, Any]) -> Dict[str, Any]:
    """A flow's options with what its ``pair`` knows in place of what is not given; the pair also names the flow.

    :raises SenetError: there is no such pair.
    """
    given = {key: value for key, value in raw.items() if key != "pair" and value}
    name = raw.get("pair")
    if not name:
        return given
    if name not in PAIRS:
        raise SenetError(
            "The pair '{0}' is not in the catalogue; use one of {1}, or give source, destination and ports.".format(
                name, ", ".join(sorted(PAIRS))
            )
        )
    pair = PAIRS[name]
    known = {
        "name": name,
        "source": pair.source,
        "destination": pair.destination,
        "protocol": pair.protocol,
        "ports": pair.ports,
    }  # type: Dict[str, Any]
    known.update(given)
    return known


def owners(flows: Iterable[Mapping[str, Any]], family: Optional[str]) -> Dict[str, Owners]:
    """By name of the flow, the users and units of its client as the catalogue knows them on a distribution family, for
    the layer owner; on a family that is not known, those of all."""
    found = {}
    for raw in flows:
        pair = PAIRS.get(raw.get("pair") or "")
        if pair is not None:
            families = [family] if family is not None and family in pair.users else sorted(pair.users)
            users = {user for one in families for user in pair.users[one]}
            units = {pair.units[one][0] for one in families}
            found[str(raw.get("name") or raw["pair"])] = Owners(tuple(sorted(users)), tuple(sorted(units)))
    return found
