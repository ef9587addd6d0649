# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The layers that can enforce flows: SELinux by domains, and the layer owner by users and units."""

from typing import NamedTuple, Sequence, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._values.flows import FlowSet

AUTO = "auto"
SELINUX = "selinux"
OWNER = "owner"
LAYERS = (SELINUX, OWNER)
CHOICES = (AUTO,) + LAYERS


class Owners(NamedTuple):
    """Users and systemd units that are the clients of a flow."""

    users: Tuple[str, ...]
    units: Tuple[str, ...]


def labelled(flows: FlowSet, layers: Sequence[str]) -> FlowSet:
    """What SELinux enforces: the flows if it is one of their layers, and in any case labels of peers and types."""
    return flows if SELINUX in layers else flows._replace(flows=(), confine=())


def without_types(flows: FlowSet) -> FlowSet:
    """What is left of a set where SELinux is disabled."""
    return flows._replace(interface_types=(), peers=(), loopback_domains=())
