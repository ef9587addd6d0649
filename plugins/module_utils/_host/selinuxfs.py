# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the running kernel says about SELinux, read from selinuxfs. It decides nothing.

Source: security/selinux/selinuxfs.c (files ``enforce``, ``mls``, ``context``, ``access``, ``class/``).
"""

import errno
import os
import struct
from typing import Dict, FrozenSet, NamedTuple, Optional

from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import type_context, without_levels

# selinux/avc: AVD_FLAGS_PERMISSIVE in security/selinux/include/security.h
_FLAG_PERMISSIVE = 1


class Decision(NamedTuple):
    """The kernel's answer for one source, target and class: allowed permissions; True if the source is permissive."""

    allowed: FrozenSet[str]
    permissive: bool


class SELinuxFS:
    """The kernel's SELinux interface below a mount point, and the name of its policy."""

    def __init__(self, root: str = "/sys/fs/selinux", config: str = "/etc/selinux/config") -> None:
        self._root = root
        self._config = config
        self._classes = {}  # type: Dict[str, Dict[str, int]]
        self._indexes = {}  # type: Dict[str, int]

    def status(self) -> str:
        """``enforcing``, ``permissive``, or ``disabled`` where selinuxfs is not mounted or no policy is loaded."""
        if not os.path.isdir(os.path.join(self._root, "class", "packet")):
            return "disabled"
        return "enforcing" if self._read("enforce") == "1" else "permissive"

    def mls(self) -> bool:
        """Whether contexts of the loaded policy carry a level."""
        return self._read("mls") == "1"

    def has_levels(self) -> bool:
        """Whether contexts carry a level on this host; they are of no use where SELinux is disabled."""
        # Not status(): what that looks at is gone for a moment while a policy is loaded, before Linux 5.9
        return os.path.exists(os.path.join(self._root, "mls")) and self.mls()

    def context(self, name: str) -> str:
        """The context of a type, as the loaded policy spells it."""
        return type_context(name) if self.has_levels() else without_levels(type_context(name))

    def policy_version(self) -> int:
        """The newest binary policy version the kernel takes."""
        return int(self._read("policyvers"))

    def policy_name(self) -> Optional[str]:
        """SELINUXTYPE of /etc/selinux/config (selinux_config(5)): the name of the policy store."""
        try:
            with open(self._config, encoding="utf-8", errors="replace") as config:
                lines = [line.strip() for line in config]
        except FileNotFoundError:
            return None
        names = [line.split("=", 1)[1].strip() for line in lines if line.startswith("SELINUXTYPE=")]
        return names[-1] if names else None

    def canonical(self, context: str) -> Optional[str]:
        """The context as the kernel spells it (aliases resolved), or None if the loaded policy has no such context.

        :raises SenetError: the kernel does not answer the question at all.
        """
        try:
            return self._ask("context", context + "\0").rstrip("\0")
        except OSError as exc:
            if exc.errno == errno.EINVAL:
                return None
            raise SenetError(self._refused("context", exc)) from exc

    def access(self, source: str, target: str, tclass: str) -> Decision:
        """What a process in one context may do to an object in another; booleans are taken into account.

        :raises SenetError: a context is unknown to the loaded policy, or the kernel does not answer.
        """
        index = self._index(tclass)
        try:
            answer = self._ask("access", "{0} {1} {2}".format(source, target, index)).split()
        except OSError as exc:
            if exc.errno == errno.EINVAL:
                raise SenetError(
                    "The kernel knows no context '{0}' or '{1}'; check that both types are in the loaded "
                    "policy (seinfo -t).".format(source, target)
                ) from exc
            raise SenetError(self._refused("access", exc)) from exc
        # allowed decided auditallow auditdeny seqno flags (sel_write_access)
        allowed = int(answer[0], 16)
        flags = int(answer[5], 16)
        names = frozenset(name for name, bit in self._permissions(tclass).items() if allowed & 1 << bit - 1)
        return Decision(names, bool(flags & _FLAG_PERMISSIVE))

    def initial(self, name: str) -> str:
        """The context of what no rule of the policy names, such as netif and node.

        :raises OSError: the kernel has no such name.
        """
        return self._read("initial_contexts", name)

    def policy_load(self) -> Optional[int]:
        """A number that changes whenever a policy is loaded or a boolean is set; None where the kernel tells none.

        struct selinux_kernel_status in security/selinux/include/security.h: version, sequence, enforcing, policyload.
        """
        try:
            with open(os.path.join(self._root, "status"), "rb") as status:
                return int(struct.unpack("=4I", status.read(16))[3])
        except (OSError, struct.error):
            return None

    def _index(self, tclass: str) -> int:
        if tclass not in self._indexes:
            self._indexes[tclass] = int(self._read("class", tclass, "index"))
        return self._indexes[tclass]

    def _permissions(self, tclass: str) -> Dict[str, int]:
        if tclass not in self._classes:
            directory = os.path.join(self._root, "class", tclass, "perms")
            self._classes[tclass] = {
                name: int(self._read("class", tclass, "perms", name)) for name in os.listdir(directory)
            }
        return self._classes[tclass]

    def _read(self, *path: str) -> str:
        with open(os.path.join(self._root, *path), encoding="ascii") as node:
            return node.read().strip("\0 \n")

    def _ask(self, node: str, question: str) -> str:
        # A transaction file: one write, then one read, on one descriptor (simple_transaction_get in fs/libfs.c).
        descriptor = os.open(os.path.join(self._root, node), os.O_RDWR)
        try:
            os.write(descriptor, question.encode("ascii"))
            return os.read(descriptor, 4096).decode("ascii", "replace")
        finally:
            os.close(descriptor)

    def _refused(self, node: str, exc: OSError) -> str:
        return (
            "The kernel refused to answer {0}/{1} ({2}); run as root in a domain that the policy lets use it."
        ).format(self._root, node, exc.strerror)
