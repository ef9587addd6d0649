# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
name: flows_for_host
short_description: Make the flows of one host from one definition for the whole fleet
version_added: 0.1.0
description:
  - A flow of the fleet names its clients and its servers. This filter returns the flows of one host, for
    O(senet.firewall.flows#module:flows).
  - A client's flow has the servers' addresses as C(destination_addresses), and a server's flow the clients' as
    C(source_addresses). A host on both sides has one flow, with the clients' addresses and those of loopback as
    C(source_addresses). A host on neither side does not have the flow.
  - Adjacent addresses become the fewest prefixes that have exactly these addresses, so that a large group need not be a
    large flow. The same inventory gives the same result, whatever the order of its hosts.
  - A name that stands for no host is an error, such as a group that is missing or has no hosts.
author:
  - senet.firewall contributors (@senet)
positional: host, groups, hostvars
extends_documentation_fragment:
  - senet.firewall.fleet
options:
  _input:
    description:
      - The flows of the fleet. Each has C(clients) and C(servers), and the options that
        O(senet.firewall.flows#module:flows) takes except its two options of addresses.
      - Each of the two is a group, a host of the inventory, an address or a network, or a list of these. An address
        does not make a host a client or a server, even if it is an address of that host.
    type: list
    elements: dict
    required: true
  variable:
    description:
      - The variable that has a host's address, or a list of all its addresses, of either family. List all addresses of
        a server, since on its clients the ports of other addresses stay open.
      - For a host without C(ansible_host), its name in the inventory is used.
    type: str
    default: ansible_host
  facts:
    description: Whether to take the addresses from the facts of each host, without those of loopback and link-local
      ones.
    type: bool
    default: false
  resolve:
    description: Whether a host's address may be a name, which the controller then resolves. Without this, a name is an
      error.
    type: bool
    default: false
seealso:
  - module: senet.firewall.flows
"""

EXAMPLES = r"""
# group_vars/all.yml:
# senet_flows:
#   - {name: web_db, pair: httpd_to_postgresql, clients: webservers, servers: databases}
- name: Put this host's flows in place
  senet.firewall.flows:
    flows: "{{ senet_flows | senet.firewall.flows_for_host(inventory_hostname, groups, hostvars) }}"

- name: The same by a variable that lists all addresses of a host
  senet.firewall.flows:
    flows: "{{ senet_flows | senet.firewall.flows_for_host(inventory_hostname, groups, hostvars, variable='all_ips') }}"
"""

RETURN = r"""
_value:
  description: The flows of the host. Empty if it is on no side of any.
  type: list
  elements: dict
  sample:
    - name: web_db
      pair: httpd_to_postgresql
      destination_addresses: [192.0.2.20, "2001:db8::20"]
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError


def flows_for_host(
    flows: Any,
    host: str,
    groups: Mapping[str, Any],
    hostvars: Mapping[str, Any],
    variable: str = "ansible_host",
    facts: bool = False,
    resolve: bool = False,
) -> list[dict[str, Any]]:
    """The flows of one host out of those of the fleet; AnsibleFilterError says what is wrong with them."""
    # Here, since Ansible imports every filter file of the collection to find one filter by its name
    from ansible_collections.senet.firewall.plugins.plugin_utils._host_addresses import host_addresses
    from ansible_collections.senet.firewall.plugins.plugin_utils._host_flows import host_flows

    try:
        return host_flows(flows, host, groups, host_addresses(hostvars, variable, facts, resolve))
    except SenetError as error:
        raise AnsibleFilterError(f"flows_for_host: {error}") from error


class FilterModule:
    """The filter of this file, by its name."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"flows_for_host": flows_for_host}
