# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab keeps its promises: stock policy, enforcing, real domains, fresh hosts, a private link."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from tests.lab import BootError, CommandError, CommandTimeout, Host, Lab
from tests.vm.facts import POSTGRESQL

DOMAINS = {"sshd": "sshd_t", "apache2": "httpd_t", "postgres": "postgresql_t", "redis-server": "redis_t"}


@pytest.fixture(scope="module")
def booted(lab: Lab) -> Iterator[Host]:
    """A host as booted, for tests that leave it as they find it."""
    with lab.start("web") as started:
        yield started


def status(host: Host, path: str) -> str:
    """Apache's answer: 502 when the connection behind `path` was made, 503 when it was not."""
    return host.run(f"curl -s -o /dev/null -w '%{{http_code}}' http://localhost{path}").stdout


def test_boots_enforcing_with_every_unit_up(booted: Host) -> None:
    assert booted.run("getenforce").stdout == "Enforcing\n"
    assert booted.run("systemctl is-system-running").stdout == "running\n"


def test_policy_is_stock(booted: Host) -> None:
    assert booted.run("cat /sys/fs/selinux/mls").stdout == "1"
    assert booted.run("semodule -lfull | grep -vE '^100 +[^ ]+ +pp( disabled)? *$'", check=False).stdout == ""
    assert int(booted.run("semodule -l | wc -l").stdout) > 300
    assert booted.run("semanage boolean -l -C -n | cut -d' ' -f1").stdout.split() == ["httpd_can_network_connect"]


def test_processes_run_in_their_domains(booted: Host) -> None:
    seen: dict[str, set[str]] = {}
    for line in booted.run("ps -e -o label=,comm=").stdout.splitlines():
        label, command = line.split(None, 1)
        seen.setdefault(command, set()).add(label.split(":")[2])
    assert {name: seen[name] for name in DOMAINS} == {name: {domain} for name, domain in DOMAINS.items()}
    assert booted.run("id -Z").stdout.split(":")[2] == "unconfined_t"


@pytest.mark.parametrize("path", ["/pg4", "/pg6"])
def test_apache_reaches_postgresql_and_tells_when_it_does_not(booted: Host, path: str) -> None:
    assert status(booted, path) == "502"
    booted.run(f"systemctl stop {POSTGRESQL}")
    assert status(booted, path) == "503"
    booted.run(f"systemctl start {POSTGRESQL}")


@pytest.mark.parametrize("path", ["/redis4", "/redis6"])
def test_apache_reaches_redis(booted: Host, path: str) -> None:
    assert status(booted, path) == "502"


def test_secmark_rules_load(host: Host) -> None:
    label = "-j SECMARK --selctx system_u:object_r:ssh_server_packet_t:s0"
    for tool in ("iptables", "ip6tables"):
        rule = f"{tool} -t security -A OUTPUT -p tcp -m conntrack --ctdir REPLY --ctproto tcp --ctreplsrcport 9 {label}"
        # In one command: on stock Debian the first label rule cuts SSH until it is gone.
        host.run(f"{rule} && {tool}-save -t security > /root/{tool}; {tool} -t security -F OUTPUT", timeout=20)
        assert label.removeprefix("-j ") in host.fetch(f"/root/{tool}").decode()


@pytest.mark.thorough
def test_each_host_is_fresh_within_seconds(lab: Lab) -> None:
    with lab.start("web") as first:
        first.put("mine", "/root/mine")
        assert first.fetch("/root/mine") == b"mine"
    start = time.monotonic()
    with lab.start("web") as second:
        lab.progress(f"a fresh host took {time.monotonic() - start:.1f} s")
        assert second.run("test -e /root/mine", check=False).rc == 1
        assert abs(float(second.run("date +%s.%N").stdout) - time.time()) < 10


@pytest.mark.stock_kernel("only QEMU saves a host's memory")
def test_a_saved_host_starts_again_with_all_it_had(lab: Lab, host: Host) -> None:
    host.run("echo on disk > /root/saved; echo in memory > /run/saved")
    state = host.save_state("with-files")
    host.run("echo later > /root/saved")
    with lab.start("db", state=state) as other:
        assert other.run("cat /root/saved /run/saved; hostname").stdout == "on disk\nin memory\ndb\n"
        assert "10.0.2.2" in other.run("ss -Htn state established sport = :22").stdout
        assert len(other.run("ss -Htn state established sport = :22").stdout.splitlines()) == 1


@pytest.mark.thorough
def test_a_saved_disk_starts_again_as_another_host(lab: Lab, host: Host) -> None:
    host.run("echo on disk > /root/saved")
    state = host.save_state("with-a-file")
    with lab.start("db", state=state) as other:
        assert other.run("cat /root/saved; hostname").stdout == "on disk\ndb\n"


@pytest.mark.thorough
def test_a_power_cut_keeps_what_was_synced(host: Host) -> None:
    host.run("echo kept > /root/kept; sync; echo lost > /run/lost")
    host.power_cut()
    assert host.run("cat /root/kept; ls /run/lost", check=False).stdout == "kept\n"
    assert host.run("hostname; getenforce").stdout == "web\nEnforcing\n"


@pytest.mark.thorough
def test_two_hosts_meet_on_the_private_link(lab: Lab) -> None:
    with lab.start("web", link=True) as web, lab.start("db", link=True) as db:
        for address in ("10.77.0.2", "fd77::2"):
            db.run(f"systemd-run --unit=listen-{address[-1]}-{len(address)} senet-probe listen {address} 7 --echo")
            db.run(f"timeout 20 sh -c 'until ss -Hltn sport = :7 | grep -qF \"{address}\"; do sleep 0.1; done'")
            answer = json.loads(web.run(f"senet-probe connect {address} 7 --send hello --expect-reply").stdout)
            assert (answer["result"], answer.get("reply")) == ("connected", "hello")
        assert web.run("hostname").stdout + db.run("hostname").stdout == "web\ndb\n"


def test_a_held_connection_speaks_from_either_end(booted: Host) -> None:
    booted.run("systemd-run --unit=server senet-probe hold 127.0.0.1 7777 --listen --timeout 20 --control /run/server")
    booted.run("timeout 20 sh -c 'until ss -Hltn sport = :7777 | grep -q .; do sleep 0.1; done'")
    booted.run("systemd-run --unit=client senet-probe hold 127.0.0.1 7777 --control /run/client")
    for sender, receiver in (("client", "server"), ("server", "client")):
        assert json.loads(booted.run(f"senet-probe tell /run/{sender} send hello").stdout)["result"] == "sent"
        got = json.loads(booted.run(f"senet-probe tell /run/{receiver} recv 5").stdout)
        assert (got["result"], got.get("data")) == ("received", "hello")
    assert json.loads(booted.run("senet-probe tell /run/client recv 0.2").stdout)["result"] == "timeout"


def test_a_probe_can_be_another_domain(booted: Host) -> None:
    """getty_t may not connect to PostgreSQL's port in the stock policy; unconfined_t may."""
    probe = "senet-probe connect 127.0.0.1 5432"
    assert json.loads(booted.run(probe).stdout)["result"] == "connected"
    assert json.loads(booted.run(f"{probe} --as-context system_u:system_r:httpd_t:s0").stdout)["result"] == "connected"
    denied = booted.run(f"{probe} --as-context system_u:system_r:getty_t:s0", check=False)
    assert json.loads(denied.stdout)["result"] == "denied"


def test_a_failed_command_and_a_slow_one_are_errors(booted: Host) -> None:
    with pytest.raises(CommandError, match="rc 3 from: echo why; exit 3\nwhy"):
        booted.run("echo why; exit 3")
    with pytest.raises(CommandTimeout, match="No end within 1 s"):
        booted.run("sleep 30", timeout=1)
    assert booted.run("echo alive", fresh=True).stdout == "alive\n"


@pytest.mark.thorough
def test_a_failed_boot_says_what_the_console_said(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.lab.qemu.KERNEL_ARGUMENTS", "console=ttyS0 root=/dev/vda rdinit=/nowhere")
    monkeypatch.setattr("tests.lab.uml.KERNEL_ARGUMENTS", "con0=fd:0,fd:1 root=/dev/nowhere seccomp=on")
    with pytest.raises(BootError, match=r"(?s)^web: the kernel panicked.*Unable to mount root fs"):
        lab.start("web", state="cold")


@pytest.mark.thorough
def test_nothing_is_left_after_close(lab: Lab) -> None:
    with Lab(progress=lab.progress) as other:
        host = other.start("web")
    assert not host.alive()
    assert not other.run_dir.exists()
