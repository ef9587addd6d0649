# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading processes and their sockets from /proc.

A process can end between any two reads, and its number can go to another one. So its directory is opened once and all
is read relative to that descriptor: the kernel then answers ENOENT or ESRCH, never with the files of a stranger.
"""

import os
import pwd
from typing import Dict, List, NamedTuple, Optional, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._values.processes import (
    Process,
    ProcessContext,
    Stat,
    has_selinuxfs,
    manager_root,
    parse_cgroup,
    parse_command_line,
    parse_context,
    parse_executable,
    parse_stat,
    parse_units,
    to_text,
)
from ansible_collections.senet.firewall.plugins.module_utils._values.sockets import Socket, parse_table

_BLOCK = 65536
_LABEL = "security.selinux"
_SOCKET_LINK = "socket:["
_TABLES = (("net/tcp", "tcp"), ("net/tcp6", "tcp"), ("net/udp", "udp"), ("net/udp6", "udp"))


class _Reading(NamedTuple):
    """One process before its descriptors are joined with the socket tables. `inodes` has the label of each socket by
    its inode number, and is None where they are refused."""

    stat: Stat
    uid: int
    context: Optional[ProcessContext]
    executable: Optional[str]
    command_line: Tuple[str, ...]
    cgroup: Optional[str]
    network_namespace: Optional[int]
    inodes: Optional[Dict[int, str]]


def selinux_mounted(root: str = "/proc") -> bool:
    """Whether a selinuxfs is mounted, so that /proc/PID/attr/current holds SELinux contexts.

    Raises OSError when /proc is not mounted.
    """
    with open(os.path.join(root, "mounts"), "rb") as mounts:
        return has_selinuxfs(mounts.read())


def read_processes(selinux: bool, root: str = "/proc", sockets: bool = True) -> List[Process]:
    """All processes that /proc shows, by rising pid. Those that end during the reading are left out.

    With `selinux` False no context is read: attr/current then belongs to another security module, or to none.
    The socket tables are read once for each network namespace that has a visible process. A process that holds a
    socket of another namespace has it in its list too. With `sockets` False neither sockets nor namespaces are read,
    which is most of the work on a busy host. Raises OSError when `root` cannot be listed.
    """
    tables = {} if sockets else None  # type: Optional[Dict[int, Dict[int, Socket]]]
    readings = []
    for pid in sorted(int(name) for name in os.listdir(root) if name.isdigit()):
        reading = _read_process(os.path.join(root, str(pid)), selinux, tables)
        if reading is not None:
            readings.append(reading)
    by_inode = {}  # type: Dict[int, Socket]
    for table in (tables or {}).values():
        by_inode.update(table)
    users = {}  # type: Dict[int, Optional[str]]
    first_cgroup = next((reading.cgroup for reading in readings if reading.stat.pid == 1), None)
    slices_root = manager_root(first_cgroup)
    return [_join(reading, by_inode, slices_root, users) for reading in readings]


def _join(
    reading: _Reading, by_inode: Dict[int, Socket], slices_root: str, users: Dict[int, Optional[str]]
) -> Process:
    unit, user_unit = parse_units(reading.cgroup, slices_root)
    labels = reading.inodes or {}
    own = {by_inode[inode]._replace(context=label) for inode, label in labels.items() if inode in by_inode}
    if reading.uid not in users:
        users[reading.uid] = _user_name(reading.uid)
    return Process(
        pid=reading.stat.pid,
        ppid=reading.stat.ppid,
        context=reading.context,
        user=users[reading.uid],
        uid=reading.uid,
        executable=reading.executable,
        command=reading.stat.command,
        command_line=reading.command_line,
        kernel_thread=reading.stat.kernel_thread,
        unit=unit,
        user_unit=user_unit,
        cgroup=reading.cgroup,
        network_namespace=reading.network_namespace,
        listening=tuple(sorted(sock for sock in own if sock.is_listening)),
        connected=tuple(sorted(sock for sock in own if not sock.is_listening)),
        sockets_readable=reading.inodes is not None,
    )


def _read_process(
    path: str, selinux: bool, sockets: Optional[Dict[int, Dict[int, Socket]]]
) -> Optional[_Reading]:
    try:
        directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return None
    try:
        return _read_directory(directory, selinux, sockets)
    finally:
        os.close(directory)


def _read_directory(
    directory: int, selinux: bool, sockets: Optional[Dict[int, Dict[int, Socket]]]
) -> Optional[_Reading]:
    raw_stat = _read(directory, "stat")
    if raw_stat is None:
        return None
    stat = parse_stat(raw_stat)
    # fs/proc/base.c (task_dump_owner): the directory itself belongs to the effective user, dumpable or not.
    uid = os.fstat(directory).st_uid
    context = _read(directory, "attr/current") if selinux else None
    cgroup = _read(directory, "cgroup")
    command_line, executable, namespace = None, None, None
    inodes = {}  # type: Optional[Dict[int, str]]
    if not stat.kernel_thread:
        command_line = _read(directory, "cmdline")
        executable = _read_link(directory, "exe")
    if not stat.kernel_thread and sockets is not None:
        namespace = _namespace_inode(directory)
        if namespace is not None and namespace not in sockets:
            tables = _read_tables(directory)
            if tables is not None:
                sockets[namespace] = tables
        inodes = _read_socket_labels(directory, selinux)
    if not _is_there(directory):
        return None
    return _Reading(
        stat=stat,
        uid=uid,
        context=parse_context(context) if context is not None else None,
        executable=parse_executable(executable) if executable is not None else None,
        command_line=parse_command_line(command_line) if command_line is not None else (),
        cgroup=parse_cgroup(cgroup) if cgroup is not None else None,
        network_namespace=namespace,
        inodes=inodes,
    )


def _is_there(directory: int) -> bool:
    try:
        os.stat("stat", dir_fd=directory)
    except OSError:
        return False
    return True


def _namespace_inode(directory: int) -> Optional[int]:
    link = _read_link(directory, "ns/net")
    return int(link[len(b"net:["):-1]) if link is not None else None


def _read_tables(directory: int) -> Optional[Dict[int, Socket]]:
    """The sockets of the namespace of this process, or None when the process ended meanwhile."""
    tables = {}  # type: Dict[int, Socket]
    for name, protocol in _TABLES:
        # A host without IPv6 has no tcp6 and udp6.
        text = _read(directory, name)
        if text is not None:
            tables.update(parse_table(text, protocol))
    return tables if _is_there(directory) else None


def _read_socket_labels(directory: int, selinux: bool) -> Optional[Dict[int, str]]:
    """The label of each socket that the process has open by its inode number, or None when the kernel refuses the
    answer. A label is empty without SELinux, and where it cannot be read."""
    inodes = {}  # type: Dict[int, str]
    try:
        descriptors = os.open("fd", os.O_RDONLY | os.O_DIRECTORY, dir_fd=directory)
    except PermissionError:
        return None
    except OSError:
        return inodes
    try:
        for name in os.listdir(descriptors):
            try:
                link = os.readlink(name, dir_fd=descriptors)
            except PermissionError:
                return None
            except OSError:
                continue
            if link.startswith(_SOCKET_LINK):
                inodes[int(link[len(_SOCKET_LINK):-1])] = _read_label(descriptors, name) if selinux else ""
    except FileNotFoundError:
        return inodes
    finally:
        os.close(descriptors)
    return inodes


def _read_label(descriptors: int, name: str) -> str:
    """The label of what a descriptor of another process leads to."""
    try:
        # getxattr(2) knows no directory descriptor; the link leads to the socket itself.
        label = os.getxattr("/proc/self/fd/{0}/{1}".format(descriptors, name), _LABEL)
    except OSError:
        return ""
    return to_text(label.rstrip(b"\0"))


def _read(directory: int, name: str) -> Optional[bytes]:
    """The whole file, or None when it cannot be read: refused, no security module (EINVAL), the process has ended."""
    try:
        descriptor = os.open(name, os.O_RDONLY, dir_fd=directory)
    except OSError:
        return None
    blocks = []  # type: List[bytes]
    try:
        # The kernel's tables come a page at a time whatever the size asked for, so only an empty read is the end.
        while True:
            block = os.read(descriptor, _BLOCK)
            if not block:
                return b"".join(blocks)
            blocks.append(block)
    except OSError:
        return None
    finally:
        os.close(descriptor)


def _read_link(directory: int, name: str) -> Optional[bytes]:
    try:
        return os.readlink(name.encode("ascii"), dir_fd=directory)
    except OSError:
        return None


def _user_name(uid: int) -> Optional[str]:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None
