# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of our own: read only if nobody else could have written them, written so that a power cut leaves old or new."""

import os
import stat
from contextlib import suppress
from typing import Optional, Union

from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError


def read_owned(path: str) -> Optional[str]:
    """The text of a file that root owns and nobody else may write, or None where it is missing.

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
            return content.read()
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise SenetError("{0} cannot be read ({1}); run as root.".format(path, exc.strerror)) from exc


def write_owned(path: str, content: Union[str, bytes], mode: int = 0o600) -> None:
    """Put content in place of a file at once, on the disk when this returns; its directory is made with mode 0700.

    :raises SenetError: it cannot be written; the old file is then as it was.
    """
    directory = os.path.dirname(path)
    temporary = path + ".new"
    try:
        _make_private(directory)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
        try:
            os.fchmod(descriptor, mode)
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
