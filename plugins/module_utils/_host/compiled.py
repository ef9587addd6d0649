# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The installed code in one compiled file, which :mod:`_host.installed` runs: written at once, never half another."""

import hashlib
import marshal
from typing import Dict, Mapping, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._host import installed
from ansible_collections.senet.firewall.plugins.module_utils._host.files import write_owned

# By name below module_utils: whether it is a package, and its source
Sources = Mapping[str, Tuple[bool, str]]


def digest(sources: Sources) -> str:
    """What tells these sources from any others."""
    found = hashlib.sha256()
    for name, (package, source) in sorted(sources.items()):
        data = source.encode("utf-8")
        found.update("{0} {1:d} {2}\n".format(name, package, len(data)).encode("ascii"))
        found.update(data)
    return found.hexdigest()


def is_current(path: str, sources: Sources) -> bool:
    """Whether the file was made of these sources for this interpreter, and can be run."""
    if any(installed.is_strange(part) for part in installed.ours_on(path)):
        return False
    try:
        installed.unseal(installed.header(digest(sources)), _read(path))
    except (installed.Refused, OSError):
        return False
    return True


def write(path: str, sources: Sources) -> None:
    """Compile sources into the file, unless it has them.

    :raises SenetError: it cannot be written; the old file is then as it was.
    """
    if is_current(path, sources):
        return
    modules = {}  # type: Dict[str, Tuple[bool, object, str]]
    package = ""
    for part in installed.PACKAGE.split("."):
        package += part
        modules[package] = _compiled(package, True, "")
        package += "."
    for name, (is_package, source) in sources.items():
        modules[package + name] = _compiled(package + name, is_package, source)
    head = installed.header(digest(sources))
    write_owned(path, installed.seal(head, marshal.dumps(modules)), 0o644)


def _compiled(name: str, package: bool, source: str) -> Tuple[bool, object, str]:
    return package, compile(source, "<{0}>".format(name), "exec", dont_inherit=True), source


def _read(path: str) -> bytes:
    with open(path, "rb") as content:
        return content.read()
