# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab: SELinux-enforcing Debian virtual machines for tests and for people."""

from .errors import BootError, CommandError, CommandTimeout, LabError
from .image import Image, ensure_image
from .lab import Lab
from .ssh import Result
from .states import State
from .vm import Host

__all__ = [
    "BootError",
    "CommandError",
    "CommandTimeout",
    "Host",
    "Image",
    "Lab",
    "LabError",
    "Result",
    "State",
    "ensure_image",
]
