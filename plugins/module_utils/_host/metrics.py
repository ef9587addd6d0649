# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file of figures in a directory that the administrator names, such as that of Prometheus' node exporter."""

import os
import stat
from contextlib import contextmanager, suppress
from typing import Iterator

from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError

# The node exporter reads what ends in .prom
FILE = "senet_firewall.prom"
_TEMPORARY = "." + FILE + ".new"


class MetricsFile:
    """The file in a directory that only root may change. Every access goes through a descriptor of the directory, since
    those above it may be somebody else's: Debian's are the exporter's own."""

    def check(self, directory: str) -> None:
        """Refuse a directory in which the file cannot be.

        :raises SenetError: it is missing, no directory, or not root's alone.
        """
        with _opened(directory):
            pass

    def write(self, directory: str, text: str) -> None:
        """Put a text in place of the file at once. It need not survive a power cut.

        :raises SenetError: it cannot be written; the old file is then as it was.
        """
        with _opened(directory) as opened:
            try:
                with suppress(FileNotFoundError):
                    os.unlink(_TEMPORARY, dir_fd=opened)
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                descriptor = os.open(_TEMPORARY, flags, 0o600, dir_fd=opened)
                with os.fdopen(descriptor, "wb") as content:
                    content.write(text.encode("utf-8"))
                    os.fchmod(descriptor, 0o644)
                os.rename(_TEMPORARY, FILE, src_dir_fd=opened, dst_dir_fd=opened)
            except OSError as exc:
                with suppress(OSError):
                    os.unlink(_TEMPORARY, dir_fd=opened)
                raise SenetError(
                    "The metrics cannot be written into {0} ({1}); make it writable for root, and free space on its "
                    "file system.".format(directory, exc.strerror)
                ) from exc

    def remove(self, directory: str) -> None:
        """Remove the file, if it is there.

        :raises SenetError: the directory is not root's alone, or the file cannot be removed.
        """
        if not os.path.isdir(directory):
            return
        with _opened(directory) as opened:
            for name in (FILE, _TEMPORARY):
                try:
                    os.unlink(name, dir_fd=opened)
                except FileNotFoundError:
                    continue
                except OSError as exc:
                    raise SenetError(
                        "{0}/{1} cannot be removed ({2}); remove it by hand.".format(directory, name, exc.strerror)
                    ) from exc


@contextmanager
def _opened(directory: str) -> Iterator[int]:
    try:
        opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as exc:
        raise SenetError(
            "The metrics_directory {0} cannot be used ({1}); create it as a directory of root's, not a link, or name "
            "another.".format(directory, exc.strerror)
        ) from exc
    try:
        status = os.fstat(opened)
        if status.st_uid != 0 or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise SenetError(
                "The metrics_directory {0} is writable by others than root (owner {1}, mode {2:04o}); run 'chown root' "
                "and 'chmod go-w' on it, or name another.".format(
                    directory, status.st_uid, stat.S_IMODE(status.st_mode)
                )
            )
        yield opened
    finally:
        os.close(opened)
