# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
name: ipsec_connections
short_description: Make one host's connections of labelled IPsec from the flows of the fleet
version_added: 0.1.0
description:
  - The role C(labelled_ipsec) uses it. Each flow of the fleet with C(verify_source=ipsec) becomes a connection of
    libreswan for each of its ports and each pair of addresses of this host and of a host on the other side.
  - A host on neither side of any of these flows gets no connection.
  - An address of this host itself, and one of its loopback, stand for no other host.
  - A flow with a port of SSH is an error, and so is a network as a side of such a flow.
author:
  - senet.firewall contributors (@senet)
positional: host, groups, hostvars
extends_documentation_fragment:
  - senet.firewall.fleet
options:
  _input:
    description: The flows of the fleet, as P(senet.firewall.flows_for_host#filter) takes them.
    type: list
    elements: dict
    required: true
  variable:
    description: The variable that has a host's address, or a list of all its addresses, of either family.
    type: str
    default: ansible_host
  certificate:
    description: The nickname of the host's certificate in libreswan's database. Without one the hosts share a key.
    type: str
  version:
    description: A text that changes with the certificate. The names of the connections change with it, so that
      libreswan is given them anew, with the new certificate.
    type: str
    default: ""
  ssh_ports:
    description: The ports that no connection may have.
    type: list
    elements: int
    default: [22]
seealso:
  - plugin: senet.firewall.flows_for_host
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Show which connections of labelled IPsec this host has
  ansible.builtin.debug:
    msg: "{{ senet_flows | senet.firewall.ipsec_connections(inventory_hostname, groups, hostvars) }}"
"""

RETURN = r"""
_value:
  description: The connections of the host, sorted.
  type: list
  elements: dict
  contains:
    name:
      description: The name that libreswan lists. It changes with the content of the connection.
      type: str
      sample: senet-web_db-3f9a1c0e5b7d2a64
    title:
      description: The flow, its two ends and its port.
      type: str
      sample: "web_db: 192.0.2.10 -> 192.0.2.20, tcp 5432"
    local:
      description: The address of this host.
      type: str
      sample: 192.0.2.10
    remote:
      description: The address of the other host.
      type: str
      sample: 192.0.2.20
    options:
      description: The lines of the connection, each a key and a value.
      type: list
      elements: list
      sample: [[left, 192.0.2.10], [right, 192.0.2.20]]
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any, Optional

from ansible.errors import AnsibleFilterError

from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError


def ipsec_connections(
    flows: Any,
    host: str,
    groups: Mapping[str, Any],
    hostvars: Mapping[str, Any],
    variable: str = "ansible_host",
    certificate: Optional[str] = None,
    version: str = "",
    ssh_ports: Collection[int] = (22,),
) -> list[dict[str, Any]]:
    """The connections of one host out of the flows of the fleet; AnsibleFilterError says what is wrong with them."""
    # Here, since Ansible imports every filter file of the collection to find one filter by its name
    from ansible_collections.senet.firewall.plugins.plugin_utils._host_addresses import host_addresses
    from ansible_collections.senet.firewall.plugins.plugin_utils._ipsec_connections import (
        connection_name,
        host_connections,
        options,
    )

    try:
        addresses = host_addresses(hostvars, variable)
        found = host_connections(flows, host, groups, addresses, {int(port) for port in ssh_ports})
    except SenetError as error:
        raise AnsibleFilterError(f"ipsec_connections: {error}") from error
    return [
        {
            "name": connection_name(one, certificate, version),
            "title": one.title,
            "local": one.local,
            "remote": one.remote,
            "options": [list(pair) for pair in options(one, certificate)],
        }
        for one in found
    ]


class FilterModule:
    """The filter of this file, by its name."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"ipsec_connections": ipsec_connections}
