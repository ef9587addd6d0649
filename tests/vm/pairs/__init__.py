# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pairs whose services Debian ships, on two hosts: `web.sh` and `db.sh` set them up, SCENARIOS says what to try.

All of them are in force at once, on both hosts, so that one run of semodule is enough. Where two pairs have one port,
addresses tell their flows apart.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.lab.vm import Host

HERE = Path(__file__).parent
WEB, DB = "10.77.0.1", "10.77.0.2"
CONTROLLER = "10.0.2.2"
SETUP_SECONDS = 1200
WORKS_SECONDS = 120
RIVAL_SECONDS = 120
# How many of the server's answers were good; chronyc's last but one figure
NTP_ANSWERS = f"chronyc -c ntpdata {DB} | rev | cut -d, -f2 | rev"

Hosts = Mapping[str, Host]


class Scenario(NamedTuple):
    """One pair. Each step is a host and a shell command, {token} in it a word of its own.

    `works` are the steps by which the client gets its service, each awaited; the last is proof. `rival` is a process
    that is not the pair's and tries the same, with success before the flow and none afterwards; it connects or answers
    in the domain unconfined_t, as the user of the pair's own process where that is possible.
    """

    flow: dict[str, Any]
    works: tuple[tuple[str, str], ...]
    rival: tuple[str, str]

    @property
    def pair(self) -> str:
        return str(self.flow["pair"])


def connects(user: str, address: str, port: int) -> str:
    """A connection by a user's process in unconfined_t."""
    return f"runuser -u {user} -- senet-probe connect {address} {port} --timeout 5"


def asks(address: str, port: int, question: str) -> str:
    """A datagram by root in unconfined_t, and the answer to it."""
    return f"senet-probe connect {address} {port} --protocol udp --send '{question}' --expect-reply --timeout 5"


def impostor(address: str, port: int) -> str:
    """The same, asked of another process in unconfined_t that answers there for as long."""
    ready = "/run/impostor"
    listen = f"senet-probe listen {address} {port} --protocol udp --echo --ready-file {ready} >/dev/null"
    ask = asks(address, port, "anything")
    return f"rm -f {ready}; {listen} & until test -s {ready}; do sleep 0.1; done; {ask}; rc=$?; kill $!; exit $rc"


def application(pair: str, port: int, address: str = "127.0.0.1", **options: Any) -> Scenario:
    """What a PHP application asks; the rival has its user."""
    return Scenario(
        {"pair": pair, **options},
        (("web", f"curl -sf 'http://127.0.0.1/ask.php?pair={pair}' | grep ^system_u:system_r:httpd_t:"),),
        ("web", connects("www-data", address, port)),
    )


def mail(pair: str, domain: str, proof: str, user: str, port: int) -> Scenario:
    """A message that Postfix passes on. The sender's own pipe is none that Postfix may write to."""
    send = f"printf 'Subject: {{token}}\\n\\nText\\n' | sendmail lab+{{token}}@{domain} >/dev/null 2>&1"
    return Scenario({"pair": pair}, (("db", send), ("db", proof)), ("db", connects(user, "127.0.0.1", port)))


def zabbix_value(item: int) -> tuple[tuple[str, str], ...]:
    """The server's database gets a value that is newer than this moment."""
    query = f"select 1 from history_str where itemid = {item} and clock > $(cat /run/zabbix_asked) limit 1"
    return (
        ("db", "date +%s > /run/zabbix_asked"),
        ("db", f'cd /; runuser -u zabbix -- psql -At zabbix -c "{query}" | grep 1'),
    )


SCENARIOS = (
    application("httpd_to_postgresql", 5432),
    application("httpd_to_mysqld", 3306),
    application("httpd_to_redis", 6379),
    application("httpd_to_memcached", 11211),
    application("httpd_to_slapd", 389),
    application("httpd_to_postfix", 25, DB, destination_addresses=[DB]),
    Scenario(
        {"pair": "httpd_to_php_fpm", "ports": ["8009"]},
        (("web", "curl -sf http://127.0.0.1/ask.php | grep ^system_u:system_r:httpd_t:"),),
        ("web", connects("www-data", "127.0.0.1", 8009)),
    ),
    Scenario(
        {"pair": "haproxy_to_httpd", "destination_addresses": [DB]},
        (("web", "curl -sf http://127.0.0.1:8443/"),),
        ("web", connects("haproxy", DB, 8080)),
    ),
    Scenario(
        {"pair": "nginx_to_http", "destination_addresses": ["127.0.0.3"]},
        (("web", "curl -sf http://127.0.0.1:8008/"),),
        ("web", connects("www-data", "127.0.0.3", 8080)),
    ),
    Scenario(
        {"pair": "squid_to_http", "destination_addresses": ["127.0.0.4"]},
        (("web", "curl -sf -x http://127.0.0.1:3128 'http://127.0.0.4/?{token}'"),),
        ("web", connects("proxy", "127.0.0.4", 80)),
    ),
    mail("postfix_to_dovecot", "lmtp.test", "grep '^Subject: {token}' /var/mail/lab", "postfix", 24),
    mail("postfix_to_spamd", "spam.test", "grep 'to=<lab+{token}@.*status=sent' /var/log/mail.log", "nobody", 783),
    Scenario(
        {"pair": "named_to_named", "destination_addresses": [DB]},
        (
            ("db", "echo '@ TXT {token}' >> /etc/bind/pairs.test"),
            ("db", 'sed -i "s/ns root [0-9]*/ns root $(date +%s)/" /etc/bind/pairs.test'),
            ("db", "rndc reload pairs.test"),
            ("web", "rndc retransfer pairs.test"),
            ("web", "dig +short +tries=1 @127.0.0.1 pairs.test TXT | grep {token}"),
        ),
        ("web", f"dig +tries=1 +time=5 @{DB} pairs.test AXFR | grep ^ns"),
    ),
    # The rivals of these two are servers: who asks is not the matter of such a pair.
    Scenario(
        {"pair": "domain_to_named", "destination_addresses": ["127.0.0.0/30"]},
        (("web", "dig +short +tries=1 @127.0.0.1 ns.pairs.test | grep 10.77.0.2"),),
        ("web", impostor("127.0.0.2", 53)),
    ),
    Scenario(
        {"pair": "domain_to_unbound", "destination_addresses": ["127.0.0.54/31"]},
        (("web", "dig +short +tries=1 @127.0.0.54 www.unbound.test | grep 192.0.2.81"),),
        ("web", impostor("127.0.0.55", 53)),
    ),
    Scenario(
        {"pair": "zabbix_agent_to_zabbix_server"},
        zabbix_value(1),
        ("web", connects("zabbix", DB, 10051)),
    ),
    Scenario(
        {"pair": "zabbix_server_to_zabbix_agent"},
        zabbix_value(2),
        ("db", connects("zabbix", WEB, 10050)),
    ),
    Scenario(
        {"pair": "chronyd_to_ntp"},
        (
            ("web", f"{NTP_ANSWERS} > /run/ntp_answers"),
            ("web", f"test $({NTP_ANSWERS}) -gt $(cat /run/ntp_answers)"),
        ),
        # A client's request: version 4, mode 3
        ("web", asks(DB, 123, "#" * 48)),
    ),
    Scenario(
        {"pair": "rsyslogd_to_rsyslogd"},
        (("web", "logger {token}"), ("db", "grep ': {token}' /var/log/remote.log")),
        ("web", connects("root", DB, 514)),
    ),
    # The rivals of these three come from an address that is not the pair's.
    Scenario(
        {"pair": "domain_to_sshd", "source_addresses": [CONTROLLER, DB]},
        (("db", f"ssh-keyscan -t ed25519 {WEB} | grep ssh-"),),
        ("web", connects("root", "127.0.0.1", 22)),
    ),
    Scenario(
        {"pair": "domain_to_snmpd", "source_addresses": [DB]},
        (("db", f"snmpget -v 2c -c public {WEB} 1.3.6.1.2.1.1.5.0 | grep web"),),
        ("web", "snmpget -v 2c -c public -r 0 -t 5 127.0.0.1 1.3.6.1.2.1.1.5.0"),
    ),
    Scenario(
        {"pair": "domain_to_node_exporter", "source_addresses": [DB]},
        (("db", f"curl -sf http://{WEB}:9100/metrics | grep ^node_"),),
        ("web", connects("root", "127.0.0.1", 9100)),
    ),
)  # fmt: skip
# What no scenario can show: Debian 12's policy lacks the domain.
COMPILED_ONLY = {"container_to_postgresql": "container_t"}
FLOWS = [scenario.flow for scenario in SCENARIOS]


def set_up(host: Host) -> None:
    """Starts the services that a host has in the pairs."""
    host.put((HERE / "ask.php").read_text(), "/var/www/html/ask.php")
    host.put((HERE / f"{host.name}.sh").read_text(), "/root/pairs.sh", 0o755)
    host.run("/root/pairs.sh", timeout=SETUP_SECONDS)


def works(hosts: Hosts, scenario: Scenario, seconds: int = WORKS_SECONDS) -> bool:
    """Whether the client gets its service within that time, each of its steps; with no time, at once."""
    token = uuid.uuid4().hex
    for name, command in scenario.works:
        once = command.replace("{token}", token)
        awaited = f"end=$(($(date +%s) + {seconds})); until {{ {once}; }} >/dev/null; do"
        awaited += " test $(date +%s) -lt $end || exit 1; sleep 0.3; done"
        if hosts[name].run(awaited, check=False, timeout=seconds + 60).rc:
            return False
    return True


def rival_succeeds(hosts: Hosts, scenario: Scenario) -> bool:
    """Whether the process that is not the pair's gets through."""
    name, command = scenario.rival
    return hosts[name].run(command, check=False, timeout=RIVAL_SECONDS).rc == 0


@contextmanager
def booleans(host: Host, names: Iterable[str], value: str) -> Iterator[None]:
    """The policy's booleans are `on` or `off` for as long, and then as they were."""
    before = [line.split() for name in names for line in host.run(f"getsebool {name}").stdout.splitlines()]
    if not before:
        yield
        return
    host.run("setsebool " + " ".join(f"{name}={value}" for name, *dummy in before))
    try:
        yield
    finally:
        host.run("setsebool " + " ".join(f"{name}={was}" for name, dummy, was in before))
