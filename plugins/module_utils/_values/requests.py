# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user can ask of a host."""

from typing import Callable, Mapping, NamedTuple, Optional, Tuple, Union

from ansible_collections.senet.firewall.plugins.module_utils._values.flows import Flow, FlowSet


class Replace(NamedTuple):
    """Ask for exactly these flows, and confined domains; none takes all flows off the host. ``reverts`` says that they
    are out of its history."""

    flows: FlowSet
    reverts: bool = False


class Merge(NamedTuple):
    """Ask for these flows and confined domains, leaving those of other names as they are."""

    flows: Tuple[Flow, ...]
    confine: Tuple[Tuple[str, str], ...] = ()


class Remove(NamedTuple):
    """Ask that the flows of these names be gone and these domains be free, leaving the others as they are."""

    names: Tuple[str, ...]
    confine: Tuple[str, ...] = ()


class Alter(NamedTuple):
    """Ask for what a function makes of all that is asked of the host now; ``peers`` says that it adds peer labels.
    ``interfaces`` are the contexts that interfaces shall have, None for that of every other."""

    change: Callable[[FlowSet], FlowSet]
    peers: bool = False
    interfaces: Mapping[str, Optional[str]] = {}


class Revert(NamedTuple):
    """Ask for flows that the host had before: at a moment, or if there is none, before the last confirmed change."""

    moment: Optional[str] = None


Request = Union[Replace, Merge, Remove, Alter]
Asked = Union[Request, Revert]


def asked_flows(request: Request) -> Tuple[Flow, ...]:
    """The flows that a request names in full. Those of the history had users and units that were looked up for them,
    and that this host need not have."""
    if isinstance(request, Replace):
        return () if request.reverts else request.flows.flows
    return request.flows if isinstance(request, Merge) else ()


def asks_peers(request: Request) -> bool:
    """Whether a request asks for peer labels."""
    if isinstance(request, Alter):
        return request.peers
    if isinstance(request, Replace):
        return request.flows.labels_peers
    return isinstance(request, Merge) and FlowSet(request.flows).labels_peers
