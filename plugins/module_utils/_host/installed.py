# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a module from the code that a host has installed, if that is the controller's own, compiled and undamaged.

The action plugins send this file as it is to the host's interpreter, on its standard input, and a call of :func:`main`
after it. So it imports nothing of the collection, and says on standard output whether the module was begun.
"""

import marshal
import os
import stat
import sys
import zlib
from typing import Any, Callable, Dict, Optional, Tuple

DIRECTORY = "/var/lib/senet-firewall/code"
PACKAGE = "ansible_collections.senet.firewall.plugins.module_utils"
# Lines on standard output: why the module was not begun, that it was, what it returns
REFUSED = "senet-firewall-refused "
BEGUN = "senet-firewall-begun"
RESULT = "senet-firewall-result "


class Refused(Exception):
    """The installed code is not to be run; the message says why."""


class Importer:
    """Imports the collection's code from memory: ``modules`` has by name whether it is a package, code and source."""

    from_compiled = True

    def __init__(self, modules: Dict[str, Tuple[bool, Any, str]]) -> None:
        self._modules = modules

    def find_spec(self, name: str, path: Optional[Any] = None, target: Optional[Any] = None) -> Any:
        if name not in self._modules:
            return None
        # The type of sys.__spec__, without importing importlib.machinery and all that it needs
        loader = self  # type: Any
        return type(sys.__spec__)(name, loader, is_package=self._modules[name][0])

    def create_module(self, spec: Any) -> None:
        return None

    def exec_module(self, module: Any) -> None:
        exec(self._modules[module.__name__][1], module.__dict__)

    def get_source(self, name: str) -> str:
        return self._modules[name][2]


def compiled_path(directory: str) -> str:
    """The compiled file for this interpreter."""
    return "{0}/compiled.{1}".format(directory, sys.implementation.cache_tag)


def header(digest: str) -> bytes:
    """The first part of the compiled file: the sources it was made of, and the version of Python that made it."""
    return "{0} {1:x}\n".format(digest, sys.hexversion).encode("ascii")


def seal(head: bytes, body: bytes) -> bytes:
    """A compiled file out of its header and its body."""
    return head + b"%08x %08x\n" % (len(body), zlib.crc32(body)) + body


def unseal(head: bytes, content: bytes) -> bytes:
    """The body of a compiled file.

    :raises Refused: it has another header, or is damaged.
    """
    if not content.startswith(head):
        raise Refused("it is of another version of the collection, or for another version of Python")
    start = len(head) + len(b"00000000 00000000\n")
    body = content[start:]
    # Against accidents: only root could do it on purpose
    if content != seal(head, body):
        raise Refused("it is damaged")
    return body


def read(path: str) -> bytes:
    """The content of a file that nobody but root can have put there or changed.

    :raises Refused: it is missing, or others may change it or a directory on its path.
    """
    try:
        directory = path
        while directory != "/":
            directory = os.path.dirname(directory)
            _refuse_others(directory, os.lstat(directory), stat.S_ISDIR)
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as content:
            _refuse_others(path, os.fstat(descriptor), stat.S_ISREG)
            return content.read()
    except OSError as exc:
        raise Refused("{0} cannot be read ({1})".format(exc.filename or path, exc.strerror)) from exc


def _refuse_others(path: str, status: os.stat_result, is_kind: Callable[[int], bool]) -> None:
    if status.st_uid != 0 or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) or not is_kind(status.st_mode):
        raise Refused("{0} is writable by others than root".format(path))


def main(digest: str, call: Dict[str, Any], directory: str = DIRECTORY) -> None:
    """Run a module, if the installed code was made of the sources with this digest; ``call`` is for
    :mod:`_agent.module_call`."""
    try:
        modules = marshal.loads(unseal(header(digest), read(compiled_path(directory))))
        sys.meta_path.insert(0, Importer(modules))
        module_call = __import__(PACKAGE + "._agent.module_call", fromlist=["run"])
    except Refused as exc:
        _say(REFUSED + str(exc))
        return
    # Said before anything else is done, so that nobody runs it twice
    _say(BEGUN)
    _say(RESULT + module_call.run(call, digest))


def _say(line: str) -> None:
    # On a line of its own, whatever was printed before
    sys.stdout.write("\n" + line + "\n")
    sys.stdout.flush()
