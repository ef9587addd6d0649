# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user is told when a change cannot be made, on a real host that is afterwards as it was."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.lab.controller import Controller
from tests.lab.lab import Lab
from tests.lab.probes import ADDRESSES, connect, through_apache
from tests.lab.vm import Host
from tests.vm.conftest import ROLE, FirstRun, Module
from tests.vm.facts import facts

LOCK = "/var/lib/selinux/default/semanage.trans.LOCK"
PAIR = {"pair": "httpd_to_postgresql"}
WEB_DB = {"name": "web_db", "source": ["httpd_t"], "destination": ["postgresql_t"], "ports": [5432]}


def refusal(result: dict[str, Any]) -> str:
    """The message of a module that failed: it then returns nothing else of its own."""
    assert "steps" not in result, result
    return str(result["msg"])


class Target:
    """A booted host that no test may leave changed."""

    def __init__(self, host: Host, controller: Controller) -> None:
        self.host = host
        self.controller = controller

    def refuses(self, *flows: dict[str, Any], **options: Any) -> str:
        """The message with which the module refuses these flows."""
        result = self.controller.module(self.host, "senet.firewall.flows", flows=list(flows), **options)
        return refusal(result)


@pytest.fixture(scope="module")
def shared(lab: Lab) -> Iterator[Target]:
    with lab.start("web") as host, Controller(host) as controller:
        yield Target(host, controller)


@pytest.fixture
def target(shared: Target) -> Iterator[Target]:
    before = facts(shared.host)
    yield shared
    assert facts(shared.host) == before


@contextmanager
def commands_gone(host: Host, pattern: str) -> Iterator[None]:
    host.run(f"mkdir /root/gone && mv /usr/sbin/{pattern} /root/gone/")
    try:
        yield
    finally:
        host.run("mv /root/gone/* /usr/sbin/ && rmdir /root/gone")


@contextmanager
def full_store(host: Host) -> Iterator[None]:
    """The policy store on a file system with room for itself, and not for the copy that a transaction makes."""
    host.run(
        "set -e; mkdir /run/full; context=$(stat -c %C /var/lib/selinux); "
        "size=$(($(du -sm /var/lib/selinux | cut -f1) + 4)); "
        "mount -t tmpfs -o size=${size}m,rootcontext=$context full /run/full; "
        "cp -a /var/lib/selinux/. /run/full/; mount --bind /run/full /var/lib/selinux"
    )
    try:
        yield
    finally:
        host.run("umount /var/lib/selinux; umount /run/full; rmdir /run/full")


@contextmanager
def locked_store(host: Host) -> Iterator[int]:
    """Another process changes the policy; yields its pid."""
    hold = f"setsid flock --no-fork {LOCK} sleep 600 >/dev/null 2>&1 </dev/null &"
    host.run(f"{hold} while flock --nonblock {LOCK} true; do sleep 0.1; done")
    pid = int(host.run("pgrep -x -f 'sleep 600'").stdout)
    try:
        yield pid
    finally:
        host.run(f"kill {pid}")


def test_unknown_domain(target: Target) -> None:
    message = target.refuses({**WEB_DB, "source": ["nosuch_t"]})
    assert message.startswith("The domain 'nosuch_t' of the flow 'web_db' is not in the loaded policy")


def test_type_that_is_no_domain(target: Target) -> None:
    message = target.refuses({**WEB_DB, "source": ["httpd_exec_t"]})
    assert message.startswith("The type 'httpd_exec_t' of the flow 'web_db' is not a domain")


def test_two_flows_on_one_port(target: Target) -> None:
    message = target.refuses(WEB_DB, {**WEB_DB, "name": "other"})
    assert message.startswith("The flows 'other' and 'web_db' both claim tcp/5432")


def test_flow_that_would_cut_ssh(target: Target) -> None:
    message = target.refuses({**WEB_DB, "ports": [22]})
    assert "'sshd_t' (sshd, pid " in message
    assert "tcp 0.0.0.0 port 22) by the flow 'web_db'" in message
    assert "Nothing was changed" in message


def test_policy_store_locked_by_another_semodule(target: Target) -> None:
    with locked_store(target.host) as pid:
        message = target.refuses(PAIR)
    assert message.startswith(f"The policy store 'default' is locked by pid {pid} (sleep)")
    assert message.endswith("Nothing was changed.")


def test_policy_store_without_room(target: Target) -> None:
    with full_store(target.host):
        message = target.refuses(PAIR)
    assert message.startswith("semodule could not install the policy module 'senet_firewall'")
    assert "Could not copy files to sandbox" in message


@pytest.mark.parametrize("pattern", ["ip*tables*", pytest.param("ip6tables*", marks=pytest.mark.thorough)])
def test_no_iptables(target: Target, pattern: str) -> None:
    with commands_gone(target.host, pattern):
        message = target.refuses(PAIR, backend="iptables")
    assert message.startswith("The commands of the backend 'iptables' are not on this host; install")


def test_nothing_that_labels(target: Target) -> None:
    with commands_gone(target.host, "{ip*tables*,nft}"):
        message = target.refuses(PAIR)
    assert message.startswith("This host has neither iptables and ip6tables nor nft")
    assert "install the package nftables" in message


@pytest.mark.parametrize("tool", ["ip6tables", pytest.param("iptables", marks=pytest.mark.thorough)])
def test_label_rule_of_another_program(enforced: Host, module: Callable[[Host], Module], tool: str) -> None:
    rule = "-A OUTPUT -p udp -m udp --dport 514 -j SECMARK --selctx system_u:object_r:senet_default_packet_t:s0"
    enforced.run(f"{tool} -t mangle {rule}")
    before = facts(enforced)
    assert f"'{tool} mangle: {rule}'" in refusal(module(enforced)("flows", flows=[WEB_DB], purge=True))
    assert facts(enforced) == before


def test_rules_that_fail_to_load_are_undone(enforced: Host, module: Callable[[Host], Module]) -> None:
    enforced.run("systemctl stop senet-firewall-watch.service")
    enforced.run("iptables -t security -F SENET_OUTPUT; ip6tables -t security -F SENET_OUTPUT")
    enforced.run("rm /usr/sbin/ip6tables-restore && ln -s /bin/false /usr/sbin/ip6tables-restore")
    before = facts(enforced)
    message = refusal(module(enforced)("flows", flows=[PAIR]))
    assert message.startswith("/usr/sbin/ip6tables-restore refused the ipv6 rules")
    assert message.endswith("What had been done was undone.")
    assert facts(enforced) == before


def test_permissive_mode_warns_and_holds_from_the_switch_on(host: Host, first_run: FirstRun) -> None:
    host.run("setenforce 0")
    with Controller(host) as controller:
        play = controller.playbook(ROLE)
    assert play.recap["web"]["changed"] == 1
    warning = "SELinux is permissive on this host: the flows are in place, but nothing is enforced until"
    assert warning in " ".join(play.output.split())
    assert facts(host) == first_run.enforced
    for address in ADDRESSES.values():
        assert connect(host, address, 5432).result == "connected"
    host.run("setenforce 1")
    for address in ADDRESSES.values():
        assert connect(host, address, 5432).result == "refused"
    assert through_apache(host, "pg4").result == "connected"
