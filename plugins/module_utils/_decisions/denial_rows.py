# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Groups of the kernel's records as a module returns them. No I/O."""

from typing import Any, Dict, FrozenSet, Iterable, List, Sequence, Set, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._decisions.advice import Advice, Known
from ansible_collections.senet.firewall.plugins.module_utils._decisions.denials import EACH, Collector, Group
from ansible_collections.senet.firewall.plugins.module_utils._decisions.flow_advice import advise_flow
from ansible_collections.senet.firewall.plugins.module_utils._decisions.peer_advice import advise_peer
from ansible_collections.senet.firewall.plugins.module_utils._values.moments import moment_text
from ansible_collections.senet.firewall.plugins.module_utils._values.processes import Process


def advise(group: Group, known: Known) -> List[Advice]:
    """What to do about a group, in the order in which to do it."""
    return [advise_peer(group, known)] if group.key.what[0] else advise_flow(group, known)


def rows(collector: Collector, known: Known, processes: Sequence[Process]) -> List[Dict[str, Any]]:
    """The groups as the module returns them."""
    running = _running(processes)
    return [_row(group, known, running.get(group.key.who, ())) for group in collector.groups]


def listeners(processes: Iterable[Process]) -> Dict[Tuple[str, int], FrozenSet[str]]:
    """The domains that listen on each protocol and port."""
    found = {}  # type: Dict[Tuple[str, int], Set[str]]
    for process in processes:
        own = process.context.type if process.context is not None else None
        for sock in process.listening:
            domain = sock.domain or own
            if domain:
                found.setdefault((sock.protocol, sock.local_port), set()).add(domain)
    return {place: frozenset(domains) for place, domains in found.items()}


def _running(processes: Iterable[Process]) -> Dict[str, List[Dict[str, Any]]]:
    """Who runs in each domain now: user, unit and command, each combination once."""
    found = {}  # type: Dict[str, Set[Tuple[str, str, str]]]
    for process in processes:
        if process.context is not None and process.context.type:
            who = (process.user or str(process.uid), process.unit or "", process.command)
            found.setdefault(process.context.type, set()).add(who)
    return {
        domain: [
            {"user": user, "unit": unit or None, "command": command} for user, unit, command in sorted(each)[:EACH]
        ]
        for domain, each in found.items()
    }


def _row(group: Group, known: Known, running: Sequence[Dict[str, Any]]) -> Dict[str, Any]:
    key = group.key
    flow = {flow.name: flow for flow in known.flows.flows}.get(key.flow)
    protocols = [flow.protocol] if flow is not None else sorted(group.protocols)
    return {
        "verdict": key.verdict,
        "domain": None if key.owner else key.who,
        "users": sorted(known.users.get(uid, str(uid)) for uid in group.uids),
        "flow": key.flow or None,
        "side": key.side,
        "direction": "out" if key.outward else "in",
        "protocol": protocols[0] if len(protocols) == 1 else None,
        "port": key.port,
        "clients": sorted(group.clients),
        "servers": sorted(group.servers),
        "interfaces": sorted(group.interfaces),
        "classes": sorted(group.classes),
        "permissions": sorted(group.permissions),
        "types": sorted(group.types),
        "count": group.count,
        "first": moment_text(group.first),
        "last": moment_text(group.last),
        "processes": [{"pid": pid, "command": command} for pid, command in sorted(group.processes)],
        "processes_reliable": bool(group.processes) and group.reliable,
        "running": list(running),
        "advice": [advice.as_dict() for advice in advise(group, known)],
    }
