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

from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.fields import (
    Network,
    parse_domains,
    parse_interfaces,
    parse_networks,
    parse_ports,
    parse_users,
)
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import PROTOCOLS

_COMMAND = re.compile(r"(iptables|ip6tables)(-nft|-legacy)?")
_COUNTERS = re.compile(r"\[[0-9]+:[0-9]+\]")
_REJECT_WITH = re.compile(r"tcp-reset|(icmp6?-)?[a-z0-9]+(-[a-z0-9]+)*", re.ASCII)
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
CONDITIONS = ("protocol", "source", "destination", "interface", "ports", "states", "user", "client", "server")


WHO = ("user", "client", "server")
# Where a command puts its rule: behind all of its chain, before them, or at a place of a number
END, FRONT, AMONG = "end", "front", "among"


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
    place: str = END

    def before(self, other: Rule) -> bool:
        """Whether its packets come to it before they come to another, as far as the lines tell."""
        if (self.family, self.chain) != (other.family, other.chain) or AMONG in (self.place, other.place):
            return False
        if self.place != other.place:
            return self.place == FRONT
        # What is inserted later stands further in front
        return self.line < other.line if self.place == END else self.line > other.line

    def may_be_before(self, other: Rule) -> bool:
        """The same, but a rule that is inserted in the midst of others may be before any of its chain."""
        same = (self.family, self.chain) == (other.family, other.chain)
        return self.before(other) or (same and self.place == AMONG)

    def covers(self, other: Rule) -> bool:
        """Whether it matches all that another does."""
        return all(not getattr(self, name) or getattr(self, name) == getattr(other, name) for name in CONDITIONS)

    def meets(self, other: Rule) -> bool:
        """Whether a packet may match both."""
        if self.ports and other.ports:
            pairs = [(mine, theirs) for mine in parse_ports("", self.ports) for theirs in parse_ports("", other.ports)]
            if not any(mine.overlaps(theirs) for mine, theirs in pairs):
                return False
        for name in ("source", "destination"):
            mine, theirs = (parse_networks("", name, getattr(rule, name)) for rule in (self, other))
            if mine and theirs and not any(_overlap(one, two) for one in mine for two in theirs):
                return False
        if self.states and other.states and not set(self.states) & set(other.states):
            return False
        words = ((getattr(self, name), getattr(other, name)) for name in ("protocol", "interface", *WHO))
        return not any(mine and theirs and mine != theirs for mine, theirs in words)

    def wrong(self, why: str) -> SenetError:
        return _wrong(self.line, self.text, why)


class Policy(NamedTuple):
    """What becomes of packets that no rule of a chain decides on."""

    line: int
    chain: str
    target: str


def parse(lines: Iterable[str]) -> tuple[list[Rule], list[Policy]]:
    """The rules in these lines, and the policies of chains.

    :raises SenetError: a line cannot be read, or says what no flow can mean; it names the line and the word.
    """
    rules = []
    policies = []
    table = "filter"
    for number, text in enumerate(lines, 1):
        try:
            words = shlex.split(text, comments=True)
        except ValueError as error:
            raise _wrong(number, text, f"it cannot be split into words ({error})") from error
        if words and _COUNTERS.fullmatch(words[0]):
            words = words[1:]
        if not words or words[0] == "COMMIT":
            continue
        if words[0].startswith(":"):
            # A chain of the user's own has "-" in place of a policy
            policies.append(Policy(number, words[0][1:], words[1] if words[1:] else ""))
            continue
        if words[0].startswith("*"):
            table = words[0][1:]
            continue
        family, words = _command(number, text, words)
        if words and words[0] in ("-P", "--policy"):
            if len(words) != 3 or words[2] not in ("ACCEPT", "DROP"):
                raise _wrong(number, text, "a policy needs a chain, and ACCEPT or DROP")
            policies.append(Policy(number, words[1], words[2]))
            continue
        rules.append(_rule(number, text, table, family, words))
    return rules, policies


def _command(number: int, text: str, words: list[str]) -> tuple[str, list[str]]:
    """The family of a command, and the words that follow it."""
    while words and words[0] in ("$", "#", "sudo"):
        words = words[1:]
    if not words or words[0].startswith("-"):
        return "ipv4", words
    match = _COMMAND.fullmatch(os.path.basename(words[0]))
    if match is None:
        raise _wrong(number, text, f"'{words[0]}' is neither iptables nor ip6tables")
    return "ipv6" if match[1] == "ip6tables" else "ipv4", words[1:]


def _rule(number: int, text: str, table: str, family: str, words: list[str]) -> Rule:
    said: dict[str, str] = {}
    for name, value in _values(number, text, words):
        if name == "match" and value not in _MATCHES:
            raise _wrong(number, text, f"flows have nothing that corresponds to the match '{value}'")
        key = "chain" if name in ("append", "insert") else name
        if key in said and name not in ("match", "comment"):
            raise _wrong(number, text, f"'{value}' gives the same option a second time")
        said[name] = said[key] = value
    said.setdefault("table", table)
    if not _REJECT_WITH.fullmatch(said.get("reject_with", "tcp-reset")):
        raise _wrong(number, text, f"'{said['reject_with']}' is not a value of --reject-with")
    for name, allowed in (("table", ("filter",)), ("chain", _CHAINS), ("jump", _VERDICTS)):
        if said.get(name) not in allowed:
            shown = f"'{said[name]}'" if name in said else "missing"
            raise _wrong(number, text, f"its {name} is {shown}, and flows support only {', '.join(allowed)}")
    interface, other = "out_interface", "in_interface"
    if said["chain"] == "INPUT":
        interface, other = other, interface
    if other in said:
        raise _wrong(number, text, f"'{said[other]}' is an interface that no packet of {said['chain']} has")
    rule = Rule(
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
        END if "append" in said else FRONT if int(said.get("position", "1")) == 1 else AMONG,
    )
    try:
        _check(rule)
    except SenetError as error:
        raise rule.wrong(str(error).rstrip(".")) from error
    return rule


def _check(rule: Rule) -> None:
    """Hold each word of a user against the model, so that none reaches a flow or a note unseen."""
    name = f"line {rule.line}"
    parse_domains(name, "source", [rule.client or "domain"])
    parse_domains(name, "destination", [rule.server or "domain"])
    parse_ports(name, rule.ports or ["1"])
    parse_networks(name, "source_addresses", rule.source)
    parse_networks(name, "destination_addresses", rule.destination)
    parse_interfaces(name, [rule.interface] if rule.interface else [])
    parse_users(name, [rule.user] if rule.user else [])
    unknown = set(rule.states) - {"NEW", "ESTABLISHED", "RELATED", "INVALID", "UNTRACKED"}
    if unknown:
        raise SenetError(f"the state '{sorted(unknown)[0]}' is none of conntrack's.")
    if rule.protocol and rule.protocol not in PROTOCOLS:
        raise SenetError(f"the protocol '{rule.protocol}' is none that flows support.")


def _values(number: int, text: str, words: list[str]) -> Iterator[tuple[str, str]]:
    """Each option by its name, with its value."""
    rest = iter(words)
    word = next(rest, None)
    while word is not None:
        option, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
        name = _OPTIONS.get(option)
        if name is None:
            raise _wrong(number, text, f"flows have nothing that corresponds to '{word}'")
        following = next(rest, None)
        if not equals:
            if name == "wait" and (following is None or not following.isdecimal()):
                word = following
                continue
            if following is None or following == "!":
                raise _wrong(number, text, f"flows have nothing that corresponds to '{following or word}' here")
            value, following = following, next(rest, None)
        if name != "comment" and not all(part.strip() for part in value.split(",")):
            # A variable that holds nothing would otherwise mean every address, interface or user
            raise _wrong(number, text, f"the option '{option}' is empty, or a part of its value is")
        if name == "insert" and following is not None and following.isdecimal():
            yield "position", following
            following = next(rest, None)
        yield name, value
        word = following


def _overlap(one: Network, two: Network) -> bool:
    return one.version == two.version and one.overlaps(two)


def _split(value: str | None) -> tuple[str, ...]:
    return tuple(value.split(",")) if value else ()


def _wrong(number: int, text: str, why: str) -> SenetError:
    return SenetError(f"Line {number}, '{text.strip()}': {why}; change the line, or leave it out.")
