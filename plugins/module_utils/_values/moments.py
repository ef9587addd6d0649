# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Moments that a user names, as seconds since 1970. No I/O."""

import re
from datetime import datetime, timedelta, timezone
from typing import Optional

from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError

_SPAN = re.compile(r"([0-9]{1,6})(s|m|h|d)", re.ASCII)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:[T ]([0-9]{2}:[0-9]{2})(:[0-9]{2})?(?:\.[0-9]+)?)?"
    r"(Z|([+-])([0-9]{2}):?([0-9]{2}))?",
    re.ASCII,
)


def parse_moment(option: str, text: Optional[str], now: float) -> Optional[float]:
    """A time of ISO 8601, in UTC unless it says otherwise, or a span before now, such as 30m, 2h or 1d.

    :raises SenetError: it is neither.
    """
    if text is None:
        return None
    span = _SPAN.fullmatch(text)
    if span:
        return now - int(span.group(1)) * _UNITS[span.group(2)]
    found = _TIME.fullmatch(text)
    try:
        if found is None:
            raise ValueError(text)
        moment = datetime.strptime(
            "{0} {1}{2}".format(found.group(1), found.group(2) or "00:00", found.group(3) or ":00"), "%Y-%m-%d %H:%M:%S"
        )
    except ValueError:
        raise SenetError(
            "The option {0} is {1!r}, which is not a time; write a time such as 2026-11-21T14:30 (UTC) or "
            "2026-11-21T14:30+01:00, or a span before now such as 30m, 2h or 1d.".format(option, text)
        ) from None
    sign, hours, minutes = found.group(5), found.group(6), found.group(7)
    away = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    shifted = moment + away if sign == "-" else moment - away
    return shifted.replace(tzinfo=timezone.utc).timestamp()


def moment_text(seconds: float) -> str:
    """A moment as ISO 8601 has it, in UTC, to the second."""
    return datetime.fromtimestamp(int(seconds), timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
