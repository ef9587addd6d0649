# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers on a lab host, set up by the files and commands of docs/containers.md, and connections from them."""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

from tests.lab.errors import LabError
from tests.lab.vm import Host

DOCS = Path(__file__).resolve().parents[2] / "docs" / "containers.md"
PORT = 5432
DB = {"ipv4": "10.89.7.2", "ipv6": "fd00:89:7::2"}
OTHER = {"ipv4": "10.89.7.4", "ipv6": "fd00:89:7::4"}
GATEWAY = {"ipv4": "10.89.7.1", "ipv6": "fd00:89:7::1"}
# What podman gives a container that asks for nothing
DEFAULT_DOMAIN = "container_t"
# What PostgreSQL answers with one letter, yes or no: SSLRequest of its protocol, message formats
SSL_REQUEST = r"\000\000\000\010\004\322\026\057"

_IMAGES = """
set -e
mkdir -p /root/image/bin
cp /bin/busybox /root/image/bin/
for name in cat nc printf sh sleep timeout; do ln -s busybox /root/image/bin/$name; done
tar -C /root/image -c . | podman import --change 'CMD ["nc","-ll","-p","5432","-e","cat"]' - localhost/db
tar -C /root/image -c . | podman import --change 'CMD ["sleep","1d"]' - localhost/web
"""
_OTHERS = f"""
set -e
podman run -d --name other --network pair --ip {OTHER["ipv4"]} --ip6 {OTHER["ipv6"]} localhost/web
podman run -d --name guest --network container:web localhost/web
"""
_SSL_ANSWERS = ("S", "N")


class Reached(NamedTuple):
    """How a connection by a process of a container went: connected, refused or timeout; the domain of that process."""

    result: str
    domain: str


def block(name: str) -> str:
    """The code block of docs/containers.md that begins with this line."""
    found = re.findall(rf"^```{re.escape(name)}\n(.*?)^```$", DOCS.read_text(), re.MULTILINE | re.DOTALL)
    if len(found) != 1:
        raise LabError(f"{DOCS.name} has {len(found)} blocks '{name}': one is wanted.")
    return str(found[0])


def start_containers(host: Host) -> None:
    """db and web as the page starts them, `other` in a namespace of its own, and `guest` in that of web."""
    host.put(block("cil"), "/root/containers.cil")
    host.run(block("sh install the module"), timeout=300)
    for commands in (_IMAGES, block("sh start the pair"), _OTHERS):
        host.run(commands, timeout=300)


def _pid(host: Host, container: str) -> str:
    return host.run("podman inspect --format '{{.State.Pid}}' " + container).stdout.strip()


def domain_of(host: Host, container: str) -> str:
    """The domain of a container's program."""
    return host.run(f"ps -o label= -p {_pid(host, container)}").stdout.split(":")[2]


def namespace(host: Host, container: str) -> str:
    """The command that runs another one in a container's network."""
    return f"nsenter --net=/proc/{_pid(host, container)}/ns/net"


def labels(host: Host, container: str) -> str:
    """The rules of both families in a container's namespace, and the nft ruleset without counters."""
    enter = namespace(host, container)
    saved = "".join(host.run(f"{enter} {tool}-save -t security").stdout for tool in ("iptables", "ip6tables"))
    inet = host.run(f"{enter} nft -s list table inet senet", check=False).stdout
    return re.sub(r"^#.*\n| \[\d+:\d+\]$", "", saved + inet, flags=re.MULTILINE)


def reach(host: Host, container: str, address: str) -> Reached:
    """A process of a container says hello to the container that sends everything back."""
    return _reach(host, f"podman exec {container}", address, "hello", ("hello",))


def reach_postgresql(host: Host, container: str, address: str) -> Reached:
    """A process of a container asks PostgreSQL for TLS; whatever it answers, it is PostgreSQL that does."""
    return _reach(host, f"podman exec {container}", address, SSL_REQUEST, _SSL_ANSWERS)


def reach_from_new(host: Host, domain: str, address: str) -> Reached:
    """The same as reach() by a container that systemd starts for it."""
    start = f"podman run --rm --network pair --security-opt label=type:{domain} localhost/web"
    return _reach(host, f"systemd-run --quiet --wait --pipe {start}", address, "hello", ("hello",))


def _reach(host: Host, runner: str, address: str, say: str, answers: tuple[str, ...]) -> Reached:
    script = f"cat /proc/self/attr/current; echo; printf '{say}' | timeout 20 nc -w 4 {address} {PORT}"
    done = host.run(f"{runner} sh -c {shlex.quote(script)}", check=False, timeout=120)
    label, dummy, answer = done.stdout.partition("\n")
    if answer in answers:
        result = "connected"
    elif "Connection refused" in done.stderr:
        result = "refused"
    elif "timed out" in done.stderr:
        result = "timeout"
    else:
        raise LabError(f"{runner}: {address} answers {answer!r}\n{done.stderr}")
    return Reached(result, label.split(":")[2])
