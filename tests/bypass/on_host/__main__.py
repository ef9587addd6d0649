# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's side.

    bypass-guest serve PLACES       servers that send back what comes
    bypass-guest give PATH ADDRESS PORT    a connected socket for whoever asks at a Unix socket
    bypass-guest wireguard NAME PORT KEY PEERS_PORT PEERS_KEY
    bypass-guest ask JOBS           one line of JSON for each job: its id, what happened, and the domain that asked

An attempt ends as `answered` (what was sent came back), refused, timeout, denied, or another error's name. What was
sent and never answered may have arrived all the same: the servers know.
"""

import json
import sys

from .ask import ask
from .job import Job
from .servers import give, serve
from .wireguard import wireguard


def main(verb: str, *words: str) -> None:
    if verb == "serve":
        serve(json.loads(words[0]))
    elif verb == "give":
        give(words[0], words[1], int(words[2]))
    elif verb == "wireguard":
        wireguard(words[0], int(words[1]), words[2], int(words[3]), words[4])
    else:
        ask([Job(*fields) for fields in json.loads(words[0])])


if __name__ == "__main__":
    main(*sys.argv[1:])
