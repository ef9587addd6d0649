# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A flow between two hosts that talk by IPsec, ESP in transport mode, as it is and in UDP (NAT traversal).

The associations are static and carry no label: what is asked is whether the flow's own labels survive the transform.
"""

import re
from collections.abc import Iterator

import pytest

from tests.lab.controller import Controller
from tests.lab.lab import Lab
from tests.lab.probes import as_domain, connect, context, listener
from tests.lab.vm import Host
from tests.vm.conftest import BACKENDS

pytestmark = [pytest.mark.policy, pytest.mark.thorough]

PORT, OTHER_PORT = 60901, 60902
WEB, DB = {"ipv4": "10.77.0.1", "ipv6": "fd77::1"}, {"ipv4": "10.77.0.2", "ipv6": "fd77::2"}
FLOW = {"name": "web_db", "source": ["httpd_t"], "destination": ["postgresql_t"], "ports": [PORT]}
FLOWS = [FLOW, {**FLOW, "name": "ask", "protocol": "udp"}]
KEYS = "auth 'hmac(sha256)' 0x" + "0123456789abcdef" * 4 + " enc 'cbc(aes)' 0x" + "fedcba9876543210" * 2
# What NAT traversal has in place of a program: the socket whose datagrams the kernel takes as ESP (UDP_ENCAP)
ENCAP = """
import pathlib, signal, socket
for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
    made = socket.socket(family, socket.SOCK_DGRAM)
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    made.bind((address, 4500))
    made.setsockopt(socket.IPPROTO_UDP, 100, 2)
    globals()[f"kept_{family}"] = made
pathlib.Path("/run/encap.ready").touch()
signal.pause()
"""

SPI = {"web": "0x00010001", "db": "0x00010002"}

Hosts = tuple[Host, Host]


def transforms(host: Host, encapsulated: bool) -> str:
    """The commands after which all TCP between the two hosts, and UDP of the flow, goes by ESP or not at all."""
    lines = ["set -e", "ip xfrm state flush", "ip xfrm policy flush"]
    for family, nowhere in (("ipv4", "0.0.0.0"), ("ipv6", "::")):
        encap = f" encap espinudp 4500 4500 {nowhere}" if encapsulated else ""
        for sender, source, target, side in (
            ("web", WEB[family], DB[family], "dport"),
            ("db", DB[family], WEB[family], "sport"),
        ):
            place, direction = f"src {source} dst {target}", "out" if host.name == sender else "in"
            lines.append(f"ip xfrm state add {place} proto esp spi {SPI[sender]} mode transport {KEYS}{encap}")
            for selector in ("proto tcp", f"proto udp {side} {PORT}"):
                add = f"ip xfrm policy add {place} {selector} dir {direction}"
                lines.append(f"{add} tmpl {place} proto esp mode transport")
    return "\n".join(lines)


def transformed(host: Host) -> dict[tuple[str, ...], int]:
    """How many packets each of a host's associations has taken, by its two ends."""
    states = re.split(r"^src ", host.run("ip -statistics xfrm state").stdout, flags=re.MULTILINE)[1:]
    found = (re.match(r"(\S+) dst (\S+).*?bytes\), (\d+)\(packets\)", state, re.DOTALL) for state in states)
    return {match.groups()[:2]: int(match[3]) for match in found if match}


@pytest.fixture(scope="module")
def hosts(lab: Lab) -> Iterator[Hosts]:
    """A client's host and the server's; the flow is in force on both, and the client's domain has nothing else."""
    with lab.start("web", state="slim", link=True) as web, lab.start("db", state="slim", link=True) as db:
        for host in (web, db):
            host.run("modprobe -a esp4 esp6 xfrm_user; cat >/usr/local/bin/encap.py", input=ENCAP, check=False)
            host.run(
                "setsid python3 /usr/local/bin/encap.py >/run/encap.log 2>&1 </dev/null & "
                "until [ -e /run/encap.ready ]; do sleep 0.1; done"
            )
        yield web, db


@pytest.fixture(scope="module", params=BACKENDS)
def enforced(request: pytest.FixtureRequest, hosts: Hosts) -> tuple[Hosts, str]:
    for host in hosts:
        with Controller(host) as controller:
            options = {"flows": FLOWS, "confine": ["httpd_t"], "backend": request.param, "confirm_timeout": 300}
            result = controller.module(host, "senet.firewall.flows", **options)
        assert result.get("guard", {}).get("confirmed"), result.get("msg", result)
        assert result["backend"] == request.param
    return hosts, request.param


@pytest.fixture(scope="module", params=["ESP", "ESP in UDP"])
def by_ipsec(request: pytest.FixtureRequest, enforced: tuple[Hosts, str]) -> tuple[Hosts, str, str]:
    hosts, backend = enforced
    for host in hosts:
        host.run("bash -s", input=transforms(host, request.param == "ESP in UDP"))
    return hosts, backend, request.param


def ask(hosts: Hosts, domain: str, address: str, protocol: str, server: str = "postgresql_t", port: int = PORT) -> str:
    """How a client fares with a server that sends back what comes; both are sockets with a domain's label."""
    web, db = hosts
    label = ["--as-context", context(server)] if server != "unconfined_t" else []
    with listener(db, address, port, "--protocol", protocol, *label):
        options = ("--protocol", protocol, "--send", "probe", "--expect-reply", "--timeout", "3")
        if domain == "unconfined_t":
            return connect(web, address, port, *options).result
        return as_domain(web, domain, address, port, *options).result


def test_the_flow_passes_and_goes_by_ipsec(by_ipsec: tuple[Hosts, str, str]) -> None:
    hosts, backend, kind = by_ipsec
    before = [transformed(host) for host in hosts]
    results = {
        (protocol, address): ask(hosts, "httpd_t", address, protocol)
        for protocol in ("tcp", "udp")
        for address in DB.values()
    }
    # docs/limits.md, "ESP in UDP with iptables": a confined domain is cut off
    passes = (backend, kind) != ("iptables", "ESP in UDP")
    assert set(results.values()) == {"connected"} if passes else "connected" not in results.values(), results
    if passes:
        for host, old in zip(hosts, before, strict=True):
            new = transformed(host)
            assert len(new) == 4
            assert all(new[name] > old[name] for name in new), (host.name, old, new)


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_nobody_else_is_a_client(by_ipsec: tuple[Hosts, str, str], protocol: str) -> None:
    hosts = by_ipsec[0]
    for address in DB.values():
        for domain in ("unconfined_t", "sshd_t"):
            assert ask(hosts, domain, address, protocol) != "connected"


def test_nobody_else_is_the_server(by_ipsec: tuple[Hosts, str, str]) -> None:
    hosts = by_ipsec[0]
    for address in DB.values():
        for protocol in ("tcp", "udp"):
            assert ask(hosts, "httpd_t", address, protocol, "unconfined_t") != "connected"


def test_the_clients_domain_gets_nowhere_else_and_the_rest_does(by_ipsec: tuple[Hosts, str, str]) -> None:
    hosts = by_ipsec[0]
    for address in DB.values():
        assert ask(hosts, "httpd_t", address, "tcp", "unconfined_t", OTHER_PORT) != "connected"
        assert ask(hosts, "unconfined_t", address, "tcp", "unconfined_t", OTHER_PORT) == "connected"
