# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parsing what /proc says of a process; selecting and summarising processes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.processes import (
    Process,
    ProcessContext,
    Selection,
    explain_gaps,
    has_selinuxfs,
    manager_root,
    parse_cgroup,
    parse_command_line,
    parse_context,
    parse_executable,
    parse_selection,
    parse_stat,
    parse_units,
    process_as_dict,
    select,
    summarise_domains,
)
from ansible_collections.senet.firewall.plugins.module_utils._values.sockets import Socket

identifiers = st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True)
levels = st.from_regex(r"s[0-9](:c[0-9]{1,4}(\.c[0-9]{1,4})?)?(-s[0-9](:c[0-9]{1,4}(,c[0-9]{1,4})*)?)?", fullmatch=True)
NOTHING = {"domains": [], "users": [], "commands": [], "ports": [], "listening": False}


def a_process(pid: int, domain: str | None = None, **fields: Any) -> Process:
    defaults = {
        "pid": pid,
        "ppid": 1,
        "context": domain and parse_context(f"system_u:system_r:{domain}:s0\0".encode()),
        "user": "root",
        "uid": 0,
        "executable": "/usr/sbin/httpd",
        "command": "httpd",
        "command_line": ("/usr/sbin/httpd", "-DFOREGROUND"),
        "kernel_thread": False,
        "unit": "httpd.service",
        "user_unit": None,
        "cgroup": "/system.slice/httpd.service",
        "network_namespace": 4026531840,
        "listening": (),
        "connected": (),
        "sockets_readable": True,
    }
    return Process(**{**defaults, **fields})


def listens(port: int) -> Socket:
    return Socket("tcp", "ipv4", "0.0.0.0", port, None, None, "listen")


def connects(port: int, local_port: int = 40000) -> Socket:
    return Socket("tcp", "ipv4", "127.0.0.1", local_port, "127.0.0.1", port, "established")


def pids(processes: list[Process]) -> list[int]:
    return [process.pid for process in processes]


@given(identifiers, identifiers, identifiers, st.none() | levels, st.sampled_from(["", "\0", "\n"]))
def test_a_context_comes_back(user: str, role: str, type_: str, level: str | None, end: str) -> None:
    raw = ":".join(part for part in (user, role, type_, level) if part is not None)
    assert parse_context((raw + end).encode()) == ProcessContext(raw, user, role, type_, level)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"system_u:system_r:sshd_t:s0-s0:c0.c1023\0", ("system_u", "system_r", "sshd_t", "s0-s0:c0.c1023")),
        (b"system_u:object_r:unlabeled_t:s0\0", ("system_u", "object_r", "unlabeled_t", "s0")),
        (b"system_u:system_r:init_t\0", ("system_u", "system_r", "init_t", None)),
        (b"kernel\0", (None, None, None, None)),
    ],
)
def test_contexts_of_every_shape(data: bytes, expected: tuple[str | None, ...]) -> None:
    assert parse_context(data) == (data.rstrip(b"\0").decode(), *expected)


@pytest.mark.parametrize("data", [b"", b"\0", b"\n"])
def test_an_empty_context_is_none(data: bytes) -> None:
    assert parse_context(data) is None


@given(
    st.integers(1, 2**22),
    st.binary(max_size=64).filter(lambda name: b"\0" not in name),
    st.integers(0, 2**22),
    st.booleans(),
)
def test_the_fields_of_stat_come_back_whatever_the_name(pid: int, name: bytes, ppid: int, kernel_thread: bool) -> None:
    flags = 0x00200040 if kernel_thread else 0x00400100
    stat = parse_stat(b"%d (%s) S %d 1 1 0 -1 %d 29428 765489 0 622 29\n" % (pid, name, ppid, flags))
    assert (stat.pid, stat.ppid, stat.kernel_thread) == (pid, ppid, kernel_thread)
    assert stat.command == name.decode("utf-8", "backslashreplace")


@pytest.mark.parametrize("data", [b"", b"1 (x", b"1 x) S 0", b"1 (x) S 0 0 0 0 -1", b") S 0 0 0 0 -1 0 ("])
def test_text_that_is_no_stat_is_named(data: bytes) -> None:
    with pytest.raises(SenetError, match="is not the text of a /proc/PID/stat"):
        parse_stat(data)


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))))
def test_arguments_come_back(arguments: list[str]) -> None:
    while arguments and not arguments[-1]:
        arguments.pop()
    data = b"".join(argument.encode() + b"\0" for argument in arguments)
    assert parse_command_line(data) == tuple(arguments)


def test_the_padding_of_a_rewritten_title_is_no_argument() -> None:
    assert parse_command_line(b"nginx: worker process\0\0\0\0\0") == ("nginx: worker process",)


@given(st.binary())
def test_any_bytes_of_a_command_line_survive_json(data: bytes) -> None:
    arguments = list(parse_command_line(data))
    assert json.loads(json.dumps(arguments).encode("utf-8")) == arguments
    "".join(arguments).encode("utf-8")


def test_bytes_that_are_no_utf8_are_shown_as_escapes() -> None:
    assert parse_command_line(b"caf\xc3\xa9\0caf\xe9\0") == ("café", r"caf\xe9")


def test_the_mark_of_a_deleted_executable_is_left_out() -> None:
    assert parse_executable(b"/usr/sbin/httpd (deleted)") == "/usr/sbin/httpd"
    assert parse_executable(b"/opt/my app (old)/run") == "/opt/my app (old)/run"


@pytest.mark.parametrize(
    ("data", "path"),
    [
        (b"0::/system.slice/apache2.service\n", "/system.slice/apache2.service"),
        (b"12:pids:/a\n1:name=systemd:/system.slice/ssh.service\n0::/b\n", "/system.slice/ssh.service"),
        (b"9:name=systemd:/\n0::/system.slice/apache2.service\n", "/system.slice/apache2.service"),
        (b"9:name=systemd:/\n", "/"),
        (b"4:memory:/x\n3:cpuset:/\n", None),
        (b"0::/a:b:c\n", "/a:b:c"),
        (b"0::/user.slice/session-3.scope (deleted)\n", "/user.slice/session-3.scope"),
        (b"", None),
    ],
)
def test_the_cgroup_that_systemd_manages(data: bytes, path: str | None) -> None:
    assert parse_cgroup(data) == path


cgroup_names = st.text(st.characters(exclude_characters="\n/\0", exclude_categories=["Cs"]), min_size=1).filter(
    lambda name: not name.endswith(" (deleted)")
)


@given(st.lists(cgroup_names), st.booleans())
def test_a_cgroup_path_comes_back_in_both_versions(parts: list[str], legacy: bool) -> None:
    path = "/" + "/".join(parts)
    lines = f"5:devices:/other\n1:name=systemd:{path}\n" if legacy else f"0::{path}\n"
    assert parse_cgroup(lines.encode()) == path


@pytest.mark.parametrize(
    ("cgroup", "unit", "user_unit"),
    [
        ("/system.slice/apache2.service", "apache2.service", None),
        ("/system.slice/system-postgresql.slice/postgresql@15-main.service", "postgresql@15-main.service", None),
        ("/system.slice/docker-4f5e.scope/nested", "docker-4f5e.scope", None),
        ("/init.scope", "init.scope", None),
        ("/user.slice/user-1000.slice/session-3.scope", "session-3.scope", None),
        ("/user.slice/user-1000.slice/user@1000.service/init.scope", "user@1000.service", "init.scope"),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/mail.service", "user@1000.service", "mail.service"),
        ("/user.slice/user-7.slice/user@7.service/a.slice/a-b.slice/x@1.service", "user@7.service", "x@1.service"),
        ("/user.slice/user-1000.slice/user@1000.service", "user@1000.service", None),
        ("/system.slice/_cpu.service", "cpu.service", None),
        ("/user.slice", None, None),
        ("/", None, None),
        ("/docker/4f5e", None, None),
        ("/../../system.slice/x.service", None, None),
        (None, None, None),
    ],
)
def test_units(cgroup: str | None, unit: str | None, user_unit: str | None) -> None:
    assert parse_units(cgroup) == (unit, user_unit)


@given(st.lists(identifiers.map("{}.slice".format)), identifiers.map("{}@1.service".format), st.lists(identifiers))
def test_the_unit_is_what_follows_the_slices(slices: list[str], unit: str, below: list[str]) -> None:
    found, _user_unit = parse_units("/" + "/".join([*slices, unit, *below]))
    assert found == unit


@pytest.mark.parametrize(
    ("first", "root"),
    [
        (None, ""),
        ("/", ""),
        ("/init.scope", ""),
        ("/docker/4f5e/init.scope", "/docker/4f5e"),
        ("/docker/4f5e/system.slice", "/docker/4f5e"),
        ("/docker/4f5e", "/docker/4f5e"),
    ],
)
def test_where_systemd_keeps_its_units(first: str | None, root: str) -> None:
    assert manager_root(first) == root


def test_units_of_a_container_that_sees_the_hosts_cgroups() -> None:
    assert parse_units("/docker/4f5e/system.slice/apache2.service", "/docker/4f5e") == ("apache2.service", None)
    assert parse_units("/machine.slice/apache2.service", "/machine") == (None, None)


@pytest.mark.parametrize(
    ("mounts", "expected"),
    [
        (b"proc /proc proc rw 0 0\nselinuxfs /sys/fs/selinux selinuxfs rw,noexec 0 0\n", True),
        (b"proc /proc proc rw 0 0\nselinuxfs /mnt tmpfs rw 0 0\n", False),
        (b"", False),
    ],
)
def test_selinux_is_on_where_its_file_system_is_mounted(mounts: bytes, expected: bool) -> None:
    assert has_selinuxfs(mounts) is expected


PROCESSES = [
    a_process(10, "httpd_t", listening=(listens(80),), connected=(connects(5432),)),
    a_process(11, "httpd_t", user="www-data", uid=33, listening=(listens(80),)),
    a_process(20, "postgresql_t", user="postgres", uid=26, command="postmaster", executable="/usr/bin/postgres",
              listening=(listens(5432),)),
    a_process(30, "kernel_t", executable=None, command="kworker/0:1-events", kernel_thread=True),
    a_process(40, None, user=None, uid=4711, executable="/opt/Tool", command="sh"),
]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [10, 11, 20, 30, 40]),
        ({"domains": ["httpd_t"]}, [10, 11]),
        ({"domains": ["httpd_t", "postgresql_t"]}, [10, 11, 20]),
        ({"domains": ["httpd"]}, []),
        ({"users": ["www-data", "26"]}, [11, 20]),
        ({"users": ["4711"]}, [40]),
        ({"commands": ["postgres"]}, [20]),
        ({"commands": ["postm*"]}, [20]),
        ({"commands": ["kworker/*"]}, [30]),
        ({"commands": ["tool", "[T]ool"]}, [40]),
        ({"commands": ["tool", "ostgre", "/usr/bin/postgres"]}, []),
        ({"ports": [5432]}, [10, 20]),
        ({"ports": [40000]}, [10]),
        ({"listening": True}, [10, 11, 20]),
        ({"listening": True, "ports": [5432]}, [20]),
        ({"domains": ["httpd_t"], "users": ["root"]}, [10]),
        ({"domains": ["httpd_t"], "users": ["postgres"]}, []),
    ],
)
def test_selections(options: dict[str, Any], expected: list[int]) -> None:
    assert pids(select(PROCESSES, parse_selection({**NOTHING, **options}))) == expected


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_a_port_that_does_not_exist_is_refused(port: int) -> None:
    with pytest.raises(SenetError, match=f"Port {port} in option 'ports' does not exist"):
        parse_selection({**NOTHING, "ports": [80, port]})


def test_the_summary_counts_a_shared_socket_once() -> None:
    assert summarise_domains(PROCESSES[:2]) == {
        "httpd_t": {
            "processes": 2,
            "pids": [10, 11],
            "users": ["root", "www-data"],
            "executables": ["/usr/sbin/httpd"],
            "listening": [{"protocol": "tcp", "family": "ipv4", "address": "0.0.0.0", "port": 80, "context": None}],
            "connected": [
                {
                    "protocol": "tcp",
                    "family": "ipv4",
                    "local_address": "127.0.0.1",
                    "local_port": 40000,
                    "remote_address": "127.0.0.1",
                    "remote_port": 5432,
                    "state": "established",
                    "context": None,
                }
            ],
        }
    }


def test_a_process_without_a_domain_is_in_no_summary() -> None:
    before_policy = a_process(50)._replace(context=parse_context(b"kernel\0"))
    assert list(summarise_domains([*PROCESSES, before_policy])) == ["httpd_t", "kernel_t", "postgresql_t"]


def test_the_summary_gives_the_number_of_a_user_without_a_name() -> None:
    assert summarise_domains([a_process(60, "httpd_t", user=None, uid=4711)])["httpd_t"]["users"] == ["4711"]


def test_a_process_as_the_module_returns_it() -> None:
    with_arguments = process_as_dict(PROCESSES[2], True)
    assert with_arguments == {
        "pid": 20,
        "ppid": 1,
        "context": {
            "raw": "system_u:system_r:postgresql_t:s0",
            "user": "system_u",
            "role": "system_r",
            "type": "postgresql_t",
            "level": "s0",
        },
        "user": "postgres",
        "uid": 26,
        "executable": "/usr/bin/postgres",
        "command": "postmaster",
        "command_line": ["/usr/sbin/httpd", "-DFOREGROUND"],
        "kernel_thread": False,
        "unit": "httpd.service",
        "user_unit": None,
        "cgroup": "/system.slice/httpd.service",
        "network_namespace": 4026531840,
        "listening": [{"protocol": "tcp", "family": "ipv4", "address": "0.0.0.0", "port": 5432, "context": None}],
        "connected": [],
        "sockets_readable": True,
    }
    del with_arguments["command_line"]
    assert process_as_dict(PROCESSES[2], False) == with_arguments
    assert process_as_dict(PROCESSES[4], False)["context"] is None


def test_a_complete_list_has_no_gaps() -> None:
    assert explain_gaps([a_process(1, "init_t")], True, Selection(domains=frozenset(["httpd_t"]))) == []


def test_each_gap_is_named() -> None:
    hidden = [a_process(7, sockets_readable=False), a_process(8)]
    gaps = explain_gaps(hidden, False, Selection(domains=frozenset(["httpd_t", "init_t"])))
    assert len(gaps) == 3
    assert "'domains' (httpd_t, init_t) selects none" in gaps[0]
    assert "sockets of 1 of 2 processes" in gaps[1]
    assert "hidepid" in gaps[2]
