# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks the names in a request against the host: domains, types, interfaces, users and units. It writes nothing."""

from typing import Iterable, Optional

from ansible_collections.senet.firewall.plugins.module_utils._compile import cil
from ansible_collections.senet.firewall.plugins.module_utils._host.host import Host
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.fields import parse_new_type
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import Flow, FlowSet
from ansible_collections.senet.firewall.plugins.module_utils._values.interface import IfContext, altered_types
from ansible_collections.senet.firewall.plugins.module_utils._values.requests import Alter

DISABLED = (
    "SELinux is disabled on this host, so peers and interfaces have no types; enable it in /etc/selinux/config and on "
    "the kernel command line, and reboot."
)


def interface_request(host: Host, interface: str, context: Optional[IfContext], create_type: bool) -> Alter:
    """Ask for an interface's context, None for what the policy says of it; ``create_type`` declares its type where that
    is missing, and takes away the created types that are of no use any longer.

    :raises SenetError: the loaded policy does not know the context.
    """
    if host.selinux.status() == "disabled":
        raise SenetError(DISABLED)
    new = context is not None and _is_new(host, interface, context, create_type)
    given = host.store.interface_contexts()
    return Alter(
        lambda current: altered_types(current, given, interface, context, new, create_type),
        interfaces={interface: None if context is None else str(context)},
    )


def _is_new(host: Host, interface: str, context: IfContext, create_type: bool) -> bool:
    """Whether the type of a context is missing in the loaded policy, and may be created."""
    if host.selinux.canonical(str(context)) is not None:
        return False
    said = "The context '{0}' of the interface '{1}' is not valid in the loaded policy".format(context, interface)
    known = host.selinux.initial("netif").split(":")[2]
    if host.selinux.canonical(str(context._replace(type=known))) is None:
        raise SenetError("{0}, which has no level '{1}'; name a level that it has.".format(said, context.level))
    if not create_type:
        raise SenetError(
            "{0}, which has no type '{1}'; name a type that it has, or have it created with create_type=true.".format(
                said, context.type
            )
        )
    parse_new_type("the interface '{0}'".format(interface), context.type)
    return True


def check_owners(host: Host, asked: Iterable[Flow]) -> None:
    """Hold the users and units that a request names against the host.

    :raises SenetError: a user or a unit is unknown, or units cannot be matched.
    """
    for flow in asked:
        for user in flow.users:
            if host.accounts.uid(user) is None:
                raise SenetError(
                    "The user '{0}' of the flow '{1}' is not on this host; check the name with 'getent passwd {0}', or "
                    "give the uid.".format(user, flow.name)
                )
        if flow.units and not host.accounts.matches_cgroups():
            raise SenetError(
                "The units of the flow '{0}' cannot be checked on this host, whose control groups are not those of "
                "version 2 alone; leave units out, or boot with systemd.unified_cgroup_hierarchy=1.".format(flow.name)
            )
        for unit in host.accounts.unknown_units(flow.units):
            raise SenetError(
                "The unit '{0}' of the flow '{1}' is not known to systemd on this host; check the name with 'systemctl "
                "status {0}'.".format(unit, flow.name)
            )


def resolve_domains(host: Host, flows: FlowSet) -> FlowSet:
    """The flows with each domain as the loaded policy spells it: an alias becomes the type it stands for.

    :raises SenetError: a type is not in the loaded policy, or no domain.
    """
    names = {}
    users = dict.fromkeys(flows.loopback_domains, "loopback_domains")
    for label in flows.peers:
        users.update(dict.fromkeys(label.receivers, "the peer label '{0}'".format(label.type)))
    users.update((domain, "confine") for domain, dummy in flows.confine)
    users.update((domain, "the flow '{0}'".format(flow.name)) for flow in flows.flows for domain in flow.domains)
    for domain in flows.domains:
        user = users[domain]
        context = host.selinux.canonical(host.selinux.context(domain))
        if context is None:
            raise SenetError(
                "The domain '{0}' of {1} is not in the loaded policy; check the spelling with "
                "process_context_info, or install the policy module that declares it.".format(domain, user)
            )
        # Every domain may fork, and nothing else is ever the object of a process permission (domain.te).
        if "fork" not in host.selinux.access(context, context, "process").allowed:
            raise SenetError(
                "The type '{0}' of {1} is not a domain, so no process runs in it; name the type that "
                "process_context_info shows for the program.".format(domain, user)
            )
        names[domain] = context.split(":")[2]
    return flows._replace(
        flows=tuple(
            flow._replace(
                source=tuple(sorted({names.get(domain, domain) for domain in flow.source})),
                destination=tuple(sorted({names.get(domain, domain) for domain in flow.destination})),
            )
            for flow in flows.flows
        ),
        confine=tuple(sorted({names[domain]: mode for domain, mode in flows.confine}.items())),
        peers=tuple(
            label._replace(receivers=tuple(sorted({names[domain] for domain in label.receivers})))
            for label in flows.peers
        ),
        loopback_domains=tuple(sorted({names[domain] for domain in flows.loopback_domains})),
    )


def check_types(host: Host, flows: FlowSet, policy: Optional[str]) -> None:
    """Hold the types that peer labels declare, and those of interfaces that they name, against the loaded policy;
    ``policy`` is our module's text.

    :raises SenetError: the policy has one of the former already, or has not one of the latter.
    """
    own = cil.declared_types(policy)
    for label in flows.peers:
        if label.type in flows.interface_types or (
            label.type not in own and host.selinux.canonical(host.selinux.context(label.type)) is not None
        ):
            raise SenetError(
                "The type '{0}' of a peer label is in the loaded policy already, where other rules may use it; choose "
                "another name, and the label declares that type for your own policy.".format(label.type)
            )
        place = label.interface_type
        if place and host.selinux.canonical(host.selinux.context(place)) is None:
            raise SenetError(
                "The interface_type '{0}' of the peer label '{1}' is not in the loaded policy; give an interface that "
                "type first, with interface_context and create_type=true.".format(place, label.type)
            )
