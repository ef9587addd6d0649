# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module's call as a program for the host's interpreter, which runs it from the code that the host has installed."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.senet.firewall.plugins.module_utils._agent import shipped
from ansible_collections.senet.firewall.plugins.module_utils._host import compiled, installed
from ansible_collections.senet.firewall.plugins.module_utils._values import options

# What root's units run, best first; and a path that no shell takes for anything else
_SYSTEM = "p=/usr/libexec/platform-python; [ -x $p ] || p=/usr/bin/python3; $p"
_PATH = re.compile(r"/[\w./+-]+")


def command(interpreter: Any) -> str:
    """The shell's command that runs a program from its standard input. Where it is not known which interpreter Ansible
    would use, the system's own is good enough: it runs what it has compiled, or nothing."""
    known = isinstance(interpreter, str) and _PATH.fullmatch(interpreter)
    # -S: the installed code needs nothing but the standard library
    return f"{interpreter if known else _SYSTEM} -IBS -"


def program(
    name: str, arguments: dict[str, Any], check_mode: bool, keep: bool, facility: str | None
) -> str | None:
    """The program, or None where the options are not valid, which is for the module to say."""
    validated = ArgumentSpecValidator(**options.MODULES[name]).validate(arguments)
    if validated.error_messages:
        return None
    call = {
        "name": name,
        "params": validated.validated_parameters,
        "check_mode": check_mode,
        "keep": keep,
        "facility": facility,
    }
    return f"{_own(installed.__file__)}\nimport json\n\nmain({_digest()!r}, json.loads({json.dumps(call)!r}))\n"


def result(done: dict[str, Any]) -> dict[str, Any] | None:
    """What the module returned, out of the program's return code and output; None if the module was not begun."""
    lines = done["stdout"].splitlines()
    if installed.BEGUN not in lines:
        return None
    for line in lines:
        if line.startswith(installed.RESULT):
            found: dict[str, Any] = json.loads(line.removeprefix(installed.RESULT))
            return found
    return {
        "failed": True,
        "msg": "The module ended without a result; see module_stderr, and look at the host with the same task in check "
        "mode.",
        "module_stdout": done["stdout"],
        "module_stderr": done["stderr"],
        "rc": done["rc"],
    }


@lru_cache(maxsize=None)
def _own(path: str) -> str:
    return Path(path).read_text(encoding="utf-8")


@lru_cache(maxsize=None)
def _digest() -> str:
    """The digest of this controller's own code."""
    directory = Path(installed.__file__).parent.parent
    sources = {}
    for name in shipped.MODULES:
        path = directory.joinpath(*name.split("."))
        package = path.is_dir()
        sources[name] = (package, _own(str(path / "__init__.py" if package else path.with_suffix(".py"))))
    return compiled.digest(sources)
