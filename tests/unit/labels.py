# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SELinux contexts of files, as os.getxattr and os.setxattr have them on a host with SELinux."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


class Labels:
    """What is not given a type has that of its directory, and var_lib_t in the end."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._types: dict[int, str] = {}
        self.refuses = False
        monkeypatch.setattr(os, "getxattr", self.getxattr)
        monkeypatch.setattr(os, "setxattr", self.setxattr)

    def give(self, path: Path, name: str = "httpd_var_lib_t") -> None:
        """Have a path the type that its maker's domain gives it."""
        self._types[os.lstat(path).st_ino] = name

    def type(self, path: Path) -> str:
        while path != path.parent and os.lstat(path).st_ino not in self._types:
            path = path.parent
        return self._types.get(os.lstat(path).st_ino, "var_lib_t")

    def getxattr(self, path: str | int, name: str, *, follow_symlinks: bool = True) -> bytes:
        assert name == "security.selinux"
        assert follow_symlinks == isinstance(path, int)
        return f"system_u:object_r:{self.type(_path(path))}:s0\0".encode()

    def setxattr(self, path: str | int, name: str, value: bytes) -> None:
        assert name == "security.selinux"
        if self.refuses:
            raise PermissionError(13, "Permission denied")
        user, role, given, level = value.decode().split(":")
        assert (user, role, level) == ("system_u", "object_r", "s0\0")
        self._types[os.lstat(_path(path)).st_ino] = given


def _path(path: str | int) -> Path:
    return Path(os.readlink(f"/proc/self/fd/{path}") if isinstance(path, int) else path)
