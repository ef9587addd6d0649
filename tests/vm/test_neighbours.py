# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs that rewrite the tables: the flows stay enforced or are back at once, and what is theirs stays theirs."""

import re
import time
from collections.abc import Callable
from typing import NamedTuple

import pytest

from tests.lab.controller import Controller
from tests.lab.lab import Lab
from tests.lab.probes import ADDRESSES, connect, through_apache
from tests.lab.states import State
from tests.lab.vm import Host
from tests.vm.conftest import BACKENDS

pytestmark = [pytest.mark.policy, pytest.mark.thorough]

FLOWS = "senet.firewall.flows"
# As the documentation promises
BACK_SECONDS = 10
SETTLE_SECONDS = 30
WARNING = "Another program removed labels or policy, and this host put them back"

# Rules of an administrator beside those of the neighbour, in tables that events empty and tables they leave
ADMIN = """
for command in iptables ip6tables; do
    $command -t mangle -A POSTROUTING -p tcp --dport 9 -j MARK --set-mark 9
    $command -t nat -A OUTPUT -p tcp --dport 10 -j REDIRECT --to-ports 9
    $command -A INPUT -p tcp --dport 9 -m comment --comment 'of the admin' -j ACCEPT
done
nft 'table inet admin { set known { type inet_service; elements = { 9, 10 } }
    chain input { type filter hook input priority 5; tcp dport @known accept; } }'
"""
# All rules but ours. Chains' own counters say nothing. nft shows the tables of iptables too, but less clearly.
FOREIGN = (
    "for command in iptables ip6tables iptables-legacy ip6tables-legacy; do echo $command; $command-save; done | "
    "sed -e '/^#/d' -e 's/ \\[[0-9]*:[0-9]*\\]$//' -e '/SENET_/d'; "
    "nft list tables | grep -vE '^table ip6? (raw|mangle|nat|filter|security)$' | sort | "
    "while read -r word family name; do [ $name = senet ] || nft -s list table $family $name; done"
)
NFT_TABLE = re.compile(r"^(table \w+ \w+ \{\n)(.*?)^\}", re.MULTILINE | re.DOTALL)
NFT_BLOCK = re.compile(r"^\t\w.*?^\t\}\n", re.MULTILINE | re.DOTALL)
EMPTY_TABLE = re.compile(r"^\*security\n(:[A-Z]+ ACCEPT\n)*COMMIT\n", re.MULTILINE)
# What is ours: the first rule of each hook, and the rules of our chains; or our table
OWN = {
    "iptables": (
        "for command in iptables ip6tables; do for hook in INPUT OUTPUT; do $command -t security -S $hook 1; done; "
        "$command -t security -S | grep -e '^-A SENET_'; done"
    ),
    "nftables": "nft -s list table inet senet",
}
NOTES = "cat /run/senet-firewall.repairs 2>/dev/null | wc -l"
# Ends when root is refused in both families and the watch has noted so many repairs; prints the seconds it took.
BACK = r"""
start=$(cut -d' ' -f1 /proc/uptime)
until {probes} && [ $({notes}) -ge {expected} ]; do
    sleep 0.1
    awk "{{ exit \$1 > $start + 60 }}" /proc/uptime || {{ echo 'not back after 60 seconds' >&2; exit 1; }}
done
awk "{{ print \$1 - $start }}" /proc/uptime
"""
PROBES = " && ".join(
    f"senet-probe connect {address} 5432 | grep -q '\"refused\"'" for address in ADDRESSES.values()
)


IPTABLES = BACKENDS[:1]


class Event(NamedTuple):
    """What an administrator types, and the backends whose labels it takes away."""

    command: str
    empties: tuple[str, ...] = ()


class Neighbour(NamedTuple):
    """A program that writes rules; `prepare` makes it ready without a rule written."""

    name: str
    prepare: str
    events: tuple[Event, ...]


# Neither the start nor the reload says when it is done, so a chain goes in that every rebuild takes away.
FIREWALLD_READY = {
    "nftables": (
        "nft add chain inet firewalld marker 2>/dev/null || true",
        "nft list table inet firewalld 2>/dev/null | grep -q 'chain filter_IN_public_allow' && "
        "! nft list ruleset | grep -qE 'chain marker|firewalld_policy_drop'",
    ),
    "iptables": (
        "iptables -N marker 2>/dev/null || true",
        "! iptables -S | grep -q '^-N marker' && "
        "for tool in iptables ip6tables; do $tool -S | grep -q -e '^-A IN_public_allow' && "
        "$tool -S INPUT | grep -q -e '-j REJECT' && $tool -S FORWARD | grep -q -e '-j REJECT' && "
        "$tool -S | grep -q -e '^-P INPUT ACCEPT' || exit 1; done",
    ),
}
# What firewall-cmd --complete-reload asks for. Debian's policy lets firewalld_t answer nobody over D-Bus, so that
# fails: the call is carried out, as long as somebody waits for the answer that never comes.
COMPLETE_RELOAD = (
    "{ dbus-send --system --print-reply --reply-timeout=5000 --dest=org.fedoraproject.FirewallD1 "
    "/org/fedoraproject/FirewallD1 org.fedoraproject.FirewallD1.completeReload || true; }"
)


def firewalld(backend: str) -> Neighbour:
    mark, ready = FIREWALLD_READY[backend]
    rebuilds = [*(f"systemctl {verb} firewalld" for verb in ("start", "reload", "restart")), COMPLETE_RELOAD]
    stop = Event("systemctl stop firewalld", IPTABLES)
    return Neighbour(
        f"firewalld-{backend}",
        f"sed -i 's/^FirewallBackend=.*/FirewallBackend={backend}/' /etc/firewalld/firewalld.conf",
        (*(Event(f"{mark}; {command} && until ({ready}); do sleep 0.2; done", IPTABLES) for command in rebuilds), stop),
    )


def flushes(command: str) -> Neighbour:
    return Neighbour(
        command,
        "true",
        (
            Event(f"{command} -F"),
            Event(f"{command} -F -t security", IPTABLES),
            # A chain that is in use cannot be deleted, so this alone fails beside ours.
            Event(f"{command} -X -t security || true"),
            Event(f"{command} -F -t security && {command} -X -t security", IPTABLES),
        ),
    )


NEIGHBOURS = (
    firewalld("nftables"),
    firewalld("iptables"),
    Neighbour(
        "docker",
        "true",
        (
            Event("systemctl start docker"),
            Event("systemctl restart docker"),
            Event("systemctl stop docker"),
        ),
    ),
    Neighbour(
        "nftables",
        "true",
        (
            Event("systemctl start nftables", BACKENDS),
            Event("systemctl restart nftables", BACKENDS),
            Event("systemctl reload nftables", BACKENDS),
            Event("systemctl stop nftables", BACKENDS),
            Event("nft flush ruleset", BACKENDS),
        ),
    ),
    flushes("iptables"),
    flushes("ip6tables"),
    Neighbour(
        "ufw",
        "ufw allow ssh",
        (Event("ufw --force enable"), Event("ufw reload"), Event("ufw disable")),
    ),
)


def foreign(host: Host) -> str:
    """All rules of others. The table security is there for our chains only, unless somebody else has a rule in it.

    nft lists the chains of a table in the order in which they were made, which says nothing: they are sorted here.
    """
    text = EMPTY_TABLE.sub("", host.run(FOREIGN, timeout=120).stdout)
    return NFT_TABLE.sub(lambda table: table[1] + "".join(sorted(NFT_BLOCK.findall(table[2]))) + "}", text)


def settled(host: Host, wanted: str = "") -> str:
    """The rules of others once they are as wanted, or do not change any more: firewalld goes on after it said done."""
    deadline = time.monotonic() + SETTLE_SECONDS
    before, now = "", foreign(host)
    while now != wanted and (wanted or now != before) and time.monotonic() < deadline:
        before, now = now, foreign(host)
    return now


def notes(host: Host) -> int:
    """How often the watch has put labels back."""
    return int(host.run(NOTES).stdout)


@pytest.fixture(scope="module")
def left_without_us(lab: Lab) -> Callable[[Neighbour], list[str]]:
    """The rules after each event on a host that has never seen the collection; asked once a neighbour."""
    known: dict[str, list[str]] = {}

    def left(neighbour: Neighbour) -> list[str]:
        if neighbour.name not in known:
            known[neighbour.name] = []
            with lab.start("web") as stock:
                stock.run(ADMIN + neighbour.prepare, timeout=120)
                for event in neighbour.events:
                    stock.run(event.command, timeout=180)
                    known[neighbour.name].append(settled(stock))
        return known[neighbour.name]

    return left


# What uses iptables alone never touches a table of nft's own.
USES_NFT = ("firewalld-nftables", "nftables")
EVERY_RUN = (("firewalld-nftables", "iptables"), ("nftables", "nftables"))
PAIRED = [(one, "iptables") for one in NEIGHBOURS] + [(one, "nftables") for one in NEIGHBOURS if one.name in USES_NFT]
STOCK_KERNEL = pytest.mark.stock_kernel("firewalld's iptables backend writes ebtables' tables too")


def marks(neighbour: str, backend: str) -> list[pytest.MarkDecorator]:
    often = [] if (neighbour, backend) in EVERY_RUN else [pytest.mark.thorough]
    return often + ([STOCK_KERNEL] if neighbour == "firewalld-iptables" else [])


CASES = [pytest.param(*case, marks=marks(case[0].name, case[1])) for case in PAIRED]


@pytest.mark.parametrize(("neighbour", "backend"), CASES, ids=lambda value: getattr(value, "name", value))
def test_flows_stay_enforced_beside(
    lab: Lab,
    enforced_by: State,
    left_without_us: Callable[[Neighbour], list[str]],
    neighbour: Neighbour,
    backend: str,
) -> None:
    expected = left_without_us(neighbour)
    with lab.start("web", state=enforced_by) as host, Controller(host) as controller:
        host.run(ADMIN + neighbour.prepare, timeout=120)
        own = host.run(OWN[backend]).stdout
        assert len(re.findall("^-A (?:IN|OUT)PUT -j SENET_", own, re.MULTILINE)) == 4 or own.count("secmark") > 4
        for event, rules in zip(neighbour.events, expected, strict=True):
            empties = backend in event.empties
            wanted = notes(host) + empties
            back = BACK.format(probes=PROBES, notes=NOTES, expected=wanted)
            # Over the session that was open before, which thereby has outlived it
            done = host.run(f"{{ {event.command}; }} >&2 || exit 1; {back}", timeout=240)
            seconds = float(done.stdout)
            print(f"{neighbour.name}: {event.command}: enforced after {seconds:.1f} s")
            assert seconds < BACK_SECONDS, event.command
            assert (notes(host) > wanted - empties) == empties, event.command
            assert host.run(OWN[backend]).stdout == own, event.command
            for path in ("pg4", "pg6"):
                assert through_apache(host, path).result == "connected", event.command
            assert [connect(host, address, 5432).result for address in ADDRESSES.values()] == ["refused"] * 2
            assert host.run("echo in", fresh=True).stdout == "in\n"
            assert settled(host, rules) == rules, event.command
        again = controller.module(host, FLOWS, backend=backend)
        assert (again["failed"], again["changed"]) == (False, False), again
        emptied = any(backend in event.empties for event in neighbour.events)
        assert any(WARNING in warning for warning in again["warnings"]) == emptied
