# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A packet's way through the table that is compiled for nftables, statement by statement."""

import re
from ipaddress import ip_address, ip_network

_KEY = (
    r"[io]ifname|meta l4proto|meta nfproto|ct state|ct status|ct direction|ct label|"
    r"ct (?:original|reply) (?:ip6? saddr|proto-src)|"
    r"ip6? [sd]addr|(?:tcp|udp|sctp|dccp) [sd]port"
)
_MATCH = re.compile(rf"({_KEY}) (\{{[^}}]*\}}|(?!set|vmap)\S+) ")
_FLAGS = re.compile(r"tcp flags & \(syn \| ack\) (==|!=) syn ")
_LABEL = re.compile(r'meta secmark set (?:"(\w+)"|(\S+ \S+(?: \S+)?) map @(\w+)) ')
_LIMIT = re.compile(r"limit rate \d+/second burst \d+ packets ")
_UNLABELLED = re.compile(r"meta secmark vmap \{ 0 : (jump \w+ )\} ")
_VERDICT = re.compile(r"(?:(accept)|(return)|(goto|jump) (\w+)) $")


class Table:
    """The lines of a compiled table."""

    def __init__(self, rules: tuple[str, ...]) -> None:
        text = "\n".join(rules)
        self.maps = {
            name: re.findall(r'([\d-]+) : "(\S+)"', body)
            for name, body in re.findall(r"map (\w+) \{(.*?)\n\t\}", text, re.DOTALL)
        }
        self.sets = {
            name: re.findall(r"([\d-]+),", body)
            for name, body in re.findall(r"set (\w+) \{(.*?)\n\t\}", text, re.DOTALL)
        }
        self.chains = {
            name: [line.strip() + " " for line in body.splitlines() if line.strip()]
            for name, body in re.findall(r"\tchain (\w+) \{\n(.*?)\n\t\}", text, re.DOTALL)
        }

    def label(self, hook: str, facts: dict[str, str], before: str = "") -> str:
        """The type that a packet ends up with which had a type ``before``, perhaps none; what is not among the facts
        matches nothing. The fact ``ct label`` is the connection's, and is written; ``over`` says that the packet is
        beyond every rate."""
        way = _Way(self, facts, before)
        way.enter(hook, 2)
        return way.type


class _Way:
    def __init__(self, table: Table, facts: dict[str, str], before: str) -> None:
        self.table = table
        self.facts = facts
        self.type = before

    def enter(self, chain: str, first: int = 0) -> bool:
        """Whether the packet is done with."""
        for line in self.table.chains[chain][first:]:
            verdict = self.apply(line)
            match = _VERDICT.match(verdict)
            if match is None:
                assert not verdict, line
            elif match[2]:
                return False
            elif match[1] or (self.enter(match[4]) or match[3] == "goto"):
                return True
        return False

    def apply(self, line: str) -> str:
        """The verdict of a rule; nothing where it does not match or has none."""
        rest = line
        while rest:
            if match := _MATCH.match(rest):
                value = match[2]
                if value.startswith("@"):
                    value = ", ".join(self.table.sets[value[1:]])
                if not agrees(match[1], value, self.facts):
                    return ""
            elif match := _LIMIT.match(rest):
                if "over" in self.facts:
                    return ""
            elif match := _FLAGS.match(rest):
                if "tcp flags" not in self.facts or (self.facts["tcp flags"] == "syn") != (match[1] == "=="):
                    return ""
            elif match := re.match(r"ct label set (\d+) ", rest):
                self.facts["ct label"] = match[1]
            elif match := _LABEL.match(rest):
                found = match[1] or self.find(match[3], self.facts.get(match[2]))
                if found is None:
                    return ""
                self.type = found
            elif match := _UNLABELLED.match(rest):
                return "" if self.type else match[1]
            else:
                assert _VERDICT.match(rest), line
                return rest
            rest = rest[match.end() :]
        return ""

    def find(self, name: str, port: str | None) -> str | None:
        return next((found for ports, found in self.table.maps[name] if port and holds(ports, port)), None)


def agrees(key: str, value: str, facts: dict[str, str]) -> bool:
    if key not in facts:
        return False
    options = [one.strip('" ') for one in value.strip("{} ").split(",")]
    if key.endswith("addr"):
        return any(ip_address(facts[key]) in ip_network(option) for option in options)
    if key.endswith(("port", "proto-src")):
        return any(holds(option, facts[key]) for option in options)
    return facts[key] in options


def holds(ports: str, port: str) -> bool:
    low, dummy, high = ports.partition("-")
    return int(low) <= int(port) <= int(high or low)
