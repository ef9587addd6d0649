# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kernel grants of the class peer, compared with what the flows ask for."""

from typing import Any, Dict, FrozenSet, List, NamedTuple

from ansible_collections.senet.firewall.plugins.module_utils._values.flows import ENFORCE, UNLABELED_TYPE, PeerLabel
from ansible_collections.senet.firewall.plugins.module_utils._values.peers import KERNEL, Receiver


class ReceiverAccess(NamedTuple):
    """The kernel's answer for a receiver: the types of peers that it may receive from, of those asked about."""

    receiver: Receiver
    receives: FrozenSet[str]

    def as_dict(self) -> Dict[str, Any]:
        """The row that the module returns."""
        return {"domain": self.receiver.domain, "mode": self.receiver.mode, "receives": sorted(self.receives)}

    @property
    def from_itself(self) -> bool:
        """Whether the policy lets it receive from clients in its own domain, which is no source of its flows."""
        return self.receiver.domain in self._gained

    @property
    def _gained(self) -> FrozenSet[str]:
        return self.receives.intersection(self.receiver.refuses if self.receiver.mode == ENFORCE else ())

    def deviations(self) -> List[str]:
        """Where the kernel grants more or less than the flows say, each as a clause.

        The policies of Fedora and RHEL let nearly every domain receive from unlabeled_t (corenet_unlabeled_type) and
        some from themselves, and no module can take that away. No peer has the type unlabeled_t while the static labels
        are in place, and :attr:`from_itself` is warned of.
        """
        lacking = set(self.receiver.receives) - self.receives
        gained = self._gained - {UNLABELED_TYPE, self.receiver.domain}
        return [
            "'{0}' {1} receive from the peers {2}".format(self.receiver.domain, verb, ", ".join(sorted(types)))
            for verb, types in (("may not", lacking), ("may", gained))
            if types
        ]


class LabelAccess(NamedTuple):
    """The kernel's answer for a peer label: the domains that may receive from its peers, of those asked about."""

    label: PeerLabel
    received_by: FrozenSet[str]

    def deviations(self) -> List[str]:
        """Where the kernel grants more or less than the label's receivers, each as a clause."""
        if not self.label.receivers:
            return []
        lacking = set(self.label.receivers) - self.received_by
        gained = self.received_by.difference(self.label.receivers, {KERNEL})
        return [
            "{0} {1} receive from the peers {2}".format(", ".join(sorted(domains)), verb, self.label.type)
            for verb, domains in (("may not", lacking), ("may", gained))
            if domains
        ]
