# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a change of flows opens that stay: their ports, addresses, interfaces, verify_source and mode. No I/O.

A connection is a point of a space with a dimension each for ports, the server's address, the interface, the client's
address, the client's domain and the server's. A flow is a box in it.
"""

from typing import Any, Dict, Iterable, List, NamedTuple, Optional, Sequence, Set, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._decisions import opened_text
from ansible_collections.senet.firewall.plugins.module_utils._decisions.opened_text import Space
from ansible_collections.senet.firewall.plugins.module_utils._values.fields import EVERY_DOMAIN
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import (
    ENFORCE,
    OBSERVE,
    VERIFY_ADDRESS,
    VERIFY_IPSEC,
    VERIFY_LOOPBACK,
    VERIFY_NONE,
    Flow,
    FlowSet,
)
from ansible_collections.senet.firewall.plugins.module_utils._values.regions import (
    Box,
    Span,
    boxes_common,
    boxes_less,
    common,
    less,
    span,
)

# Ports that are looked up together
_BLOCK = 64
_PLACE = ("protocol", "ports", "destination_addresses", "interfaces")
# What each verify_source checks of clients
_CHECKS = {
    VERIFY_NONE: (),
    VERIFY_LOOPBACK: (VERIFY_LOOPBACK,),
    VERIFY_ADDRESS: (VERIFY_ADDRESS,),
    VERIFY_IPSEC: (VERIFY_ADDRESS, VERIFY_IPSEC),
}  # type: Dict[str, Tuple[str, ...]]


class Opened(NamedTuple):
    """A flow, or a domain that was confined, with the options by which it permits what it refused, and a sentence."""

    flow: Optional[str]
    domain: Optional[str]
    options: Tuple[str, ...]
    message: str

    def as_dict(self) -> Dict[str, Any]:
        return dict(self._asdict(), options=list(self.options))


def opened(before: FlowSet, after: FlowSet, owners: bool = False) -> Tuple[Opened, ...]:
    """What is refused with the flows of before and permitted with those of after, by flows that are in both.

    Not what another enforced flow refuses still, and not the domains, users and units that a flow names in addition.
    ``owners`` says that the layer owner checks users and units before and after.
    """
    kept = {flow.name: flow for flow in after.flows}
    changes = [
        (flow if owners else _limits(flow), kept[flow.name] if owners else _limits(kept[flow.name]))
        for flow in before.flows
        if flow.name in kept
    ]
    changes = [(old, new) for old, new in changes if old != new]
    olds, news = (_Ports(flows.flows if changes else ()) for flows in (before, after))
    found = [
        one
        for old, new in changes
        for one in _of_flow(old, new, olds.shared_with(old, new), news.shared_with(old, new), after)
    ]
    found += [
        Opened(None, domain, ("verify_source",), opened_text.of_same_host(domain))
        for domain in _same_host_unchecked(before, after, [old for old, dummy in changes])
    ]
    modes = dict(after.confine)
    for domain, mode in before.confine:
        if mode == ENFORCE and modes.get(domain) != ENFORCE:
            option = "mode" if domain in modes else "confine"
            found.append(Opened(None, domain, (option,), opened_text.of_domain(domain, domain in modes)))
    return tuple(found)


def _limits(flow: Flow) -> Flow:
    """A flow less what the layer owner checks."""
    return flow._replace(users=(), units=())


class _Ports:
    """Flows by their protocols and ports, since a set may have very many of them."""

    def __init__(self, flows: Iterable[Flow]) -> None:
        self._flows = {}  # type: Dict[Tuple[str, int], List[Flow]]
        for flow in flows:
            for block in self._blocks(flow):
                self._flows.setdefault(block, []).append(flow)

    def shared_with(self, *flows: Flow) -> List[Flow]:
        """The flows that can have ports in common with these, by name."""
        blocks = {block for flow in flows for block in self._blocks(flow)}
        found = {flow.name: flow for block in blocks for flow in self._flows.get(block, ())}
        return [found[name] for name in sorted(found)]

    @staticmethod
    def _blocks(flow: Flow) -> Set[Tuple[str, int]]:
        return {
            (flow.protocol, block)
            for ports in flow.ports
            for block in range(ports.low // _BLOCK, ports.high // _BLOCK + 1)
        }


def _of_flow(old: Flow, new: Flow, olds: List[Flow], news: List[Flow], after: FlowSet) -> List[Opened]:
    space = Space(olds + news)
    everybody = _possible(space, _open_to_everybody(space, old, new, olds, news)) if old.mode == ENFORCE else []
    clients = _possible(space, boxes_less(_open_to_clients(space, old, new, olds), everybody))
    checks, left = _unchecked(old, new, after), _left_unchecked(old, new, after)
    owners = _owners_unchecked(old, new)
    if not (everybody or clients or checks or left or owners):
        return []
    options = _changed(old, new, ("mode",) if new.mode == OBSERVE else _PLACE) if everybody else []
    options += [option for option in _wider(space, old, new) if option not in options] if clients else []
    options += ["verify_source"] if checks else []
    cause = "mode" if new.mode == OBSERVE else "destination"
    options += [cause] if left and cause not in options else []
    options += owners
    parts = [opened_text.of_everybody(space, old.protocol, box) for box in everybody]
    of_clients = opened_text.of_everybody if new.mode == OBSERVE else opened_text.of_clients
    parts += [of_clients(space, new.protocol, box) for box in clients]
    parts += [opened_text.of_check(check) for check in checks]
    parts += [opened_text.of_check_for(check, domains) for check, domains in left]
    parts += ["the {0} of its clients are not checked".format(option) for option in owners]
    moved = bool(everybody) and new.mode == ENFORCE and (old.protocol, old.ports) != (new.protocol, new.ports)
    return [Opened(old.name, None, tuple(options), opened_text.of_flow(new, parts, moved))]


def _open_to_everybody(space: Space, old: Flow, new: Flow, olds: Sequence[Flow], news: Sequence[Flow]) -> List[Box]:
    """What an enforced flow refused, and no flow refuses anybody now."""
    others = [flow for flow in olds if flow.name != old.name and flow.protocol == old.protocol]
    held = [flow for flow in news if flow.mode == ENFORCE and flow.protocol == old.protocol]
    mine = boxes_less([_place(space, old)], [_clients(space, flow) for flow in others])
    rest = boxes_less(mine, [_clients(space, flow) for flow in held])
    found = boxes_less(rest, [_place(space, flow) for flow in held])
    if new.mode == OBSERVE and new.protocol == old.protocol:
        # Whom one flow of a place has among its clients, the others do not refuse
        found += boxes_common(boxes_less(rest, found), [_clients(space, new)])
    return found


def _open_to_clients(space: Space, old: Flow, new: Flow, olds: Sequence[Flow]) -> List[Box]:
    """What a flow permits its clients now, and an enforced flow refused them."""
    here = [flow for flow in olds if flow.protocol == new.protocol]
    box = _clients(space, new)
    if new.mode == ENFORCE:
        box = box[:4] + (_domains(space, old.source, new.source), _domains(space, old.destination, new.destination))
    if not all(box):
        return []
    refused = boxes_common([box], [_place(space, flow) for flow in here if flow.mode == ENFORCE])
    return boxes_less(refused, [_permitted(space, flow) for flow in here])


def _permitted(space: Space, flow: Flow) -> Box:
    """What a flow permits to those at its clients' addresses."""
    box = _clients(space, flow)
    if flow.mode == OBSERVE:
        return box
    return box[:4] + (space.domains(flow.source), space.domains(flow.destination))


def _domains(space: Space, old: Sequence[str], new: Sequence[str]) -> Span:
    """The domains of a flow less those that it names in addition."""
    return space.every_domain if EVERY_DOMAIN in new else common(space.domains(old), space.domains(new))


def _changed(old: Flow, new: Flow, options: Iterable[str]) -> List[str]:
    return [option for option in options if getattr(old, option) != getattr(new, option)]


def _wider(space: Space, old: Flow, new: Flow) -> List[str]:
    """The options by which a flow has clients that it had not; its place and mode if it is by no other."""
    found = [
        side
        for side in ("source", "destination")
        if EVERY_DOMAIN in getattr(new, side) and EVERY_DOMAIN not in getattr(old, side)
    ]
    if less(space.addresses(new.source_addresses), space.addresses(old.source_addresses)):
        found.append("source_addresses")
    return found or _changed(old, new, _PLACE + ("mode",))


def _place(space: Space, flow: Flow) -> Box:
    """All connections of a flow's place, whoever the client is."""
    return (
        span((ports.low, ports.high) for ports in flow.ports),
        space.addresses(flow.destination_addresses),
        space.interfaces(flow.interfaces),
        space.every_address,
        space.every_domain,
        space.every_domain,
    )


def _clients(space: Space, flow: Flow) -> Box:
    """Those of the clients at the flow's addresses, in whatever domain."""
    place = _place(space, flow)
    return place[:3] + (space.addresses(flow.source_addresses),) + place[4:]


def _possible(space: Space, boxes: Iterable[Box]) -> List[Box]:
    """The boxes less those in which the ends of every connection are of two address families."""
    return [box for box in boxes if any(common(family, box[1]) and common(family, box[3]) for family in space.families)]


def _unchecked(old: Flow, new: Flow, after: FlowSet) -> List[str]:
    """What was checked of a flow's clients by peer labels, and is not any more."""
    if old.mode != ENFORCE or new.mode != ENFORCE:
        return []
    lost = [check for check in _CHECKS[old.verify_source] if check not in _CHECKS[new.verify_source]]
    return [check for check in lost if not all(_checks(after, domain, check) for domain in new.destination)]


def _owners_unchecked(old: Flow, new: Flow) -> List[str]:
    """The options by which the layer owner checked a flow's clients, and does not any more."""
    if old.mode != ENFORCE or new.mode != ENFORCE:
        return []
    return [option for option in ("users", "units") if getattr(old, option) and not getattr(new, option)]


def _left_unchecked(old: Flow, new: Flow, after: FlowSet) -> List[Tuple[str, Tuple[str, ...]]]:
    """The destinations that a flow does not name any more, or only observes, by what was checked of their clients on
    all ports and is not checked now."""
    if old.mode != ENFORCE:
        return []
    gone = [domain for domain in old.destination if new.mode == OBSERVE or domain not in new.destination]
    found = [
        (check, tuple(domain for domain in gone if not _checks(after, domain, check)))
        for check in _CHECKS[old.verify_source]
    ]
    return [(check, domains) for check, domains in found if domains]


def _same_host_unchecked(before: FlowSet, after: FlowSet, changed: Iterable[Flow]) -> List[str]:
    """The destinations whose clients on the same host were verified on behalf of other flows, or of loopback domains,
    and are not any more. A flow that did so itself tells of its own."""
    if not _verifies_loopback(before) or _verifies_loopback(after):
        return []
    told = {domain for flow in changed if flow.verify_source == VERIFY_LOOPBACK for domain in flow.destination}
    return sorted(_verified(before).intersection(_verified(after)) - told)


def _verifies_loopback(flows: FlowSet) -> bool:
    return any(flow.verify_source == VERIFY_LOOPBACK for flow in flows.flows) or bool(flows.loopback_domains)


def _verified(flows: FlowSet) -> Set[str]:
    held = (flow for flow in flows.flows if flow.verify_source != VERIFY_NONE and flow.mode == ENFORCE)
    return {domain for flow in held for domain in flow.destination}


def _checks(flows: FlowSet, domain: str, check: str) -> bool:
    """Whether a domain's clients are checked on behalf of any flow, since peer labels do not know flows."""
    verified = [flow for flow in flows.flows if flow.verify_source != VERIFY_NONE]
    mine = [flow for flow in verified if flow.mode == ENFORCE and domain in flow.destination]
    if check == VERIFY_LOOPBACK:
        return bool(mine) and _verifies_loopback(flows)
    return any(check in _CHECKS[flow.verify_source] for flow in mine)
