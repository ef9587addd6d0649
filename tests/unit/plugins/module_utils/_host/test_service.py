# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.senet.firewall.plugins.module_utils._agent import shipped
from ansible_collections.senet.firewall.plugins.module_utils._agent.this_host import sources
from ansible_collections.senet.firewall.plugins.module_utils._compile import systemd_units
from ansible_collections.senet.firewall.plugins.module_utils._host import service as service_module
from ansible_collections.senet.firewall.plugins.module_utils._host.installed import DIRECTORY, compiled_path
from ansible_collections.senet.firewall.plugins.module_utils._host.service import Service
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from tests.unit.commands import Commands
from tests.unit.labels import Labels
from tests.unit.owner import pretend_owner

PACKAGE = "ansible_collections.senet.firewall.plugins.module_utils"
USAGE = "usage: senet-firewall load | refresh | clear | watch | check TOKEN | rollback TOKEN\n"
INTERPRETER = "/usr/bin/python3"
IMPORTED = f"""
import json, sys
import {PACKAGE}._agent.commands, {PACKAGE}._agent.module_call, {PACKAGE}._change.modules
print(json.dumps(sorted(name for name in sys.modules)))
"""


class Root:
    """A host's files below a directory, with systemctl as far as files show what it did."""

    def __init__(self, root: Path) -> None:
        self.runtime = root / "lib/senet-firewall/code"
        self.units = root / "systemd"
        self.cgroup = root / "cgroup"
        self.first_cgroup = root / "first_cgroup"
        self.first_cgroup.write_text("0::/init.scope\n")
        self.intent = root / "etc/senet/flows.json"
        self.systemd = True
        self.commands = Commands("systemctl")
        self.wants = self.units / "multi-user.target.wants"
        for directory in (root / "lib", self.wants, self.cgroup, root / "etc"):
            directory.mkdir(parents=True)

    def service(self) -> Service:
        return Service(self.run, self.commands.find, sources)

    def run(self, args: list[str]) -> tuple[int, str, str]:
        verb, *units = [arg for arg in args[1:] if arg != "--no-reload"]
        for unit in units:
            link = self.wants / unit
            if verb == "enable" and not link.is_symlink():
                link.symlink_to(self.units / unit)
            elif verb == "disable":
                assert (self.units / unit).exists()
                link.unlink()
        if verb == "restart":
            (self.cgroup / "system.slice" / units[0]).mkdir(parents=True, exist_ok=True)
        return self.commands.run(args)

    def tree(self) -> list[Path]:
        return sorted(path for place in (self.runtime, self.units) for path in place.rglob("*") if path != self.wants)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Root]:
    pretend_owner(monkeypatch, 0)
    made = Root(tmp_path)
    monkeypatch.setattr(service_module, "INTENT_PATH", str(made.intent))
    monkeypatch.setattr(service_module, "RUNTIME_DIRECTORY", str(made.runtime))
    monkeypatch.setattr(service_module, "LAUNCHER", str(made.runtime / "senet-firewall"))
    monkeypatch.setattr(service_module, "UNIT_DIRECTORY", str(made.units))
    monkeypatch.setattr(service_module, "_CGROUP_ROOTS", (str(made.cgroup),))
    monkeypatch.setattr(service_module, "_FIRST_CGROUP", str(made.first_cgroup))
    monkeypatch.setattr(service_module, "find_interpreter", lambda run, installed: INTERPRETER)
    monkeypatch.setattr(Service, "systemd", property(lambda self: made.systemd))
    old = os.umask(0o077)
    yield made
    os.umask(old)


def test_the_runtime_is_what_agent_and_direct_runs_import_and_nothing_of_ansible() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED], check=True, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": os.environ["ANSIBLE_COLLECTIONS_PATH"]},
    )  # fmt: skip
    imported = json.loads(done.stdout)
    assert {name.removeprefix(PACKAGE + ".") for name in imported if name.startswith(PACKAGE + ".")} == set(
        shipped.MODULES
    )
    assert not [name for name in imported if name == "ansible" or name.startswith("ansible.")]


def test_a_container_that_sees_the_hosts_control_groups_has_its_own_among_them(root: Root) -> None:
    root.service().install()
    root.service().start()
    shutil.move(root.cgroup / "system.slice", root.cgroup / "docker/4f5e/system.slice")
    assert not root.service().in_place()
    root.first_cgroup.write_text("0::/docker/4f5e/init.scope\n")
    assert root.service().in_place()


def test_what_is_installed_is_in_place_and_goes_without_a_trace(root: Root) -> None:
    service = root.service()
    assert not service.in_place()
    before = root.tree()
    service.install()
    assert root.commands.lines == [
        "/sbin/systemctl --no-reload enable senet-firewall.service senet-firewall-watch.service",
        "/sbin/systemctl daemon-reload",
    ]  # fmt: skip
    assert not service.in_place(), "nothing watches yet"
    service.start()
    assert root.commands.lines[2:] == [
        "/sbin/systemctl start senet-firewall.service", "/sbin/systemctl restart senet-firewall-watch.service"
    ]  # fmt: skip
    assert service.in_place()
    # systemd and root read it, whatever umask Ansible runs with
    for path in root.runtime.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o755 if path.is_dir() else 0o644), path
    assert {path.name for path in root.units.iterdir() if path != root.wants} == set(systemd_units.NAMES)

    root.commands.calls.clear()
    service.uninstall()
    assert root.tree() == before
    assert not root.runtime.exists()
    assert root.commands.lines == [
        "/sbin/systemctl --no-reload disable senet-firewall.service senet-firewall-watch.service",
        "/sbin/systemctl daemon-reload",
        "/sbin/systemctl --no-block stop senet-firewall.service senet-firewall-watch.service",
    ]
    root.commands.calls.clear()
    service.uninstall()
    assert root.commands.calls == []


def test_the_compiled_code_is_no_part_of_what_is_in_place_and_is_kept_anew(root: Root) -> None:
    service = root.service()
    service.keep()
    assert not root.runtime.exists(), "without flows nothing stays"
    service.install()
    service.start()
    path = Path(compiled_path(str(root.runtime)))
    whole = path.read_bytes()
    path.unlink()
    assert service.in_place()
    service.keep()
    assert path.stat().st_size == len(whole)
    path.unlink()
    path.mkdir()
    service.keep()
    service.install()
    assert service.in_place(), "it does without"


def test_the_compiled_code_is_where_it_is_looked_for() -> None:
    assert service_module.RUNTIME_DIRECTORY == DIRECTORY


def test_installing_again_writes_no_file(root: Root) -> None:
    root.service().install()
    times = {path: path.stat().st_mtime_ns for path in root.tree()}
    inodes = {path: path.stat().st_ino for path in root.tree()}
    root.service().install()
    assert {path: path.stat().st_mtime_ns for path in root.tree()} == times
    assert {path: path.stat().st_ino for path in root.tree()} == inodes


@pytest.mark.parametrize(
    "harm", ["senet-firewall", "lib/senet-firewall/senet-firewall", "unit", "link", "watch"]
)
def test_whatever_is_missing_or_changed_is_noticed_and_put_back(root: Root, harm: str) -> None:
    service = root.service()
    service.install()
    service.start()
    if harm == "unit":
        (root.units / systemd_units.LOAD_UNIT).write_text("[Unit]\n")
    elif harm == "link":
        (root.wants / systemd_units.LOAD_UNIT).unlink()
    elif harm == "watch":
        shutil.rmtree(root.cgroup / "system.slice")
    elif harm == "senet-firewall":
        (root.runtime / harm).write_bytes(b"\xff")
    else:
        next(root.runtime.rglob("plan.py")).unlink()
    assert not service.in_place()
    service.install()
    service.start()
    assert service.in_place()


@pytest.mark.parametrize("strange", ["launcher", "module", "directory", "intent"])
def test_what_a_confined_service_may_write_is_not_in_place_and_is_written_anew(
    root: Root, monkeypatch: pytest.MonkeyPatch, strange: str
) -> None:
    labels = Labels(monkeypatch)
    service = root.service()
    service.install(["apache2.service"])
    service.start()
    service.write_intent("{}")
    # As restorecon labels it on Fedora
    labels.give(root.units / "apache2.service.d" / systemd_units.DROP_IN, "httpd_unit_file_t")
    assert service.in_place(["apache2.service"])
    module = next(root.runtime.rglob("plan.py"))
    path = {"launcher": root.runtime / "senet-firewall", "intent": root.intent}.get(strange, module)
    labels.give(path)
    if strange == "directory":
        labels.give(path.parent)
    assert not service.in_place(["apache2.service"])
    inode = path.stat().st_ino
    assert service.intent() == "{}", "a host is not left without its flows"
    service.install(["apache2.service"])
    service.write_intent("{}")
    assert service.in_place(["apache2.service"])
    assert (labels.type(path), labels.type(path.parent)) == ("var_lib_t", "var_lib_t")
    assert path.stat().st_ino != inode


def test_somebody_elses_drop_in_directory_keeps_its_mode(root: Root) -> None:
    theirs = root.units / "apache2.service.d"
    theirs.mkdir(mode=0o700)
    service = root.service()
    service.install(["apache2.service"])
    assert stat.S_IMODE(theirs.stat().st_mode) == 0o700
    service.install(["apache2.service"])
    assert stat.S_IMODE(theirs.stat().st_mode) == 0o700


def test_the_code_is_where_image_based_systems_can_be_written() -> None:
    assert service_module.RUNTIME_DIRECTORY.startswith("/var/lib/")


def test_the_units_are_the_same_whatever_interpreter_a_run_has(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    service = root.service()
    service.install(["apache2.service"])
    service.start()
    inodes = {path: path.stat().st_ino for path in root.tree()}
    monkeypatch.setattr(sys, "executable", "/home/admin/venv/bin/python")
    again = root.service()
    assert again.in_place(["apache2.service"])
    again.install(["apache2.service"])
    assert {path: path.stat().st_ino for path in root.tree()} == inodes
    assert b"/home/admin" not in b"".join(path.read_bytes() for path in root.tree() if path.is_file())


def test_the_interpreter_that_the_units_name_is_asked_about(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def ask(run: object, installed: object) -> str:
        asked.append(installed)
        return "/opt/py/bin/python3"

    monkeypatch.setattr(service_module, "find_interpreter", ask)
    root.service().install()
    root.service().install()
    assert asked == [None, "/opt/py/bin/python3"]


def test_without_an_interpreter_nothing_is_in_place_and_installing_says_why(
    root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*args: object) -> str:
        raise SenetError("No Python interpreter.")

    root.service().install()
    root.service().start()
    monkeypatch.setattr(service_module, "find_interpreter", none)
    assert not root.service().in_place()
    with pytest.raises(SenetError, match=r"No Python interpreter\."):
        root.service().install()
    root.service().uninstall()
    assert not root.runtime.exists()


def test_without_systemd_there_is_the_code_and_no_unit(root: Root) -> None:
    root.systemd = False
    service = root.service()
    service.install()
    service.start()
    assert service.in_place()
    assert sorted(root.units.iterdir()) == [root.wants]
    service.uninstall()
    assert not root.runtime.exists()
    assert root.commands.calls == []


def test_a_refusal_of_systemd_is_told(root: Root) -> None:
    root.commands.answers["/sbin/systemctl start"] = (1, "", "Job for senet-firewall.service failed.\nSee more\n")
    root.service().install()
    with pytest.raises(SenetError, match=r"'systemctl start senet-firewall.service' failed \(Job .* See more\); see"):
        root.service().start()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [(["load"], 1, "flows.json is missing"), (["unload"], 2, USAGE)],
)
def test_what_is_installed_runs_without_ansible(root: Root, arguments: list[str], code: int, said: str) -> None:
    root.service().install()
    # Where the host keeps things is in the copy's own text.
    copied = next(root.runtime.rglob("guard.py"))
    for path in root.runtime.rglob("*.py"):
        text = path.read_text().replace('"/etc/senet', f'"{root.intent.parent}')
        text = text.replace('"/var/lib/senet-firewall', f'"{root.intent.parent}')
        text = text.replace('"/run/senet', f'"{root.units}')
        path.write_text(text)
    assert str(root.units) in copied.read_text()
    before = root.tree()
    # -S: no site-packages, so no ansible
    done = subprocess.run(
        [sys.executable, "-IBS", root.runtime / "senet-firewall", *arguments],
        check=False, capture_output=True, text=True, cwd="/",
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert [path for path in root.tree() if not path.name.endswith(".lock")] == [*before]


def test_the_intent_is_kept_for_root_alone_and_goes_with_its_directory(root: Root) -> None:
    service = root.service()
    assert service.intent() is None
    service.write_intent("one")
    assert service.intent() == "one"
    assert stat.S_IMODE(root.intent.stat().st_mode) == 0o600
    assert stat.S_IMODE(root.intent.parent.stat().st_mode) == 0o700
    service.write_intent(None)
    assert not root.intent.parent.exists()
    service.write_intent(None)
    # what somebody else has put beside it stays
    service.write_intent("two")
    (root.intent.parent / "notes").write_text("mine")
    service.write_intent(None)
    assert [path.name for path in root.intent.parent.iterdir()] == ["notes"]


def test_an_intent_that_is_there_already_is_not_written(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    service = root.service()
    service.write_intent("one")
    inode = root.intent.stat().st_ino
    service.write_intent("one")
    assert root.intent.stat().st_ino == inode


KNOWN = "NeedDaemonReload=no\n\nNeedDaemonReload=no\n\nNeedDaemonReload=no\n"


@pytest.mark.parametrize(
    ("said", "harm", "reloads"),
    [
        ((0, KNOWN, ""), "", False),
        ((0, KNOWN.replace("no", "yes", 1), ""), "", True),
        ((0, KNOWN[:-20], ""), "", True),
        ((1, "", "Failed to connect to bus"), "", True),
        ((0, KNOWN, ""), "file", True),
        ((0, KNOWN, ""), "link", True),
        ((0, KNOWN, ""), "drop-in", True),
    ],
)
def test_systemd_reads_its_files_again_only_where_it_has_to(
    root: Root, said: tuple[int, str, str], harm: str, reloads: bool
) -> None:
    service = root.service()
    service.install(["apache2.service", "app.slice"])
    if harm == "file":
        (root.units / systemd_units.LOAD_UNIT).write_text("[Unit]\n")
    elif harm == "link":
        (root.wants / systemd_units.LOAD_UNIT).unlink()
    elif harm == "drop-in":
        (root.units / "old.service.d").mkdir()
        (root.units / "old.service.d" / systemd_units.DROP_IN).write_text("[Service]\n")
    root.commands.calls.clear()
    root.commands.answers["/sbin/systemctl show --property=NeedDaemonReload -- " + " ".join(
        [*systemd_units.NAMES, "apache2.service"]
    )] = said  # fmt: skip
    service.install(["apache2.service", "app.slice"])
    assert ("/sbin/systemctl daemon-reload" in root.commands.lines) == reloads


def test_the_services_of_flows_tell_when_they_start(root: Root) -> None:
    service = root.service()
    service.install(["apache2.service", "app@1.service", "app.slice"])
    service.start()
    drop_ins = {f"{unit}.d/50-senet-firewall.conf" for unit in ("apache2.service", "app@1.service")}
    assert {str(path.relative_to(root.units)) for path in root.units.glob("*.d/*")} == drop_ins
    text = (root.units / "apache2.service.d" / "50-senet-firewall.conf").read_text()
    assert f"\nExecCondition=-+{INTERPRETER} -IB {service_module.LAUNCHER} refresh\n" in text
    assert stat.S_IMODE((root.units / "apache2.service.d").stat().st_mode) == 0o755
    assert service.in_place(["apache2.service", "app@1.service", "app.slice"])
    assert not service.in_place(["apache2.service"])
    assert not service.in_place()

    # Somebody else's drop-ins of the same unit stay.
    own = root.units / "apache2.service.d" / "limits.conf"
    own.write_text("[Service]\n")
    service.install(["app@1.service"])
    assert sorted(root.units.glob("*.d/*")) == [own, root.units / "app@1.service.d" / "50-senet-firewall.conf"]
    assert service.follows(["app@1.service"])
    service.uninstall()
    assert sorted(root.units.glob("*.d/*")) == [own]
