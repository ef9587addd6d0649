# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The policy module beside other modules that come and go, as secilc compiles it.

secilc checks ``neverallow`` rules, and so tells what is granted.
"""

import subprocess
from pathlib import Path

import pytest

from ansible_collections.senet.firewall.plugins.module_utils._compile import cil
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import FlowSet, flow_set
from tests.unit.flows import LABELLED, PEERS, PLACED, SEVERAL, WEB_DB, flow

DOMAINS = ("httpd_t", "postgresql_t", "redis_t", "named_t", "bacula_t", "app_process_t")
_BASE = """\
(handleunknown allow)
(mls true)
(class packet (send recv relabelto forward_in forward_out))
(class peer (recv))
(class netif (ingress egress))
(class node (recvfrom sendto))
(classorder (packet peer netif node))
(sid kernel)
(sidorder (kernel))
(sensitivity s0)
(sensitivityorder (s0))
(category c0)
(categoryorder (c0))
(sensitivitycategory s0 (c0))
(user system_u)
(role system_r)
(role object_r)
(userrole system_u system_r)
(userrole system_u object_r)
(userlevel system_u (s0))
(userrange system_u ((s0) (s0 (c0))))
(typeattribute domain)
(typeattribute netif_type)
(typeattribute node_type)
(type dmz_iface_t)
(typeattributeset netif_type (dmz_iface_t))
(type kernel_t)
(type unlabeled_t)
(type init_t)
(type sshd_t)
(type unconfined_t)
(roletype system_r kernel_t)
(typeattributeset domain (kernel_t init_t sshd_t unconfined_t))
(sidcontext kernel (system_u system_r kernel_t ((s0) (s0))))
"""
_DOMAIN = "(type {0})\n(typeattributeset domain ({0}))\n"
SETS = {
    "web_db": WEB_DB,
    "several": SEVERAL,
    "placed": PLACED,
    "peers": PEERS,
    "labelled": LABELLED,
    "interfaces": FlowSet((), interface_types=("public_iface_t",)),
}


def compiles(directory: Path, policy: str, without: str = "", *more: str) -> str:
    """What secilc has against the policy beside a base and a module a domain but one; nothing if it compiles."""
    # A block of udica's has such types.
    modules = {name: _DOMAIN.format(name) for name in DOMAINS if name != without}
    modules["my_app"] = "" if without == "my_app.process" else (
        "(block my_app (type process))\n(typeattributeset domain (my_app.process))\n"
    )
    files = {"base": _BASE, **modules, "senet_firewall": policy, "more": "\n".join(more) + "\n"}
    for name, text in files.items():
        (directory / f"{name}.cil").write_text(text)
    command = ["secilc", "-o", str(directory / "policy"), "-f", "/dev/null"]
    command += [str(directory / f"{name}.cil") for name in files]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return done.stderr if done.returncode else ""


def may(directory: Path, policy: str, domain: str, packet_type: str, verb: str, without: str = "") -> bool:
    never = f"(neverallow {domain} {packet_type} (packet ({verb})))"
    said = compiles(directory, policy, without, never)
    assert not said or "neverallow check failed" in said, said
    return bool(said)


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("without", ["", "httpd_t", "my_app.process", "postgresql_t", "named_t"])
def test_the_module_keeps_no_other_module_from_being_removed(tmp_path: Path, name: str, without: str) -> None:
    assert compiles(tmp_path, cil.compile_policy(SETS[name]), without) == ""


@pytest.mark.parametrize("mode", ["enforce", "observe"])
def test_who_has_gone_takes_nobodys_grants_along(tmp_path: Path, mode: str) -> None:
    flows = flow_set([flow(mode=mode)], {"httpd_t": mode, "redis_t": "enforce"}.items())
    policy = cil.compile_policy(flows)
    client, default = flows.flows[0].client_type, "senet_default_packet_t"
    for without in ("", "httpd_t"):
        # All that stays: the other side's grants, everybody else's, and the confinement of others.
        assert may(tmp_path, policy, "postgresql_t", client, "recv", without)
        assert may(tmp_path, policy, "sshd_t", default, "send", without)
        assert may(tmp_path, policy, "sshd_t", "unlabeled_t", "send", without)
        assert not may(tmp_path, policy, "redis_t", default, "send", without)
        assert may(tmp_path, policy, "unconfined_t", client, "send", without) == (mode == "observe")
    assert may(tmp_path, policy, "httpd_t", client, "send")
    assert may(tmp_path, policy, "httpd_t", default, "send") == (mode == "observe")


@pytest.mark.parametrize(
    ("first", "second"),
    [(first, second) for first in SETS for second in SETS if first != second and "interfaces" not in (first, second)],
)
def test_a_module_with_retired_types_compiles(tmp_path: Path, first: str, second: str) -> None:
    old, new = cil.compile_policy(SETS[first]), cil.compile_policy(SETS[second])
    kept = cil.declared_types(old) - cil.declared_types(new)
    if "senet_peer_type" not in new:
        kept = frozenset(name for name in kept if name.endswith("packet_t"))
    text = cil.with_retired(new, old, kept)
    assert cil.live(text) == new
    assert cil.declared_types(text) == cil.declared_types(new) | kept
    assert compiles(tmp_path, text) == ""
    assert compiles(tmp_path, text, "httpd_t") == ""


def test_a_retired_type_is_granted_to_those_who_had_it(tmp_path: Path) -> None:
    old = flow_set([flow(), flow("watched", ports=[25], mode="observe")])
    types = [name for one in old.flows for name in one.packet_types]
    new = cil.compile_policy(flow_set([flow("cache", ports=[6379])]))
    text = cil.with_retired(new, cil.compile_policy(old), types)
    for packet_type in types:
        for domain in ("httpd_t", "postgresql_t", "kernel_t", "unconfined_t"):
            for verb in ("send", "recv"):
                then = may(tmp_path, cil.compile_policy(old), domain, packet_type, verb)
                assert may(tmp_path, text, domain, packet_type, verb) == then
