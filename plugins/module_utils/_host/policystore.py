# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The policy store: our one module in it, read from its file, written by semodule. It decides nothing.

Sources: semanage.conf(5), and libsemanage's semanage_store.c for the layout of a store.
"""

import bz2
import fcntl
import os
import re
import tempfile
from typing import Dict, List, Optional

from ansible_collections.senet.firewall.plugins.module_utils._compile.cil import MODULE_NAME
from ansible_collections.senet.firewall.plugins.module_utils._host.command_types import FindCommand, RunCommand
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError

PRIORITY = 400

# A line of interfaces.local: the interface, its context, and that of its packets, which nothing uses
_INTERFACE = re.compile(r"^[ \t]*netifcon[ \t]+(\S+)[ \t]+(\S+)[ \t]", re.MULTILINE)
_STORE_ROOT = re.compile(r"^\s*store-root\s*=\s*(\S+)", re.MULTILINE)


class PolicyStore:
    """The store of one policy.

    :param policy: SELINUXTYPE, such as ``targeted`` or ``default``.
    """

    def __init__(
        self, run_command: RunCommand, find_command: FindCommand, policy: str, root: str = "/"
    ) -> None:
        self._run = run_command
        self._find = find_command
        self._policy = policy
        self._store = os.path.join(_store_root(root), policy)
        self._modules = os.path.join(self._store, "active", "modules")

    def module(self) -> Optional[str]:
        """The text of our module, or None where it is not installed or disabled.

        :raises SenetError: the store cannot be read.
        """
        modules = self._modules
        if not os.path.isdir(modules):
            raise SenetError(
                "The policy store {0} is not there; install the policy '{1}' that /etc/selinux/config names, and "
                "the package policycoreutils.".format(modules, self._policy)
            )
        if self._disabled():
            return None
        path = os.path.join(modules, str(PRIORITY), MODULE_NAME, "cil")
        try:
            with open(path, "rb") as module:
                content = module.read()
            # bzip-blocksize=0 in semanage.conf stores modules as they are
            if content.startswith(b"BZh"):
                content = bz2.decompress(content)
            return content.decode("utf-8", "replace")
        except FileNotFoundError:
            return None
        except (OSError, EOFError, ValueError) as exc:
            raise SenetError(
                "The policy module {0} cannot be read ({1}); run as root, and rebuild the store with 'semodule "
                "-B' if it is damaged.".format(path, exc)
            ) from exc

    def install(self, text: str) -> None:
        """Put our module in the store, enable it, rebuild and load the policy: one run of semodule.

        :raises SenetError: semodule is missing or fails; the store is then as it was.
        """
        enable = ["-e", MODULE_NAME] if self._disabled() else []
        # semodule takes the module's name from the file's
        with tempfile.TemporaryDirectory(prefix="senet-") as scratch:
            path = os.path.join(scratch, MODULE_NAME + ".cil")
            with open(path, "w", encoding="ascii") as module:
                module.write(text)
            self._semodule(["-X", str(PRIORITY), "-i", path] + enable, "install")

    def remove(self) -> None:
        """Take our module out of the store, rebuild and load the policy: one run of semodule.

        :raises SenetError: semodule is missing or fails; the store is then as it was.
        """
        self._semodule(["-X", str(PRIORITY), "-r", MODULE_NAME], "remove")

    def interface_contexts(self) -> Dict[str, str]:
        """The context of each network interface that was given one on this host.

        :raises SenetError: the store cannot be read.
        """
        path = os.path.join(self._store, "active", "interfaces.local")
        try:
            with open(path, encoding="utf-8", errors="replace") as lines:
                return dict(_INTERFACE.findall(lines.read()))
        except FileNotFoundError:
            return {}
        except OSError as exc:
            raise SenetError("{0} cannot be read ({1}); run as root.".format(path, exc.strerror)) from exc

    def set_interface(self, name: str, context: Optional[str]) -> None:
        """Give an interface a context, or take away the one that it was given; rebuilds and loads the policy.

        :raises SenetError: semanage is missing or fails; the store is then as it was.
        """
        command = self._find("semanage")
        if command is None:
            raise SenetError(
                "The command 'semanage' is not on this host; install the package policycoreutils-python-utils."
            )
        if context is None:
            self._semanage(command, ["-d", name])
            return
        parts = context.split(":", 3)
        given = ["-t", parts[2]] + (["-r", parts[3]] if len(parts) > 3 else []) + [name]
        if name in self.interface_contexts():
            self._semanage(command, ["-m"] + given)
            return
        # Where the policy itself speaks of the interface, some releases do not add another context, but change it.
        code, dummy, err = self._run([command, "interface", "-a"] + given)
        if code and "already defined" in err:
            self._semanage(command, ["-m"] + given)
        elif code:
            raise _refused(name, err)

    def _semanage(self, command: str, args: List[str]) -> None:
        code, dummy, err = self._run([command, "interface"] + args)
        if code:
            raise _refused(args[-1], err)

    def command(self) -> Optional[str]:
        """The path of semodule, or None where it is missing."""
        return self._find("semodule")

    def lock_holder(self) -> Optional[str]:
        """Who holds the store's transaction lock, as ``pid N (command)`` or ``another process``; None if nobody."""
        path = os.path.join(self._store, "semanage.trans.LOCK")
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return None
        except BlockingIOError:
            return _flock_holder(os.fstat(descriptor)) or "another process"
        finally:
            os.close(descriptor)

    def _disabled(self) -> bool:
        return os.path.lexists(os.path.join(self._modules, "disabled", MODULE_NAME))

    def _semodule(self, args: List[str], verb: str) -> None:
        command = self.command()
        if command is None:
            raise SenetError("The command 'semodule' is not on this host; install the package policycoreutils.")
        code, dummy, err = self._run([command] + args)
        if not code:
            return
        holder = self.lock_holder()
        if holder:
            raise SenetError(locked_message(self._policy, holder))
        raise SenetError(
            "semodule could not {0} the policy module '{1}' ({2}); the policy store is unchanged, correct what it "
            "names and run again.".format(verb, MODULE_NAME, "; ".join(err.strip().splitlines()[-3:]))
        )


def _refused(interface: str, err: str) -> SenetError:
    return SenetError(
        "semanage could not change the context of the interface '{0}' ({1}); see what 'semanage interface -l' "
        "says.".format(interface, "; ".join(err.strip().splitlines()[-3:]))
    )


def locked_message(policy: str, holder: str) -> str:
    """The error for a store that somebody else is changing."""
    return (
        "The policy store '{0}' is locked by {1}, which is changing the policy; run again when it has "
        "finished.".format(policy, holder)
    )


def _store_root(root: str) -> str:
    try:
        with open(os.path.join(root, "etc/selinux/semanage.conf"), encoding="utf-8", errors="replace") as config:
            match = _STORE_ROOT.search(config.read())
    except FileNotFoundError:
        match = None
    return os.path.join(root, (match.group(1) if match else "/var/lib/selinux").lstrip("/"))


def _flock_holder(lock: os.stat_result) -> Optional[str]:
    # proc(5): "1: FLOCK  ADVISORY  WRITE 719 08:01:1234 0 EOF", device as hex major:minor
    inode = "{0:02x}:{1:02x}:{2}".format(os.major(lock.st_dev), os.minor(lock.st_dev), lock.st_ino)
    with open("/proc/locks", encoding="ascii", errors="replace") as locks:
        for line in locks:
            fields = line.split()
            if len(fields) > 5 and fields[1] == "FLOCK" and fields[5] == inode:
                try:
                    with open("/proc/{0}/comm".format(fields[4]), encoding="utf-8", errors="replace") as comm:
                        return "pid {0} ({1})".format(fields[4], comm.read().strip())
                except OSError:
                    return "pid " + fields[4]
    return None
