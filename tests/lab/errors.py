# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can go wrong in the lab."""


class LabError(Exception):
    """The lab cannot do what was asked; the message names the object and the remedy."""


class BootError(LabError):
    """A host did not come up; the message ends with the last lines of its console."""


class CommandError(LabError):
    """A command in a host ended with a return code other than 0."""


class CommandTimeout(LabError):
    """A command in a host did not end in its time, or the host stopped answering."""
