# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's netfilter tools: save, list, restore, drop a table. It decides nothing."""

import os
import re
import socket
from typing import Any, Dict, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Set, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._compile import iptables, nft_text, nftables, owner
from ansible_collections.senet.firewall.plugins.module_utils._compile.xtables import (
    NFT_FAMILIES,
    Saved,
    nft_chains,
    nft_tables,
)
from ansible_collections.senet.firewall.plugins.module_utils._host.command_types import FindCommand, RunCommand
from ansible_collections.senet.firewall.plugins.module_utils._host.namespaces import other_namespaces
from ansible_collections.senet.firewall.plugins.module_utils._host.nf_tables import dormant_tables
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError

LOCK_SECONDS = 30

COMMANDS = {"ipv4": "iptables", "ipv6": "ip6tables"}
# What nft itself keeps: by family its table
_INET_TABLES = {"inet": nftables.TABLE, "owner_inet": owner.TABLE}
_PACKAGES = {"nft": "nftables", "nsenter": "util-linux"}
# Each variant's commands by the middle of their names, whatever the alternatives say
_INFIXES = {"nf_tables": "-nft", "legacy": "-legacy"}
# The tables that the legacy variant has in this network namespace, a line each
_LEGACY_TABLES = {"ipv4": "ip_tables_names", "ipv6": "ip6_tables_names"}
_BUILT_IN = ("INPUT", "FORWARD", "OUTPUT")
# Rules that give connections a label, and packets none
_INET_TRIAL = "table inet senet_trial {{\n\tchain trial {{\n\t\tct label set {0}\n\t}}\n}}\n".format(iptables.BEGAN)
_XTABLES_TRIAL = (
    "*security\n:SENET_TRIAL - [0:0]\n-A SENET_TRIAL -m connlabel --label {0} --set\nCOMMIT\n".format(iptables.BEGAN)
)
_CHAIN = re.compile(r"^\s+chain (\S+) \{", re.MULTILINE)
_VERSION = re.compile(r"v?([0-9]+(?:\.[0-9]+)+)(?: \((nf_tables|legacy)\))?")


class Tool(NamedTuple):
    """A command and what it says it is; ``variant`` is nf_tables or legacy for iptables."""

    path: str
    version: Optional[str]
    variant: Optional[str]


class Netfilter:
    """iptables, ip6tables and nft as the host's PATH has them. A family is ipv4 or ipv6, or nft's inet or owner_inet.

    ``proc`` is the kernel's directory of network state, ``sys`` that of its settings.
    """

    def __init__(
        self,
        run_command: RunCommand,
        find_command: FindCommand,
        proc: str = "/proc/net",
        sys: str = "/proc/sys/net/ipv4",
    ) -> None:
        self._run = run_command
        self._find = find_command
        self._proc = proc
        self._sys = sys

    def backends(self) -> List[str]:
        """The backends whose commands are here, the one to be preferred first."""
        has_iptables = all(self._find(command + "-restore") for command in COMMANDS.values())
        return (["iptables"] if has_iptables else []) + (["nftables"] if self._find("nft") else [])

    def save(self, family: str) -> str:
        """What ``iptables-save`` prints for all tables: naming one would make the legacy variant load it.

        For nft's, what it lists of our table alone, since other tables may hold very large sets; empty where it is not
        there.

        :raises SenetError: the command is missing or fails.
        """
        if family in _INET_TABLES:
            return self._list_inet(_INET_TABLES[family])
        return self._read(self._need(COMMANDS[family] + "-save"))

    def saves(self, read: Optional[Mapping[str, str]] = None) -> List[Saved]:
        """What the save command of every variant prints, the default one's first: the other's rules are in force too.

        What is ``read`` already of a family is not read again.

        :raises SenetError: a command fails on rules that are there.
        """
        return [saved for family in COMMANDS for saved in self._saves(family, (read or {}).get(family))]

    def elsewhere(self, families: Iterable[str]) -> Dict[str, Dict[str, str]]:
        """What :meth:`save` says of each family in each other network namespace, by a file that stands for it.

        :raises SenetError: a command is missing or fails.
        """
        found = {}
        for path in other_namespaces():
            inside = Netfilter(self._entering(path), self._find)
            try:
                found[path] = {family: inside.save(family) for family in families}
            except SenetError:
                # Not where it has ended meanwhile
                if os.path.exists(path):
                    raise
        return found

    def ruleset(self, read: Optional[Mapping[str, str]] = None) -> str:
        """What nft lists of every table; nothing where it is not installed, or the kernel has no nf_tables, or all
        tables are those of iptables that are ``read`` already, by family: nft needs long for thousands of rules.

        :raises SenetError: nft fails on a host whose iptables keeps its rules in nf_tables.
        """
        path = self._find("nft")
        if path is None or (read and self._is_read(path, read)):
            return ""
        code, out, err = self._run([path] + list(nftables.LIST_FLAGS))
        if code and any(self._variant(family) == "nf_tables" for family in COMMANDS):
            raise SenetError(
                "{0} cannot list the rules of this host ({1}); see what 'nft list ruleset' says.".format(
                    path, _last_line(err)
                )
            )
        return "" if code else out

    def _is_read(self, nft: str, read: Mapping[str, str]) -> bool:
        """Whether iptables-nft has told of all tables and chains: it leaves out what it cannot read."""
        families = [family for family in COMMANDS if family in read and self._variant(family) == "nf_tables"]
        told = ["table {0} {{".format(table) for family in families for table in nft_tables(family, read[family])]
        if not told:
            return False
        # It names every table and chain, and does not read their rules as "list tables" does
        code, out, dummy = self._run([nft, "list", "chains"])
        if code or sorted(nft_text.heads(out)) != sorted(told):
            return False
        return {chain for family in families for chain in nft_chains(family, read[family])}.issuperset(
            nft_text.chains(out)
        )

    def dormant(self) -> List[str]:
        """The tables of nf_tables whose chains see no packet, each as ``family name``. To ask may load nf_tables.

        :raises SenetError: the kernel does not tell.
        """
        return dormant_tables()

    def restore(self, family: str, text: str) -> None:
        """Commit rules at once, leaving what the text does not name; nothing is committed on an error.

        :raises SenetError: the command is missing, the lock is held, or the kernel refuses.
        """
        if family in _INET_TABLES:
            self._load_inet(text)
            return
        command = self._need(COMMANDS[family] + "-restore")
        code, dummy, err = self._run([command, "--noflush", "-w", str(LOCK_SECONDS)], data=text)
        _refuse_held_lock(family, code, err)
        if code:
            raise SenetError(
                "{0} refused the {1} rules ({2}); check with 'enforcement_info' that the kernel has SECMARK and "
                "conntrack.".format(command, family, _last_line(err))
            )

    def _saves(self, family: str, read: Optional[str]) -> Iterator[Saved]:
        default = self._variant(family)
        if self._find(COMMANDS[family] + "-save") is not None:
            yield Saved(family, COMMANDS[family], default, True, self.save(family) if read is None else read)
        for variant, infix in _INFIXES.items():
            command = COMMANDS[family] + infix
            path = self._find(command + "-save")
            if variant == default or path is None:
                continue
            if variant == "nf_tables":
                # It fails on a kernel without nf_tables, which has no such rules.
                code, out, dummy = self._run([path])
                text = "" if code else out
            else:
                text = self._read(path) if self._has_legacy_tables(family) else ""
            yield Saved(family, command, variant, False, text)

    def _variant(self, family: str) -> str:
        tool = self.iptables(family)
        return (tool.variant if tool else None) or "legacy"

    def _has_legacy_tables(self, family: str) -> bool:
        return bool(self._kernel_file(_LEGACY_TABLES[family]).strip())

    def _kernel_file(self, name: str) -> bytes:
        try:
            with open(os.path.join(self._proc, name), "rb") as lines:
                return lines.read()
        except FileNotFoundError:
            return b""

    def _read(self, command: str) -> str:
        code, out, err = self._run([command])
        if code:
            raise SenetError(
                "{0} cannot read the rules of this host ({1}); run as root on a kernel with netfilter.".format(
                    command, _last_line(err)
                )
            )
        return out

    def _list_inet(self, table: str) -> str:
        nft = self._need("nft")
        code, out, err = self._run([nft, "-s", "list", "table"] + table.split())
        if code and "No such file or directory" in err:
            return ""
        if code:
            raise SenetError(
                "{0} cannot read the rules of this host ({1}); run as root on a kernel with nf_tables.".format(
                    nft, _last_line(err)
                )
            )
        return out

    def _load_inet(self, text: str) -> None:
        # No trial with "nft -c" before: it turns the kernel's packet checks on for a moment, policy or not
        nft = self._need("nft")
        code, dummy, err = self._run([nft, "-f", "-"], data=text)
        if code:
            raise SenetError(
                "{0} cannot load its rules ({1}); check the kernel's modules with 'enforcement_info', or use "
                "backend=iptables.".format(nft, _first_line(err))
            )

    def drop_empty_table(self, family: str, name: str) -> None:
        """Take away a table that the nf_tables variant leaves behind; the legacy one keeps it.

        Its chains, which releases of iptables make two or all of, go by name first: that fails if somebody put a rule
        there meanwhile.

        :raises SenetError: nft refuses.
        """
        nft = self._find("nft")
        iptables = self.iptables(family)
        if nft is None or iptables is None or iptables.variant != "nf_tables":
            return
        table = "{0} {1}".format(NFT_FAMILIES[family], name)
        dummy3, listed, dummy4 = self._run([nft, "-s", "list", "table"] + table.split())
        chains = [name for name in _CHAIN.findall(listed) if name in _BUILT_IN]
        script = "".join("delete chain {0} {1}\n".format(table, name) for name in chains)
        script += "delete table {0}\n".format(table)
        code, dummy, err = self._run([nft, "-f", "-"], data=script)
        if code:
            raise SenetError(
                "nft cannot delete the empty table '{0}' ({1}); look at it with 'nft list table {0}'.".format(
                    table, _last_line(err)
                )
            )

    def interfaces(self) -> List[str]:
        """The names of this network namespace's interfaces, as rules know them."""
        return [name for dummy, name in socket.if_nameindex()]

    def versions(self) -> List[int]:
        """The versions of IP that this network namespace has an address of, loopback's among them."""
        found = [4] if b" LOCAL" in self._kernel_file("fib_trie") else []
        return found + ([6] if self._kernel_file("if_inet6").strip() else [])

    def iptables(self, family: str) -> Optional[Tool]:
        """iptables or ip6tables, or None where it is not installed."""
        path = self._find(COMMANDS[family])
        if path is None:
            return None
        dummy, out, dummy2 = self._run([path, "--version"])
        match = _VERSION.search(out)
        # Before 1.8.0 there was one variant, and it did not say so.
        return Tool(path, match.group(1) if match else None, (match.group(2) or "legacy") if match else None)

    def nft(self) -> Optional[Tool]:
        """nft, or None where it is not installed."""
        path = self._find("nft")
        if path is None:
            return None
        dummy, out, dummy2 = self._run([path, "--version"])
        match = _VERSION.search(out)
        return Tool(path, match.group(1) if match else None, None)

    def has_match(self, family: str, match: str) -> bool:
        """Whether iptables has a match extension of this name (asked for its help, which loads no rule)."""
        code, dummy, dummy2 = self._run([self._need(COMMANDS[family]), "-m", match, "--help"])
        return code == 0

    def remembers(self, family: str) -> bool:
        """Whether the kernel takes rules of a family that put labels on connections. It is tried in a new network
        namespace, which ends with the command: no tool says what the kernel lacks before it loads a rule.

        :raises SenetError: a command is missing, or the lock is held.
        """
        unshare = self._find("unshare")
        if unshare is None:
            return False
        inet = family in _INET_TABLES
        if inet:
            command, trial = [self._need("nft"), "-f", "-"], _INET_TRIAL
        else:
            command, trial = [self._need(COMMANDS[family] + "-restore"), "-w", str(LOCK_SECONDS)], _XTABLES_TRIAL
        code, dummy, err = self._run([unshare, "--net"] + command, data=trial)
        if not inet:
            # The lock is one for all namespaces
            _refuse_held_lock(family, code, err)
        return code == 0

    def source_ports(self) -> Tuple[Tuple[int, int], ...]:
        """The ranges of ports that this host's clients get as source ports; none where the kernel does not say."""
        try:
            low, high = self._sysctl("ip_local_port_range").split()
            reserved = self._sysctl("ip_local_reserved_ports").strip()
        except (OSError, ValueError):
            return ()
        free = []  # type: List[Tuple[int, int]]
        start = int(low)
        for ports in sorted(_port_range(text) for text in reserved.split(",") if text):
            free.append((start, min(ports[0] - 1, int(high))))
            start = max(start, ports[1] + 1)
        return tuple(ports for ports in free + [(start, int(high))] if ports[0] <= ports[1])

    def _sysctl(self, name: str) -> str:
        with open(os.path.join(self._sys, name), encoding="ascii") as lines:
            return lines.read()

    def _entering(self, path: str) -> RunCommand:
        enter = [self._need("nsenter"), "--net=" + path]

        def run(args: List[str], data: Optional[str] = None) -> Tuple[int, str, str]:
            return self._run(enter + args, data=data)

        return run

    def _need(self, name: str) -> str:
        path = self._find(name)
        if path is None:
            raise SenetError(
                "The command '{0}' is not on this host; install the package {1}.".format(
                    name, _PACKAGES.get(name, "iptables (iptables-nft on the RHEL family)")
                )
            )
        return path


def _refuse_held_lock(family: str, code: int, err: str) -> None:
    # The nf_tables variant ends with 4 for whatever the kernel refuses
    if code == 4 and "xtables lock" in err:
        raise SenetError(
            "Another program held the lock of {0} for more than {1} seconds; find it with 'fuser /run/xtables.lock', "
            "and run again when it has finished.".format(COMMANDS[family], LOCK_SECONDS)
        )


def kernel_modules(names: Iterable[str], release: str, modules: str = "/lib/modules") -> Optional[Dict[str, bool]]:
    """Whether the kernel of a release has each module, built in or on disk; None where no index of them is there.

    The indexes are modules.builtin and modules.dep, see depmod(8).
    """
    known = None  # type: Optional[Set[str]]
    for index in ("modules.builtin", "modules.dep"):
        try:
            with open(os.path.join(modules, release, index), encoding="utf-8", errors="replace") as lines:
                known = (known or set()).union(_module_name(line) for line in lines)
        except FileNotFoundError:
            continue
    return None if known is None else {name: name in known for name in names}


def _port_range(text: str) -> Tuple[int, int]:
    low, dummy, high = text.partition("-")
    return int(low), int(high or low)


def _module_name(line: str) -> str:
    return os.path.basename(line.split(":", 1)[0].strip()).split(".ko", 1)[0].replace("-", "_")


def _first_line(text: str) -> str:
    # nft names the trouble first, then shows the place
    return next((line.strip() for line in text.splitlines() if line.strip()), "it says nothing")


def _last_line(text: Any) -> str:
    lines = [line.strip() for line in str(text).splitlines() if line.strip()]
    return lines[-1] if lines else "it says nothing"
