# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A set of flows that a host had before, as the text of a file in /etc/senet/history, and back. No I/O."""

import json
import re
from typing import NamedTuple, Optional

from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import FlowSet
from ansible_collections.senet.firewall.plugins.module_utils._values.intent import (
    Intent,
    intent_content,
    parse_content,
)

_FORMAT = 1
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z", re.ASCII)


class Entry(NamedTuple):
    """A confirmed set of flows that another one has replaced; ``intent`` is None for a host without flows.

    It was in force from ``confirmed``, None if that is not known, to ``replaced``. Both are ISO 8601 in UTC to the
    second, so their order as texts is that of time. ``reverted`` says that it was replaced by going back.
    """

    intent: Optional[Intent]
    confirmed: Optional[str]
    replaced: str
    reverted: bool


def flows_alone(intent: Optional[Intent]) -> Optional[Intent]:
    """What the module flows has of an intent, which is what it goes back to; None where that is nothing."""
    if intent is None or not intent.flows.labels_packets:
        return None
    return intent._replace(flows=FlowSet(()).with_the_flows_of(intent.flows), metrics_directory=None)


def compile_entry(entry: Entry) -> str:
    """The file's text (ASCII, the same bytes for the same entry)."""
    content = {
        "format": _FORMAT,
        "confirmed": entry.confirmed,
        "replaced": entry.replaced,
        "reverted": entry.reverted,
        "set": None if entry.intent is None else intent_content(entry.intent),
    }
    return json.dumps(content, sort_keys=True, indent=1) + "\n"


def parse_entry(text: str, path: str) -> Entry:
    """The entry in a file's text; the path is for the error.

    :raises SenetError: the text is not what :func:`compile_entry` writes.
    """
    try:
        content = json.loads(text)
        if content["format"] != _FORMAT:
            raise SenetError(
                "The file {0} has the format {1!r}, which another version of the collection has written; use that "
                "version, or remove the file to do without this earlier set of flows.".format(path, content["format"])
            )
    except (ValueError, TypeError, KeyError) as exc:
        raise _damaged(path, exc) from exc
    try:
        times = [content["replaced"]] if content["confirmed"] is None else [content["confirmed"], content["replaced"]]
        if not all(_TIME.fullmatch(time) for time in times):
            raise ValueError("times {0}".format(times))
        if not isinstance(content["reverted"], bool):
            raise ValueError("reverted {0}".format(content["reverted"]))
        intent = None if content["set"] is None else parse_content(content["set"])
        if intent != flows_alone(intent):
            raise ValueError("more than flows, or none")
        return Entry(intent, content["confirmed"], content["replaced"], content["reverted"])
    except (ValueError, TypeError, KeyError, AttributeError, SenetError) as exc:
        raise _damaged(path, exc) from exc


def _damaged(path: str, exc: Exception) -> SenetError:
    return SenetError(
        "The file {0} is damaged ({1}: {2}), so it does not say which flows this host had before; remove it to do "
        "without this earlier set of flows.".format(path, type(exc).__name__, exc)
    )
