# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible's patch_module_args, which ansible-core has since 2.19, for all versions that the tests run with."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from ansible.module_utils import basic

try:
    from ansible.module_utils.testing import patch_module_args
except ImportError:

    @contextmanager
    def patch_module_args(args: dict[str, Any] | None = None) -> Iterator[None]:
        arguments = {"ANSIBLE_MODULE_ARGS": args or {}}
        with patch.object(basic, "_ANSIBLE_ARGS", json.dumps(arguments).encode()):
            yield


__all__ = ["patch_module_args"]
