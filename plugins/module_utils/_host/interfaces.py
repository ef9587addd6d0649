# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The policy store's contexts of network interfaces, through seobject. It decides nothing."""

from typing import Any, Dict, Optional, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._interface import ADD, DELETE, IfContext
from ansible_collections.senet.firewall.plugins.module_utils._model import SenetError


class Interfaces:
    """``seobject`` is the Python module of that name, what semanage itself is made of."""

    def __init__(self, seobject: Any) -> None:
        self._seobject = seobject

    def context(self, interface: str) -> Tuple[Optional[IfContext], bool]:
        """The context of an interface, None where it has that of every other; whether it was given on this host.

        :raises SenetError: the policy store cannot be read.
        """
        found = self._all(False).get(interface)
        context = None if found is None else IfContext(*(part or "" for part in found))
        return context, interface in self._all(True)

    def types(self) -> Dict[str, str]:
        """The type of each interface that has a context of its own.

        :raises SenetError: the policy store cannot be read.
        """
        return {interface: str(found[2]) for interface, found in self._all(False).items()}

    def change(self, verb: str, interface: str, context: Optional[IfContext]) -> None:
        """Add, modify or delete the entry of an interface.

        :raises SenetError: the policy store refuses.
        """
        records = self._seobject.interfaceRecords()
        try:
            if verb == DELETE or context is None:
                records.delete(interface)
            else:
                (records.add if verb == ADD else records.modify)(interface, context.level, context.type)
        except (ValueError, OSError, RuntimeError) as exc:
            raise SenetError(
                "The policy store refused to {0} the context of the interface '{1}' ({2}); see what 'semanage "
                "interface -l' says.".format(verb, interface, exc)
            ) from exc

    def _all(self, local: bool) -> Dict[str, Any]:
        try:
            return dict(self._seobject.interfaceRecords().get_all(int(local)))
        except (ValueError, OSError, RuntimeError) as exc:
            raise SenetError("The policy store cannot be read ({0}); run as root.".format(exc)) from exc
