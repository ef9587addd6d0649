# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel's answers on packets, asked once a loaded policy and kept in /run until another is loaded."""

import json
from functools import lru_cache
from typing import Dict, Optional

from ansible_collections.senet.firewall.plugins.module_utils._host.files import read_owned, write_owned
from ansible_collections.senet.firewall.plugins.module_utils._host.selinuxfs import Decision, SELinuxFS
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError

PATH = "/run/senet-firewall/decisions.json"
_CLASS = "packet"
_PERMISSIVE = "permissive"


class Decisions:
    """What domains may do with packets. A policy load or a changed boolean makes every answer be asked anew."""

    def __init__(self, selinux: SELinuxFS, path: str = PATH) -> None:
        self._selinux = selinux
        self._path = path
        self._load = None  # type: Optional[int]
        self._known = {}  # type: Dict[str, Dict[str, str]]
        self._grown = False

    def refresh(self) -> None:
        """Forget what was known of another policy than the one that is loaded, and recall what was kept of this one."""
        load = self._selinux.policy_load()
        if load is not None and load == self._load:
            return
        self._load = load
        self._known = _parse(self._path, load)
        self._grown = False

    def access(self, source: str, target: str) -> Decision:
        """What a process in one context may do to packets in another.

        :raises SenetError: a context is unknown to the loaded policy, or the kernel does not answer.
        """
        known = self._known.setdefault(target, {})
        if source not in known:
            decision = self._selinux.access(source, target, _CLASS)
            known[source] = " ".join(sorted(decision.allowed) + [_PERMISSIVE] * decision.permissive)
            self._grown = True
        return _decision(known[source])

    def keep(self) -> None:
        """Keep what was asked for the next run; without a place to keep it the next run asks again."""
        if not self._grown or self._load is None or self._selinux.policy_load() != self._load:
            return
        try:
            write_owned(self._path, json.dumps({"policy_load": self._load, "answers": self._known}))
        except SenetError:
            return
        self._grown = False


@lru_cache(maxsize=None)
def _decision(text: str) -> Decision:
    words = frozenset(text.split())
    return Decision(words - {_PERMISSIVE}, _PERMISSIVE in words)


def _parse(path: str, load: Optional[int]) -> Dict[str, Dict[str, str]]:
    try:
        kept = json.loads(read_owned(path) or "{}")
        if load is not None and kept.get("policy_load") == load:
            return {
                str(target): {str(source): str(words) for source, words in answers.items()}
                for target, answers in kept["answers"].items()
            }
    except (SenetError, ValueError, KeyError, TypeError, AttributeError):
        pass
    return {}
