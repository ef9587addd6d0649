# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The watch's figures for a monitoring system. No trouble with them is to keep the watch from its work."""

import time
from itertools import islice
from typing import Callable, Optional, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._change import observation
from ansible_collections.senet.firewall.plugins.module_utils._change.load import Standing
from ansible_collections.senet.firewall.plugins.module_utils._compile.prometheus import compile_metrics
from ansible_collections.senet.firewall.plugins.module_utils._decisions.measures import (
    Look,
    Refusals,
    enforced_flows,
    metrics,
)
from ansible_collections.senet.firewall.plugins.module_utils._host.follow import Follower
from ansible_collections.senet.firewall.plugins.module_utils._host.host import Host
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError

# A look reads so many records, some seconds' work, and leaves the rest to the next one
LINES = 50000


class Measures:
    """Counts while the watch runs, and writes what it sees where the host's record names a directory."""

    def __init__(self, host: Host, say: Callable[[str], None]) -> None:
        self.repairs = 0
        self._host = host
        self._say = say
        self._told = None  # type: Optional[str]
        self._follower = None  # type: Optional[Follower]
        self._refusals = Refusals()

    def write(self, standing: Optional[Standing], foreign: bool) -> None:
        """Write what a look showed: what is in force, None while a change waits, and whether somebody else labels
        packets. The same trouble is told once."""
        try:
            self._write(standing, foreign)
            self._told = None
        except (SenetError, OSError) as exc:
            if str(exc) != self._told:
                self._told = str(exc)
                self._say("{0} Enforcement goes on without metrics.".format(exc))

    def _write(self, standing: Optional[Standing], foreign: bool) -> None:
        host = self._host
        intent = observation.stored_intent(host)
        if intent is None or intent.metrics_directory is None:
            if self._follower is not None:
                self._follower.close()
                self._follower = None
            return
        if self._follower is None:
            self._follower = Follower()
        self._refusals.follow(intent)
        for line in islice(self._follower.lines(), LINES):
            self._refusals.take(line)
        selinux = host.selinux.status()
        enforced = None  # type: Optional[Tuple[str, ...]]
        if standing is not None:
            enforced = enforced_flows(intent, selinux, standing.lacking, foreign) if standing.complete else ()
        look = Look(
            intent,
            selinux,
            standing is None,
            enforced,
            self.repairs,
            self._refusals.counts if self._follower.readable and not intent.labelled.empty else None,
            self._refusals.gaps + self._follower.gaps,
            time.time(),
        )
        host.metrics.write(intent.metrics_directory, compile_metrics(metrics(look)))
        # A run that names another directory meanwhile removes the file before or after this
        now = observation.stored_intent(host)
        if now is None or now.metrics_directory != intent.metrics_directory:
            host.metrics.remove(intent.metrics_directory)
