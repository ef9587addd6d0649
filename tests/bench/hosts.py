# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a play costs, on virtual machines that enforce SELinux: the tasks' seconds as the controller sees them."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible_collections.senet.firewall.plugins.module_utils._compile import iptables
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import flow_set
from ansible_collections.senet.firewall.plugins.module_utils._values.parsing import parse_flow
from tests.lab.controller import Controller
from tests.lab.lab import Lab
from tests.lab.vm import Host

from .figures import Figure, Goal

# As many as the median needs: a task's time varies by a tenth, a semodule's and the memory by less
ROUNDS, APPLY_ROUNDS, MEMORY_ROUNDS, BUILTIN_RULES = 6, 3, 2, 10
FLOWS, PING = "senet.firewall.flows", "ansible.builtin.ping"
PROCESSES, SOCKETS_EACH = 2000, 5
_HERE = Path(__file__).parent
_MEASURING_PYTHON = "/usr/local/bin/measuring-python"
_CROWD = "/usr/local/bin/crowd"
_LOADS = "ausearch --input-logs -m MAC_POLICY_LOAD </dev/null | grep -c ^type=MAC_POLICY_LOAD || true"
_REBUILD = (
    "python3 -c 'import bz2, sys; sys.stdout.buffer.write(bz2.decompress(sys.stdin.buffer.read()))' "
    "</var/lib/selinux/default/active/modules/400/senet_firewall/cil >/tmp/senet_firewall.cil && "
    "bash -c 'TIMEFORMAT=%R; time semodule -X 400 -i /tmp/senet_firewall.cil' 2>&1"
)
# Notes the peak resident size of each interpreter that Ansible starts, in KiB.
_MEASURING = """#!/usr/bin/python3
import os, resource, subprocess, sys
code = subprocess.call(["/usr/bin/python3", *sys.argv[1:]])
with open("/run/peaks", "a") as peaks:
    print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=peaks)
sys.exit(code)
"""
# Both sides do what they do for their caller: all of it read and put in order, and nothing printed to a terminal.
_INSPECT = """
import json, subprocess, sys, time
sys.path.insert(0, "/var/lib/senet-firewall/code")
from ansible_collections.senet.firewall.plugins.module_utils._host.procfs import read_processes
from ansible_collections.senet.firewall.plugins.module_utils._values.processes import process_as_dict, summarise_domains

def ours():
    processes = read_processes(True)
    found = [process_as_dict(process, True) for process in processes]
    return len(json.dumps({"processes": found, "domains": summarise_domains(processes)}))

def tools():
    for command in (["ps", "axZ"], ["ss", "-tunapZ"]):
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)

for number in range(5):
    seconds = []
    for work in (ours, tools):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    print(*seconds)
"""


def flows(count: int) -> list[dict[str, Any]]:
    """So many flows of one port each, as a play gives them."""
    base = {"source": ["httpd_t"], "destination": ["postgresql_t"]}
    return [{**base, "name": f"f{n}", "ports": [str(10_000 + n)]} for n in range(count)]


class Bench:
    """Two hosts with 50 and 500 flows in force, one of the distribution's policy and without a flow, and a controller
    that writes down how long tasks take."""

    def __init__(self, lab: Lab, directory: Path, progress: Callable[[str], None]) -> None:
        self.progress = progress
        self.times = directory / "times"
        os.environ["TASK_TIMES"] = str(self.times)
        self.hosts = {50: lab.start("web", state="slim"), 500: lab.start("db", state="slim")}
        self.stock = lab.start("stock")
        self.controller = Controller(*self.hosts.values(), self.stock, warm=False)
        (self.controller.path / "ansible.cfg").write_text(
            f"[defaults]\ncallback_plugins = {_HERE / 'callback'}\ncallbacks_enabled = task_times\n"
        )

    def tasks(self, host: Host, *tasks: dict[str, Any], **variables: Any) -> list[float]:
        """The seconds of each task of a play."""
        self.times.unlink(missing_ok=True)
        play = [{"hosts": host.name, "gather_facts": False, "vars": variables, "tasks": list(tasks)}]
        done = self.controller.playbook(play)
        if done.rc != 0:
            raise RuntimeError(done.output)
        return [json.loads(line)["seconds"] for line in self.times.read_text().splitlines()]

    def rebuilds(self) -> Figure:
        """Policy loads, as the kernel's audit log has them, for changes of four sizes."""
        pairs = []
        host = self.hosts[50]
        moved = [*flows(299), {**flows(300)[-1], "ports": ["20000"]}]
        for wanted in (flows(1), flows(300), moved, flows(50)):
            self.progress(f"policy rebuilds: a change to {len(wanted)} flows")
            before = int(host.run(_LOADS).stdout)
            self.tasks(host, {FLOWS: {"flows": wanted, "purge": True}})
            pairs.append((int(host.run(_LOADS).stdout) - before, 1))
        what = "policy rebuilds for a change: 1 flow, 300, one of 300, 250 removed"
        return Figure("semodule_runs_per_change", what, Goal(1), "rebuilds", tuple(pairs))

    def first(self, host: Host) -> Figure:
        """The first flow of a host with its distribution's policy, beside nothing but the rebuild that it needs."""
        pairs = []
        for number in range(APPLY_ROUNDS):
            self.progress(f"first run: round {number + 1} of {APPLY_ROUNDS}")
            dummy, whole = self.tasks(host, {PING: {}}, {FLOWS: {"flows": flows(1)}})
            # The same text again: semodule rebuilds and loads the policy all the same
            pairs.append((whole, float(host.run(_REBUILD, timeout=300).stdout.split()[-1])))
            self.tasks(host, {FLOWS: {"state": "absent"}})
        return Figure(
            "apply_vs_semodule", "a first run of one flow ÷ semodule -i of the same module alone", Goal(1.5), "s",
            tuple(pairs),
        )  # fmt: skip

    def unchanged(self) -> list[Figure]:
        """Nothing to do, beside ping; and with ten times the flows."""
        self.progress("no change: preparing 500 flows")
        self.tasks(self.hosts[500], {FLOWS: {"flows": flows(500)}})
        pings, fifty, many = [], [], []
        for number in range(ROUNDS):
            self.progress(f"no change: round {number + 1} of {ROUNDS}")
            # The first task of a play also opens the connection.
            dummy, ping, few = self.tasks(self.hosts[50], {PING: {}}, {PING: {}}, {FLOWS: {"flows": flows(50)}})
            dummy, lot = self.tasks(self.hosts[500], {PING: {}}, {FLOWS: {"flows": flows(500)}})
            pings.append(ping)
            fifty.append(few)
            many.append(lot)
        return [
            Figure(
                "nochange_vs_ping", "flows with 50 flows, nothing to do ÷ ping", Goal(1.5), "s",
                tuple(zip(fifty, pings, strict=True)),
            ),
            Figure(
                "nochange_500_vs_50", "500 flows ÷ 50 flows, nothing to do", Goal(1.5), "s",
                tuple(zip(many, fifty, strict=True)),
            ),
        ]  # fmt: skip

    def memory(self) -> Figure:
        """Peak resident size of the module's process on the target, beside ping's."""
        host = self.hosts[500]
        host.put(_MEASURING, _MEASURING_PYTHON, 0o755)
        pairs = []
        for number in range(MEMORY_ROUNDS):
            self.progress(f"memory: round {number + 1} of {MEMORY_ROUNDS}")
            peaks = []
            measured: list[dict[str, Any]] = [{FLOWS: {"flows": flows(500)}}, {PING: {}}]
            for task in measured:
                host.run("rm -f /run/peaks")
                self.tasks(host, task, ansible_python_interpreter=_MEASURING_PYTHON)
                peaks.append(max(map(int, host.run("cat /run/peaks").stdout.split())) / 1024)
            pairs.append((peaks[0], peaks[1]))
        what = "peak memory on the target, 500 flows ÷ ping"
        return Figure("memory_500", what, Goal(2), "MiB", tuple(pairs))

    def applied(self) -> Figure:
        """Fifty flows' labels put in force by one task, beside a task of ansible.builtin.iptables for each rule."""
        host = self.hosts[50]
        wanted = flow_set(parse_flow(flow) for flow in flows(50))
        rules = sum(len(iptables.compile_rules(wanted, family)) for family in ("ipv4", "ipv6"))
        loop = {
            "ansible.builtin.iptables": {
                "table": "mangle", "chain": "OUTPUT", "protocol": "tcp", "ctstate": ["INVALID", "UNTRACKED"],
                "destination_port": "{{ item }}", "jump": "ACCEPT",
            },
            "loop": list(range(30_000, 30_000 + BUILTIN_RULES)),
        }  # fmt: skip
        pairs = []
        for number in range(APPLY_ROUNDS):
            self.progress(f"apply: round {number + 1} of {APPLY_ROUNDS}")
            host.run("systemctl stop senet-firewall.service && iptables -t mangle -F")
            (ours,) = self.tasks(host, {FLOWS: {"flows": flows(50)}})
            (some,) = self.tasks(host, loop)
            pairs.append((some / BUILTIN_RULES * rules, ours))
        what = f"a task of ansible.builtin.iptables for each of {rules} rules ({BUILTIN_RULES} measured) ÷ one of flows"
        return Figure("apply_vs_builtin", what, Goal(100, at_least=True), "s", tuple(pairs))

    def inspected(self) -> Figure:
        """Our reading of many processes and sockets, beside the tools that show the same."""
        host = self.hosts[50]
        with tempfile.TemporaryDirectory() as directory:
            binary = Path(directory) / "crowd"
            subprocess.run(["gcc", "-O2", "-static", "-o", binary, _HERE / "crowd.c"], check=True)
            host.put(binary.read_bytes(), _CROWD, 0o755)
        self.progress(f"inspect: starting {PROCESSES} processes with {SOCKETS_EACH} sockets each")
        # A unit of its own: a session may have as many tasks as a service by default, which is too few on a small host.
        host.run(
            "systemd-run --quiet --unit=crowd -p TasksMax=infinity -p StandardOutput=file:/run/crowd.out "
            f"{_CROWD} {PROCESSES} {SOCKETS_EACH}; "
            "until grep -q ready /run/crowd.out; do systemctl is-active --quiet crowd || exit 1; sleep 0.2; done",
            timeout=120,
        )
        self.progress("inspect: measuring")
        lines = host.run("/usr/bin/python3 -", input=_INSPECT, timeout=600).stdout.splitlines()
        pairs = tuple((float(ours), float(tools)) for ours, tools in map(str.split, lines))
        host.run("systemctl stop crowd")
        many = f"{PROCESSES} processes, {PROCESSES * SOCKETS_EACH} sockets"
        what = f"process_context_info's own work ÷ ps axZ and ss -tunapZ, {many}"
        return Figure("inspect_vs_tools", what, Goal(2), "s", pairs)


def measure(progress: Callable[[str], None]) -> list[Figure]:
    """The figures that need SELinux."""
    with Lab(progress) as lab, tempfile.TemporaryDirectory() as directory:
        bench = Bench(lab, Path(directory), progress)
        first = bench.first(bench.stock)
        bench.stock.stop()
        rebuilds = bench.rebuilds()
        unchanged = bench.unchanged()
        figures = [first, bench.applied(), *unchanged, rebuilds, bench.inspected(), bench.memory()]
        bench.controller.close()
        return figures
