# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two hosts with a flow that is verified by labelled IPsec, and the role that sets libreswan up on them."""

import base64
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.collection_tree import ROOT
from tests.lab.controller import Controller, Play
from tests.lab.probes import context
from tests.lab.vm import Host
from tests.vm.two_hosts import BY_IPSEC, KEPT_PORT, LINK

FLEET = {**BY_IPSEC, "clients": "web", "servers": "db"}
KEY = "lab/" + "4f" * 16
PASSWORD = "of the lab"
# Ansible's module apt has the second one installed
PACKAGES = ["libreswan", "python3-apt"]
MODULE = "senet_labelled_ipsec"
FILES = "/etc/ipsec.d/senet-labelled-ipsec"

_LOAD = "/usr/local/bin/ipsec_load.py"


def role(*hosts: Host, flags: tuple[str, ...] = (), **variables: Any) -> Play:
    """A run of the role on these hosts, whether it succeeds or not."""
    given = {"labelled_ipsec_flows": [FLEET], "labelled_ipsec_address_variable": "link", "labelled_ipsec_psk": KEY}
    kept = {key: value for key, value in {**given, **variables}.items() if value is not None}
    with Controller(*hosts) as controller:
        addresses = controller.path / "addresses.json"
        addresses.write_text(json.dumps({"all": {"hosts": {name: {"link": own} for name, own in LINK.items()}}}))
        play = [
            {"hosts": [host.name for host in hosts], "gather_facts": False, "vars": kept,
             "roles": ["senet.firewall.labelled_ipsec"]}
        ]  # fmt: skip
        inventories = ("-i", str(controller.path / "hosts.yml"), "-i", str(addresses))
        return controller.playbook(play, *inventories, *flags)


def set_up(*hosts: Host, **variables: Any) -> Play:
    done = role(*hosts, **variables)
    assert done.rc == 0, done.output
    return done


@contextmanager
def serving(host: Host, address: str) -> Iterator[None]:
    """The server of tests/bench/ipsec_load.py, in the flow's domain."""
    host.put((ROOT / "tests/bench/ipsec_load.py").read_text(), _LOAD)
    host.run(
        f"rm -f /run/ipsec_load.ready; setsid python3 {_LOAD} serve {address} {KEPT_PORT} {context('postgresql_t')} "
        ">/run/ipsec_load.log 2>&1 </dev/null & echo $! >/run/ipsec_load.pid; "
        "until [ -e /run/ipsec_load.ready ]; do sleep 0.1; done"
    )
    try:
        yield
    finally:
        host.run("kill $(cat /run/ipsec_load.pid)")


def loaded(host: Host, kind: str, address: str, count: int) -> dict[str, Any]:
    """What a client of the flow's domain finds out about that server."""
    host.put((ROOT / "tests/bench/ipsec_load.py").read_text(), _LOAD)
    done = host.run(f"python3 {_LOAD} {kind} {address} {KEPT_PORT} {context('httpd_t')} {count}", timeout=600)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def certificates(place: Path) -> dict[str, str]:
    """For each host a PKCS#12 file in base64, by an authority of their own; its addresses are in its certificate."""

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=place, check=True, capture_output=True)

    place.mkdir()
    new_key = ("-newkey", "rsa:3072", "-noenc")
    openssl("req", "-x509", *new_key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "9", "-subj", "/CN=lab authority")
    found = {}
    for name, addresses in LINK.items():
        (place / "names").write_text("subjectAltName=" + ",".join(f"IP:{address}" for address in addresses))
        openssl("req", *new_key, "-keyout", "key", "-out", "request", "-subj", f"/CN={name}.lab")
        openssl("x509", "-req", "-in", "request", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "30",
                "-extfile", "names", "-out", "certificate")  # fmt: skip
        openssl("pkcs12", "-export", "-in", "certificate", "-inkey", "key", "-certfile", "ca.pem",
                "-name", f"{name} of the lab", "-passout", f"pass:{PASSWORD}", "-out", "p12")  # fmt: skip
        found[name] = base64.b64encode((place / "p12").read_bytes()).decode()
    return found


def by_certificates(found: dict[str, str]) -> dict[str, Any]:
    """The role's variables for these certificates in place of the key."""
    return {
        "labelled_ipsec_psk": None,
        "labelled_ipsec_certificate": "{{ inventory_hostname }} of the lab",
        "labelled_ipsec_pkcs12": "{{ certificates[inventory_hostname] }}",
        "labelled_ipsec_pkcs12_password": PASSWORD,
        "certificates": found,
    }
