# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the guard's timer does: a change that was not confirmed in time is undone."""

from contextlib import suppress
from typing import Any, Dict

from ansible_collections.senet.firewall.plugins.module_utils._change.confirm import abort, overdue
from ansible_collections.senet.firewall.plugins.module_utils._host.host import Host
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError

# A run that is over its time and alive gets this much more: semodule can take minutes on a host that is busy.
_ALIVE_SECONDS = 600


def expire(host: Host, token: str, reason: str) -> Dict[str, Any]:
    """Undo a pending change whose time is over; returns what became of it.

    A run that is still at work has the lock, which the kernel takes from a dead one: it is waited for. A whole change
    has a timer of its own for its confirmation, and is left to that until its time is over.

    :raises SenetError: there is no such change, or undoing it failed.
    """
    if _unfinished(host, token):
        with suppress(SenetError), host.guard.lock(_ALIVE_SECONDS):
            pass
    pending = host.guard.pending()
    if pending is not None and pending.token == token and pending.complete and not overdue(pending):
        return {"token": token, "rolled_back": False, "reason": ""}
    return abort(host, token, reason)


def _unfinished(host: Host, token: str) -> bool:
    pending = host.guard.pending()
    return pending is not None and pending.token == token and not pending.complete
