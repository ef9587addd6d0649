# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disagreements that are known, by name. Each line of ``HOLES`` goes with its repair: a hole that nothing shows any
more fails the test."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from .model import Step
from .promise import Wish, Word

HOLES: Mapping[str, Callable[[Wish, Step, str, bool, Word], bool]] = MappingProxyType({})
