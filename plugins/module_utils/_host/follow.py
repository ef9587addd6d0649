# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""New lines of auditd's log and of the kernel's own, from a moment on. It decides nothing, and holds one at a time.

The kernel gives its audit records to auditd, or else to its own log, so both are followed.
"""

import errno
import os
from contextlib import suppress
from typing import BinaryIO, Iterator, Optional

from ansible_collections.senet.firewall.plugins.module_utils._host.audit import KMSG, LONGEST, audit_log, kernel_line
from ansible_collections.senet.firewall.plugins.module_utils._values.processes import to_text
from ansible_collections.senet.firewall.plugins.module_utils._values.records import AUDITD, KERNEL, Line


class Follower:
    """What both logs get after this was made. ``gaps`` counts what the kernel's log overwrote before it was read."""

    def __init__(self, log: Optional[str] = None, kernel_log: str = KMSG) -> None:
        self.gaps = 0
        self._path = audit_log() if log is None else log
        self._file = self._open()
        if self._file is not None:
            self._file.seek(0, os.SEEK_END)
        self._kernel = None  # type: Optional[int]
        with suppress(OSError):
            self._kernel = os.open(kernel_log, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            os.lseek(self._kernel, 0, os.SEEK_END)

    @property
    def readable(self) -> bool:
        """Whether there is a log that it can read."""
        return self._file is not None or self._kernel is not None

    def lines(self) -> Iterator[Line]:
        """What has come since the last call."""
        for text in self._audit_lines():
            yield Line(AUDITD, text)
        for record in self._kernel_records():
            line = kernel_line(record, 0.0)
            if line is not None:
                yield Line(KERNEL, line.text)

    def close(self) -> None:
        """Follow no more."""
        if self._file is not None:
            self._file.close()
        if self._kernel is not None:
            os.close(self._kernel)

    def _open(self) -> Optional[BinaryIO]:
        try:
            return open(self._path, "rb")
        except OSError:
            return None

    def _audit_lines(self) -> Iterator[str]:
        if self._file is not None:
            yield from _whole_lines(self._file)
            if not self._is_replaced(self._file):
                return
            self._file.close()
        # Rotated away, or not there when this was made
        self._file = self._open()
        if self._file is not None:
            yield from _whole_lines(self._file)

    def _is_replaced(self, file: BinaryIO) -> bool:
        try:
            now, opened = os.stat(self._path), os.fstat(file.fileno())
        except OSError:
            return False
        return (now.st_dev, now.st_ino) != (opened.st_dev, opened.st_ino) or now.st_size < file.tell()

    def _kernel_records(self) -> Iterator[str]:
        while self._kernel is not None:
            try:
                record = os.read(self._kernel, LONGEST)
            except OSError as exc:
                if exc.errno == errno.EPIPE:
                    self.gaps += 1
                    continue
                return
            if not record:
                return
            yield to_text(record)


def _whole_lines(content: BinaryIO) -> Iterator[str]:
    """The lines that are there to their end; one that is too long comes in parts."""
    while True:
        start = content.tell()
        line = content.readline(LONGEST)
        if not line.endswith(b"\n") and len(line) < LONGEST:
            content.seek(start)
            return
        if b"avc:" in line:
            yield to_text(line.rstrip(b"\n"))
