# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the kernel's records are kept: auditd's log with its rotations, the journal, the kernel's own log. It decides
nothing, and holds one line at a time.

Sources: auditd.conf(5), journalctl(1) and systemd.journal-fields(7), Documentation/ABI/testing/dev-kmsg.
"""

import errno
import glob
import gzip
import json
import os
import pwd
import subprocess
import time
import zlib
from contextlib import closing, suppress
from typing import IO, Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional, Tuple, cast

from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.processes import to_text
from ansible_collections.senet.firewall.plugins.module_utils._values.records import AUDITD, JOURNALD, KERNEL, Line

_CONFIG = "/etc/audit/auditd.conf"
_LOG = "/var/log/audit/audit.log"
KMSG = "/dev/kmsg"
# The kernel's records have 8970 bytes at most (MAX_AUDIT_MESSAGE_LENGTH), and a line of /dev/kmsg 8192
LONGEST = 65536
_GZIP = b"\x1f\x8b"
_FIELDS = "MESSAGE,_TRANSPORT,_AUDIT_TYPE,_AUDIT_ID,_SOURCE_REALTIME_TIMESTAMP"


class Found(NamedTuple):
    """Which logs were read, and why others could not be, each a sentence."""

    sources: Tuple[str, ...]
    problems: Tuple[str, ...]


def read_records(
    take: Callable[[Line], None],
    since: Optional[float],
    auditd: bool,
    owner: bool,
    journalctl: Optional[str],
) -> Found:
    """Give ``take`` every line that may be a record, the oldest of each log first.

    Where ``auditd`` does not run, the newest are in the journal, or else in the kernel's log since boot. What the rules
    of the layer ``owner`` log is there in any case.
    """
    sources, problems = [], []  # type: List[str], List[str]
    for path in audit_logs():
        _drain(path, read_audit_log(path, since), take, sources, problems)
    if owner or not auditd:
        if journalctl is not None:
            _drain("journal", read_journal(journalctl, since, auditd), take, sources, problems)
        if "journal" not in sources:
            _drain(KMSG, read_kernel_log(), take, sources, problems)
    return Found(tuple(sources), tuple(problems))


def _drain(
    name: str, lines: Iterator[Line], take: Callable[[Line], None], sources: List[str], problems: List[str]
) -> None:
    try:
        for line in lines:
            take(line)
        sources.append(name)
    except SenetError as exc:
        problems.append(str(exc))


def audit_log(config: str = _CONFIG) -> str:
    """The path of auditd's log."""
    path = _LOG
    with suppress(OSError), open(config, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            name, dummy, value = line.partition("=")
            if name.strip() == "log_file" and value.strip():
                path = value.strip()
    return path


def audit_logs(config: str = _CONFIG) -> List[str]:
    """auditd's log and its rotations, the oldest first."""
    path = audit_log(config)
    found = {}
    for name in glob.glob(glob.escape(path) + "*"):
        with suppress(OSError):  # rotated meanwhile
            if os.path.isfile(name):
                found[name] = os.stat(name).st_mtime
    return sorted(found, key=lambda name: (found[name], name))


def read_audit_log(path: str, since: Optional[float]) -> Iterator[Line]:
    """The lines of one log of auditd's, plain or compressed; none of one that was last written before a time.

    :raises SenetError: it cannot be read.
    """
    try:
        if since is not None and os.stat(path).st_mtime < since:
            return
        with open(path, "rb") as raw:
            compressed = raw.read(2) == _GZIP
            raw.seek(0)
            if not compressed:
                for text in _lines(raw):
                    yield Line(AUDITD, text)
                return
            with closing(gzip.GzipFile(fileobj=raw)) as content:
                for text in _lines(cast(IO[bytes], content)):
                    yield Line(AUDITD, text)
    except FileNotFoundError:  # rotated away since it was listed
        return
    except (OSError, EOFError, zlib.error) as exc:
        raise SenetError(
            "{0} cannot be read to its end ({1}); run as root in a domain that may read it, or move a file away "
            "that is damaged or cut short.".format(path, getattr(exc, "strerror", None) or exc)
        ) from exc


def _lines(content: IO[bytes]) -> Iterator[str]:
    """Lines as text; one that is too long comes in parts."""
    while True:
        line = content.readline(LONGEST)
        if not line:
            return
        yield to_text(line.rstrip(b"\n"))


def read_journal(journalctl: str, since: Optional[float], kernel_only: bool) -> Iterator[Line]:
    """What the journal has of the kernel's log, and of its audit records unless ``kernel_only``.

    :raises SenetError: journalctl fails.
    """
    matches = ["_TRANSPORT=kernel"] + ([] if kernel_only else ["+", "_TRANSPORT=audit", "_AUDIT_TYPE=1400"])
    command = [journalctl, "--quiet", "--no-pager", "--output=json", "--output-fields=" + _FIELDS]
    command += ["--since=@{0}".format(int(since))] if since is not None else []
    environment = {"LANG": "C", "LC_ALL": "C", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    # pylint: disable=ansible-bad-function
    with open(os.devnull, "rb") as nothing, subprocess.Popen(
        command + matches, stdin=nothing, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    ) as process:
        out = cast(IO[bytes], process.stdout)
        try:
            for text in _lines(out):
                line = journal_line(text)
                if line is not None:
                    yield line
        finally:
            out.close()
    if process.returncode:
        raise SenetError(
            "'{0}' failed with {1}; see with 'journalctl --verify' whether the journal is damaged.".format(
                " ".join(command[:4]), process.returncode
            )
        )


def journal_line(text: str) -> Optional[Line]:
    """A line of the journal's JSON; None for what has no message."""
    try:
        entry = json.loads(text)
        message = entry["MESSAGE"]
        if isinstance(message, list):
            message = to_text(bytes(message))
        stamp = entry.get("_SOURCE_REALTIME_TIMESTAMP") or entry["__REALTIME_TIMESTAMP"]
        seconds = int(stamp) / 1e6
        serial = int(entry.get("_AUDIT_ID") or 0)
        if not isinstance(message, str) or not 0 <= seconds < 1e10:
            return None
        return Line(JOURNALD if entry.get("_TRANSPORT") == "audit" else KERNEL, message, seconds, serial)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return None


def read_kernel_log(path: str = KMSG) -> Iterator[Line]:
    """The kernel's log since boot, as far as its buffer goes; without what programs wrote into it.

    :raises SenetError: it cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as exc:
        raise SenetError("The kernel's log {0} cannot be read ({1}); run as root.".format(path, exc.strerror)) from exc
    booted = time.time() - _since_boot()
    try:
        while True:
            try:
                record = os.read(descriptor, LONGEST)
            except OSError as exc:
                if exc.errno == errno.EPIPE:  # the oldest ones were overwritten
                    continue
                return
            if not record:
                return
            line = kernel_line(to_text(record), booted)
            if line is not None:
                yield line
    finally:
        os.close(descriptor)


def kernel_line(record: str, booted: float) -> Optional[Line]:
    """A record of /dev/kmsg: ``priority,number,microseconds,flags;text``. None if a program wrote it."""
    head, dummy, rest = record.partition(";")
    fields = head.split(",")
    try:
        # Facility 0 is the kernel's, and no program can take it
        if int(fields[0]) >> 3 != 0:
            return None
        return Line(KERNEL, rest.split("\n")[0], booted + int(fields[2]) / 1e6)
    except (ValueError, IndexError):
        return None


def _since_boot() -> float:
    """Seconds since boot by the clock that the kernel's log goes by, which stands still while the host sleeps."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)


def user_names(uids: Iterable[int]) -> Dict[int, str]:
    """The login names of uids, as far as the host knows them."""
    names = {}
    for uid in uids:
        with suppress(KeyError, OverflowError, OSError):
            names[uid] = pwd.getpwuid(uid).pw_name
    return names
