#!/usr/bin/python
# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: flows
short_description: Say which SELinux domains may talk to which, and make the kernel enforce it
version_added: 0.1.0
description:
  - A flow is one permitted conversation, from source domains to destination domains on ports of a protocol.
    Nobody else, not even root or another program of the same user, can then reach that port on this host.
  - Each flow becomes rules that label packets (SECMARK, of iptables and ip6tables or of nftables, in chains or a table
    of their own) and an SELinux policy module that lets only the flow's domains send and receive packets with these
    labels. SELinux then refuses all other domains.
  - Packets of no flow get a label of their own, which every domain may use except those in O(confine), so that nothing
    else on the host is cut.
  - Before anything is written, the change is refused if it would cut off C(sshd_t), the connection that Ansible uses,
    or a server that uses a flow's port and that the flow does not name. Other connections that it cuts are in RV(cut).
    Afterwards the host is read back and the kernel is asked what each running domain may do; a change that did not take
    effect is undone.
  - A change of any size runs C(semodule) once, which rebuilds the host's policy and takes some seconds. The change runs
    it twice if a flow gets other domains and also other ports, addresses or interfaces, or if a domain becomes confined
    and gets a flow. If flows that had addresses get other ones, and nothing else changes, it does not run it.
  - No port that is enforced before and after a change is open while it is made, and no domain that may use it before
    and after is cut.
  - The change is guarded. A timer on the host undoes it unless it is confirmed over a new connection, which this
    module's action plugin opens once the change is in force. A host that can no longer be reached comes back in its
    previous state. The task then fails with RV(rolled_back=true); Ansible does not count the host as unreachable.
  - The last 10 sets of flows that confirmed changes have replaced stay in C(/etc/senet/history), and O(state=reverted)
    goes back to one of them.
  - A confirmed change is made permanent in C(/etc/senet/flows.json). C(senet-firewall.service) loads the labels at boot
    before the network is up, and C(senet-firewall-watch.service) puts them back when another program empties the
    tables. Without systemd there is neither, and a warning says so.
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
  flows:
    description:
      - The flows. An empty list is an error.
      - O(state=present) needs this option, O(confine), O(backend), O(layers) or O(metrics_directory). Without this
        option and O(confine), the flows that the host has get the given backend, layers or directory.
      - With O(state=absent) only their names count. If neither this option nor O(confine) is given, every flow is
        removed, and a warning names each; O(backend), O(layers) and O(metrics_directory) are then errors. What
        M(senet.firewall.peer_label) and M(senet.firewall.interface_context) made stays.
      - With O(state=reverted) this option, O(confine), O(purge), O(mode), O(layers) and O(backend) are errors, since
        the earlier set determines all of them.
    type: list
    elements: dict
    suboptions:
      name:
        description:
          - The flow's name, which becomes part of its packet types; a lower-case letter, then up to 30 lower-case
            letters, digits or C(_).
          - Required unless O(flows[].pair) is given, whose name is then the default.
        type: str
      pair:
        description:
          - A service pair of the collection's catalogue, such as V(httpd_to_postgresql), that fills in what is not
            given here. The pairs have the names of the collection's roles.
          - A pair of two protocols, such as V(domain_to_named), is two flows, whose names end in C(_tcp) and C(_udp);
            O(flows[].protocol) picks one of them.
        type: str
      source:
        description:
          - The domains that may connect. Required unless O(flows[].pair) is given.
          - V(domain), the policy's attribute of all domains, stands for every domain, as for a name server that
            everybody uses.
        type: list
        elements: str
      destination:
        description: The domains that may answer. Required unless O(flows[].pair) is given.
        type: list
        elements: str
      protocol:
        description: The transport protocol. V(tcp) unless O(flows[].pair) says otherwise.
        type: str
        choices: [tcp, udp, sctp, dccp]
      ports:
        description:
          - The ports on which the destination listens, each a number or a range such as V(8000-8010). Required unless
            O(flows[].pair) is given.
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
          - The server's addresses or networks, of either family, if the flow is limited to these. The same ports on
            other addresses are not affected.
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
          - Without this option and O(flows[].units), they are those of O(flows[].pair), else those that the host's flow
            of this name has already, else those of the processes that run in the source domains now.
        type: list
        elements: str
      units:
        description:
          - The systemd units that the client's processes run in, such as V(apache2.service), for the layer V(owner) of
            O(layers). A process outside of them is refused, even one of the right user.
          - Each is a service, a slice or a scope. A service gets a drop-in that loads the rules again when it starts,
            since it then has a new control group.
          - Needs control groups of version 2.
        type: list
        elements: str
      verify_source:
        description:
          - What the server's host verifies about its clients by peer labels (NetLabel), in addition to the packet
            labels. V(none) if it is not given.
          - With V(loopback), the destination domains receive from peers of this host only if these are in the source
            domains, whatever label their packets carry. It works over C(127.0.0.0/8). Peers of this host that use
            C(::1) or its other addresses are refused, since IPv6 carries no domain. Other hosts are not affected.
          - With V(address), the destination domains receive from other hosts only if these have one of
            O(flows[].source_addresses).
          - With V(ipsec), the destination domains receive from other hosts only by labelled IPsec, and only if the
            association carries the context of a source domain. The policy lets each domain of the flow use associations
            of its own context. IPsec is set up by the role C(labelled_ipsec), or by the administrator with policies of
            the type C(senet_ipsec_spd_t). This host's own clients are not affected.
          - Peer labels apply to all ports of a domain. The destination domains then receive from the peers of all their
            flows, as servers and as clients, and from nobody else.
          - Any value but V(none) turns on peer checks for the whole host. The collection's policy module permits every
            other domain to receive from every peer.
          - It needs the command C(netlabelctl) on the host. If something else has configured NetLabel there, the change
            is refused.
        type: str
        choices: [none, loopback, address, ipsec]
      mode:
        description: The mode of this flow. If it is not given, O(mode) applies.
        type: str
        choices: [enforce, observe]
  state:
    description:
      - Whether the flows are to be present or absent, or the host is to go back to the flows that it had before.
      - V(reverted) undoes the last confirmed change of flows, also one that removed them all. It is a change like any
        other, with the same checks and the guard. Flows that the earlier set does not have are removed; they are in
        RV(removed), and a warning names each. Flows and domains that are enforced now and were only observed then are
        in RV(opened).
      - Run twice, V(reverted) changes nothing the second time. To go further back, or forward again, give O(revert_to).
      - V(reverted) is an error if the host had no other flows before. What M(senet.firewall.peer_label) and
        M(senet.firewall.interface_context) made stays as it is.
    type: str
    choices: [present, absent, reverted]
    default: present
  revert_to:
    description:
      - The moment to whose flows O(state=reverted) goes back, as a time such as V(2026-11-21T14:30), in UTC unless it
        has an offset, or a span before now, such as V(30m), V(2h) or V(1d). It is a moment of the host's clock.
      - RV(senet.firewall.flows_info#module:history) lists the sets of flows with their times. To go back to one of
        them, give the time at which it was confirmed.
      - A host whose flows have not changed since that moment is left as it is. A moment that the host's history does
        not cover any more is an error.
    type: str
  purge:
    description:
      - Whether O(state=present) removes the flows that are not in O(flows), which is then the host's whole set. Their
        ports are then open to everybody unless another flow covers them. The flows are in RV(removed), and a warning
        names each.
      - Without it, the listed flows are added or changed, and those of other names are left as they are.
      - A flow is changed as a whole, so the ports, addresses and so on that it had and that are not given again are
        gone. RV(opened) has what that opens.
      - Use it where one task lists all flows of a host, so that a flow that you remove from the list is removed from
        the host too. No other task, and no role of a pair, may then set flows on that host.
    type: bool
    default: false
  confine:
    description:
      - Domains that may use their flows and nothing else, neither as client nor as server, not even on loopback or to
        ask a name server. A flow that names V(domain), which stands for every domain, is one of their flows too.
      - RV(cut) and a warning list the sockets that their running processes have and would lose, listening ones
        included. The change is not refused for them, unless it would cut off C(sshd_t) or the connection that Ansible
        uses.
      - With O(purge) these are all the confined domains of the host, and a warning names each that is no longer
        confined; without it they are added. With O(state=absent), they are no longer confined.
      - An empty list is an error.
    type: list
    elements: str
  confirm:
    description:
      - Who confirms the change. With V(auto), this task does, over a new connection and after the health checks.
      - With V(manual), this task makes the same checks and leaves the change unconfirmed, so that later tasks can test
        from other hosts whether all still works. M(senet.firewall.guard) then confirms or undoes the change, which
        RV(guard.token) names.
      - The host undoes the change after O(confirm_timeout) unless it was confirmed by then, whatever becomes of the
        play. Until then every other change on the host is refused.
      - V(manual) with O(confirm_timeout=0) is an error.
    type: str
    choices: [auto, manual]
    default: auto
  metrics_directory:
    description:
      - A directory of the host in which C(senet-firewall-watch.service) keeps the file C(senet_firewall.prom), for the
        textfile collector of Prometheus' node exporter. V(none) turns that off and removes the file.
      - An absolute path. The directory must exist, must not be a symbolic link, and must belong to root, and nobody
        else may be able to write there.
      - Without this option the setting stays as it is. The file is removed with the host's last flow.
    type: str
  mode:
    description:
      - With V(enforce), only the flow's domains can use its ports.
      - The mode applies to the domains in O(confine) too.
      - With V(observe), nobody is refused, and the kernel logs everybody who would be, as C(avc:\ \ granted) for the
        flow's packet types. Of a busy connection few packets are logged, the first ones among them. A flow that the
        host enforced before is then open to everybody.
    type: str
    choices: [enforce, observe]
    default: enforce
seealso:
  - module: senet.firewall.flows_info
  - module: senet.firewall.guard
  - module: senet.firewall.enforcement_info
  - module: senet.firewall.process_context_info
author:
  - senet.firewall contributors (@senet)
"""

EXAMPLES = r"""
- name: Only Apache may reach PostgreSQL, and only PostgreSQL may answer
  senet.firewall.flows:
    flows:
      - name: web_db
        source: [httpd_t]
        destination: [postgresql_t]
        ports: [5432]

- name: Have two flows of the catalogue, and remove all others of this host
  senet.firewall.flows:
    flows:
      - pair: httpd_to_postgresql
      - pair: httpd_to_redis
    purge: true

- name: See for a while who would be refused, refusing nobody
  senet.firewall.flows:
    flows:
      - pair: httpd_to_postgresql
    mode: observe

- name: Confirm only if the site still answers
  senet.firewall.flows:
    flows:
      - pair: httpd_to_postgresql
    health_checks: ["www.example.com:443"]
    health_commands: [curl --fail --silent --output /dev/null http://localhost/]

- name: Make a change that the next tasks confirm
  senet.firewall.flows:
    flows:
      - pair: httpd_to_postgresql
    confirm: manual
    confirm_timeout: 120
  register: change

- name: Have the client of the pair ask for a page that needs the database
  ansible.builtin.uri:
    url: http://localhost/health
  delegate_to: web1.example.com

- name: Confirm the change; if the page did not come, the play ends before this, and the host undoes the change
  senet.firewall.guard:
    token: "{{ change.guard.token }}"
    state: confirmed
  when: change.guard is defined

- name: Check Apache's user and unit as well as its domain
  senet.firewall.flows:
    flows:
      - pair: httpd_to_postgresql
    layers: [selinux, owner]

- name: Limit a flow to one of several programs in a domain, by its user and its unit
  senet.firewall.flows:
    flows:
      - name: reports
        source: [httpd_t]
        destination: [postgresql_t]
        ports: [5433]
        users: [reports]
        units: [reports.service]
    layers: [selinux, owner]

- name: Only these clients, and only through this interface
  senet.firewall.flows:
    flows:
      - pair: httpd_to_postgresql
        source_addresses: [192.0.2.10, "2001:db8::/64"]
        interfaces: [eth0]

- name: Apache may talk to PostgreSQL, be talked to on its own ports, and do nothing else
  senet.firewall.flows:
    flows:
      - pair: httpd_to_postgresql
      - name: web
        source: [domain]
        destination: [httpd_t]
        ports: [80, 443]
    confine: [httpd_t]

- name: Have the watch write metrics where Debian's node exporter reads them
  senet.firewall.flows:
    flows:
      - pair: httpd_to_postgresql
    metrics_directory: /var/lib/prometheus/node-exporter

- name: Remove one flow
  senet.firewall.flows:
    flows:
      - name: reports
    state: absent

- name: Remove all flows, the rules and the policy module
  senet.firewall.flows:
    state: absent

- name: Undo the last confirmed change, in this case bring all flows back
  senet.firewall.flows:
    state: reverted

- name: Go back to the flows that were in force at a time
  senet.firewall.flows:
    state: reverted
    revert_to: 2026-11-21T14:30+01:00
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
    everybody unless another flow covers them. A warning names those that the task did not name.
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
      description: What the domain may do with packets of clients whose address is not among
        O(flows[].source_addresses).
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
    - The peers from which each destination of a flow with O(flows[].verify_source) may receive, as the kernel answers.
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
    confirm_by:
      description: The seconds, counted from the end of this task, after which the host undoes the change unless
        M(senet.firewall.guard) has confirmed it.
      returned: when O(confirm=manual) and the change waits
      type: int
      sample: 117
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
    modules.flows(AnsibleModule(supports_check_mode=True, **options.FLOWS), this_host)


if __name__ == "__main__":
    main()
