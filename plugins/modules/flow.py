#!/usr/bin/python
# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: flow
short_description: Add, change or remove one flow between SELinux domains
version_added: 0.1.0
description:
  - A flow is one permitted conversation, from source domains to destination domains on ports of a protocol.
    Nobody else, not even root or another program of the same user, can then reach that port on this host.
  - This module does what M(senet.firewall.flows) does, with the same checks and the same guard, for a single flow whose
    options an ad-hoc call can give. The host's other flows stay as they are.
  - A flow that the host has by this name is replaced as a whole, so the ports, addresses and so on that are not given
    again are gone. RV(opened) has what that opens.
extends_documentation_fragment:
  - senet.firewall.attributes
  - senet.firewall.change
  - senet.firewall.guarded
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
options:
  name:
    description:
      - The flow's name, which becomes part of its packet types; a lower-case letter, then up to 30 lower-case
        letters, digits or C(_).
      - Required unless O(pair) is given, whose name is then the default.
    type: str
  pair:
    description:
      - A service pair of the collection's catalogue, such as V(httpd_to_postgresql), that fills in what is not
        given here. The pairs have the names of the collection's roles.
      - A pair of two protocols, such as V(domain_to_named), is two flows, whose names end in C(_tcp) and C(_udp);
        O(protocol) picks one of them.
    type: str
  source:
    description:
      - The domains that may connect. Required unless O(pair) is given.
      - V(domain), the policy's attribute of all domains, stands for every domain, as for a name server that everybody
        uses.
    type: list
    elements: str
  destination:
    description: The domains that may answer. Required unless O(pair) is given.
    type: list
    elements: str
  protocol:
    description: The transport protocol. V(tcp) unless O(pair) says otherwise.
    type: str
    choices: [tcp, udp, sctp, dccp]
  ports:
    description:
      - The ports on which the destination listens, each a number or a range such as V(8000-8010). Required unless
        O(pair) is given.
      - It is the port that the server answers from, after any redirection (DNAT).
    type: list
    elements: str
  source_addresses:
    description:
      - The clients' addresses or networks, of either family. A client of any other address is refused, whatever its
        domain. All addresses are permitted if the option is not given.
      - It is the address that the client connects from, before any translation (SNAT).
    type: list
    elements: str
  destination_addresses:
    description:
      - The server's addresses or networks, of either family, if the flow is limited to these. The same ports on other
        addresses are not affected.
      - With addresses of one family only, the ports stay open over the other; a warning says so on a host that has
        both. Without the addresses of loopback, they stay open over loopback.
      - It is the address that the server answers from, after any redirection (DNAT).
    type: list
    elements: str
  interfaces:
    description:
      - The network interfaces, such as V(eth0) or V(lo), if the flow is limited to these. The same ports on other
        interfaces are not affected, and stay open.
      - A connection of a host to one of its own addresses goes through V(lo).
    type: list
    elements: str
  users:
    description:
      - The users that the client's processes run as, login names or uids, for the layer V(owner) of O(layers). A
        process of any other user is refused.
      - Without this option and O(units), they are those of O(pair), else those that the host's flow of this name
        has already, else those of the processes that run in the source domains now.
    type: list
    elements: str
  units:
    description:
      - The systemd units that the client's processes run in, such as V(apache2.service), for the layer V(owner) of
        O(layers). A process outside of them is refused, even one of the right user.
      - Each is a service, a slice or a scope. A service gets a drop-in that loads the rules again when it starts, since
        it then has a new control group.
      - Needs control groups of version 2.
    type: list
    elements: str
  verify_source:
    description:
      - What the server's host verifies about its clients by peer labels (NetLabel), in addition to the packet labels.
        V(none) if it is not given.
      - With V(loopback), the destination domains receive from peers of this host only if these are in the source
        domains, whatever label their packets carry. It works over C(127.0.0.0/8). Peers of this host that use C(::1) or
        its other addresses are refused, since IPv6 carries no domain. Other hosts are not affected.
      - With V(address), the destination domains receive from other hosts only if these have one of O(source_addresses).
      - With V(ipsec), the destination domains receive from other hosts only by labelled IPsec, and only if the
        association carries the context of a source domain. The policy lets each domain of the flow use associations of
        its own context. IPsec is set up by the role C(labelled_ipsec), or by the administrator with policies of the
        type C(senet_ipsec_spd_t). This host's own clients are not affected.
      - Peer labels apply to all ports of a domain. The destination domains then receive from the peers of all their
        flows, as servers and as clients, and from nobody else.
      - Any value but V(none) turns on peer checks for the whole host. The collection's policy module permits every
        other domain to receive from every peer.
      - It needs the command C(netlabelctl) on the host. If something else has configured NetLabel there, the change is
        refused.
    type: str
    choices: [none, loopback, address, ipsec]
  state:
    description: Whether the flow is to be present or absent. With V(absent) only its name counts.
    type: str
    choices: [present, absent]
    default: present
  mode:
    description:
      - With V(enforce), only the flow's domains can use its ports.
      - With V(observe), nobody is refused, and the kernel logs everybody who would be, as C(avc:\ \ granted) for the
        flow's packet types. A flow that the host enforced before is then open to everybody.
    type: str
    choices: [enforce, observe]
    default: enforce
seealso:
  - module: senet.firewall.flows
  - module: senet.firewall.guard
author:
  - senet.firewall contributors (@senet)
"""

EXAMPLES = r"""
# ansible db -b -m senet.firewall.flow -a 'name=web_db source=httpd_t destination=postgresql_t ports=5432'
- name: Only Apache may reach PostgreSQL, and only PostgreSQL may answer
  senet.firewall.flow:
    name: web_db
    source: httpd_t
    destination: postgresql_t
    ports: 5432

- name: The same flow on another port
  senet.firewall.flow:
    name: web_db
    source: httpd_t
    destination: postgresql_t
    ports: 5433

- name: A flow of the catalogue, for one client alone
  senet.firewall.flow:
    pair: httpd_to_postgresql
    source_addresses: 192.0.2.10

- name: Remove it
  senet.firewall.flow:
    name: web_db
    state: absent
"""

RETURN = r"""
flows:
  description: The host's whole set of flows, now or after the real run in check mode. Domains are named as the loaded
    policy names them.
  returned: success
  type: list
  elements: dict
  sample:
    - name: web_db
      source: [httpd_t]
      destination: [postgresql_t]
      protocol: tcp
      ports: ["5432"]
      mode: enforce
removed:
  description: The names of the flows that were removed, or in check mode would be. Their ports are then open to
    everybody unless another flow covers them.
  returned: success
  type: list
  elements: str
  sample: []
opened:
  description:
    - The flows that stay and permit what they refused before, or in check mode would, since the change takes ports,
      addresses, interfaces, C(verify_source) or the mode V(enforce) from them; and the domains that are no longer
      confined. A warning says each, unless O(state=absent) frees the domain.
    - A flow is listed as well if it no longer names a destination whose clients it verified, and no other flow
      verifies them. So is a destination by itself, if its clients on the same host were verified on behalf of another
      flow or of loopback domains, and no longer are.
    - What another enforced flow refuses is not listed, nor are domains that a flow names in addition. Flows that are
      gone are in RV(removed).
  returned: success
  type: list
  elements: dict
  contains:
    flow:
      description: The flow's name, null where it is a domain.
      returned: always
      type: str
      sample: web_db
    domain:
      description: The domain that was confined, or the destination. Null where it is a flow.
      returned: always
      type: str
      sample: null
    options:
      description: The options by which it is open, C(confine) where a domain is no longer confined.
      returned: always
      type: list
      elements: str
      sample: [ports]
    message:
      description: What is open, and to whom.
      returned: always
      type: str
      sample: "The change of the flow 'web_db' opens what was closed: tcp/5432 is open to everybody. If the earlier
        ports are meant as well, give these a flow of another name."
previous_flows:
  description:
    - The options with which M(senet.firewall.flows) brings back the flows and confined domains that the host had before
      the change, in place of those that it has now. C(state=absent) alone, if it had none.
    - Null if one task cannot ask for them, since the host had confined domains or a directory for metrics and no flow,
      or some domains confined in the mode V(enforce) and others in the mode V(observe). Null too if it is not known
      what the host had.
  returned: when something changed
  type: dict
  sample:
    flows:
      - name: web_db
        source: [httpd_t]
        destination: [postgresql_t]
        protocol: tcp
        ports: ["5432"]
        mode: enforce
    purge: true
    layers: [selinux]
    backend: iptables
steps:
  description: The steps that were taken, or in check mode would be, in order.
  returned: success
  type: list
  elements: str
  sample:
    - arm the guard, which undoes the change unless it is confirmed
    - install the policy module senet_firewall
    - ask the kernel for every running domain's access
    - restore the ipv4 rules
    - restore the ipv6 rules
    - read everything back and ask the kernel for the flows' access
    - wait for the confirmation over a new connection
    - make it permanent in /etc/senet
access:
  description:
    - For each flow, the domains to which the kernel grants anything, and what it grants. Domains of RV(asked) that are
      not listed for a flow may neither send nor receive its packets.
    - Empty in check mode when there is something to change, since the kernel does not know the packet types yet.
  returned: success
  type: list
  elements: dict
  contains:
    flow:
      description: The flow's name.
      returned: always
      type: str
      sample: web_db
    domain:
      description: The domain.
      returned: always
      type: str
      sample: httpd_t
    client:
      description: What the domain may do with the packets of the client's side.
      returned: always
      type: list
      elements: str
      sample: [recv, send]
    server:
      description: What the domain may do with the packets of the server's side.
      returned: always
      type: list
      elements: str
      sample: [recv]
    can_connect:
      description: Whether the domain can be a client of the flow. It cannot where RV(access[].refused_ports) has a
        port.
      returned: always
      type: bool
      sample: true
    can_serve:
      description: Whether the domain can be the server of the flow.
      returned: always
      type: bool
      sample: false
    refused:
      description: What the domain may do with packets of clients whose address is not among O(source_addresses).
      returned: when the flow has source addresses
      type: list
      elements: str
      sample: []
    refused_ports:
      description:
        - The TCP ports of the flow that the policy does not let the domain connect to, whatever the packets' labels
          (C(name_connect)). A boolean such as C(httpd_can_network_connect_db) often decides that.
        - Only the flow's source domains are checked, and only the first port of a range. Nothing is checked where
          Ansible's own domain may not create sockets of another domain.
      returned: when there are any
      type: list
      elements: int
      sample: [5432]
    permissive:
      description: Whether the policy declares the domain permissive, so that SELinux refuses it nothing.
      returned: always
      type: bool
      sample: false
asked:
  description: The domains that the kernel was asked about, all that run on the host and all that a flow names. Empty
    where RV(access) is empty.
  returned: success
  type: list
  elements: str
  sample: [httpd_t, init_t, kernel_t, postgresql_t, sshd_t, unconfined_t]
confined:
  description:
    - What the kernel grants each confined domain on packets of no flow.
    - Empty in check mode when there is something to change.
  returned: success
  type: list
  elements: dict
  contains:
    domain:
      description: The confined domain.
      returned: always
      type: str
      sample: httpd_t
    mode:
      description: Its mode. With V(observe) it is not confined, only logged.
      returned: always
      type: str
      sample: enforce
    elsewhere:
      description: What it may do with packets of no flow on this host. Empty where the confinement is enforced.
      returned: always
      type: list
      elements: str
      sample: []
    unlabelled:
      description: What it may do with packets without a label, as in network namespaces without these rules.
      returned: always
      type: list
      elements: str
      sample: []
peers:
  description:
    - The peers from which each destination of a flow with O(verify_source) may receive, as the kernel answers.
    - Empty in check mode when there is something to change.
  returned: success
  type: list
  elements: dict
  contains:
    domain:
      description: The destination domain.
      returned: always
      type: str
      sample: postgresql_t
    mode:
      description: Its mode. With V(observe) it receives from everybody, and the kernel logs those that V(enforce) would
        refuse.
      returned: always
      type: str
      sample: enforce
    receives:
      description:
        - The types of the peers it may receive from. A domain stands for a process of this host,
          C(senet_NAME_host_peer_t) for the addresses of the flow C(NAME), C(unlabeled_t) for every other host.
        - C(senet_loopback_peer_t) and C(senet_default_peer_t), which stand for everybody else on this host and
          elsewhere, are among them only where nothing is refused.
      returned: always
      type: list
      elements: str
      sample: [httpd_t, kernel_t, postgresql_t, unlabeled_t]
cut:
  description: The open connections that the change cuts, or in check mode would cut. Their domain is not named by the
    flow of their port, the client's address is not among the flow's, their domain is confined, or it is not a receiver
    of the peer label. A confined domain's listening sockets are in the list too.
  returned: success
  type: list
  elements: dict
  contains:
    domain:
      description: The domain that loses the connection.
      returned: always
      type: str
      sample: unconfined_t
    flow:
      description: The flow that the connection's port belongs to, null where the domain's confinement or a peer label
        cuts it.
      returned: always
      type: str
      sample: web_db
    label:
      description: The peer label of which the domain is not a receiver, null where a flow or a confinement cuts the
        connection.
      returned: always
      type: str
      sample: null
    pid:
      description: The process that holds the connection.
      returned: always
      type: int
      sample: 4711
    command:
      description: The name of that process.
      returned: always
      type: str
      sample: psql
    socket:
      description: The connection.
      returned: always
      type: str
      sample: tcp 127.0.0.1 port 40112 to 127.0.0.1 port 5432
    mode:
      description: The flow's mode. With V(observe) the connection is not cut, only logged.
      returned: always
      type: str
      sample: enforce
guard:
  description: The guarded change. M(senet.firewall.guard) confirms or undoes it by its token.
  returned: when the change was guarded
  type: dict
  contains:
    token:
      description: The name of the change.
      returned: always
      type: str
      sample: 4f0c9be21a77
    confirmed:
      description: Whether it was confirmed over a new connection.
      returned: always
      type: bool
      sample: true
rolled_back:
  description: Whether the host is back in its previous state because the change could not be confirmed.
  returned: when a guarded change failed
  type: bool
  sample: true
owners:
  description: For each flow, the users and units that the layer C(owner) permits as clients on this host. Empty without
    that layer.
  returned: success
  type: list
  elements: dict
  contains:
    flow:
      description: The flow's name.
      returned: always
      type: str
      sample: web_db
    users:
      description: The users that may open its connections. Any user may where the list is empty.
      returned: always
      type: list
      elements: str
      sample: [www-data]
    uids:
      description: Those of them that this host has, by their numbers.
      returned: always
      type: list
      elements: int
      sample: [33]
    units:
      description: The units that may open its connections. Any process of the users may where the list is empty.
      returned: always
      type: list
      elements: str
      sample: [apache2.service]
    running:
      description: Those of them that run now.
      returned: always
      type: list
      elements: str
      sample: [apache2.service]
layers:
  description: What enforces the flows.
  returned: success
  type: list
  elements: str
  sample: [selinux]
backend:
  description: What holds the rules.
  returned: success
  type: str
  sample: iptables
backend_reason:
  description: Why it is that backend.
  returned: success
  type: str
  sample: it was asked for
selinux:
  description: The mode of SELinux. In C(permissive) the layer C(selinux) enforces nothing, in C(disabled) that layer
    cannot be used.
  returned: success
  type: str
  sample: enforcing
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.senet.firewall.plugins.module_utils._agent.packed import this_host
from ansible_collections.senet.firewall.plugins.module_utils._change import modules
from ansible_collections.senet.firewall.plugins.module_utils._values import options


def main() -> None:
    modules.flow(AnsibleModule(supports_check_mode=True, **options.FLOW), this_host)


if __name__ == "__main__":
    main()
