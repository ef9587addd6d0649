# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of whoever runs the tests, looking as if they were somebody else's."""

import os

import pytest

_LSTAT = os.lstat


def pretend_owner(monkeypatch: pytest.MonkeyPatch, uid: int) -> None:
    """Have os.lstat say that this user's files belong to ``uid``; only root's are trusted on a host."""

    def lstat(path: str, *, dir_fd: int | None = None) -> os.stat_result:
        status = list(_LSTAT(path, dir_fd=dir_fd))
        if status[4] == os.geteuid():
            status[4] = uid
        return os.stat_result(status)

    monkeypatch.setattr(os, "lstat", lstat)
