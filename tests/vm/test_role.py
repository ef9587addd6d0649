# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role httpd_to_postgresql on stock Debian in enforcing mode: check mode, the run, again, and away."""

import json
import re
from typing import Any

import pytest

from tests.lab.controller import Controller, Play
from tests.lab.probes import ADDRESSES, connect
from tests.lab.vm import Host
from tests.vm.conftest import ROLE_ABSENT, FirstRun
from tests.vm.facts import facts

pytestmark = [pytest.mark.core, pytest.mark.smoke]

POLICY, IPV4, IPV6 = "install the policy module senet_firewall", "restore the ipv4 rules", "restore the ipv6 rules"


def result(play: Play) -> dict[str, Any]:
    """What the module flows returned, out of the output of `ansible-playbook -v`."""
    found = re.findall(r"^(?:changed|ok): \[web\] => (\{.*\})$", play.output, re.MULTILINE)
    results: list[dict[str, Any]] = [loaded for loaded in map(json.loads, found) if "steps" in loaded]
    assert len(results) == 1, play.output
    return results[0]


def changed(play: Play) -> int:
    assert play.rc == 0, play.output
    return play.recap["web"]["changed"]


def test_check_mode_reports_the_change_and_writes_nothing(first_run: FirstRun) -> None:
    assert changed(first_run.check) == 1
    assert first_run.after_check == first_run.before


def test_diff_mode_shows_the_policy_and_the_rules_of_both_families(first_run: FirstRun) -> None:
    output = first_run.check.output
    assert "+    (allow httpd_t senet_httpd_to_postgresql_client_packet_t (packet (send recv)))" in output
    for family in ("ipv4", "ipv6"):
        assert f"+++ after: {family} rules" in output
    assert output.count("+-A SENET_OUTPUT -j SECMARK --selctx system_u:object_r:senet_default_packet_t:s0") == 2


def test_the_run_does_what_check_mode_said(first_run: FirstRun) -> None:
    assert changed(first_run.run) == 1
    steps = result(first_run.run)["steps"]
    assert result(first_run.check)["steps"] == steps
    assert steps.index(POLICY) < steps.index(IPV4) < steps.index(IPV6)
    assert first_run.enforced.ipv4 == first_run.enforced.ipv6
    assert "SENET_OUTPUT" in first_run.enforced.ipv4
    assert "400 senet_firewall" in first_run.enforced.policy


def test_the_result_carries_the_kernels_answer(first_run: FirstRun) -> None:
    access = {row["domain"]: row for row in result(first_run.run)["access"]}
    assert {domain for domain, row in access.items() if row["can_connect"]} == {"httpd_t"}
    assert {domain for domain, row in access.items() if row["can_serve"]} == {"postgresql_t"}
    assert {"sshd_t", "unconfined_t", "init_t", "kernel_t"} <= set(result(first_run.run)["asked"])
    assert not {"sshd_t", "unconfined_t", "init_t"}.intersection(access)


def test_running_it_again_changes_nothing(first_run: FirstRun) -> None:
    assert changed(first_run.again) == 0
    assert result(first_run.again)["steps"] == []
    assert first_run.after_again == first_run.enforced


def test_ssh_is_never_cut(first_run: FirstRun) -> None:
    assert first_run.ssh.failures == ()
    assert first_run.ssh.answers > 20
    assert first_run.ssh.opened > 5


def test_nobody_is_denied_a_packet_on_the_way(first_run: FirstRun) -> None:
    """A cut too short for SSH to notice would still be in the kernel's records; no outsider connects during the run."""
    assert first_run.denials == ""


def test_absent_leaves_the_host_as_it_was(first_run: FirstRun, enforced: Host) -> None:
    with Controller(enforced) as controller:
        absent = controller.playbook(ROLE_ABSENT)
        assert changed(absent) == 1
        # Kernel modules stay loaded, as they do after 'iptables -F'.
        assert facts(enforced)._replace(kernel="") == first_run.before._replace(kernel="")
        for address in ADDRESSES.values():
            assert connect(enforced, address, 5432).result == "connected"
        assert changed(controller.playbook(ROLE_ABSENT)) == 0


def test_drift_is_mended_without_touching_the_policy(enforced: Host, first_run: FirstRun) -> None:
    # The host would mend it by itself.
    enforced.run("systemctl stop senet-firewall-watch.service && ip6tables -t security -F SENET_OUTPUT")
    with Controller(enforced) as controller:
        mended = controller.module(
            enforced, "senet.firewall.flows", flows=[{"pair": "httpd_to_postgresql"}]
        )
    assert IPV6 in mended["steps"]
    assert not {POLICY, IPV4} & set(mended["steps"])
    assert facts(enforced) == first_run.enforced
