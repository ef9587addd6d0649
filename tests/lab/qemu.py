# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The QEMU command line of a lab host, and the choice between KVM and emulation."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

from .image import Image
from .vm import link_mac

MEMORY_MIB = 1024
# Two would wait for each other where as many machines run as the host has cores: a fifth slower, measured.
CPUS = 1
KERNEL_ARGUMENTS = (
    "root=/dev/vda rw console=ttyS0 net.ifnames=0 security=selinux selinux=1 enforcing=1 "
    "lsm=lockdown,yama,loadpin,safesetid,integrity,selinux,bpf audit_backlog_limit=8192 mitigations=off"
)
KVM_PROBE_SECONDS = 10


class Drive(NamedTuple):
    """The files and numbers that make one QEMU differ from the next."""

    name: str
    accel: str
    overlay: Path
    run: Path
    ssh_port: int
    link: Path | None
    incoming: Path | None


def machine_arguments(accel: str) -> list[str]:
    """The part of the command line that a saved state depends on."""
    acceleration = ["-accel", "kvm"] if accel == "kvm" else ["-accel", "tcg,thread=multi,tb-size=512"]
    return ["-machine", "q35", "-cpu", "max", "-smp", str(CPUS), "-m", str(MEMORY_MIB), *acceleration]


def command_line(image: Image, drive: Drive) -> list[str]:
    """The whole QEMU command.

    A host without a link keeps the NIC, on a hub with nobody else: a saved state fits both.
    """
    link = "hubport,id=link,hubid=1"
    if drive.link is not None:
        other = {"web": "db", "db": "web"}[drive.name]
        ends = f"local.type=unix,local.path={drive.link / drive.name},remote.type=unix,remote.path={drive.link / other}"
        link = f"dgram,id=link,{ends}"
    command = [
        "qemu-system-x86_64",
        *machine_arguments(drive.accel),
        "-name", f"senet-{drive.name}",
        "-nodefaults", "-no-user-config", "-display", "none",
        "-kernel", str(image.kernel),
        "-initrd", str(image.initrd),
        "-append", f"{KERNEL_ARGUMENTS} systemd.hostname={drive.name}",
        "-drive", f"if=none,id=disk,file={drive.overlay},format=qcow2,cache=unsafe,discard=unmap",
        "-device", "virtio-blk-pci,drive=disk",
        "-netdev", f"user,id=ssh,restrict=on,ipv6=off,hostfwd=tcp:127.0.0.1:{drive.ssh_port}-:22",
        "-device", "virtio-net-pci,netdev=ssh,mac=52:54:00:77:ff:01,romfile=",
        "-netdev", link,
        "-device", f"virtio-net-pci,netdev=link,mac={link_mac(drive.name)},romfile=",
        "-device", "virtio-rng-pci",
        "-rtc", "base=utc",
        "-chardev", f"file,id=console,path={drive.run / 'console.log'}",
        "-serial", "chardev:console",
        "-qmp", f"unix:{drive.run / 'qmp'},server=on,wait=off",
    ]
    if drive.incoming is not None:
        command += ["-incoming", f"exec:cat '{drive.incoming}'"]
    return command


def qemu_version() -> str:
    return subprocess.run(
        ["qemu-system-x86_64", "--version"], stdout=subprocess.PIPE, text=True, check=True
    ).stdout.splitlines()[0]


def choose_accel(image: Image, cache: Path) -> str:
    """`kvm` when a kernel really runs with it on this machine, else `tcg`; asked once per boot of the machine.

    /dev/kvm may exist and still not run a guest.
    """
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg"
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    answer = cache / "accel.json"
    try:
        known = json.loads(answer.read_text())
        if known["boot_id"] == boot_id:
            return "kvm" if known["kvm"] else "tcg"
    except (OSError, ValueError, KeyError):
        pass
    works = _kvm_boots(image)
    answer.write_text(json.dumps({"boot_id": boot_id, "kvm": works}))
    return "kvm" if works else "tcg"


def _kvm_boots(image: Image) -> bool:
    """Boot the kernel without a disk: it must get as far as the panic that says so."""
    command = [
        "qemu-system-x86_64", *machine_arguments("kvm"),
        "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-kernel", str(image.kernel), "-append", "console=ttyS0 panic=-1", "-serial", "stdio",
    ]  # fmt: skip
    deadline = time.monotonic() + KVM_PROBE_SECONDS
    with (
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as process,
        selectors.DefaultSelector() as selector,
    ):
        assert process.stdout is not None
        selector.register(process.stdout, selectors.EVENT_READ)
        seen = b""
        try:
            while b"Kernel panic" not in seen and time.monotonic() < deadline:
                if selector.select(timeout=max(0.0, deadline - time.monotonic())):
                    chunk = os.read(process.stdout.fileno(), 65536)
                    if not chunk:
                        break
                    seen += chunk
        finally:
            process.kill()
    return b"Kernel panic" in seen
