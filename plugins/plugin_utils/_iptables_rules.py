# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines of iptables as values: commands as people type them, and what iptables-save prints. No I/O."""

from __future__ import annotations

import os.path
import re
import shlex
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ansible_collections.senet.firewall.plugins.module_utils._model import SenetError

_COMMAND = re.compile(r"(iptables|ip6tables)(-nft|-legacy)?")
_COUNTERS = re.compile(r"\[[0-9]+:[0-9]+\]")
_CHAINS = ("INPUT", "OUTPUT")
_VERDICTS = ("ACCEPT", "DROP", "REJECT")
# Every spelling of an option, by the name of what it sets (iptables(8), iptables-extensions(8))
_SPELLINGS = {
    "append": ("-A", "--append"),
    "insert": ("-I", "--insert"),
    "table": ("-t", "--table"),
    "protocol": ("-p", "--protocol", "--proto"),
    "source": ("-s", "--source", "--src"),
    "destination": ("-d", "--destination", "--dst"),
    "in_interface": ("-i", "--in-interface"),
    "out_interface": ("-o", "--out-interface"),
    "jump": ("-j", "--jump"),
    "match": ("-m", "--match"),
    "ports": ("--dport", "--destination-port", "--dports", "--destination-ports"),
    "states": ("--state", "--ctstate"),
    "user": ("--uid-owner",),
    "client": ("--selinux-source",),
    "server": ("--selinux-dest", "--selinux-destination"),
    "comment": ("--comment",),
    "reject_with": ("--reject-with",),
    "wait": ("-w", "--wait"),
}
_OPTIONS = {spelling: name for name, spellings in _SPELLINGS.items() for spelling in spellings}
_MATCHES = ("tcp", "udp", "sctp", "dccp", "multiport", "state", "conntrack", "owner", "selinux", "comment")


# What a rule may match
_CONDITIONS = ("protocol", "source", "destination", "interface", "ports", "states", "user", "client", "server")


class Rule(NamedTuple):
    """One rule: where it stands, what it matches, and what it does. What it does not say is empty."""

    line: int
    text: str
    family: str
    chain: str
    target: str
    protocol: str = ""
    source: tuple[str, ...] = ()
    destination: tuple[str, ...] = ()
    interface: str = ""
    ports: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    user: str = ""
    client: str = ""
    server: str = ""
    appended: bool = True

    def takes(self, other: Rule) -> bool:
        """Whether it stands before another and matches all that the other does."""
        first = self.line < other.line and self.appended and other.appended
        return (
            first
            and (self.family, self.chain) == (other.family, other.chain)
            and all(not getattr(self, name) or getattr(self, name) == getattr(other, name) for name in _CONDITIONS)
        )

    def wrong(self, why: str) -> SenetError:
        return _wrong(self.line, self.text, why)


def parse(lines: Iterable[str]) -> list[Rule]:
    """The rules in these lines.

    :raises SenetError: a line cannot be read, or says what no flow can mean; it names the line and the word.
    """
    rules = []
    table = "filter"
    for number, text in enumerate(lines, 1):
        try:
            words = shlex.split(text, comments=True)
        except ValueError as error:
            raise _wrong(number, text, f"it cannot be split into words ({error})") from error
        if words and _COUNTERS.fullmatch(words[0]):
            words = words[1:]
        if not words or words[0].startswith(":") or words[0] == "COMMIT":
            continue
        if words[0].startswith("*"):
            table = words[0][1:]
            continue
        rules.append(_rule(number, text, table, words))
    return rules


def _rule(number: int, text: str, table: str, words: list[str]) -> Rule:
    while words and words[0] in ("$", "#", "sudo"):
        words = words[1:]
    family = "ipv4"
    if words and not words[0].startswith("-"):
        match = _COMMAND.fullmatch(os.path.basename(words[0]))
        if match is None:
            raise _wrong(number, text, f"'{words[0]}' is neither iptables nor ip6tables")
        family = "ipv6" if match[1] == "ip6tables" else "ipv4"
        words = words[1:]
    said: dict[str, str] = {"table": table}
    for name, value in _values(number, text, words):
        if name == "match" and value not in _MATCHES:
            raise _wrong(number, text, f"the match '{value}' has no meaning for flows")
        if name in ("append", "insert"):
            said["chain"] = value
        elif name in said and name not in ("table", "match", "comment"):
            raise _wrong(number, text, f"'{value}' gives the same option a second time")
        said[name] = value
    for name, allowed in (("table", ("filter",)), ("chain", _CHAINS), ("jump", _VERDICTS)):
        if said.get(name) not in allowed:
            shown = f"'{said[name]}'" if name in said else "nothing"
            raise _wrong(number, text, f"it has {shown} for its {name}, where flows know {', '.join(allowed)}")
    interface, other = "out_interface", "in_interface"
    if said["chain"] == "INPUT":
        interface, other = other, interface
    if other in said:
        raise _wrong(number, text, f"'{said[other]}' is an interface that no packet of {said['chain']} has")
    return Rule(
        number,
        text.strip(),
        family,
        said["chain"],
        said["jump"],
        said.get("protocol", ""),
        _split(said.get("source")),
        _split(said.get("destination")),
        said.get(interface, ""),
        tuple(ports.replace(":", "-") for ports in _split(said.get("ports"))),
        _split(said.get("states")),
        said.get("user", ""),
        said.get("client", ""),
        said.get("server", ""),
        "append" in said,
    )


def _values(number: int, text: str, words: list[str]) -> Iterator[tuple[str, str]]:
    """Each option by its name, with its value."""
    rest = iter(words)
    word = next(rest, None)
    while word is not None:
        option, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
        name = _OPTIONS.get(option)
        if name is None:
            raise _wrong(number, text, f"the word '{word}' has no meaning for flows")
        following = next(rest, None)
        if not equals:
            if name == "wait" and (following is None or not following.isdecimal()):
                word = following
                continue
            if following is None or following == "!":
                raise _wrong(number, text, f"the word '{following or word}' has no meaning for flows here")
            value, following = following, next(rest, None)
        if name == "insert" and following is not None and following.isdecimal():
            following = next(rest, None)
        yield name, value
        word = following


def _split(value: str | None) -> tuple[str, ...]:
    return tuple(part for part in (value or "").split(",") if part)


def _wrong(number: int, text: str, why: str) -> SenetError:
    return SenetError(f"Line {number}, '{text.strip()}': {why}; change the line, or leave it out.")
