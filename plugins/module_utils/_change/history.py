# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sets of flows that a host had before: they are kept when a change is confirmed, and gone back to."""

from contextlib import suppress
from typing import Any, Dict, List, Optional, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._change import observation
from ansible_collections.senet.firewall.plugins.module_utils._change.change import Options
from ansible_collections.senet.firewall.plugins.module_utils._decisions import plan, reverting
from ansible_collections.senet.firewall.plugins.module_utils._host.host import Host
from ansible_collections.senet.firewall.plugins.module_utils._host.service import INTENT_PATH
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import FlowSet
from ansible_collections.senet.firewall.plugins.module_utils._values.history import (
    Entry,
    compile_entry,
    flows_alone,
    parse_entry,
)
from ansible_collections.senet.firewall.plugins.module_utils._values.intent import Intent, parse_intent
from ansible_collections.senet.firewall.plugins.module_utils._values.moments import moment_text
from ansible_collections.senet.firewall.plugins.module_utils._values.requests import (
    Asked,
    Replace,
    Request,
    Revert,
)

KEPT = 10
FIRST = 1


def keep(host: Host, before: plan.Desired, after: plan.Desired, reverts: bool) -> None:
    """Put the set that a change replaces into the history. It comes before the record of the new one, so nothing ever
    gets in that was not confirmed; of a change that fails in between, the next one writes its file again.

    :raises SenetError: it cannot be written.
    """
    if before.intent is None and any(before.rules.values()):
        # Rules without a record do not say which flows they are for
        return
    try:
        old, new = _flows_of(before.intent), _flows_of(after.intent)
    except SenetError:  # nor does a damaged record
        return
    if old == new:
        return
    numbers = host.history.numbers()
    number, confirmed = FIRST, None  # type: int, Optional[str]
    if numbers:
        number = numbers[-1] + 1
        with suppress(SenetError):
            last = _read(host, numbers[-1])
            number, confirmed = (number - 1, last.confirmed) if last.intent == old else (number, last.replaced)
    host.history.write(number, compile_entry(Entry(old, confirmed, moment_text(host.history.clock()), reverts)))
    for surplus in sorted(set(numbers).union([number]))[:-KEPT]:
        with suppress(SenetError):  # one too many does no harm
            host.history.remove(surplus)


def resolved(host: Host, request: Asked, options: Options) -> Tuple[Request, Options]:
    """A request with an earlier set in place of going back to it, and the backend and the layers of that set.

    :raises SenetError: there is nothing to go back to, or a file of the history is damaged.
    """
    if not isinstance(request, Revert):
        return request, options
    numbers = host.history.numbers()
    entries = [_read(host, number) for number in numbers]
    current = flows_alone(observation.stored_intent(host))
    if request.moment is None:
        intent = reverting.set_before(entries, current)
    else:
        whole = numbers[:1] == [FIRST]
        intent = reverting.set_at(entries, current, request.moment, host.history.clock(), whole)
    if intent is None:
        return Replace(FlowSet(()), True), options
    return Replace(intent.flows, True), options._replace(backend=intent.backend, layers=intent.layers)


def refuse_unrecorded(recorded: Optional[Intent], observed: plan.HostState) -> None:
    """Without a record it is not known what is in force, and so not what going back takes away.

    :raises SenetError: there are rules of ours, and no record.
    """
    if recorded is None and any(table.rules for table in observed.tables.values()):
        raise SenetError(
            "The file {0} is missing, so it is not known which flows are in force on this host. Nothing was changed; "
            "give the whole set of flows with purge=true.".format(INTENT_PATH)
        )


def rows(host: Host, current: Optional[Intent]) -> Tuple[List[Dict[str, Any]], List[str]]:
    """The history in brief, newest first, and what is wrong with files of it.

    :raises SenetError: the directory cannot be read.
    """
    entries, problems = [], []  # type: List[Entry], List[str]
    for number in host.history.numbers():
        try:
            entries.append(_read(host, number))
        except SenetError as exc:
            problems.append(str(exc))
    found = reversed(reverting.replaced_sets(entries, flows_alone(current)))
    return [_row(entry) for entry in found], problems


def _row(entry: Entry) -> Dict[str, Any]:
    flows = entry.intent.flows if entry.intent is not None else FlowSet(())
    return {
        "confirmed": entry.confirmed,
        "replaced": entry.replaced,
        "reverted": entry.reverted,
        "flows": [flow.name for flow in flows.flows],
        "confine": [domain for domain, dummy in flows.confine],
    }


def _read(host: Host, number: int) -> Entry:
    return parse_entry(host.history.read(number) or "", host.history.path(number))


def _flows_of(text: Optional[str]) -> Optional[Intent]:
    return None if text is None else flows_alone(parse_intent(text, INTENT_PATH))
