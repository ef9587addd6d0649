# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Statements of CIL as text. No I/O.

What names a domain of another policy module stands in an ``optional`` block: without that domain it grants nothing,
and the module can be removed beside ours. Types, and what everybody else may, stand outside of such blocks.
"""

import re
from typing import Iterable, Iterator, List

ALLOW = re.compile(r"\(allow [^()]+ \([^()]+ \([^()]+\)\)\)")
WORD = re.compile(r"[^\s()]+")
_COMMENT = re.compile(r"^;.*\n", re.MULTILINE)


def optional(name: str, statements: Iterable[str]) -> str:
    """A block that goes if one of its statements names what the policy does not have. A flow's blocks begin with
    ``senet_``, its name, which has no '-' in it, and one; what a flow may be called as well begins with ``senet-``
    instead. The name of a block has no '.', which a domain's may have."""
    return "(optional {0}\n    {1})\n".format(name.replace(".", "--"), "\n    ".join(statements))


def attribute(name: str, members: Iterable[str], block: str = "") -> str:
    """An attribute of these domains, as far as the policy has them; ``block`` is what its blocks' names begin with, if
    not with its own."""
    joining = "(typeattributeset {0} ({1}))".format
    blocks = (optional("{0}-{1}".format(block or name, member), [joining(name, member)]) for member in members)
    return "(typeattribute {0})\n".format(name) + "".join(blocks)


def statements(text: str) -> Iterator[str]:
    """The statements of a module, each on one line."""
    words = []  # type: List[str]
    depth = 0
    for line in _COMMENT.sub("", text).splitlines():
        depth += line.count("(") - line.count(")")
        words.append(line.strip())
        if depth <= 0:
            if any(words):
                yield " ".join(words)
            words = []
