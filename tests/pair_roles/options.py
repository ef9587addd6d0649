# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The variables that each role of a pair has."""

from __future__ import annotations

from typing import Any, NamedTuple

from ansible_collections.senet.firewall.plugins.module_utils._values.fields import EVERY_DOMAIN
from ansible_collections.senet.firewall.plugins.module_utils._values.services import DEBIAN, REDHAT, Services

from .words import Told, boolean, common_domains, markdown


class Option(NamedTuple):
    """A variable without its prefix: its type and default, and what it is, for argument_specs.yml and for the README.

    Without a default it is left to the module; ``otherwise`` says what that then does, or ``without`` in words. What is
    ``shared`` is read from the variable of the whole collection first.
    """

    name: str
    type: str
    default: Any
    description: str
    told: str
    choices: tuple[str, ...] = ()
    otherwise: str = ""
    shared: bool = False
    without: str = ""

    def spec(self) -> dict[str, Any]:
        """As argument_specs.yml has it."""
        description = self.description
        if self.shared:
            otherwise = f", else V({self.otherwise})" if self.otherwise else ""
            description += f" If not given, C(senet_firewall_{self.name}) counts{otherwise}."
        elements = {"elements": "str"} if self.type == "list" else {}
        choices = {"choices": list(self.choices)} if self.choices else {}
        default = {"default": self.default} if self.default is not None else {}
        return {"description": description, "type": self.type, **elements, **choices, **default}


def options(told: Told) -> list[Option]:
    """The variables of a pair's role, in the order of its files."""
    return [
        Option(
            "state",
            "str",
            "present",
            "Whether the flow is to be present or absent.",
            "`absent` removes the flow, and leaves others as they are",
            ("present", "absent"),
        ),
        Option(
            "mode",
            "str",
            None,
            "With V(observe), nobody is refused and everybody who would be is logged.",
            "`observe` refuses nobody and logs who would be",
            ("enforce", "observe"),
            otherwise="enforce",
            shared=True,
        ),
        *_who_and_where(told),
        Option(
            "verify_source",
            "str",
            None,
            "What the server's host verifies about its clients by peer labels, as in M(senet.firewall.flows).",
            "or `loopback`, `address`, `ipsec`, see [docs/peer-labels.md](../../docs/peer-labels.md)",
            ("none", "loopback", "address", "ipsec"),
            otherwise="none",
        ),
        Option(
            "layers",
            "list",
            None,
            "What enforces the flow, as in M(senet.firewall.flows).",
            "`selinux`, `owner`, or both, see [docs/owner.md](../../docs/owner.md)",
            ("auto", "selinux", "owner"),
            otherwise="auto",
            shared=True,
        ),
        Option(
            "backend",
            "str",
            None,
            "What puts labels on packets, as in M(senet.firewall.flows).",
            "or `iptables`, `nftables`",
            ("auto", "iptables", "nftables"),
            otherwise="auto",
            shared=True,
        ),
        Option(
            "confirm_timeout",
            "int",
            None,
            "Seconds after which the host undoes a change that was not confirmed; V(0) turns the guard off.",
            "seconds until an unconfirmed change is undone",
            otherwise="30",
            shared=True,
        ),
        Option(
            "health_checks",
            "list",
            None,
            "What the controller must be able to connect to before it confirms, each as C(HOST:PORT).",
            "`HOST:PORT`s that the controller must reach before it confirms",
            shared=True,
        ),
        Option(
            "health_commands",
            "list",
            None,
            "Shell commands that must succeed on the host before the change is confirmed.",
            "commands that must succeed on the host before it confirms",
            shared=True,
        ),
        *_beside(told),
    ]


def _who_and_where(told: Told) -> list[Option]:
    pair = told.pair
    several = len(pair.protocols) > 1
    protocols = " and ".join(protocol.upper() for protocol in pair.protocols)
    unless = "Required unless the flow is to be removed."
    needed = dict.fromkeys(pair.needs, (f" {unless}", "**required**"))
    source, no_source = needed.get("source_addresses", ("", "every address"))
    destination, no_destination = needed.get("destination_addresses", ("", "every address"))
    return [
        Option(
            "flow_name",
            "str",
            told.name,
            ("The name of the flows, to which C(_tcp) and C(_udp) are added." if several else "The name of the flow.")
            + " A flow that the host has by this name is replaced as a whole.",
            ("the flows' name, to which `_tcp` and `_udp` are added" if several else "the flow's name")
            + "; a second flow of the pair on a host needs another",
        ),
        _domains("source", "connect", pair.client, "the clients' domains"),
        _domains("destination", "answer", pair.server, "the server's domains"),
        Option(
            "ports",
            "list",
            list(pair.ports),
            f"The {protocols} ports on which the server listens, each a number or a range such as V(8000-8010).",
            "where the server listens",
        ),
        Option(
            "source_addresses",
            "list",
            None,
            f"The clients' addresses or networks, any if not given. A client of another address is refused.{source}",
            "the clients' addresses and networks; clients with others are refused",
            without=no_source,
        ),
        Option(
            "destination_addresses",
            "list",
            None,
            f"The server's addresses or networks, if the flow is limited to these.{destination}",
            "the server's addresses; on others the flow does not apply, and the ports stay open",
            without=no_destination,
        ),
        Option(
            "interfaces",
            "list",
            None,
            "The network interfaces, if the flow is limited to these.",
            "the interfaces; on others the flow does not apply, and the ports stay open",
            without="every interface",
        ),
        Option(
            "users",
            "list",
            None,
            "Login names or uids of the client's processes, for the layer owner. If neither these nor units are given, "
            "those of the catalogue.",
            "the clients' users, for the layer owner",
            without="the pair's, unless units are given",
        ),
        Option(
            "units",
            "list",
            None,
            "Systemd units of the client's processes, for the layer owner. If neither these nor users are given, those "
            "of the catalogue.",
            "the clients' units, for the layer owner",
            without="the pair's, unless users are given",
        ),
    ]


def _beside(told: Told) -> list[Option]:
    """What the policy checks beside packets."""
    wanted, port_type = boolean(told.pair), told.pair.port_type
    it_is = f"It is {wanted}, and stays on when the flow is removed." if wanted else "This pair needs none."
    types = f"It is C({port_type}), and stays when the flow is removed." if port_type else "This pair needs none."
    return [
        Option(
            "booleans",
            "bool",
            False,
            f"Whether to turn on the boolean that the policy requires for the connect. {it_is} Needs the collection "
            "ansible.posix.",
            "`true` turns on the boolean that the policy requires for the connect",
        ),
        Option(
            "port_contexts",
            "bool",
            False,
            f"Whether to give the ports the type that the policy requires for the server's. {types} Needs the "
            "collection community.general.",
            "`true` gives the ports the type that the policy requires",
        ),
    ]


def _domains(side: str, verb: str, services: Services, told: str) -> Option:
    common = common_domains(services)
    debian, redhat = (" and ".join(f"C({name})" for name in services[each].domains) for each in (DEBIAN, REDHAT))
    families = "" if common else f"{redhat} on the RHEL family, {debian} on the Debian family"
    description = f"The domains that may {verb}."
    if EVERY_DOMAIN in common:
        description += " V(domain) stands for every domain."
    elif families:
        description += f" If not given, {families}."
    return Option(side, "list", common or None, description, told, without=markdown(families))
