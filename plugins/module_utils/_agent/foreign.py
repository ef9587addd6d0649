# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the watch tells of other programs that end enforcement: by labels of theirs, and by a table put to sleep."""

from typing import Callable, List

from ansible_collections.senet.firewall.plugins.module_utils._change import repair
from ansible_collections.senet.firewall.plugins.module_utils._host.guard import clock
from ansible_collections.senet.firewall.plugins.module_utils._host.host import Host

# Before a line of the journal that tells of an emergency: sd-daemon(3)
ALERT = "<1>"
# How often to look for labels of others where nothing tells of a change
_SECONDS = 300
_PACKETS = (
    "{0}Another rule labels packets too, and the last label wins, so flows may NOT be enforced: '{1}'. Remove it, and "
    "find out which program created it."
)
_PEERS = (
    "{0}Another program has configured NetLabel, so peers may have other labels, and may NOT be verified: "
    "'netlabelctl {1}'. Remove that entry, and find out which program created it."
)
_ASLEEP = (
    "{0}The table '{1}' is dormant, so that no packet meets a rule in it, and flows are NOT enforced. Wake it with "
    "'nft add table {1}', and find out which program put it to sleep."
)


class Foreign:
    """What of others ends enforcement and is not ours to take away: told once each."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._due = 0.0
        self._told = []  # type: List[str]

    @property
    def found(self) -> bool:
        """Whether there were any at the last look."""
        return bool(self._told)

    def expect(self) -> None:
        """Look the next time, since something has changed."""
        self._due = 0.0

    def due(self) -> bool:
        """Whether it is time to look."""
        return clock() >= self._due

    def look(self, host: Host) -> None:
        """Look if it is time."""
        if not self.due():
            return
        self._due = clock() + _SECONDS
        found = [_PACKETS.format(ALERT, rule) for rule in repair.foreign_labels(host)]
        found += [_PEERS.format(ALERT, entry) for entry in repair.foreign_peer_labels(host)]
        found += [_ASLEEP.format(ALERT, table) for table in repair.dormant_tables(host)]
        for sentence in found:
            if sentence not in self._told:
                self._say(sentence)
        self._told = found
