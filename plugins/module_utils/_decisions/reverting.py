# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of a host's earlier sets of flows is gone back to. No I/O."""

from typing import Optional, Sequence, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.history import Entry
from ansible_collections.senet.firewall.plugins.module_utils._values.intent import Intent
from ansible_collections.senet.firewall.plugins.module_utils._values.moments import moment_text, parse_moment


def replaced_sets(entries: Sequence[Entry], current: Optional[Intent]) -> Tuple[Entry, ...]:
    """The entries, oldest first, less one that was written for a change which was undone after all: the host still has
    its set."""
    return tuple(entries[:-1] if entries and entries[-1].intent == current else entries)


def set_before(entries: Sequence[Entry], current: Optional[Intent]) -> Optional[Intent]:
    """The set that the last confirmed change replaced; that of now if this change went back itself.

    :raises SenetError: there is none.
    """
    entries = _some(entries, current)
    return current if entries[-1].reverted else entries[-1].intent


def set_at(
    entries: Sequence[Entry], current: Optional[Intent], text: str, now: float, whole: bool
) -> Optional[Intent]:
    """The set that was in force at a moment, given as :func:`parse_moment` takes it; ``now`` is the host's clock, and
    ``whole`` says that there was no entry before the first of these.

    :raises SenetError: it is not a moment of the past, or it is not known what was in force then.
    """
    asked = parse_moment("revert_to", text, now)
    # Nothing of ours is older than 1970, and a long span may end before the first year that there is
    moment = moment_text(now if asked is None else max(0.0, asked))
    entries = _some(entries, current)
    if moment > moment_text(now):
        raise SenetError(
            "The option revert_to is {0!r}, which is in the future: the clock of this host says {1}; give a time at "
            "which the flows that you want were in force.".format(text, moment_text(now))
        )
    times = [time for entry in entries for time in (entry.confirmed, entry.replaced) if time] + [moment_text(now)]
    if times != sorted(times):
        raise SenetError(
            "The times in /etc/senet/history are not in order, since the clock of this host was changed, so they do "
            "not say what was in force at {0}. Nothing was changed; leave revert_to out to undo the last change, or "
            "give the flows with state=present.".format(moment)
        )
    if moment >= entries[-1].replaced:
        return current
    for number, entry in enumerate(entries):
        # Before its first change a host had nothing of ours, as far as is known
        ever = whole and number == 0 and entry.intent is None
        begun = entry.confirmed or ("" if ever else entry.replaced)
        if begun <= moment < entry.replaced:
            return entry.intent
    raise SenetError(
        "No set of flows in /etc/senet/history was in force at {0}. Nothing was changed; give a time of those that "
        "the module flows_info returns in history.".format(moment)
    )


def _some(entries: Sequence[Entry], current: Optional[Intent]) -> Tuple[Entry, ...]:
    found = replaced_sets(entries, current)
    if not found:
        raise SenetError(
            "This host has no earlier set of flows to go back to, since /etc/senet/history has none. Nothing was "
            "changed; give the flows that you want with state=present."
        )
    return found
