# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The directory that the watch writes metrics into: chosen by a change, and left when it changes."""

from contextlib import suppress
from typing import Optional

from ansible_collections.senet.firewall.plugins.module_utils._host.host import Host
from ansible_collections.senet.firewall.plugins.module_utils._host.service import INTENT_PATH
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.fields import NO_METRICS, parse_metrics_directory
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import FlowSet
from ansible_collections.senet.firewall.plugins.module_utils._values.intent import Intent, parse_intent
from ansible_collections.senet.firewall.plugins.module_utils._values.requests import Merge, Request


def choose(
    host: Host, asked: Optional[str], recorded: Optional[Intent], flows: FlowSet, request: Request
) -> Optional[str]:
    """The directory for a host that shall have these flows: what is asked for, else that of before.

    :raises SenetError: the watch cannot write there, or there will be no watch.
    """
    before = recorded.metrics_directory if recorded is not None else None
    if asked is None:
        return before
    if asked == NO_METRICS:
        return None
    directory = parse_metrics_directory(asked)
    if flows.empty:
        if isinstance(request, Merge):
            raise SenetError(
                "The metrics_directory {0} would stay empty: this host has no flows, and so no watch to write into it; "
                "give flows as well.".format(directory)
            )
        return None
    # Later trouble with it is the watch's to tell: no change of flows is to fail for it
    if directory != before:
        if not host.service.systemd:
            raise SenetError(
                "The metrics_directory {0} would stay empty: without systemd this host has no watch to write into it; "
                "leave the option out.".format(directory)
            )
        host.metrics.check(directory)
    return directory


def leave(host: Host, before: Optional[str], after: Optional[str]) -> None:
    """Remove the file of metrics where the text of flows.json no longer names its directory. Where that fails, its
    figures grow old, which alerts tell."""
    left = _directory(before)
    if left is not None and left != _directory(after):
        with suppress(SenetError):
            host.metrics.remove(left)


def _directory(text: Optional[str]) -> Optional[str]:
    with suppress(SenetError):
        return parse_intent(text, INTENT_PATH).metrics_directory if text is not None else None
    return None
