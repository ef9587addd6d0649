# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


class ModuleDocFragment:
    # What every module takes whose changes are guarded.
    DOCUMENTATION = r"""
options:
  confirm_timeout:
    description:
      - Seconds after which the host undoes the change if it was not confirmed.
      - With V(0) there is no guard, and a change that cuts the connection leaves the host unreachable. O(health_checks)
        and O(health_commands) are then an error, since nothing would run them.
    type: int
    default: 30
  health_checks:
    description:
      - The ports to which the controller must be able to connect before it confirms, each as C(HOST:PORT), with an IPv6
        address in brackets. If a connection fails, the change is undone.
    type: list
    elements: str
  health_commands:
    description: Shell commands that must succeed on the host before the change is confirmed. If a command fails, the
      change is undone.
    type: list
    elements: str
  token:
    description:
      - The name of the change for the module M(senet.firewall.guard), at most 32 lower-case letters and digits. It is
        generated if it is not given.
    type: str
attributes:
  action:
    description: Has an action plugin, so that some of its work is done on the controller.
    support: full
  async:
    description: Does not support C(async), and does not need it.
    support: none
"""
