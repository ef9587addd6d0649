# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stays on a host: /etc/senet/flows.json, the code that loads labels at boot, its units. It decides nothing."""

import glob
import os
import re
from contextlib import suppress
from typing import Callable, Dict, Iterable, Optional, Set, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._compile import systemd_units
from ansible_collections.senet.firewall.plugins.module_utils._host import compiled
from ansible_collections.senet.firewall.plugins.module_utils._host.command_types import FindCommand, RunCommand
from ansible_collections.senet.firewall.plugins.module_utils._host.files import read_owned, remove, write_owned
from ansible_collections.senet.firewall.plugins.module_utils._host.installed import compiled_path, is_strange, ours_on
from ansible_collections.senet.firewall.plugins.module_utils._host.interpreter import find_interpreter
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.processes import manager_root, parse_cgroup

INTENT_PATH = "/etc/senet/flows.json"
# Image-based systems have nothing else that is writable and code of ours: /usr is read-only, /usr/local may be.
RUNTIME_DIRECTORY = "/var/lib/senet-firewall/code"
LAUNCHER = RUNTIME_DIRECTORY + "/senet-firewall"
UNIT_DIRECTORY = "/etc/systemd/system"

# cgroup version 2, hybrid, and version 1
_CGROUP_ROOTS = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd")
_FIRST_CGROUP = "/proc/1/cgroup"
_EXEC_START = re.compile(r"^ExecStart=(/\S+) ", re.MULTILINE)


class Service:
    """The files and units of this host. Without systemd there are no units, and nothing loads labels at boot."""

    def __init__(
        self, run_command: RunCommand, find_command: FindCommand, sources: Callable[[], compiled.Sources]
    ) -> None:
        self._run = run_command
        self._find = find_command
        self._read_sources = sources
        self._interpreter = None  # type: Optional[str]
        self._code = None  # type: Optional[compiled.Sources]

    def command(self) -> Tuple[str, ...]:
        """What starts the launcher. The interpreter is named, since SELinux gives a service its domain by the type of
        what systemd executes: bin_t leads to one that may load policy, and the script need only be readable.

        :raises SenetError: no interpreter of this host may run as root.
        """
        if self._interpreter is None:
            installed = _EXEC_START.search(_read(os.path.join(UNIT_DIRECTORY, systemd_units.LOAD_UNIT)) or "")
            self._interpreter = find_interpreter(self._run, installed.group(1) if installed else None)
        return self._interpreter, "-IB", LAUNCHER

    @property
    def systemd(self) -> bool:
        """Whether systemd runs this host: sd_booted(3)."""
        return os.path.isdir("/run/systemd/system")

    def intent(self) -> Optional[str]:
        """The text of /etc/senet/flows.json, or None where it is missing.

        :raises SenetError: the file is not root's alone, or cannot be read.
        """
        # A type that it got by an administrator's mv must not leave the host without flows at boot: the next run
        # writes it anew, see in_place
        return read_owned(INTENT_PATH, by_type=False)

    def write_intent(self, text: Optional[str]) -> None:
        """Replace /etc/senet/flows.json, or remove it and its directory; nothing where it says so already.

        :raises SenetError: it cannot be written.
        """
        if text is not None:
            # Undoing a change on a file system that has become read-only must not fail for a file nobody touched.
            if _read(INTENT_PATH) != text or _strange_among([INTENT_PATH]):
                write_owned(INTENT_PATH, text)
            return
        remove(INTENT_PATH)
        if os.path.isdir(os.path.dirname(INTENT_PATH)) and not os.listdir(os.path.dirname(INTENT_PATH)):
            remove(os.path.dirname(INTENT_PATH))

    def in_place(self, units: Iterable[str] = ()) -> bool:
        """Whether code and units are those of this collection, enabled, and the watch runs; these units, and no other
        ones, tell us when they start; and no confined service may have written any of it, by its SELinux type."""
        if not os.path.exists(LAUNCHER):
            return False
        try:
            files = self._files(units)
        except SenetError:  # no interpreter is fit to run it
            return False
        if not all(_read(path) == text for path, text in files.items()) or not self.follows(units):
            return False
        if _strange_among([INTENT_PATH] + list(files)):
            return False
        if not self.systemd:
            return True
        with open(_FIRST_CGROUP, "rb") as first:
            slices = manager_root(parse_cgroup(first.read())).strip("/")
        return _enabled() and any(
            os.path.isdir(os.path.join(root, slices, "system.slice", systemd_units.WATCH_UNIT))
            for root in _CGROUP_ROOTS
        )

    def follows(self, units: Iterable[str]) -> bool:
        """Whether the services among these units, and no other ones, tell us when they start."""
        wanted = systemd_units.drop_ins((), units) if self.systemd else {}
        return set(_drop_ins()) == {os.path.join(UNIT_DIRECTORY, path) for path in wanted}

    def install(self, units: Iterable[str] = ()) -> None:
        """Write code and units and enable the units, without starting them; have these units tell us when they start.

        :raises SenetError: a file cannot be written, or systemd refuses.
        """
        files = self._files(units)
        # The guard's record is beside the code, and for root alone
        os.makedirs(os.path.dirname(RUNTIME_DIRECTORY), mode=0o700, exist_ok=True)
        strange = _strange_among(files)
        changed = [
            path for path, text in files.items() if _read(path) != text or not strange.isdisjoint(ours_on(path))
        ]
        for path in changed:
            _make_directory(os.path.dirname(path))
            write_owned(path, files[path], 0o644)
        gone = set(_drop_ins()) - set(files)
        _remove_drop_ins(gone)
        if self.systemd and (changed or gone or not self._knows(units)):
            # Each reload takes seconds on a slow host, and enable does one of its own unless told
            self._systemctl("--no-reload", "enable", *systemd_units.NAMES)
            self._systemctl("daemon-reload")
        self.keep()

    def keep(self) -> None:
        """Keep the code that is installed in compiled form for the next run, which does without where it cannot be."""
        # What is run from there is current
        if os.path.exists(LAUNCHER) and not hasattr(systemd_units.__loader__, "from_compiled"):
            with suppress(SenetError):
                compiled.write(compiled_path(RUNTIME_DIRECTORY), self._sources())

    def start(self) -> None:
        """Start the units; the first loads the labels again, which changes nothing where they are in force.

        :raises SenetError: systemd refuses, or the labels cannot be loaded.
        """
        if self.systemd:
            self._systemctl("start", systemd_units.LOAD_UNIT)
            self._systemctl("restart", systemd_units.WATCH_UNIT)

    def show(self, enforced: bool) -> None:
        """Have the first unit be failed while flows are not enforced, and active once they are, without waiting for it.

        It takes labels away when it stops, and says what it cannot load when it starts.
        """
        if not self.systemd:
            return
        systemctl = self._find("systemctl") or "systemctl"
        asked, verb = ("is-failed", "start") if enforced else ("is-active", "restart")
        if not self._run([systemctl, asked, "--quiet", systemd_units.LOAD_UNIT])[0]:
            self._run([systemctl, "--no-block", verb, systemd_units.LOAD_UNIT])

    def uninstall(self) -> None:
        """Remove and stop the units and remove the code; nothing where they are not.

        :raises SenetError: a file cannot be removed, or systemd refuses.
        """
        present = self.systemd and os.path.exists(os.path.join(UNIT_DIRECTORY, systemd_units.LOAD_UNIT))
        if present:
            self._systemctl("--no-reload", "disable", *systemd_units.NAMES)
        for unit in systemd_units.NAMES:
            remove(os.path.join(UNIT_DIRECTORY, unit))
        _remove_drop_ins(_drop_ins())
        for directory, dummy, files in os.walk(RUNTIME_DIRECTORY, topdown=False):
            for name in files:
                remove(os.path.join(directory, name))
            remove(directory)
        if present:
            # Without its file a unit has no ExecStop that would wait for our lock. It may be the one that runs this.
            self._systemctl("daemon-reload")
            # Unchecked: systemd does not know a unit any more that was never started, and says so as an error.
            self._run([self._find("systemctl") or "systemctl", "--no-block", "stop"] + list(systemd_units.NAMES))

    def _files(self, units: Iterable[str]) -> Dict[str, str]:
        """Path and text of each file of the code, our units, and what these units get."""
        files = {}  # type: Dict[str, str]
        package = os.path.join(RUNTIME_DIRECTORY, *__name__.split(".")[:-2])
        directory = package
        while directory != RUNTIME_DIRECTORY:
            files[os.path.join(directory, "__init__.py")] = ""
            directory = os.path.dirname(directory)
        for name, (is_package, source) in self._sources().items():
            suffix = "/__init__.py" if is_package else ".py"
            files[os.path.join(package, name.replace(".", "/") + suffix)] = source
        names = sorted(os.path.relpath(path, RUNTIME_DIRECTORY) for path in files)
        files[LAUNCHER] = systemd_units.launcher(RUNTIME_DIRECTORY, names)
        if self.systemd:
            command = self.command()
            own = dict(systemd_units.units(command), **systemd_units.drop_ins(command, units))
            for unit, text in own.items():
                files[os.path.join(UNIT_DIRECTORY, unit)] = text
        return files

    def _knows(self, units: Iterable[str]) -> bool:
        """Whether our units are enabled, and systemd has read the files of ours and of these units as they are now."""
        names = list(systemd_units.NAMES) + [unit for unit in units if unit.endswith(".service")]
        command = [self._find("systemctl") or "systemctl", "show", "--property=NeedDaemonReload", "--"] + names
        code, out, dummy = self._run(command)
        # One answer a unit, with an empty line between
        return not code and _enabled() and out.split() == ["NeedDaemonReload=no"] * len(names)

    def _sources(self) -> compiled.Sources:
        if self._code is None:
            self._code = self._read_sources()
        return self._code

    def _systemctl(self, *args: str) -> None:
        code, dummy, err = self._run([self._find("systemctl") or "systemctl"] + list(args))
        if code:
            raise SenetError(
                "'systemctl {0}' failed ({1}); see 'journalctl -u senet-firewall -u senet-firewall-watch'.".format(
                    " ".join(args), " ".join(err.split())
                )
            )


def _strange_among(paths: Iterable[str]) -> Set[str]:
    """What has another SELinux type than its directory among these paths and the directories of ours above them."""
    return {part for part in {part for path in paths for part in ours_on(path)} if is_strange(part)}


def _enabled() -> bool:
    wants = os.path.join(UNIT_DIRECTORY, "multi-user.target.wants")
    return all(os.path.islink(os.path.join(wants, unit)) for unit in systemd_units.NAMES)


def _make_directory(path: str) -> None:
    """Make a directory that all may read, where it is missing; somebody else's drop-in directory stays as it is."""
    if os.path.isdir(path):
        return
    _make_directory(os.path.dirname(path))
    try:
        os.mkdir(path)
        os.chmod(path, 0o755)
    except OSError as exc:
        raise SenetError(
            "The directory {0} cannot be created ({1}); make its file system writable.".format(path, exc.strerror)
        ) from exc


def _drop_ins() -> Iterable[str]:
    return glob.glob(os.path.join(glob.escape(UNIT_DIRECTORY), "*.d", systemd_units.DROP_IN))


def _remove_drop_ins(paths: Iterable[str]) -> None:
    for path in paths:
        remove(path)
        if not os.listdir(os.path.dirname(path)):
            remove(os.path.dirname(path))


def _read(path: str) -> Optional[str]:
    try:
        with open(path, encoding="utf-8") as content:
            return content.read()
    except (OSError, ValueError):
        return None
