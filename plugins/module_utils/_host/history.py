# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of /etc/senet/history by their numbers, each a set of flows that the host had. It decides nothing."""

import os
import re
import time
from typing import List, Optional

from ansible_collections.senet.firewall.plugins.module_utils._host.files import read_owned, remove, write_owned
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError

HISTORY_DIRECTORY = "/etc/senet/history"
_NAME = re.compile(r"([1-9][0-9]{0,8})\.json", re.ASCII)


class History:
    """The files of this host."""

    def __init__(self, directory: str = HISTORY_DIRECTORY) -> None:
        self._directory = directory

    def numbers(self) -> List[int]:
        """The numbers of the files, oldest first.

        :raises SenetError: the directory cannot be read.
        """
        try:
            found = [_NAME.fullmatch(name) for name in os.listdir(self._directory)]
        except FileNotFoundError:
            return []
        except OSError as exc:
            raise SenetError("{0} cannot be read ({1}); run as root.".format(self._directory, exc.strerror)) from exc
        return sorted(int(match.group(1)) for match in found if match)

    def path(self, number: int) -> str:
        return os.path.join(self._directory, "{0}.json".format(number))

    def read(self, number: int) -> Optional[str]:
        """The text of a file, None where it has gone.

        :raises SenetError: it is not root's alone, or cannot be read.
        """
        return read_owned(self.path(number))

    def write(self, number: int, text: str) -> None:
        """Put text in place of a file, or make it.

        :raises SenetError: it cannot be written; an old file is then as it was.
        """
        write_owned(self.path(number), text)

    def remove(self, number: int) -> None:
        """Remove a file.

        :raises SenetError: it cannot be removed.
        """
        remove(self.path(number))

    def clock(self) -> float:
        """The time of day, in seconds since 1970."""
        return time.time()
