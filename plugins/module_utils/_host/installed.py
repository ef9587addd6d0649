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
from typing import Any, Callable, Dict, Iterator, Optional, Set, Tuple, Union

DIRECTORY = "/var/lib/senet-firewall/code"
PACKAGE = "ansible_collections.senet.firewall.plugins.module_utils"
# Lines on standard output: why the module was not begun, that it was, what it returns
REFUSED = "senet-firewall-refused "
BEGUN = "senet-firewall-begun"
RESULT = "senet-firewall-result "

LABEL = "security.selinux"
POLICIES = "/etc/selinux"


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
    # Against accidents: only who may write the file could do it on purpose
    if content != seal(head, body):
        raise Refused("it is damaged")
    return body


def read(path: str) -> bytes:
    """The content of a file that nobody but root, and no service of root's that SELinux confines, can have put there
    or changed.

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
            for part in ours_on(path):
                if is_strange(part, descriptor if part == path else None):
                    raise Refused("{0} has the SELinux type of another program's files".format(part))
            return content.read()
    except OSError as exc:
        raise Refused("{0} cannot be read ({1})".format(exc.filename or path, exc.strerror)) from exc


def _refuse_others(path: str, status: os.stat_result, is_kind: Callable[[int], bool]) -> None:
    if status.st_uid != 0 or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) or not is_kind(status.st_mode):
        raise Refused("{0} is writable by others than root".format(path))


def ours_on(path: str) -> Iterator[str]:
    """A path of ours and each directory of ours above it; none of anybody else's."""
    while "/senet" in path:
        yield path
        path = os.path.dirname(path)


def is_strange(path: str, descriptor: Optional[int] = None) -> bool:
    """Whether SELinux gives a path of ours, or what is open there, another type than the directory that it is in.

    What a confined service creates in /run or /var/lib, where many may, gets a type of that service's, which it may
    write from then on, and so does what anybody creates in such a directory. The file contexts of the host may give
    ours a type of its own.
    """
    own = type_of(label_of(path if descriptor is None else descriptor))
    above = type_of(label_of(os.path.dirname(path)))
    return own is not None and above is not None and own != above and own not in _given_types()


def label_of(path: Union[str, int]) -> Optional[bytes]:
    """The SELinux context of a path, whose link is not followed, or of a descriptor; None where there is none."""
    try:
        return os.getxattr(path, LABEL, follow_symlinks=isinstance(path, int))
    except OSError:
        return None


def type_of(label: Optional[bytes]) -> Optional[bytes]:
    """The type in a context."""
    parts = (label or b"").rstrip(b"\0").split(b":")
    return parts[2] if len(parts) > 2 else None


def _given_types() -> Set[bytes]:
    """The types that the policy or the administrator (semanage fcontext) gives to paths that are named as ours are."""
    found = set()  # type: Set[bytes]
    for policy in os.listdir(POLICIES) if os.path.isdir(POLICIES) else ():
        for name in ("file_contexts", "file_contexts.local"):
            try:
                with open("{0}/{1}/contexts/files/{2}".format(POLICIES, policy, name), "rb") as lines:
                    fields = [line.split() for line in lines if b"/senet" in line]
            except OSError:
                continue
            found.update(type_of(line[-1]) or b"" for line in fields if line[0].startswith(b"/"))
    return found


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
