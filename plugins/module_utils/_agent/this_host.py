# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host that this process runs on, and the code that it gets."""

from importlib import import_module
from typing import Any, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._agent.shipped import MODULES
from ansible_collections.senet.firewall.plugins.module_utils._host.commands import find_command, run_command
from ansible_collections.senet.firewall.plugins.module_utils._host.compiled import Sources
from ansible_collections.senet.firewall.plugins.module_utils._host.host import Host, open_host
from ansible_collections.senet.firewall.plugins.module_utils._host.installed import PACKAGE


def this_host() -> Host:
    """The host that this process runs on."""
    return open_host(run_command, find_command, sources)


def sources() -> Sources:
    """The code that a host gets, out of wherever this process has its own from."""
    return {name: _source(PACKAGE + "." + name) for name in MODULES}


def _source(name: str) -> Tuple[bool, str]:
    module = import_module(name)
    # Ansible runs a module out of a zip file, so there is no path to read from
    loader = module.__loader__  # type: Any
    return hasattr(module, "__path__"), loader.get_source(name) or ""
