# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""MPTCP: on a kernel that takes its packets for its own, it is a way past the domains, and that is told."""

import pytest

from tests.lab.controller import Controller
from tests.lab.errors import CommandError
from tests.lab.probes import context, listener
from tests.lab.vm import Host

pytestmark = pytest.mark.thorough

PORT, OTHER = 60903, 60904
FLOW = {"name": "web_app", "source": ["httpd_t"], "destination": ["postgresql_t"], "ports": [str(PORT)]}
# The one socket gets its label from whoever makes it; IPPROTO_MPTCP is 262.
CONNECT = """\
python3 - <<'END'
import socket
with open("/proc/thread-self/attr/sockcreate", "w") as label:
    label.write("{context}")
one = socket.socket(socket.AF_INET, socket.SOCK_STREAM, {protocol})
one.settimeout(5)
try:
    one.connect(("127.0.0.1", {port}))
    print("connected")
except ConnectionRefusedError:
    print("refused")
except socket.timeout:
    print("timeout")
END
"""


def ask(host: Host, port: int, protocol: int = 262) -> str:
    return host.run(CONNECT.format(context=context("httpd_t"), protocol=protocol, port=port)).stdout.strip()


def test_where_mptcp_leads_around_a_confinement_it_is_told(slim: Host) -> None:
    with Controller(slim) as controller:
        slim.run("sysctl -w net.mptcp.enabled=1")
        unlabelled = controller.module(slim, "senet.firewall.enforcement_info")["kernel"]["unlabelled_mptcp"]
        for number in range(2):
            result = controller.module(slim, "senet.firewall.flows", flows=[FLOW], confine=["httpd_t"])
            assert result["failed"] is False, result
            told = [said for said in result["warnings"] if "reaches what no flow allows when it uses MPTCP" in said]
            assert bool(told) == unlabelled, number
        server = ("--as-context", context("postgresql_t"))
        with listener(slim, "127.0.0.1", OTHER), listener(slim, "127.0.0.1", PORT, *server):
            assert ask(slim, OTHER, protocol=0) == "refused"
            assert ask(slim, PORT, protocol=0) == "connected"
            assert ask(slim, OTHER) == ("connected" if unlabelled else "refused")
            assert ask(slim, PORT) == ("timeout" if unlabelled else "connected")
        slim.run("sysctl -w net.mptcp.enabled=0")
        result = controller.module(slim, "senet.firewall.flows", flows=[FLOW], confine=["httpd_t"])
        assert not [said for said in result["warnings"] if "MPTCP" in said]
        with pytest.raises(CommandError, match="Protocol not available"):
            ask(slim, OTHER)


def test_a_client_by_mptcp_is_seen_before_it_is_cut(slim: Host) -> None:
    with Controller(slim) as controller:
        slim.run("sysctl -w net.mptcp.enabled=1")
        unlabelled = controller.module(slim, "senet.firewall.enforcement_info")["kernel"]["unlabelled_mptcp"]
        assert controller.module(slim, "senet.firewall.flows", flows=[FLOW], mode="observe")["failed"] is False
    seen = "ausearch --input-logs -m AVC </dev/null | grep 'granted.*{ recv }.*kernel_t.*senet_web_app' || true"
    with listener(slim, "127.0.0.1", PORT, "--as-context", context("postgresql_t")):
        assert ask(slim, PORT, protocol=0) == "connected"
        assert slim.run(seen).stdout == ""
        assert ask(slim, PORT) == "connected"
        assert bool(slim.run(seen).stdout) == unlabelled
