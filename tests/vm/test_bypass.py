# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ways around the flow httpd_t -> postgresql_t on one host, over both families; none of them leads through."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from tests.lab.probes import ADDRESSES, Probe, as_domain, connect, listener, through_apache
from tests.lab.vm import Host
from tests.vm.facts import FEDORA, policy_name
from tests.vm.facts import POSTGRESQL as POSTGRESQL_UNIT

pytestmark = [pytest.mark.core, pytest.mark.smoke]
POSTGRESQL = 5432
CLIENT_TYPE = "senet_httpd_to_postgresql_client_packet_t"
each_family = pytest.mark.parametrize("family", sorted(ADDRESSES))

# What a raw socket sends: a TCP segment with SYN and FIN set, which conntrack calls INVALID.
RAW_SEGMENT = """
import socket, struct
address, port = {address!r}, {port}
family = socket.AF_INET6 if ":" in address else socket.AF_INET
segment = struct.pack("!HHIIBBHHH", 40000, port, 1, 0, 5 << 4, 3, 1024, 0, 0)
try:
    socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_TCP).sendto(segment, (address, 0))
    print("sent")
except ConnectionRefusedError:
    print("refused")
"""


def apache(host: Host, path: str, family: str) -> Probe:
    return through_apache(host, f"{path}{family[-1]}")


def refused_at_once(probe: Probe) -> bool:
    return probe.result == "refused" and probe.seconds < 1


@contextmanager
def rules(host: Host, table: str, *arguments: str) -> Iterator[None]:
    """The same rules in both families for a while; the table is otherwise empty."""
    commands = [f"{tool} -w -t {table} {rule}" for tool in ("iptables", "ip6tables") for rule in arguments]
    host.run(" && ".join(commands))
    try:
        yield
    finally:
        host.run(f"iptables -w -t {table} -F; ip6tables -w -t {table} -F")


def notrack(host: Host, port: int) -> AbstractContextManager[None]:
    hooks, ends = ("OUTPUT", "PREROUTING"), ("sport", "dport")
    return rules(host, "raw", *(f"-A {hook} -p tcp --{end} {port} -j NOTRACK" for hook in hooks for end in ends))


@contextmanager
def stopped(host: Host, unit: str) -> Iterator[None]:
    host.run(f"systemctl stop {unit}")
    try:
        yield
    finally:
        host.run(f"systemctl start {unit}")


def audit_record(host: Host, text: str) -> str:
    """The first AVC record with a text; auditd writes it soon after the kernel's decision."""
    search = f"ausearch --input-logs --message AVC </dev/null 2>/dev/null | grep -m 1 '{text}'"
    return host.run(f"for n in $(seq 50); do {search} && exit 0; sleep 0.1; done; exit 1").stdout


@each_family
def test_apache_reaches_postgresql(enforced_by_each: Host, family: str) -> None:
    probe = apache(enforced_by_each, "pg", family)
    assert probe.result == "connected"
    assert probe.context == "system_u:system_r:httpd_t:s0"


@pytest.mark.parametrize("user", ["www-data", "root"])
@each_family
def test_same_user_and_root_outside_httpd_t_are_refused(enforced_by_each: Host, family: str, user: str) -> None:
    # A source port of its own, to tell its record from others.
    source = str(42000 + len(user))
    probe = connect(enforced_by_each, ADDRESSES[family], POSTGRESQL, "--source-port", source, user=user)
    assert ":unconfined_t:" in probe.context
    assert refused_at_once(probe)
    record = audit_record(enforced_by_each, f"src={source} daddr={ADDRESSES[family]} dest={POSTGRESQL} ")
    assert "denied  { send }" in record
    assert "scontext=unconfined_u:unconfined_r:unconfined_t:" in record
    assert f"tcontext=system_u:object_r:{CLIENT_TYPE}:s0 tclass=packet" in record


@each_family
def test_redirected_port_is_the_port_that_answers(enforced_by_each: Host, family: str) -> None:
    with rules(enforced_by_each, "nat", f"-A OUTPUT -p tcp --dport 15432 -j REDIRECT --to-ports {POSTGRESQL}"):
        assert refused_at_once(connect(enforced_by_each, ADDRESSES[family], 15432))
        assert apache(enforced_by_each, "pgalt", family).result == "connected"


@each_family
def test_untracked_packets_are_matched_by_port(enforced_by_each: Host, family: str) -> None:
    with notrack(enforced_by_each, POSTGRESQL):
        assert refused_at_once(connect(enforced_by_each, ADDRESSES[family], POSTGRESQL))
        assert apache(enforced_by_each, "pg", family).result == "connected"


@each_family
def test_invalid_packets_are_matched_by_port(enforced_by_each: Host, family: str) -> None:
    def raw(port: int) -> str:
        script = RAW_SEGMENT.format(address=ADDRESSES[family], port=port)
        return enforced_by_each.run("python3 -", input=script).stdout.strip()

    assert raw(POSTGRESQL) == "refused"
    assert raw(9999) == "sent"


@each_family
def test_the_server_is_no_client(enforced_by_each: Host, family: str) -> None:
    assert refused_at_once(as_domain(enforced_by_each, "postgresql_t", ADDRESSES[family], POSTGRESQL))


def test_postgresql_itself_cannot_connect_by_dblink(enforced_by_each: Host) -> None:
    query = (
        "CREATE EXTENSION IF NOT EXISTS dblink; "
        "SELECT dblink_connect('host=127.0.0.1 port=5432 dbname=postgres password=none connect_timeout=3')"
    )
    answer = enforced_by_each.run(f'cd /; runuser -u postgres -- psql -c "{query}"', check=False)
    assert answer.rc == 1
    assert "Connection refused" in answer.stderr


@each_family
def test_clients_fail_fast_when_postgresql_is_stopped(enforced_by_each: Host, family: str) -> None:
    with stopped(enforced_by_each, POSTGRESQL_UNIT):
        assert refused_at_once(apache(enforced_by_each, "pg", family))
        assert refused_at_once(connect(enforced_by_each, ADDRESSES[family], POSTGRESQL))


@each_family
def test_an_impostor_gets_nothing(enforced_by_each: Host, family: str) -> None:
    address = ADDRESSES[family]
    with stopped(enforced_by_each, POSTGRESQL_UNIT), listener(enforced_by_each, address, POSTGRESQL):
        # The kernel drops what httpd_t sends before the impostor sees it, so the proxy's own timeout ends it.
        assert apache(enforced_by_each, "pg", family).result == "refused"
        assert refused_at_once(connect(enforced_by_each, address, POSTGRESQL))
        assert "accepted" not in enforced_by_each.run(f"cat /run/listener-{address}-{POSTGRESQL}.log").stdout


@each_family
def test_other_traffic_is_left_alone(enforced_by_each: Host, family: str) -> None:
    address = ADDRESSES[family]
    enforced_by_each.run(f"ping -c 1 -W 2 {address}")
    assert connect(enforced_by_each, address, 6379, "--send", "PING\n", "--expect-reply").result == "connected"
    assert apache(enforced_by_each, "ssh", family).result == "connected"
    # Fedora's policy lets no socket of kernel_t listen.
    kernel = [] if policy_name(enforced_by_each) == FEDORA else ["kernel_t"]
    for domain in ("redis_t", "httpd_t", "postgresql_t", *kernel):
        with listener(enforced_by_each, address, 60999, "--as-context", f"system_u:system_r:{domain}:s0"):
            assert connect(enforced_by_each, address, 60999, "--send", "x", "--expect-reply").result == "connected"
    with listener(enforced_by_each, address, 5399, "--protocol", "udp"):
        answer = connect(enforced_by_each, address, 5399, "--protocol", "udp", "--expect-reply")
        assert answer.result == "connected"
