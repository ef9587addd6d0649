# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes as values: what the files of /proc/PID say, which of them are selected, a summary by domain. No I/O."""

from fnmatch import fnmatchcase
from typing import Any, Dict, FrozenSet, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.sockets import Socket

# include/linux/sched.h: PF_KTHREAD
_KERNEL_THREAD_FLAG = 0x00200000

# systemd.unit(5), without .slice: a slice holds units, processes run in one of these.
_UNIT_SUFFIXES = (".service", ".scope", ".socket", ".mount", ".swap")

_DELETED = " (deleted)"


class ProcessContext(NamedTuple):
    """The security context of a process. Only `raw` is set where the kernel gives a bare name such as `kernel`."""

    raw: str
    user: Optional[str]
    role: Optional[str]
    type: Optional[str]
    level: Optional[str]


class Stat(NamedTuple):
    """The fields of /proc/PID/stat that are used here."""

    pid: int
    command: str
    ppid: int
    kernel_thread: bool


class Process(NamedTuple):
    """One process. `uid` is the effective one; `sockets_readable` is False where the kernel refused its descriptors."""

    pid: int
    ppid: int
    context: Optional[ProcessContext]
    user: Optional[str]
    uid: int
    executable: Optional[str]
    command: str
    command_line: Tuple[str, ...]
    kernel_thread: bool
    unit: Optional[str]
    user_unit: Optional[str]
    cgroup: Optional[str]
    network_namespace: Optional[int]
    listening: Tuple[Socket, ...]
    connected: Tuple[Socket, ...]
    sockets_readable: bool


class Selection(NamedTuple):
    """Which processes are wanted. An empty set allows all; a process must satisfy every criterion that is set."""

    domains: FrozenSet[str] = frozenset()
    users: FrozenSet[str] = frozenset()
    commands: Tuple[str, ...] = ()
    ports: FrozenSet[int] = frozenset()
    listening: bool = False


def parse_selection(params: Mapping[str, Any]) -> Selection:
    """The selection from the options domains, users, commands, ports and listening of a module.

    Raises SenetError for a port that does not exist: it would select nothing, silently.
    """
    for port in params["ports"]:
        if not 0 < port < 65536:
            raise SenetError("Port {} in option 'ports' does not exist: give a number from 1 to 65535.".format(port))
    return Selection(
        domains=frozenset(params["domains"]),
        users=frozenset(params["users"]),
        commands=tuple(params["commands"]),
        ports=frozenset(params["ports"]),
        listening=params["listening"],
    )


def to_text(data: bytes) -> str:
    """Decode as UTF-8. A byte that is not UTF-8 becomes the four characters `\\xNN`, so that JSON can carry it."""
    return data.decode("utf-8", "backslashreplace")


def parse_context(data: bytes) -> Optional[ProcessContext]:
    """Parse /proc/PID/attr/current of a kernel with SELinux; None where it is empty.

    The kernel ends the value with a NUL byte. A level may hold colons. Without MLS there is no level. Before a
    policy is loaded the value is the name of an initial SID, `kernel`.
    """
    raw = to_text(data.rstrip(b"\0\n"))
    if not raw:
        return None
    parts = raw.split(":", 3)
    if len(parts) < 3:
        return ProcessContext(raw, None, None, None, None)
    return ProcessContext(raw, parts[0], parts[1], parts[2], parts[3] if len(parts) == 4 else None)


def parse_stat(data: bytes) -> Stat:
    """Parse /proc/PID/stat, see proc(5).

    The command is the program's own choice and may hold blanks, newlines and parentheses, so it ends at the last one.
    Raises SenetError when the text has another shape.
    """
    opening = data.find(b"(")
    closing = data.rfind(b")")
    fields = data[closing + 1:].split()
    if opening < 0 or closing < opening or len(fields) < 7:
        raise SenetError("{!r} is not the text of a /proc/PID/stat: report it with the kernel's version.".format(data))
    return Stat(
        pid=int(data[:opening]),
        command=to_text(data[opening + 1:closing]),
        ppid=int(fields[1]),
        kernel_thread=bool(int(fields[6]) & _KERNEL_THREAD_FLAG),
    )


def parse_command_line(data: bytes) -> Tuple[str, ...]:
    """Parse /proc/PID/cmdline into its arguments.

    Empty arguments at the end are dropped: they look like the NUL bytes with which a program that rewrites
    its title fills the rest of the space.
    """
    stripped = data.rstrip(b"\0")
    return tuple(to_text(argument) for argument in stripped.split(b"\0")) if stripped else ()


def parse_executable(link: bytes) -> str:
    """The path in the link /proc/PID/exe, without the mark of a file that was deleted or replaced since the start."""
    return _without_deleted_mark(to_text(link))


def parse_cgroup(data: bytes) -> Optional[str]:
    """The path of the process in the cgroup hierarchy that systemd manages; None where there is none.

    /proc/PID/cgroup has lines `ID:CONTROLLERS:PATH`, see cgroups(7). Version 1 and hybrid hosts have the named
    hierarchy `name=systemd`, others only the version 2 line `0::PATH`. So has a container with version 2 alone on a
    hybrid host, where systemd leaves all processes at the root of the other hierarchies.
    """
    named = unified = None
    for line in to_text(data).split("\n"):
        number, _colon, rest = line.partition(":")
        controllers, _colon, path = rest.partition(":")
        if controllers == "name=systemd":
            named = _without_deleted_mark(path)
        if number == "0" and not controllers:
            unified = _without_deleted_mark(path)
    return named if named not in (None, "/") or unified is None else unified


def manager_root(first_cgroup: Optional[str]) -> str:
    """The cgroup under which systemd keeps its units, from the cgroup of process 1.

    It is "" on a host and a prefix in a container that shares the host's cgroup namespace. The rule is systemd's own
    (cg_get_root_path).
    """
    root = first_cgroup or ""
    for suffix in ("/init.scope", "/system.slice", "/system"):
        if root.endswith(suffix):
            return root[:-len(suffix)]
    return root.rstrip("/")


def parse_units(cgroup: Optional[str], root: str = "") -> Tuple[Optional[str], Optional[str]]:
    """The unit of the system manager and that of the user's manager which a cgroup belongs to, each None if absent.

    The rules are systemd's (cg_path_get_unit, cg_path_get_user_unit): skip slices, take the next component, undo the
    escaping `_`. `/user.slice/user-1000.slice/user@1000.service/app.slice/mail.service` is
    ("user@1000.service", "mail.service").
    """
    if cgroup is None or not (cgroup + "/").startswith(root + "/"):
        return None, None
    unit, below = _next_unit([part for part in cgroup[len(root):].split("/") if part])
    if unit is None or not (unit.startswith("user@") and unit.endswith(".service")):
        return unit, None
    return unit, _next_unit(below)[0]


def has_selinuxfs(mounts: bytes) -> bool:
    """Whether the text of /proc/mounts lists a selinuxfs: the kernel registers it only where SELinux is on."""
    return any(line.split(b" ")[2:3] == [b"selinuxfs"] for line in mounts.split(b"\n"))


def select(processes: Iterable[Process], selection: Selection) -> List[Process]:
    """The processes that satisfy every criterion of the selection, in their order."""
    return [process for process in processes if _is_selected(process, selection)]


def summarise_domains(processes: Iterable[Process]) -> Dict[str, Dict[str, Any]]:
    """What the processes of each domain do together; a socket shared by several processes counts once.

    Processes without a domain (SELinux off, context unreadable) are left out.
    """
    by_domain = {}  # type: Dict[str, List[Process]]
    for process in processes:
        if process.context is not None and process.context.type is not None:
            by_domain.setdefault(process.context.type, []).append(process)
    return {domain: _summary(by_domain[domain]) for domain in sorted(by_domain)}


def explain_gaps(processes: Sequence[Process], selinux: bool, selection: Selection) -> List[str]:
    """Sentences that say what the list cannot show and what to do about it."""
    gaps = []
    if selection.domains and not selinux:
        gaps.append(
            "SELinux is off on this host, so no process has a domain and the option 'domains' ({}) selects none: "
            "leave the option out, or turn SELinux on.".format(", ".join(sorted(selection.domains)))
        )
    unreadable = sum(1 for process in processes if not process.sockets_readable)
    if unreadable:
        gaps.append(
            "The kernel refuses to show the sockets of {} of {} processes, so their lists are empty: run the task as "
            "root with all capabilities (become).".format(unreadable, len(processes))
        )
    if not any(process.pid == 1 for process in processes):
        gaps.append(
            "Process 1 is not visible, so /proc hides the processes of other users (mount option hidepid): "
            "run the task as root (become)."
        )
    return gaps


def process_as_dict(process: Process, command_line: bool) -> Dict[str, Any]:
    """The process as the modules return it, with its command line or without."""
    result = dict(process._asdict())  # type: Dict[str, Any]
    result["context"] = dict(process.context._asdict()) if process.context is not None else None
    if command_line:
        result["command_line"] = list(process.command_line)
    else:
        del result["command_line"]
    result["listening"] = [_listening_as_dict(sock) for sock in process.listening]
    result["connected"] = [_connected_as_dict(sock) for sock in process.connected]
    return result


def _without_deleted_mark(path: str) -> str:
    return path[:-len(_DELETED)] if path.endswith(_DELETED) else path


def _next_unit(parts: List[str]) -> Tuple[Optional[str], List[str]]:
    index = 0
    while index < len(parts) and parts[index].endswith(".slice"):
        index += 1
    if index == len(parts):
        return None, []
    name = parts[index][1:] if parts[index].startswith("_") else parts[index]
    if not name.endswith(_UNIT_SUFFIXES) or name.startswith("."):
        return None, []
    return name, parts[index + 1:]


def _is_selected(process: Process, selection: Selection) -> bool:
    domain = process.context.type if process.context is not None else None
    if selection.domains and domain not in selection.domains:
        return False
    if selection.users and process.user not in selection.users and str(process.uid) not in selection.users:
        return False
    if selection.commands and not _runs(process, selection.commands):
        return False
    if selection.listening and not process.listening:
        return False
    if selection.ports:
        sockets = process.listening if selection.listening else process.listening + process.connected
        return any(sock.local_port in selection.ports or sock.remote_port in selection.ports for sock in sockets)
    return True


def _runs(process: Process, patterns: Iterable[str]) -> bool:
    names = [process.command]
    if process.executable is not None:
        names.append(process.executable.rsplit("/", 1)[-1])
    return any(fnmatchcase(name, pattern) for pattern in patterns for name in names)


def _summary(processes: List[Process]) -> Dict[str, Any]:
    return {
        "processes": len(processes),
        "pids": sorted(process.pid for process in processes),
        "users": sorted({process.user if process.user is not None else str(process.uid) for process in processes}),
        "executables": sorted({process.executable for process in processes if process.executable is not None}),
        "listening": [_listening_as_dict(sock) for sock in _distinct(process.listening for process in processes)],
        "connected": [_connected_as_dict(sock) for sock in _distinct(process.connected for process in processes)],
    }


def _distinct(lists: Iterable[Sequence[Socket]]) -> List[Socket]:
    return sorted({sock for sockets in lists for sock in sockets})


def _listening_as_dict(sock: Socket) -> Dict[str, Any]:
    return {
        "protocol": sock.protocol,
        "family": sock.family,
        "address": sock.local_address,
        "port": sock.local_port,
        "context": sock.context or None,
    }


def _connected_as_dict(sock: Socket) -> Dict[str, Any]:
    return dict(sock._asdict(), context=sock.context or None)
