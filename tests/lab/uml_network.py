# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A network namespace for one User Mode Linux, as QEMU's user-mode network is one for its guest.

    unshare --net python3 uml_network.py RUN_DIR LISTENING_FD LINK_PID

It lives as long as this process. The guest's SSH is reached through the listening socket, which is of the namespace
that this process was started from; the private link's NIC ends in a bridge in the namespace of the process LINK_PID,
or nowhere where that is 0. With no socket (-1) it is that process. `RUN_DIR/network` appears when all is set up.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
from pathlib import Path

GUEST, GATEWAY, GUEST_MAC = "10.0.2.15", "10.0.2.2", "52:54:00:77:ff:01"
SSH_NIC, LINK_NIC, BRIDGE = "ssh-uml", "link-uml", "br0"
_CONNECT_SECONDS = 5
# Offloaded checksums and segments are never filled in where a raw socket takes the packets.
_OFFLOADS = [word for name in ("tso", "gso", "gro", "tx", "rx") for word in (name, "off")]


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def pair(near: str, far: str) -> None:
    """A veth pair without addresses of its own; the machine's raw socket is on the far end."""
    ip("link", "add", near, "type", "veth", "peer", "name", far)
    for name in (near, far):
        subprocess.run(["ethtool", "-K", name, *_OFFLOADS], stderr=subprocess.DEVNULL, check=True)
        ip("link", "set", name, "up")


def set_up_guest(link_pid: int, mark: str) -> None:
    ip("link", "set", "lo", "up")
    pair("ssh0", SSH_NIC)
    ip("address", "add", f"{GATEWAY}/24", "dev", "ssh0")
    # Known from the start: while the guest boots nobody answers, and the next question would come a second later.
    ip("neighbour", "add", GUEST, "lladdr", GUEST_MAC, "nud", "permanent", "dev", "ssh0")
    pair(mark, LINK_NIC)
    if link_pid:
        ip("link", "set", mark, "netns", str(link_pid))
        enter = ["nsenter", f"--net=/proc/{link_pid}/ns/net", "ip", "link", "set", mark]
        subprocess.run([*enter, "master", BRIDGE, "up"], check=True)


def set_up_link() -> None:
    ip("link", "add", BRIDGE, "type", "bridge", "mcast_snooping", "0", "forward_delay", "0")
    ip("link", "set", BRIDGE, "up")


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.close()


async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        there = await asyncio.wait_for(asyncio.open_connection(GUEST, 22), _CONNECT_SECONDS)
    except (TimeoutError, OSError):
        writer.close()
        return
    await asyncio.gather(copy(reader, there[1]), copy(there[0], writer))
    for end in (writer, there[1]):
        end.close()


async def serve(listening: socket.socket, ready: Path) -> None:
    server = await asyncio.start_server(forward, sock=listening)
    ready.touch()
    await server.serve_forever()


def main(run_dir: Path, listening_fd: int, link_pid: int) -> None:
    for which in ("all", "default"):
        # Nothing but the guests speaks on these wires
        Path(f"/proc/sys/net/ipv6/conf/{which}/disable_ipv6").write_text("1")
    if listening_fd < 0:
        set_up_link()
        (run_dir / "network").touch()
        signal.pause()
    # The link's namespace has a NIC of each host
    set_up_guest(link_pid, f"to-{run_dir.name}"[:15])
    asyncio.run(serve(socket.socket(fileno=listening_fd), run_dir / "network"))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
