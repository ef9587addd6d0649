# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The systemd units and the launcher that a host gets, as text. No I/O."""

from typing import Dict, Iterable

LOAD_UNIT = "senet-firewall.service"
WATCH_UNIT = "senet-firewall-watch.service"
NAMES = (LOAD_UNIT, WATCH_UNIT)
WATCH_SECONDS = 10

_LAUNCHER = '''\
# Written by the Ansible collection senet.firewall.
import sys
from importlib.machinery import ModuleSpec, SourceFileLoader

# Nothing else below the directory is imported, whoever put it there
FILES = """
{files}
"""


class Loader(SourceFileLoader):
    def get_code(self, fullname):
        # Never what lies compiled beside the source
        return self.source_to_code(self.get_data(self.path), self.path)


class Finder:
    def __init__(self, directory, files):
        self.paths = {{}}
        for file in files:
            name = file[:-len(".py")].replace("/", ".")
            is_package = name.endswith(".__init__")
            name = name[:-len(".__init__")] if is_package else name
            self.paths[name] = directory + "/" + file, is_package

    def find_spec(self, name, path=None, target=None):
        if name not in self.paths:
            return None
        file, is_package = self.paths[name]
        spec = ModuleSpec(name, Loader(name, file), origin=file, is_package=is_package)
        spec.has_location = True
        return spec


sys.meta_path.insert(0, Finder("{directory}", FILES.split()))
from ansible_collections.senet.firewall.plugins.module_utils._agent.commands import main

sys.exit(main(sys.argv[1:]))
'''

# After everything that empties tables when it starts, before the network comes up.
_LOAD = """\
# Written by the Ansible collection senet.firewall.
[Unit]
Description=Labels on packets, so that SELinux enforces the flows of senet.firewall
DefaultDependencies=no
RequiresMountsFor=/etc /var/lib
After=local-fs.target systemd-modules-load.service systemd-sysctl.service
After=nftables.service iptables.service ip6tables.service netfilter-persistent.service ufw.service firewalld.service
Before=network-pre.target shutdown.target
Wants=network-pre.target {watch}

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={command} load
ExecReload={command} load
# Stopping opens every flow to everybody: it is logged, and the next run of the module reports it as a change.
ExecStop={command} clear

[Install]
WantedBy=multi-user.target
"""

_WATCH = """\
# Written by the Ansible collection senet.firewall.
[Unit]
Description=Puts the labels of senet.firewall back when another program takes them away
After={load}
PartOf={load}

[Service]
ExecStart={command} watch
Restart=always
RestartSec={seconds}

[Install]
WantedBy=multi-user.target
"""

# A unit gets a new control group when it starts, which rules must know before its first process asks for anything, an
# ExecStartPre of its own that waits for a database among them: systemd.service(5) runs conditions before those.
# Neither our failure nor a sandbox of the unit's is to keep it from starting, or us from the kernel.
_DROP_IN = """\
# Written by the Ansible collection senet.firewall, which has a flow of this unit.
[Service]
ExecCondition=-+{command} refresh
"""
DROP_IN = "50-senet-firewall.conf"


def launcher(directory: str, files: Iterable[str]) -> str:
    """The Python program that the units start: the collection's own code in these files below a directory."""
    return _LAUNCHER.format(directory=directory, files="\n".join(files))


def units(command: Iterable[str]) -> Dict[str, str]:
    """The unit files by name, for the command that starts the launcher."""
    line = " ".join(command)
    return {
        LOAD_UNIT: _LOAD.format(command=line, watch=WATCH_UNIT),
        WATCH_UNIT: _WATCH.format(command=line, load=LOAD_UNIT, seconds=WATCH_SECONDS),
    }


def drop_ins(command: Iterable[str], names: Iterable[str]) -> Dict[str, str]:
    """The drop-in files, by path below the unit directory, for those of these units that are services."""
    text = _DROP_IN.format(command=" ".join(command))
    return {"{0}.d/{1}".format(name, DROP_IN): text for name in names if name.endswith(".service")}
