# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An interface has its own context in the policy store, and the kernel checks it while peer labels are in use."""

import time
from pathlib import Path
from typing import Any

import pytest

from tests.lab.controller import Controller
from tests.lab.lab import Lab
from tests.lab.probes import as_domain
from tests.lab.vm import Host

pytestmark = [pytest.mark.policy, pytest.mark.thorough]

TYPE = "public_iface_t"
CONTEXT = f"system_u:object_r:{TYPE}:s0"
# Without the attribute netif_type it is nobody's but httpd_t's.
POLICY = f"(type {TYPE})\n(roletype object_r {TYPE})\n(allow httpd_t {TYPE} (netif (ingress egress)))\n"
NOBODY = "10.77.0.9"
# Any flow that turns on the checks
VERIFIED = {
    "name": "web_db", "source": ["httpd_t"], "destination": ["postgresql_t"], "ports": [60902],
    "verify_source": "loopback",
}  # fmt: skip


def interface(host: Host, check: bool = False, **options: Any) -> dict[str, Any]:
    with Controller(host) as controller:
        return controller.module(host, "senet.firewall.interface_context", check=check, diff=True, **options)


def without_confirmation(collection: Path) -> None:
    """Patches a copy of the collection: as if the controller had died right after the change."""
    (collection / "plugins" / "action" / "interface_context.py").unlink()


def stored(host: Host) -> str:
    return host.run("semanage interface -l -C -n").stdout


def test_the_interface_that_ssh_comes_by_is_not_taken_from_it(slim: Host) -> None:
    asked = "ip -4 -o address show to $(echo $SSH_CONNECTION | cut -d' ' -f3) | awk '{print $2}'"
    [name] = slim.run(asked).stdout.split()
    slim.run(f"cat > iface.cil <<'END'\n{POLICY}END\nsemodule -i iface.cil", timeout=300)
    for check in (True, False):
        refused = interface(slim, check=check, interface=name, type=TYPE)
        assert "'sshd_t'" in refused["msg"]
        assert f"the interface '{name}'" in refused["msg"]
        assert stored(slim) == ""
    # It may have one that everybody may use, and the guard brings back what nobody confirmed.
    with Controller(slim, patch=without_confirmation) as controller:
        options: dict[str, Any] = {"interface": name, "type": "dmz_iface_t", "create_type": True}
        options.update(token="t1", confirm_timeout=10)
        waiting = controller.module(slim, "senet.firewall.interface_context", **options)
        assert waiting["guard"] == {"token": "t1", "confirmed": False}, waiting
        assert stored(slim).split() == [name, "system_u:object_r:dmz_iface_t:s0"]
        deadline = time.monotonic() + 120
        while stored(slim) or slim.run("ls /var/lib/senet-firewall/pending.json", check=False).rc == 0:
            assert time.monotonic() < deadline
            time.sleep(1)
    assert "senet_firewall" not in slim.run("semodule -l").stdout


@pytest.mark.thorough
def test_an_interface_has_a_context_of_its_own_until_it_goes(lab: Lab) -> None:
    with lab.start("db", state="slim", link=True) as host:
        refused = interface(host, interface="eth1", type=TYPE)
        assert refused["failed"]
        assert f"'{CONTEXT}' of the interface 'eth1' is not valid in the loaded policy" in refused["msg"]

        host.run(f"cat > iface.cil <<'END'\n{POLICY}END\nsemodule -i iface.cil", timeout=300)
        planned = interface(host, check=True, interface="eth1", type=TYPE)
        assert planned["changed"], planned
        assert stored(host) == ""
        result = interface(host, interface="eth1", type=TYPE)
        assert result["context"] == CONTEXT, result
        assert stored(host).split() == ["eth1", CONTEXT]
        assert not interface(host, interface="eth1", type=TYPE)["changed"]

        # Any static label turns the checks on. Nobody answers at that address: who may send waits, who may not is told.
        allow = "(allow domain unlabeled_t (peer (recv)))"
        host.run(f"cat > peers.cil <<'END'\n{allow}\nEND\nsemodule -i peers.cil", timeout=300)
        host.run("netlabelctl unlbl add default address:192.0.2.1/32 label:system_u:object_r:netif_t:s0")
        assert as_domain(host, "sshd_t", NOBODY, 60901, "--timeout", "2").result == "refused"
        assert as_domain(host, "httpd_t", NOBODY, 60901, "--timeout", "2").result in ("timeout", "unreachable")

        gone = interface(host, interface="eth1", state="absent")
        assert (gone["changed"], gone["context"]) == (True, None), gone
        assert stored(host) == ""
        assert not interface(host, interface="eth1", state="absent")["changed"]
        assert as_domain(host, "sshd_t", NOBODY, 60901, "--timeout", "2").result in ("timeout", "unreachable")


def test_a_type_that_no_policy_has_is_created_and_nobody_is_cut(lab: Lab) -> None:
    with lab.start("db", state="slim", link=True) as host:
        refused = interface(host, interface="eth1", type=TYPE)
        assert "create_type=true" in refused["msg"]
        modules = host.run("semodule -lfull").stdout
        planned = interface(host, check=True, interface="eth1", type=TYPE, create_type=True)
        assert host.run("semodule -lfull").stdout == modules
        result = interface(host, interface="eth1", type=TYPE, create_type=True)
        for answer in (planned, result):
            assert (answer["context"], answer["created_types"]) == (CONTEXT, [TYPE]), answer
        assert stored(host).split() == ["eth1", CONTEXT]
        assert not interface(host, interface="eth1", type=TYPE, create_type=True)["changed"]

        with Controller(host) as controller:
            flows = controller.module(host, "senet.firewall.flows", flows=[VERIFIED])
            assert flows.get("guard", {}).get("confirmed"), flows
            # The checks are on, and everybody passes the interface in both directions
            for domain in ("sshd_t", "httpd_t"):
                assert as_domain(host, domain, NOBODY, 60901, "--timeout", "2").result in ("timeout", "unreachable")
            denied = host.run("ausearch --input-logs -m AVC </dev/null | grep tclass=netif", check=False).stdout
            assert denied == ""
            gone = controller.module(host, "senet.firewall.flows", state="absent")
            assert gone.get("guard", {}).get("confirmed"), gone
        assert stored(host).split() == ["eth1", CONTEXT]
        assert host.run("ls /etc/senet/flows.json", check=False).stdout == ""

        absent = interface(host, interface="eth1", state="absent", create_type=True)
        assert (absent["context"], absent["created_types"]) == (None, []), absent
        assert stored(host) == ""
        assert host.run("semodule -lfull").stdout == modules
        assert not interface(host, interface="eth1", state="absent", create_type=True)["changed"]
