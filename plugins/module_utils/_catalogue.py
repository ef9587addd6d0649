# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The service pairs that have a role: their domains, protocol, ports and units. Data, and its one look-up."""

from typing import Any, Dict, Mapping, NamedTuple, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._model import SenetError


class Pair(NamedTuple):
    """A client service and a server service. ``units`` are systemd units per distribution family (os_family)."""

    source: Tuple[str, ...]
    destination: Tuple[str, ...]
    protocol: str
    ports: Tuple[str, ...]
    units: Mapping[str, Tuple[str, ...]]


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
