# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole module process_context_info on this machine's /proc, compared with ps and ss.

It needs ps and ss (Debian: procps, iproute2) and unshare (util-linux).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import IO, Any, NamedTuple

import pytest
import yaml

from ansible_collections.senet.firewall.plugins.modules import process_context_info as plugin
from tests.unit.module_arguments import patch_module_args
from tests.unit.scripted_host import process

# Listens on TCP and UDP, takes one IPv4 connection on each TCP socket, and stays until its input ends.
SERVER = """
import json, socket, sys
plain = socket.create_server(("127.0.0.1", 0))
dual = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
datagram = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
datagram.bind(("::1", 0))
print(json.dumps([sock.getsockname()[1] for sock in (plain, dual, datagram)]), flush=True)
accepted = [plain.accept(), dual.accept()]
print("accepted", flush=True)
sys.stdin.read()
"""
CLIENT = """
import socket, sys
plain, dual, datagram = (int(port) for port in sys.argv[1:])
connections = [socket.create_connection(("127.0.0.1", port)) for port in (plain, dual)]
connected = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
connected.connect(("::1", datagram))
print("connected", flush=True)
sys.stdin.read()
"""
IN_A_NAMESPACE = """
import socket, sys
server = socket.create_server(("0.0.0.0", 8080))
print("listening", flush=True)
sys.stdin.read()
"""
SS_STATES = {"LISTEN": "listen", "UNCONN": "unconnected", "ESTAB": "established"}


class Pair(NamedTuple):
    """A server and a client connected to it; the server's ports: TCP, TCP on both families, UDP."""

    server: int
    client: int
    plain: int
    dual: int
    datagram: int


@contextmanager
def running(command: list[str]) -> Iterator[tuple[int, IO[str]]]:
    """The pid of a program and its output; it is ended through its input."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process.pid, process.stdout
        finally:
            process.stdin.close()


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with ExitStack() as stack:
        server, server_output = stack.enter_context(running([sys.executable, "-c", SERVER, "", "caf\udce9"]))
        ports = json.loads(server_output.readline())
        client, client_output = stack.enter_context(running([sys.executable, "-c", CLIENT, *map(str, ports)]))
        assert client_output.readline() == "connected\n"
        assert server_output.readline() == "accepted\n"
        yield Pair(server, client, *ports)


def ansible(arguments: dict[str, Any], *flags: str) -> subprocess.CompletedProcess[str]:
    """`ansible localhost` with the module."""
    return subprocess.run(
        [sys.executable, "-m", "ansible", "adhoc", "localhost", "-i", "localhost,", "-c", "local", "-m",
         "senet.firewall.process_context_info", "-a", json.dumps(arguments) if arguments else "", *flags],
        env={**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_PYTHON_INTERPRETER": sys.executable},
        check=False, capture_output=True, text=True,
    )


def run_module(arguments: dict[str, Any], *flags: str) -> dict[str, Any]:
    """The result of the module, failed or not."""
    done = ansible(arguments, *flags)
    assert " => " in done.stdout, done.stdout + done.stderr
    result: dict[str, Any] = json.loads(done.stdout.split(" => ", 1)[1])
    return result


@pytest.fixture(scope="module")
def everything(pair: Pair) -> dict[str, Any]:
    return run_module({"details": True, "command_lines": True})


def by_pid(result: dict[str, Any], pid: int) -> dict[str, Any]:
    return next(process for process in result["processes"] if process["pid"] == pid)


def ps(field: str, pid: int) -> str:
    return subprocess.run(
        ["ps", "-o", f"{field}=", "-p", str(pid)], check=True, capture_output=True, text=True
    ).stdout.strip()


def ss(pid: int) -> set[tuple[Any, ...]]:
    """(protocol, address, port, remote address, remote port, state) of each socket that ss ascribes to the process."""
    table = subprocess.run(["ss", "-Htunap"], check=True, capture_output=True, text=True).stdout
    found = set()
    for line in table.splitlines():
        if re.search(rf"\bpid={pid},", line):
            protocol, state, _received, _sent, local, remote = line.split()[:6]
            ends = [*_ss_end(local), *_ss_end(remote)]
            if state in ("LISTEN", "UNCONN"):
                ends[2:] = [None, None]
            found.add((protocol, *ends, SS_STATES[state]))
    return found


def _ss_end(end: str) -> tuple[str, int | None]:
    address, _colon, port = end.rpartition(":")
    address = address.strip("[]").replace("::ffff:", "")
    return "::" if address == "*" else address, int(port) if port != "*" else None


def sockets(process: dict[str, Any]) -> set[tuple[Any, ...]]:
    listening = {
        (sock["protocol"], sock["address"], sock["port"], None, None,
         "listen" if sock["protocol"] == "tcp" else "unconnected")
        for sock in process["listening"]
    }
    connected = {
        (sock["protocol"], sock["local_address"], sock["local_port"], sock["remote_address"], sock["remote_port"],
         sock["state"])
        for sock in process["connected"]
    }
    return listening | connected


def test_the_sockets_are_those_of_ss(everything: dict[str, Any], pair: Pair) -> None:
    for pid, count in ((pair.server, 5), (pair.client, 3)):
        expected = ss(pid)
        assert len(expected) == count
        assert sockets(by_pid(everything, pid)) == expected


def test_the_family_is_that_of_the_packets(everything: dict[str, Any], pair: Pair) -> None:
    server = by_pid(everything, pair.server)
    assert {(sock["port"], sock["family"]) for sock in server["listening"]} == {
        (pair.plain, "ipv4"), (pair.dual, "ipv6"), (pair.datagram, "ipv6")
    }
    assert {(sock["local_port"], sock["family"]) for sock in server["connected"]} == {
        (pair.plain, "ipv4"), (pair.dual, "ipv4")
    }


def test_the_processes_are_those_of_ps(everything: dict[str, Any], pair: Pair) -> None:
    for pid in (pair.server, pair.client, 1):
        process = by_pid(everything, pid)
        assert process["ppid"] == int(ps("ppid", pid))
        assert process["uid"] == int(ps("euid", pid))
        assert process["user"] == ps("euser:64", pid)
        assert process["command"] == ps("comm", pid)
        assert process["unit"] == {"-": None}.get(ps("unit", pid), ps("unit", pid))
    assert by_pid(everything, pair.client)["executable"] == os.path.realpath(f"/proc/{pair.client}/exe")
    assert by_pid(everything, pair.client)["network_namespace"] == os.stat("/proc/self/ns/net").st_ino


def test_the_command_line_keeps_empty_arguments_and_odd_bytes(everything: dict[str, Any], pair: Pair) -> None:
    assert by_pid(everything, pair.server)["command_line"] == [sys.executable, "-c", SERVER, "", r"caf\xe9"]


def test_kernel_threads_are_told_from_processes(everything: dict[str, Any], pair: Pair) -> None:
    threads = {process["pid"] for process in everything["processes"] if process["kernel_thread"]}
    children = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", "2", "-p", "2"], check=False, capture_output=True, text=True
    ).stdout.split()
    # Workers of the kernel come and go between the two readings, kthreadd stays. A container shows none.
    assert (2 in threads) == ("2" in children and ps("comm", 2) == "kthreadd")
    assert pair.server not in threads
    assert all(by_pid(everything, pid)["executable"] is None for pid in threads)


def test_contexts_are_there_exactly_with_selinux(everything: dict[str, Any], pair: Pair) -> None:
    with open("/proc/mounts", encoding="utf-8") as mounts:
        assert everything["selinux"] == (" selinuxfs " in mounts.read())
    context = by_pid(everything, pair.server)["context"]
    if everything["selinux"]:
        assert context["raw"] == ps("label", pair.server)
        assert pair.server in everything["domains"][context["type"]]["pids"]
    else:
        assert context is None
        assert everything["domains"] == {}


def test_every_key_of_the_result_is_documented(everything: dict[str, Any], pair: Pair) -> None:
    documented = yaml.safe_load(plugin.RETURN)
    assert set(documented) == set(everything) - {"changed", "warnings", "deprecations"}
    keys = documented["processes"]["contains"]
    assert set(keys) == set(by_pid(everything, pair.server))
    for name in ("listening", "connected"):
        assert set(keys[name]["contains"]) == set(by_pid(everything, pair.server)[name][0])


def test_without_command_lines_the_rest_is_there(pair: Pair) -> None:
    process = by_pid(run_module({"ports": [pair.plain]}), pair.server)
    documented = yaml.safe_load(plugin.RETURN)["processes"]["contains"]
    assert set(process) == set(documented) - {"command_line"}


def test_a_whole_host_is_told_by_domain_unless_details_are_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(selinux: bool, **arguments: Any) -> dict[str, Any]:
        monkeypatch.setattr(plugin, "selinux_mounted", lambda: selinux)
        monkeypatch.setattr(plugin, "read_processes", lambda on: [process(1, "init_t"), process(20, "httpd_t")])
        capsys.readouterr()
        with patch_module_args(arguments), pytest.raises(SystemExit):
            plugin.main()
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    assert "processes" not in run(True)
    assert list(run(True)["domains"]) == ["httpd_t", "init_t"]
    assert "processes" not in run(True, domains=["httpd_t"], details=False)
    assert [one["pid"] for one in run(True, domains=["httpd_t"])["processes"]] == [20]
    assert len(run(True, details=True)["processes"]) == len(run(False)["processes"]) == 2


def test_the_filters_work_together_in_check_mode(pair: Pair) -> None:
    result = run_module({"ports": [pair.plain], "commands": ["python*"], "users": [str(os.geteuid())]}, "--check")
    assert not result["changed"]
    assert [process["pid"] for process in result["processes"]] == sorted([pair.server, pair.client])


def test_only_who_listens_on_the_port(pair: Pair) -> None:
    result = run_module({"ports": [pair.plain], "listening": True})
    assert [process["pid"] for process in result["processes"]] == [pair.server]


def test_a_domain_nobody_has_selects_none() -> None:
    done = ansible({"domains": ["no_such_domain_t"]})
    result = json.loads(done.stdout.split(" => ", 1)[1])
    assert result["processes"] == []
    assert ("[WARNING]: SELinux is off" in done.stderr) == (not result["selinux"])


def test_a_port_that_does_not_exist_fails() -> None:
    result = run_module({"ports": [70000]})
    assert result["msg"] == "Port 70000 in option 'ports' does not exist: give a number from 1 to 65535."


def test_a_process_in_another_network_namespace() -> None:
    command = ["unshare", "--user", "--map-root-user", "--net", sys.executable, "-c", IN_A_NAMESPACE]
    with running(command) as (pid, output):
        assert output.readline() == "listening\n"
        process = by_pid(run_module({"ports": [8080]}), pid)
        assert process["network_namespace"] == os.stat(f"/proc/{pid}/ns/net").st_ino
        assert process["network_namespace"] != os.stat("/proc/self/ns/net").st_ino
    found = {"protocol": "tcp", "family": "ipv4", "address": "0.0.0.0", "port": 8080, "context": None}
    assert process["listening"] == [found]
