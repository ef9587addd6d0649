# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The error whose text a user reads."""


class SenetError(Exception):
    """What a user is told: one sentence with the object, what is wrong with it, and what to do."""
