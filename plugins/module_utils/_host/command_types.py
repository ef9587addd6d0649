# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the classes of this room run commands and find them: by AnsibleModule, or by :mod:`_host.commands`."""

from typing import Callable, Optional, Tuple

# AnsibleModule.run_command(args, data=…) -> (rc, stdout, stderr)
RunCommand = Callable[..., Tuple[int, str, str]]
# name -> path or None
FindCommand = Callable[[str], Optional[str]]
