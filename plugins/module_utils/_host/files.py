# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of our own: read only if nobody else could have written them, written so that a power cut leaves old or new.

Owner and mode do not tell root from a service of root's that SELinux confines. Its type does: see
:func:`_host.installed.is_strange`.
"""

import os
import stat
from contextlib import suppress
from typing import Optional, Union

from ansible_collections.senet.firewall.plugins.module_utils._host import installed
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError


def read_owned(path: str, by_type: bool = True) -> Optional[str]:
    """The text of a file that root owns and nobody else may write, or None where it is missing. Unless ``by_type`` is
    False, its SELinux type must be ours, too.

    :raises SenetError: it belongs to somebody else, others may write it or its directory, or it cannot be read.
    """
    try:
        for part in (os.path.dirname(path), path):
            status = os.lstat(part)
            if status.st_uid != 0 or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) or stat.S_ISLNK(status.st_mode):
                raise SenetError(
                    "{0} is writable by others than root (owner {1}, mode {2:04o}), so its content is not trusted; "
                    "check the content, then run 'chown root:root' and 'chmod go-w' on it, or remove it.".format(
                        part, status.st_uid, stat.S_IMODE(status.st_mode)
                    )
                )
        with open(path, encoding="utf-8", errors="replace") as content:
            for part in installed.ours_on(path) if by_type else ():
                if installed.is_strange(part, content.fileno() if part == path else None):
                    raise SenetError(
                        "{0} has another SELinux type than {1}, so a confined service may have written it and its "
                        "content is not trusted; check the content, then run 'chcon --reference={1} {0}', or remove "
                        "it.".format(part, os.path.dirname(part))
                    )
            return content.read()
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise SenetError("{0} cannot be read ({1}); run as root.".format(path, exc.strerror)) from exc


def write_owned(path: str, content: Union[str, bytes], mode: int = 0o600) -> None:
    """Put content in place of a file at once, on the disk when this returns; its directory is made with mode 0700, and
    taken over if a confined service made it.

    :raises SenetError: it cannot be written; the old file is then as it was.
    """
    directory = os.path.dirname(path)
    temporary = path + ".new"
    try:
        _make_private(directory)
        for part in reversed(list(installed.ours_on(directory))):
            _take_over(part)
        # A file that somebody else has made there would stay theirs under our name
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(temporary, flags, mode)
        try:
            os.fchmod(descriptor, mode)
            _label(descriptor, temporary)
            data = content.encode("utf-8") if isinstance(content, str) else content
            while data:
                data = data[os.write(descriptor, data):]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.rename(temporary, path)
        sync_directory(directory)
    except OSError as exc:
        with suppress(OSError):
            os.unlink(temporary)
        raise SenetError(
            "{0} cannot be written ({1}); make its file system writable, and free space on it.".format(
                path, exc.strerror
            )
        ) from exc


def _make_private(path: str) -> None:
    """Make a directory for root alone, and so each missing one above it, whose mode makedirs leaves to the umask."""
    if os.path.isdir(path):
        return
    _make_private(os.path.dirname(path))
    with suppress(FileExistsError):
        os.mkdir(path, 0o700)


def _take_over(directory: str) -> None:
    """Give a directory of ours our type, which its maker's service may not write. What it has put there keeps its own
    type, by which it is told."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _label(descriptor, directory)
    finally:
        os.close(descriptor)


def _label(descriptor: int, path: str) -> None:
    """Give what is open at a path of ours the type of its directory, unless it has one of ours. Where that is refused,
    whoever reads it refuses it."""
    if "/senet" in path and installed.is_strange(path, descriptor):
        label, above = installed.label_of(descriptor), installed.label_of(os.path.dirname(path))
        parts = (label or b"").split(b":")
        parts[2] = installed.type_of(above) or b""
        with suppress(OSError):
            os.setxattr(descriptor, installed.LABEL, b":".join(parts))


def open_unlinked(path: str, flags: int) -> int:
    """Open a file of ours in a directory where others may make some, and not what a link of theirs leads to."""
    if os.path.islink(path):
        remove(path)
    return os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def remove(path: str) -> None:
    """Remove a file, or an empty directory, if it is there.

    :raises SenetError: it cannot be removed.
    """
    # A read-only file system refuses before it looks whether the file is there.
    if not os.path.lexists(path):
        return
    try:
        if os.path.isdir(path) and not os.path.islink(path):
            os.rmdir(path)
        else:
            os.unlink(path)
    except FileNotFoundError:
        return
    except OSError as exc:
        raise SenetError("{0} cannot be removed ({1}); remove it by hand.".format(path, exc.strerror)) from exc


def sync_directory(path: str) -> None:
    """Put a directory's entries on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
