# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An interface has its own context in the policy store, and the kernel checks it while peer labels are in use."""

from typing import Any

from tests.lab.controller import Controller
from tests.lab.lab import Lab
from tests.lab.probes import as_domain
from tests.lab.vm import Host

TYPE = "public_iface_t"
CONTEXT = f"system_u:object_r:{TYPE}:s0"
# Without the attribute netif_type it is nobody's but httpd_t's.
POLICY = f"(type {TYPE})\n(roletype object_r {TYPE})\n(allow httpd_t {TYPE} (netif (ingress egress)))\n"
NOBODY = "10.77.0.9"


def interface(host: Host, check: bool = False, **options: Any) -> dict[str, Any]:
    with Controller(host) as controller:
        return controller.module(host, "senet.firewall.interface_context", check=check, diff=True, **options)


def stored(host: Host) -> str:
    return host.run("semanage interface -l -C -n").stdout


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
