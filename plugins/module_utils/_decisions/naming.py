# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a conversation that was seen is called: a pair of the catalogue, or a name of its own. No I/O."""

import re
from typing import Iterable, Optional, Sequence, Set, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._values.fields import EVERY_DOMAIN
from ansible_collections.senet.firewall.plugins.module_utils._values.pairs import PAIRS
from ansible_collections.senet.firewall.plugins.module_utils._values.services import DISTRIBUTIONS, Services

_NAME_LENGTH = 31


def pair_of(
    client: str, server: Optional[str], port: int, protocol: Optional[str], distribution: Optional[str]
) -> Optional[str]:
    """The pair of the catalogue whose client and server these domains are, if there is one; a server of None, or a
    protocol of None, is any. A pair with a client of its own comes before one for everybody."""
    found = []
    for name, pair in sorted(PAIRS.items()):
        clients = _domains(pair.client, distribution)
        servers = _domains(pair.server, distribution)
        if (
            str(port) in pair.ports
            and (protocol is None or protocol in pair.protocols)
            and (client in clients or EVERY_DOMAIN in clients)
            and (server is None or server in servers)
        ):
            found.append((EVERY_DOMAIN in clients, name))
    return min(found)[1] if found else None


def flow_name(domains: Sequence[str], port: int, protocol: str, taken: Iterable[str] = ()) -> str:
    """A name for a flow between domains, that is none of those that are taken."""
    words = [re.sub("[^a-z0-9]+", "_", domain.lower()).strip("_") for domain in domains]
    short = "_to_".join(word[:-2] if word.endswith("_t") else word for word in words)
    tail = "_{0}{1}".format(port, "" if protocol == "tcp" else "_" + protocol)
    base = (short if short[:1].isalpha() else "flow_" + short)[: _NAME_LENGTH - len(tail) - 2].rstrip("_")
    used = set(taken)
    names = (base + more + tail for more in [""] + ["_{0}".format(number) for number in range(2, 10)])
    return next((name for name in names if name not in used), base + tail)


def booleans_for(client: str, port: int, distribution: Optional[str]) -> Tuple[str, ...]:
    """The booleans of the policy that let a client of the catalogue connect to a port."""
    name = pair_of(client, None, port, None, distribution)
    return PAIRS[name].booleans.get(distribution or "", ()) if name is not None else ()


def pair_is_for_everybody(name: str) -> bool:
    """Whether any domain may be the client of a pair."""
    return EVERY_DOMAIN in PAIRS[name].clients


def servers_of(name: str, distribution: Optional[str]) -> Tuple[str, ...]:
    """The server's domains of a pair on a distribution, on any where it is not known."""
    return tuple(sorted(_domains(PAIRS[name].server, distribution)))


def _domains(services: Services, distribution: Optional[str]) -> Set[str]:
    known = [services[one] for one in DISTRIBUTIONS if distribution not in DISTRIBUTIONS or one == distribution]
    return {domain for service in known for domain in service.domains}
