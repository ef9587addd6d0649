# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
import bz2
import fcntl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Optional

import pytest

from ansible_collections.senet.firewall.plugins.module_utils._host.policystore import PolicyStore, locked_message
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from tests.unit.commands import Commands

TEXT = "; flows: []\n(type senet_default_packet_t)\n"
HOLDS = """
import fcntl, sys
lock = open(sys.argv[1])
fcntl.flock(lock, fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
"""


class Store:
    """A policy store below a root, and semodule."""

    def __init__(self, root: Path, place: str = "var/lib/selinux/targeted") -> None:
        self.commands = Commands("semodule")
        self.directory = root / place
        self.modules = self.directory / "active" / "modules"
        self.modules.mkdir(parents=True)
        self.store = PolicyStore(self.commands.run, self.commands.find, "targeted", str(root))

    def put(self, content: bytes) -> Path:
        path = self.modules / "400" / "senet_firewall" / "cil"
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        return path

    def disable(self) -> None:
        (self.modules / "disabled").mkdir()
        (self.modules / "disabled" / "senet_firewall").touch()


@pytest.fixture
def made(tmp_path: Path) -> Store:
    return Store(tmp_path)


@contextmanager
def locked(path: Path) -> Iterator[int]:
    """The lock file in the hands of another process, whose pid this is."""
    path.touch()
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        yield process.pid
        assert process.stdin is not None
        process.stdin.close()


@pytest.mark.parametrize("content", [TEXT.encode(), bz2.compress(TEXT.encode())])
def test_the_module_is_read_packed_or_not(made: Store, content: bytes) -> None:
    assert made.store.module() is None
    made.put(content)
    assert made.store.module() == TEXT
    assert made.commands.calls == []


def test_a_disabled_module_is_none_and_is_enabled_with_the_next(made: Store) -> None:
    made.put(TEXT.encode())
    made.disable()
    assert made.store.module() is None
    made.store.install(TEXT)
    assert made.commands.lines[0].endswith("/senet_firewall.cil -e senet_firewall")


def test_a_damaged_module_is_told(made: Store) -> None:
    path = made.put(bz2.compress(TEXT.encode())[:-4])
    with pytest.raises(SenetError, match=f"{path} cannot be read .*'semodule -B'"):
        made.store.module()
    path.write_bytes(b"BZh9 and no more of bzip2")
    with pytest.raises(SenetError, match="cannot be read"):
        made.store.module()


def test_a_store_that_is_not_there_is_told(tmp_path: Path) -> None:
    commands = Commands("semodule")
    with pytest.raises(SenetError, match="var/lib/selinux/mls/active/modules is not there; install the policy 'mls'"):
        PolicyStore(commands.run, commands.find, "mls", str(tmp_path)).module()


def test_the_store_is_where_semanage_conf_puts_it(tmp_path: Path) -> None:
    (tmp_path / "etc/selinux").mkdir(parents=True)
    config = "# store-root = /wrong\nmodule-store = direct\n  store-root=/srv/selinux\n"
    (tmp_path / "etc/selinux/semanage.conf").write_text(config)
    made = Store(tmp_path, "srv/selinux/targeted")
    made.put(TEXT.encode())
    assert made.store.module() == TEXT


def test_a_module_goes_in_and_out_by_one_run_of_semodule_each(made: Store) -> None:
    contents: list[str] = []

    def run(args: list[str]) -> tuple[int, str, str]:
        contents.extend(Path(arg).read_text() for arg in args if arg.endswith(".cil"))
        return made.commands.run(args)

    store = PolicyStore(run, made.commands.find, "targeted", str(made.directory.parents[3]))
    store.install(TEXT)
    store.remove()
    install, remove = (call.args for call in made.commands.calls)
    assert install[:4] == ("/sbin/semodule", "-X", "400", "-i")
    # semodule names the module after the file
    assert Path(install[4]).name == "senet_firewall.cil"
    assert not Path(install[4]).exists()
    assert len(install) == 5
    assert contents == [TEXT]
    assert remove == ("/sbin/semodule", "-X", "400", "-r", "senet_firewall")


def test_without_semodule_nothing_is_installed(made: Store) -> None:
    made.commands.names.clear()
    for call in (lambda: made.store.install(TEXT), made.store.remove):
        with pytest.raises(SenetError, match="'semodule' is not on this host; install the package policycoreutils"):
            call()


def test_what_semodule_says_last_is_told(made: Store) -> None:
    made.commands.answers["/sbin/semodule"] = (1, "", "noise\nFailed to resolve\nline 3\nsemodule:  Failed!\n")
    with pytest.raises(SenetError, match=r"not install .* 'senet_firewall' \(Failed to resolve; line 3;"):
        made.store.install(TEXT)
    with pytest.raises(SenetError, match="not remove .*semodule:  Failed!.*the policy store is unchanged"):
        made.store.remove()


def test_who_holds_the_stores_lock_is_named(made: Store) -> None:
    lock = made.directory / "semanage.trans.LOCK"
    assert made.store.lock_holder() is None
    with locked(lock) as pid:
        holder = f"pid {pid} ({Path(f'/proc/{pid}/comm').read_text().strip()})"
        assert made.store.lock_holder() == holder
        made.commands.answers["/sbin/semodule"] = (1, "", "Could not get lock\n")
        with pytest.raises(SenetError) as raised:
            made.store.install(TEXT)
        assert str(raised.value) == locked_message("targeted", holder)
        assert f"'targeted' is locked by {holder}" in str(raised.value)
    assert made.store.lock_holder() is None


def test_looking_for_the_holder_keeps_no_lock(made: Store) -> None:
    lock = made.directory / "semanage.trans.LOCK"
    lock.touch()
    assert made.store.lock_holder() is None
    with lock.open() as opened:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)


LOCAL = """\
# This file is auto-generated by libsemanage
# Do not edit directly.

netifcon eth1 system_u:object_r:public_iface_t:s0 system_u:object_r:unlabeled_t:s0
netifcon eth0 system_u:object_r:dmz_iface_t:s0-s0:c0.c1023 system_u:object_r:unlabeled_t:s0
"""


def test_the_contexts_given_to_interfaces_are_read_from_the_store(made: Store) -> None:
    assert made.store.interface_contexts() == {}
    (made.directory / "active/interfaces.local").write_text(LOCAL)
    assert made.store.interface_contexts() == {
        "eth1": "system_u:object_r:public_iface_t:s0",
        "eth0": "system_u:object_r:dmz_iface_t:s0-s0:c0.c1023",
    }


def test_an_interface_is_given_a_context_by_semanage(made: Store) -> None:
    commands, store = made.commands, made.store
    commands.names.add("semanage")
    context = "system_u:object_r:public_iface_t:s0-s0:c0.c1023"
    store.set_interface("eth1", context)
    store.set_interface("eth1", None)
    # Where the policy itself has a context for it
    commands.answers["/sbin/semanage interface -a -t public_iface_t lo"] = (1, "", "ValueError: ... already defined\n")
    store.set_interface("lo", "system_u:object_r:public_iface_t")
    (made.directory / "active/interfaces.local").write_text(LOCAL)
    store.set_interface("eth1", context)
    assert commands.lines == [
        "/sbin/semanage interface -a -t public_iface_t -r s0-s0:c0.c1023 eth1",
        "/sbin/semanage interface -d eth1",
        "/sbin/semanage interface -a -t public_iface_t lo",
        "/sbin/semanage interface -m -t public_iface_t lo",
        "/sbin/semanage interface -m -t public_iface_t -r s0-s0:c0.c1023 eth1",
    ]


@pytest.mark.parametrize("context", [None, "system_u:object_r:public_iface_t:s0"])
def test_what_semanage_refuses_is_told(made: Store, context: Optional[str]) -> None:
    made.commands.names.add("semanage")
    made.commands.answers["/sbin/semanage"] = (1, "", "Could not commit semanage transaction\n")
    with pytest.raises(SenetError, match="of the interface 'eth1' .Could not commit semanage transaction.; see"):
        made.store.set_interface("eth1", context)
    made.commands.names.remove("semanage")
    with pytest.raises(SenetError, match="policycoreutils-python-utils"):
        made.store.set_interface("eth1", context)
