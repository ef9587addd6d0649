# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What packet_denial_info costs on a long log of auditd's, made up here: reading, parsing, grouping, advice, JSON."""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ansible_collections.senet.firewall.plugins.module_utils._decisions.advice import Known
from ansible_collections.senet.firewall.plugins.module_utils._decisions.denial_rows import rows
from ansible_collections.senet.firewall.plugins.module_utils._decisions.denials import Collector, Wish
from ansible_collections.senet.firewall.plugins.module_utils._host.audit import read_audit_log
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import flow_set
from ansible_collections.senet.firewall.plugins.module_utils._values.parsing import parse_flow

from .figures import Figure, Goal

FEW, MANY = 100_000, 1_000_000
ROUNDS = 3
SECONDS = 1795219898
FLOWS = flow_set(
    parse_flow({"name": f"flow_{number}", "source": ["httpd_t"], "destination": ["postgresql_t"], "ports": [number]})
    for number in range(5400, 5450)
)
_CHILD = "import sys; from tests.bench.records import report; report(sys.argv[1])"


def log_lines(count: int, seed: int = 1) -> Iterator[str]:
    """Mixed records: of packets, connects with their two further records, peers, files, logins; some cut short, some
    enriched, with domains, addresses and ports that hardly ever come twice."""
    chance = random.Random(seed)
    made = 0
    while made < count:
        stamp = f"audit({SECONDS + made // 50}.{made % 1000:03}:{made + 1})"
        kind = chance.random()
        lines = [f"type=AVC msg={stamp}: {_avc(chance)}"]
        if kind < 0.1:
            lines = _connect(stamp, chance)
        elif kind < 0.3:
            lines = [
                f"type=USER_LOGIN msg={stamp}: pid={made} uid=0 auid=0 ses=2 "
                "subj=system_u:system_r:sshd_t:s0-s0:c0.c1023 msg='op=login id=0 hostname=? addr=192.0.2.7 res=success'"
            ]
        elif kind < 0.4:
            lines = [
                f'type=AVC msg={stamp}: avc:  denied  {{ read }} for  pid={made} comm="sh" name="shadow" dev="sda1" '
                "ino=1234 scontext=system_u:system_r:httpd_t:s0 tcontext=system_u:object_r:shadow_t:s0 tclass=file "
                "permissive=0"
            ]
        elif kind < 0.42:
            lines = [lines[0][: chance.randrange(len(lines[0]))]]
        for line in lines[: count - made]:
            yield line + ('\x1dARCH=x86_64 SYSCALL=connect AUID="unset" UID="www-data"' if kind > 0.9 else "")
        made += len(lines)


def _avc(chance: random.Random) -> str:
    domain = chance.choice(("unconfined_t", "redis_t", f"app{chance.randrange(10**6)}_t"))
    peer = chance.random() < 0.1
    tcontext = "senet_default_peer_t" if peer else f"senet_flow_{chance.randrange(5400, 5450)}_client_packet_t"
    port = chance.choice((5432, chance.randrange(1, 65536)))
    return (
        f"avc:  {chance.choice(('denied', 'denied', 'granted'))}  {{ {'recv' if peer else 'send'} }} for  "
        f'pid={chance.randrange(4194304)} comm="worker" saddr=10.{chance.randrange(256)}.{chance.randrange(256)}.'
        f"{chance.randrange(256)} src={chance.randrange(32768, 61000)} daddr=2001:db8::{chance.randrange(65536):x} "
        f"dest={port} netif=eth{chance.randrange(8)} scontext=system_u:system_r:{domain}:s0 "
        f"tcontext=system_u:object_r:{tcontext}:s0 tclass={'peer' if peer else 'packet'} permissive=0"
    )


def _connect(stamp: str, chance: random.Random) -> list[str]:
    return [
        f"type=AVC msg={stamp}: avc:  denied  {{ name_connect }} for  pid=901 comm=6E67696E783A20776F726B6572 "
        f"dest={chance.randrange(1, 65536)} scontext=system_u:system_r:httpd_t:s0 "
        "tcontext=system_u:object_r:postgresql_port_t:s0 tclass=tcp_socket permissive=0",
        f"type=SYSCALL msg={stamp}: arch=c000003e syscall=42 success=no exit=-13 a0=8 a1=55f0 a2=10 a3=0 items=0 "
        "ppid=1 pid=901 auid=4294967295 uid=33 gid=33 euid=33 suid=33 fsuid=33 egid=33 sgid=33 fsgid=33 tty=(none) "
        'ses=1 comm=6E67696E783A20776F726B6572 exe="/usr/sbin/nginx" subj=system_u:system_r:httpd_t:s0 key=(null)',
        f"type=SOCKADDR msg={stamp}: saddr=02001538C00002{chance.randrange(256):02X}0000000000000000",
    ]


def report(path: str) -> None:
    """Prints what this process has taken for a log: seconds, seconds of processor, peak memory in KiB."""
    began = time.monotonic(), time.process_time()
    collector = Collector(FLOWS, Wish())
    for line in read_audit_log(path, None):
        collector.feed(line)
    known = Known(FLOWS, "Debian", {}, frozenset(), {})
    size = len(json.dumps(rows(collector, known, [])))
    took = time.monotonic() - began[0], time.process_time() - began[1]
    found = {
        "seconds": round(took[0], 2),
        "processor": round(took[1], 2),
        "kibibytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        "records": collector.records,
        "groups": len(collector.groups),
        "left_out": collector.left_out,
        "unreadable": collector.unreadable,
        "result_bytes": size,
    }
    print(json.dumps(found))


def of_log(count: int) -> dict[str, float]:
    """What a process of its own takes for a log of so many records."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "audit.log"
        with path.open("w") as log:
            log.writelines(line + "\n" for line in log_lines(count))
        done = subprocess.run([sys.executable, "-c", _CHILD, str(path)], capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def measure(progress: Callable[[str], None]) -> list[Figure]:
    """A million records beside a tenth of them."""
    runs = []
    for number in range(ROUNDS):
        progress(f"records: run {number + 1} of {ROUNDS}")
        runs.append((of_log(MANY), of_log(FEW)))
    many, few = f"{MANY:,}", f"{FEW:,}"
    return [
        Figure(
            "denials_time_1000000",
            f"packet_denial_info's own work, processor time per record of a log of {many} ÷ one of {few}",
            Goal(1.2),
            "s",
            tuple((above["processor"] / MANY, below["processor"] / FEW) for above, below in runs),
        ),
        Figure(
            "denials_memory_1000000",
            f"peak memory of the same, {many} records ÷ {few}",
            Goal(1.1),
            "KiB",
            tuple((above["kibibytes"], below["kibibytes"]) for above, below in runs),
        ),
    ]


if __name__ == "__main__":
    print(json.dumps(of_log(int(sys.argv[1]) if sys.argv[1:] else MANY), indent=1))
