# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host in memory, as far as the engine can see it: tables that take iptables-restore's input, a policy store, a
kernel that answers from the policy it was given. Any step can be made to fail."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from ansible_collections.senet.firewall.plugins.module_utils._compile import nft_text
from ansible_collections.senet.firewall.plugins.module_utils._compile.owner import Accounts, Cgroup
from ansible_collections.senet.firewall.plugins.module_utils._compile.xtables import Saved, nft_chains, nft_tables
from ansible_collections.senet.firewall.plugins.module_utils._host.decisions import Decisions
from ansible_collections.senet.firewall.plugins.module_utils._host.guard import Pending
from ansible_collections.senet.firewall.plugins.module_utils._host.history import History
from ansible_collections.senet.firewall.plugins.module_utils._host.host import Host
from ansible_collections.senet.firewall.plugins.module_utils._host.netfilter import Tool
from ansible_collections.senet.firewall.plugins.module_utils._host.selinuxfs import Decision
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.processes import Process, ProcessContext
from ansible_collections.senet.firewall.plugins.module_utils._values.sockets import Socket
from tests.unit.netlabel_kernel import NetLabelKernel

BUILT_IN = ("INPUT", "FORWARD", "OUTPUT")
STOCK_DOMAINS = (
    "httpd_t", "postgresql_t", "redis_t", "named_t", "sshd_t", "unconfined_t", "kernel_t", "init_t", "my_app.process",
)  # fmt: skip


class Xtables:
    """The tables of one family; each absent until something is restored into it."""

    def __init__(self) -> None:
        self.tables: dict[str, dict[str, list[str]]] = {}

    @property
    def chains(self) -> dict[str, list[str]]:
        """Those of the table ``security``."""
        return self.tables.get("security", {})

    def restore(self, text: str) -> None:
        tables = {table: {name: list(rules) for name, rules in chains.items()} for table, chains in self.tables.items()}
        chains: dict[str, list[str]] = {}
        for line in text.splitlines():
            if line.startswith("*"):
                chains = tables.setdefault(line[1:], {name: [] for name in BUILT_IN})
                continue
            if line.startswith(":"):
                chains[line[1:].split(" ")[0]] = []
                continue
            verb, dummy, rest = line.partition(" ")
            name, dummy, rule = rest.partition(" ")
            if verb == "-A":
                chains[name].append(rule)
            elif verb == "-I":
                chains[name].insert(0, rule.removeprefix("1 "))
            elif verb == "-D":
                chains[name].remove(rule)
            elif verb == "-X":
                assert not chains.pop(name), f"the chain {name} is not empty"
                assert not any(f"-j {name}" in rule for rules in chains.values() for rule in rules), f"{name} is in use"
        self.tables = tables

    def save(self) -> str:
        lines = ["# a comment with a date"] if self.tables else []
        for table, chains in self.tables.items():
            lines += [f"*{table}", *(f":{name} {'ACCEPT' if name in BUILT_IN else '-'} [0:0]" for name in chains)]
            lines += [f"-A {name} {rule}" for name, rules in chains.items() for rule in rules]
            lines.append("COMMIT")
        return "".join(line + "\n" for line in lines)

    def rules(self, *names: str) -> str:
        return "\n".join(rule for name in names for rule in self.chains.get(name, []))


class NftTable:
    """A table of ours in nft; it lists itself as it was loaded."""

    def __init__(self, name: str = "inet senet") -> None:
        self.name = name
        self.text = ""

    def restore(self, text: str) -> None:
        lines = text.splitlines()
        if f"delete table {self.name}" in lines:
            assert self.text, f"there is no table {self.name}"
            self.text = ""
        block = [line for line in lines if line not in (f"table {self.name}", f"delete table {self.name}")]
        assert not (block and self.text), f"the table {self.name} is there already"
        if block:
            self.text = "\n".join([*block, ""])

    def save(self) -> str:
        return self.text

    def rules(self, *names: str) -> str:
        return self.text


def empty_families() -> dict[str, Any]:
    """What each of the host's tools keeps."""
    return {"ipv4": Xtables(), "ipv6": Xtables(), "inet": NftTable(), "owner_inet": NftTable("inet senet_owner")}


def process(pid: int, domain: str, *sockets: Socket, ppid: int = 1, command: str = "program") -> Process:
    """A running process with sockets, listening or connected as each of them is."""
    raw = f"system_u:system_r:{domain}:s0"
    return Process(
        pid=pid,
        ppid=ppid,
        context=ProcessContext(raw, "system_u", "system_r", domain, "s0"),
        user="root",
        uid=0,
        executable=None,
        command=command,
        command_line=(),
        kernel_thread=False,
        unit=None,
        user_unit=None,
        cgroup=None,
        network_namespace=1,
        listening=tuple(sock for sock in sockets if sock.is_listening),
        connected=tuple(sock for sock in sockets if not sock.is_listening),
        sockets_readable=True,
    )


def listens(port: int, protocol: str = "tcp") -> Socket:
    return Socket(protocol, "ipv4", "0.0.0.0", port, None, None, "listen" if protocol == "tcp" else "unconnected")


def connected(local: int, remote: int) -> Socket:
    return Socket("tcp", "ipv4", "127.0.0.1", local, "127.0.0.1", remote, "established")


def before_call(monkeypatch: pytest.MonkeyPatch, thing: Any, name: str, look: Callable[[], object]) -> None:
    """Look at something each time just before a method of a thing is called."""
    method = getattr(thing, name)

    def call(*args: Any) -> Any:
        look()
        return method(*args)

    monkeypatch.setattr(thing, name, call)


class Killed(BaseException):
    """The end of the process, which no code of ours gets to handle."""


class ScriptedService:
    """/etc/senet and the units, as the engine sees them."""

    def __init__(self, log: "ScriptedHost") -> None:
        self._log = log
        self.text: str | None = None
        self.installed = False
        self.running = False
        self.units: tuple[str, ...] = ()
        self.shown: list[bool] = []
        self.systemd = True
        self.interpreter = "/usr/bin/python3"

    def command(self) -> tuple[str, ...]:
        if not self.interpreter:
            raise SenetError("This host has no Python interpreter that the units of root can run.")
        return (self.interpreter, "-IB", "/var/lib/senet-firewall/code/senet-firewall")

    def intent(self) -> str | None:
        return self.text

    def write_intent(self, text: str | None) -> None:
        if text != self.text:
            self._log.write("write intent" if text else "remove intent")
        self.text = text

    def in_place(self, units: Iterable[str]) -> bool:
        return self.installed and self.running and self.units == tuple(units)

    def follows(self, units: Iterable[str]) -> bool:
        return self.units == tuple(units)

    def install(self, units: Iterable[str]) -> None:
        if not self.installed or self.units != tuple(units):
            self._log.write("install service")
        self.installed = True
        self.units = tuple(units)

    def keep(self) -> None:
        """It changes nothing that is to be seen."""

    def start(self) -> None:
        if not self.running:
            self._log.write("start service")
        self.running = True

    def show(self, enforced: bool) -> None:
        self.shown.append(enforced)

    def uninstall(self) -> None:
        if self.installed:
            self._log.write("uninstall service")
        self.installed = self.running = False
        self.units = ()


class ScriptedHistory(History):
    """/etc/senet/history in memory. A write is one that may fail or be the last, and is in no log."""

    def __init__(self, log: "ScriptedHost") -> None:
        super().__init__()
        self._log = log
        self.texts: dict[int, str] = {}
        self.time = 1_700_000_000.0

    def numbers(self) -> list[int]:
        return sorted(self.texts)

    def read(self, number: int) -> str | None:
        return self.texts.get(number)

    def write(self, number: int, text: str) -> None:
        self._log.touch()
        if self._log.fail == "write history":
            self._log.fail = ""
            raise SenetError(f"{self.path(number)} cannot be written.")
        self.texts[number] = text

    def remove(self, number: int) -> None:
        self._log.touch()
        del self.texts[number]

    def clock(self) -> float:
        """A minute later each time."""
        self.time += 60
        return self.time


class ScriptedGuard:
    """The record, the lock and the timers. ``stages`` are the records as they were written."""

    def __init__(self, log: "ScriptedHost") -> None:
        self._log = log
        self.locked = False
        self.record: Pending | None = None
        self.stages: list[Pending] = []
        self.timers: list[tuple[str, int]] = []
        self.last: dict[str, Any] | None = None
        self.notes: list[str] = []
        self.proved: list[str] = []

    @contextmanager
    def lock(self, wait: float) -> Iterator[None]:
        if self.locked:
            raise SenetError("Another run is changing the flows of this host.")
        self.locked = True
        try:
            yield
        finally:
            self.locked = False

    def pending(self) -> Pending | None:
        return self.record

    def write(self, pending: Pending) -> None:
        assert self.locked
        self._log.touch()
        self.record = pending
        self.stages.append(pending)

    def prove(self, token: str) -> None:
        assert self.record is not None, "there is no record to be read"
        assert self.record.token == token
        if self._log.fail == "prove":
            raise SenetError("A trial run of the guard failed.")
        self.proved.append(token)

    def arm(self, token: str, phase: str, seconds: int) -> None:
        self._log.write(f"arm {phase}")
        self.timers.append((phase, seconds))

    def forget(self, outcome: dict[str, Any]) -> None:
        assert self.locked
        self._log.touch()
        self.record = None
        self.last = outcome

    def outcome(self) -> dict[str, Any] | None:
        return self.last

    def repaired(self, what: str) -> None:
        self.notes.append(what)

    def repairs(self) -> str | None:
        return self.notes[-1] if self.notes else None

    def forget_repairs(self) -> None:
        self.notes.clear()


class ScriptedNetLabel:
    """NetLabel as the engine sees it. Without ``tool`` there is no netlabelctl."""

    def __init__(self, log: "ScriptedHost") -> None:
        self._log = log
        self.kernel = NetLabelKernel()
        self.tool = True

    def available(self) -> bool:
        return self.tool

    def save(self) -> str:
        if not self.tool:
            raise SenetError("The command 'netlabelctl' is not on this host.")
        self._log.reads.append("save netlabel")
        return self.kernel.lists()

    def restore(self, text: str) -> None:
        self._log.write("restore netlabel")
        for line in text.splitlines():
            self.kernel.command(line)


class ScriptedAccounts:
    """Users and units. What is not in ``groups`` does not run; without ``cgroups`` none can be matched, and without
    ``answers`` systemd tells of no unit."""

    def __init__(self) -> None:
        self.uids = {"root": 0, "www-data": 33, "postgres": 105, "reports": 1000}
        self.groups = {"apache2.service": 4711}
        self.stopped = {"httpd.service", "reports.service"}
        self.cgroups = True
        self.answers = True

    def distribution(self) -> str:
        return "Debian"

    def matches_cgroups(self) -> bool:
        return self.cgroups

    def uid(self, user: str) -> int | None:
        return int(user) if user.isdigit() else self.uids.get(user)

    def unknown_units(self, units: Iterable[str]) -> list[str]:
        return [unit for unit in units if unit not in self.stopped | set(self.groups)]

    def look_up(self, users: Iterable[str], units: Iterable[str]) -> Accounts:
        if not self.answers:
            raise SenetError("systemd did not answer about the units.")
        groups = {unit: Cgroup(f"system.slice/{unit}", self.groups[unit]) for unit in units if unit in self.groups}
        return Accounts({user: self.uids[user] for user in users if user in self.uids}, groups)


class ScriptedMetrics:
    """The files of metrics by directory, and the directories that there are."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self.directories = {"/var/lib/metrics", "/srv/metrics", "/var/lib/prometheus/node-exporter"}

    def check(self, directory: str) -> None:
        if directory not in self.directories:
            raise SenetError(f"The metrics_directory {directory} cannot be used.")

    def write(self, directory: str, text: str) -> None:
        self.check(directory)
        self.files[directory] = text

    def remove(self, directory: str) -> None:
        self.files.pop(directory, None)


class ScriptedHost:
    """A host whose every write is logged in ``writes``. ``fail`` names the write that raises, by its start; the process
    ends before the write of number ``die_at``, those of the guard's record counted too."""

    def __init__(self, *processes: Process, mode: str = "enforcing", fail: str = "") -> None:
        self.mode = mode
        self.levels = True
        self.running = list(processes) or [process(1, "init_t"), process(2, "httpd_t"), process(3, "postgresql_t")]
        self.families = empty_families()
        self.policy: str | None = None
        self.extra_policy = ""
        self.ip = [4, 6]
        self.other_types = {"httpd_exec_t", "netif_t"}
        self.holder: str | None = None
        self.permissive: set[str] = set()
        # the domains and ports that name_connect refuses
        self.no_name_connect: set[tuple[str, int]] = set()
        self.fail = fail
        self.die_at = 0
        self.touches = 0
        self.tools = {
            "ipv4": Tool("/sbin/iptables", "1.8.9", "nf_tables"),
            "ipv6": Tool("/sbin/ip6tables", "1.8.9", "nf_tables"),
            "nft": Tool("/sbin/nft", "1.0.6", None),
        }
        # by family what the save command of the legacy variant prints, and what nft lists beside our tables
        self.legacy = {"ipv4": "", "ipv6": ""}
        self.asleep: list[str] = []
        self.listed = ""
        self.keeps_labels = True
        self.unlabelled_mptcp = False
        self.ipsec_labels: list[str] = []
        # the text of rules saved by other programs, by path
        self.saved_rules: dict[str, str] = {}
        self.own_addresses = {"lo": ["127.0.0.1", "::1"], "eth0": ["192.0.2.1", "2001:db8::1"], "eth1": ["10.77.0.2"]}
        # the contexts that were given to interfaces on this host
        self.given: dict[str, str] = {}
        # the tables of other network namespaces, by file and family
        self.namespaces: dict[str, dict[str, Any]] = {}
        self.writes: list[str] = []
        self.reads: list[str] = []
        self.netlabel = ScriptedNetLabel(self)
        self.service = ScriptedService(self)
        self.guard = ScriptedGuard(self)
        self.history = ScriptedHistory(self)
        self.accounts = ScriptedAccounts()
        self.metrics = ScriptedMetrics()

    def host(self) -> Host:
        decisions = Decisions(self, "/nonexistent/decisions.json")  # type: ignore[arg-type]
        edges: Any = (self, decisions, self, self.netlabel, self, self.service, self.guard, self.accounts,
                      self.processes, self.refused_ports, 999, lambda: self.unlabelled_mptcp,
                      lambda: self.saved_rules, lambda: self.own_addresses, self.history,
                      self.metrics, lambda: self.ipsec_labels)  # fmt: skip
        return Host(*edges)

    def interfaces(self) -> list[str]:
        return ["lo", "eth0", "eth1"]

    def versions(self) -> list[int]:
        return self.ip

    def processes(self, sockets: bool) -> list[Process]:
        if sockets:
            self.reads.append("sockets")
        return [each if sockets else each._replace(listening=(), connected=()) for each in self.running]

    def refused_ports(self, context: str, ports: list[int]) -> list[int]:
        return [port for port in ports if (context.split(":")[2], port) in self.no_name_connect]

    def touch(self) -> None:
        self.touches += 1
        if self.touches == self.die_at:
            raise Killed

    def reboot(self) -> None:
        """Rules, timers and processes of ours are gone, and the record is of an earlier boot."""
        self.families = empty_families()
        self.netlabel.kernel = NetLabelKernel()
        self.service.running = False
        self.guard.timers.clear()
        self.guard.notes.clear()
        if self.guard.record:
            self.guard.record = self.guard.record._replace(boot="an earlier one")

    def write(self, what: str) -> None:
        self.touch()
        if self.fail and what.startswith(self.fail):
            self.fail = ""
            raise SenetError(f"Could not {what}.")
        self.writes.append(what)

    # selinuxfs
    def status(self) -> str:
        return self.mode

    def mls(self) -> bool:
        return self.levels

    def has_levels(self) -> bool:
        return self.mode != "disabled" and self.levels

    def context(self, name: str) -> str:
        return f"system_u:object_r:{name}:s0" if self.has_levels() else f"system_u:object_r:{name}"

    def policy_name(self) -> str:
        return "default"

    def policy_version(self) -> int:
        return 33

    def canonical(self, context: str) -> str | None:
        name = context.split(":")[2]
        declared = re.findall(r"^\(type (\S+)\)$", self.policy or "", re.MULTILINE)
        if name == "apache_t":
            return context.replace("apache_t", "httpd_t")
        levels = context.split(":")[3:]
        if bool(levels) != self.levels or (levels and levels[0][:2] != "s0"):
            return None
        return context if name in (*STOCK_DOMAINS, *self.other_types, *declared) else None

    def initial(self, name: str) -> str:
        return self.context(f"{name}_t")

    def policy_load(self) -> int | None:
        return None

    def access(self, source: str, target: str, tclass: str) -> Decision:
        subject, thing = source.split(":")[2], target.split(":")[2]
        if tclass == "process":
            return Decision(frozenset(["fork"] if subject in STOCK_DOMAINS else []), False)
        text = (self.policy or "") + self.extra_policy
        memberships = re.findall(r"\(typeattributeset (senet_(?:packet|peer)_type|netif_type) \((\S+)\)\)", text)
        attributes = {("netif_type", "netif_t"), ("node_type", "node_t"), *memberships}
        attributes.update(("domain", domain) for domain in STOCK_DOMAINS)
        names = {thing} | {attribute for attribute, member in attributes if member == thing}
        subjects = {subject} | {attribute for attribute, member in attributes if member == subject}
        members: dict[str, set[str]] = {}
        for name, member in re.findall(r"\(typeattributeset (\S+) \(([^\s()]+)\)\)", text):
            members.setdefault(name, set()).update(STOCK_DOMAINS if member == "domain" else {member})
        groups = {
            name: set(STOCK_DOMAINS).difference(*(members.get(word, {word}) for word in excluded.split()))
            for name, excluded in re.findall(r"\(typeattributeset (\S+) \(and \(domain\) \(not \(([^)]*)\)", text)
        }
        allowed: set[str] = set()
        for who, what, permissions in re.findall(rf"\(allow (\S+) (\S+) \({tclass} \(([a-z_ ]+)\)\)\)", text):
            if (who in subjects or subject in groups.get(who, ())) and what in names:
                allowed.update(permissions.split())
        return Decision(frozenset(allowed), subject in self.permissive)

    # netfilter
    def save(self, family: str) -> str:
        self.reads.append(f"save {family}")
        return self.families[family].save()

    def saves(self, read: Mapping[str, str] | None = None) -> list[Saved]:
        self.reads.append("saves" if read is None else "other variants")
        return [
            one
            for family, command in (("ipv4", "iptables"), ("ipv6", "ip6tables"))
            if family in self.tools
            for one in (
                Saved(family, command, "nf_tables", True, self.families[family].save()),
                Saved(family, f"{command}-legacy", "legacy", False, self.legacy[family]),
            )
        ]

    def elsewhere(self, families: Iterable[str]) -> dict[str, dict[str, str]]:
        self.reads.append("elsewhere")
        return {path: {name: tables[name].save() for name in families} for path, tables in self.namespaces.items()}

    def ruleset(self, read: Mapping[str, str] | None = None) -> str:
        self.reads.append("ruleset")
        text = self.listed + self.families["inet"].save() + self.families["owner_inet"].save()
        told = [(family, saved) for family, saved in (read or {}).items() if family in ("ipv4", "ipv6") and saved]
        tables = {table for family, saved in told for table in nft_tables(family, saved)}
        chains = {chain for family, saved in told for chain in nft_chains(family, saved)}
        is_read = chains.issuperset(nft_text.chains(text)) and tables.issuperset(
            table for table, dummy in nft_text.table_parts(text)
        )
        return "" if tables and is_read else text

    def dormant(self) -> list[str]:
        return self.asleep

    def backends(self) -> list[str]:
        has_iptables = "ipv4" in self.tools and "ipv6" in self.tools
        return (["iptables"] if has_iptables else []) + (["nftables"] if "nft" in self.tools else [])

    def restore(self, family: str, text: str) -> None:
        for found in re.findall(r"^-A .* --selctx (\S+)$|^\t\t\"(\S+)\"$", text, re.MULTILINE):
            context = "".join(found)
            if self.canonical(context) is None:
                raise SenetError(f"The kernel knows no context {context}.")
        for unit in re.findall(r'(?:--path|cgroupv2 level \d+) "system\.slice/([^"]+)"', text):
            if unit not in self.accounts.groups:
                raise SenetError(f"The kernel knows no control group of {unit}.")
        self.write(f"restore {family}")
        self.families[family].restore(text)

    def iptables(self, family: str) -> Tool | None:
        return self.tools.get(family)

    def nft(self) -> Tool | None:
        return self.tools.get("nft")

    def has_match(self, family: str, match: str) -> bool:
        return False

    def remembers(self, family: str) -> bool:
        self.reads.append(f"remembers {family}")
        return self.keeps_labels

    def source_ports(self) -> tuple[tuple[int, int], ...]:
        return ((32768, 60999),)

    def drop_empty_table(self, family: str, name: str) -> None:
        self.write(f"drop {family} {name}" if name != "security" else f"drop {family}")
        del self.families[family].tables[name]

    # policy store
    def module(self) -> str | None:
        self.reads.append("policy")
        return self.policy

    def install(self, text: str) -> None:
        self.write("install policy")
        self.policy = text
        self.check_given()

    def remove(self) -> None:
        self.write("remove policy")
        self.policy = None
        self.check_given()

    def interface_contexts(self) -> dict[str, str]:
        return dict(self.given)

    def set_interface(self, name: str, context: str | None) -> None:
        self.write(f"set {name}" if context else f"free {name}")
        if context is None:
            del self.given[name]
        else:
            self.given[name] = context
        self.check_given()

    def check_given(self) -> None:
        """As libsemanage does when it builds the policy."""
        for name, context in self.given.items():
            assert self.canonical(context), f"{name} has the type of {context}, which no policy declares"

    def command(self) -> str | None:
        return "/sbin/semodule"

    def lock_holder(self) -> str | None:
        return self.holder

    def state(self) -> tuple[object, ...]:
        tables = [*(table.save() for table in self.families.values()), self.netlabel.kernel.lists()]
        return (self.policy, *tables, self.service.text, self.service.installed, sorted(self.given.items()))
