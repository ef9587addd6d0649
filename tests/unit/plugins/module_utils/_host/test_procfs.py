# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading processes from a tree made like /proc, and from the real one while processes come and go."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.senet.firewall.plugins.module_utils._host import procfs
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.processes import Process
from ansible_collections.senet.firewall.plugins.module_utils._values.sockets import Socket

# Two lines of `ps auxZ` as an article about these services prints them.
PS_LINES = """\
system_u:system_r:httpd_t:s0 1234 0.0 1.2 123456 7890 ? Ss 10:00 0:00 /usr/sbin/httpd -DFOREGROUND
system_u:system_r:postgresql_t:s0 5678 0.1 2.0 234567 9876 ? Ss 10:05 0:01 \
/usr/libexec/postgresql/postgres -D /var/lib/pgsql/data
"""

HOST_NAMESPACE = 4026531840
TABLE_HEADER = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
LISTENING_ON_80 = "   0: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 500 1 0 1\n"
LISTENING_ON_5432 = "   1: 00000000:1538 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 501 1 0 1\n"
ON_80 = Socket("tcp", "ipv4", "0.0.0.0", 80, None, None, "listen")
ON_5432 = Socket("tcp", "ipv4", "0.0.0.0", 5432, None, None, "listen")


def add_process(
    root: Path,
    pid: int,
    *,
    command: bytes = b"httpd",
    flags: int = 0x00400100,
    context: bytes | None = None,
    namespace: int | None = HOST_NAMESPACE,
    sockets: tuple[int, ...] = (),
    **files: Any,
) -> Path:
    """The directory of one process; `files` are cmdline, cgroup, exe and the text of the tables, as tcp and so on."""
    directory = root / str(pid)
    for name in ("attr", "ns", "fd", "net"):
        (directory / name).mkdir(parents=True)
    (directory / "stat").write_bytes(b"%d (%s) S 1 %d 1 0 -1 %d 2 7\n" % (pid, command, pid, flags))
    (directory / "cmdline").write_bytes(files.pop("cmdline", b""))
    (directory / "cgroup").write_bytes(files.pop("cgroup", b"0::/init.scope\n"))
    if context is not None:
        (directory / "attr" / "current").write_bytes(context)
    if "exe" in files:
        (directory / "exe").symlink_to(files.pop("exe"))
    if namespace is not None:
        (directory / "ns" / "net").symlink_to(f"net:[{namespace}]")
    for number, inode in enumerate(sockets, start=3):
        (directory / "fd" / str(number)).symlink_to(f"socket:[{inode}]")
    (directory / "fd" / "0").symlink_to("/dev/null")
    for table, text in files.items():
        (directory / "net" / table).write_text(text)
    return directory


def read(root: Path, selinux: bool = True) -> dict[int, Process]:
    return {process.pid: process for process in procfs.read_processes(selinux, str(root))}


def test_the_processes_of_the_article(tmp_path: Path) -> None:
    for line in PS_LINES.splitlines():
        context, pid, *_numbers, _time, arguments = line.split(None, 10)
        add_process(
            tmp_path, int(pid), context=context.encode() + b"\0", exe=arguments.split()[0],
            cmdline=b"".join(part.encode() + b"\0" for part in arguments.split()),
            command=os.path.basename(arguments.split()[0]).encode(),
        )
    httpd, postgres = read(tmp_path).values()
    assert httpd.context is not None
    assert httpd.context == ("system_u:system_r:httpd_t:s0", "system_u", "system_r", "httpd_t", "s0")
    assert (httpd.pid, httpd.command, httpd.executable) == (1234, "httpd", "/usr/sbin/httpd")
    assert httpd.command_line == ("/usr/sbin/httpd", "-DFOREGROUND")
    assert postgres.context is not None
    assert postgres.context.type == "postgresql_t"
    assert postgres.command_line == ("/usr/libexec/postgresql/postgres", "-D", "/var/lib/pgsql/data")


def test_the_owner_of_the_directory_is_the_effective_user(tmp_path: Path) -> None:
    add_process(tmp_path, 7)
    assert read(tmp_path)[7].uid == os.geteuid()


def test_names_of_any_shape(tmp_path: Path) -> None:
    add_process(tmp_path, 7, command=b") S 1 (x\n y", exe="/opt/a b/) (deleted)", cmdline=b"\xff\0a\nb\0")
    process = read(tmp_path)[7]
    assert process.command == ") S 1 (x\n y"
    assert process.executable == "/opt/a b/)"
    assert process.command_line == (r"\xff", "a\nb")


def test_without_selinux_no_context_is_read(tmp_path: Path) -> None:
    add_process(tmp_path, 7, context=b"unconfined\n")
    assert read(tmp_path, selinux=False)[7].context is None


def test_a_context_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    add_process(tmp_path, 7)
    assert read(tmp_path)[7].context is None


def test_a_kernel_thread_has_a_context_and_no_sockets(tmp_path: Path) -> None:
    add_process(
        tmp_path, 2, flags=0x00200040, command=b"kthreadd", context=b"system_u:system_r:kernel_t:s0\0", sockets=(500,),
        tcp=TABLE_HEADER + LISTENING_ON_80,
    )
    thread = read(tmp_path)[2]
    assert thread.kernel_thread
    assert thread.context is not None
    assert thread.context.type == "kernel_t"
    assert (thread.executable, thread.command_line, thread.listening, thread.sockets_readable) == (None, (), (), True)


def test_the_tables_of_a_namespace_are_read_through_one_process(tmp_path: Path) -> None:
    add_process(tmp_path, 1, tcp=TABLE_HEADER + LISTENING_ON_80)
    add_process(tmp_path, 2, sockets=(500, 501), tcp=TABLE_HEADER + LISTENING_ON_5432)
    assert read(tmp_path)[2].listening == (ON_80,)


def test_without_sockets_neither_descriptors_nor_tables_are_read(tmp_path: Path) -> None:
    add_process(tmp_path, 1, context=b"system_u:system_r:httpd_t:s0", sockets=(500,), tcp="no table at all\n" * 2)
    with pytest.raises(SenetError, match="no table at all"):
        read(tmp_path)
    (process,) = procfs.read_processes(True, str(tmp_path), sockets=False)
    assert process.context is not None
    assert (process.context.type, process.listening, process.network_namespace) == ("httpd_t", (), None)


def test_each_namespace_has_tables_of_its_own(tmp_path: Path) -> None:
    add_process(tmp_path, 1, tcp=TABLE_HEADER + LISTENING_ON_80)
    add_process(tmp_path, 2, namespace=4026532200, sockets=(501,), tcp=TABLE_HEADER + LISTENING_ON_5432)
    process = read(tmp_path)[2]
    assert (process.network_namespace, process.listening) == (4026532200, (ON_5432,))


def test_a_socket_passed_in_from_another_namespace_is_found(tmp_path: Path) -> None:
    add_process(tmp_path, 1, tcp=TABLE_HEADER + LISTENING_ON_80)
    add_process(tmp_path, 2, namespace=4026532200, sockets=(500,), tcp=TABLE_HEADER)
    assert read(tmp_path)[2].listening == (ON_80,)


def test_a_socket_open_twice_is_listed_once(tmp_path: Path) -> None:
    add_process(tmp_path, 1, sockets=(500, 500), tcp=TABLE_HEADER + LISTENING_ON_80)
    assert read(tmp_path)[1].listening == (ON_80,)


def test_a_socket_has_a_label_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = {"500": b"system_u:system_r:sshd_t:s0-s0:c0.c1023\0"}
    asked: list[str] = []

    def getxattr(path: str, name: str) -> bytes:
        assert name == "security.selinux"
        asked.append(path)
        inode = os.readlink(path)[len("socket:["):-1]
        if inode not in labels:
            raise OSError(errno.ENODATA, "No data available")
        return labels[inode]

    monkeypatch.setattr(os, "getxattr", getxattr)
    add_process(
        tmp_path, 1, context=b"user_u:user_r:user_t:s0\0", sockets=(500, 501),
        tcp=TABLE_HEADER + LISTENING_ON_80 + LISTENING_ON_5432
    )
    found = read(tmp_path)[1]
    assert [(sock.local_port, sock.domain) for sock in found.listening] == [(80, "sshd_t"), (5432, None)]
    assert found.listening[0].context == "system_u:system_r:sshd_t:s0-s0:c0.c1023"
    asked.clear()
    assert read(tmp_path, selinux=False)[1].listening[0].context == ""
    assert asked == []


def test_the_label_of_a_socket_of_this_machine_is_what_the_kernel_says_of_the_socket() -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        try:
            label = os.getxattr(one.fileno(), "security.selinux").rstrip(b"\0").decode()
        except OSError:  # without SELinux
            label = ""
        own = next(process for process in procfs.read_processes(True) if process.pid == os.getpid())
        port = one.getsockname()[1]
    assert [sock.context for sock in own.listening if sock.local_port == port] == [label]


def test_a_table_longer_than_one_read(tmp_path: Path) -> None:
    rows = "".join(
        f"{number:4d}: 00000000:{number:04X} 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 "
        f"{10000 + number} 1 0 1\n"
        for number in range(1, 3001)
    )
    add_process(tmp_path, 1, sockets=tuple(range(10001, 13001)), tcp=TABLE_HEADER + rows)
    assert [sock.local_port for sock in read(tmp_path)[1].listening] == list(range(1, 3001))


def test_units_are_found_below_the_cgroup_of_process_1(tmp_path: Path) -> None:
    add_process(tmp_path, 1, cgroup=b"1:name=systemd:/docker/4f5e/init.scope\n")
    add_process(tmp_path, 2, cgroup=b"1:name=systemd:/docker/4f5e/system.slice/apache2.service\n")
    process = read(tmp_path)[2]
    assert (process.unit, process.cgroup) == ("apache2.service", "/docker/4f5e/system.slice/apache2.service")


def test_whether_selinux_is_mounted(tmp_path: Path) -> None:
    (tmp_path / "mounts").write_text("proc /proc proc rw 0 0\n")
    assert not procfs.selinux_mounted(str(tmp_path))
    (tmp_path / "mounts").write_text("proc /proc proc rw 0 0\nselinuxfs /sys/fs/selinux selinuxfs rw 0 0\n")
    assert procfs.selinux_mounted(str(tmp_path))


class _RefusingOs:
    """The os module, where the kernel refuses one call as it does for another user's process."""

    def __init__(self, call: str, name: str) -> None:
        self._call = call
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        real = getattr(os, attribute)
        if attribute != self._call:
            return real

        def refuse(name: str, *args: Any, **kwargs: Any) -> Any:
            if name == self._name:
                raise PermissionError(13, "Permission denied", name)
            return real(name, *args, **kwargs)

        return refuse


@pytest.mark.parametrize(("call", "name"), [("open", "fd"), ("readlink", "3")])
def test_descriptors_that_are_refused_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, name: str
) -> None:
    add_process(tmp_path, 1, sockets=(500,), tcp=TABLE_HEADER + LISTENING_ON_80)
    monkeypatch.setattr(procfs, "os", _RefusingOs(call, name))
    process = read(tmp_path)[1]
    assert (process.listening, process.sockets_readable) == ((), False)


class _EndingOs:
    """The os module, where a process ends just before the given call."""

    def __init__(self, victim: Path, before_call: int) -> None:
        self._victim = victim
        self._remaining = before_call

    def __getattr__(self, attribute: str) -> Any:
        real = getattr(os, attribute)
        if attribute not in ("open", "read", "readlink", "listdir", "stat", "fstat"):
            return real

        def call(*args: Any, **kwargs: Any) -> Any:
            self._remaining -= 1
            if self._remaining == 0:
                shutil.rmtree(self._victim)
            return real(*args, **kwargs)

        return call

    @property
    def has_ended(self) -> bool:
        return self._remaining <= 0


def test_a_process_may_end_before_any_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = TABLE_HEADER + LISTENING_ON_80 + LISTENING_ON_5432
    common: dict[str, Any] = {"context": b"system_u:system_r:httpd_t:s0\0", "exe": "/usr/sbin/httpd"}
    call, ended = 0, True
    while ended:
        call += 1
        root = tmp_path / str(call)
        victim = add_process(root, 2, sockets=(500, 501), tcp=tables, tcp6=TABLE_HEADER, udp=TABLE_HEADER, **common)
        add_process(root, 3, sockets=(500,), tcp=tables, **common)
        complete = read(root)
        ending = _EndingOs(victim, call)
        with monkeypatch.context() as patch:
            patch.setattr(procfs, "os", ending)
            found = read(root)
        ended = ending.has_ended
        assert found.get(2) in (None, complete[2])
        assert found[3] == complete[3]
    assert call > 30


def test_reading_while_processes_come_and_go() -> None:
    stop = threading.Event()

    def churn() -> None:
        while not stop.is_set():
            children = [subprocess.Popen(["true"]) for _child in range(8)]
            for child in children:
                child.wait()

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _round in range(20):
            found = read(Path("/proc"), selinux=False)
            assert found[os.getpid()].ppid == os.getppid()
            assert not found[os.getpid()].kernel_thread
    finally:
        stop.set()
        thread.join()


def test_no_descriptor_stays_open() -> None:
    before = set(os.listdir("/proc/self/fd"))
    procfs.read_processes(False)
    assert set(os.listdir("/proc/self/fd")) == before
