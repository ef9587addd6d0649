# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deliberate faults in what the compilers emit. Each must change some text, and the oracle must see each."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from .compilers import Emitted, emitted
from .judge import BACKENDS, Tally, judge
from .promise import Flow, Wish

# Together they have what the mutations take away: flows of ports alone and of places, ranges, many ports, both modes.
EXAMPLES = (
    Wish(
        (
            Flow("web_db", ("httpd_t",), ("postgresql_t",), "tcp", ((5432, 5432),)),
            Flow("cache", ("httpd_t", "redis_t"), ("redis_t",), "tcp", ((6379, 6379), (7000, 7005))),
            Flow("names", ("domain",), ("postgresql_t",), "udp", ((53, 53),)),
            Flow("watch", ("httpd_t",), ("redis_t",), "udp", ((514, 514),), observe=True),
        ),
        ("cron_t",),
        ("redis_t",),
    ),
    Wish(
        (
            Flow(
                "web_db", ("httpd_t",), ("postgresql_t",), "tcp", ((5432, 5432),),
                source_addresses=("192.0.2.0/24", "2001:db8::/48"),
            ),
            Flow("cache", ("httpd_t",), ("redis_t",), "tcp", ((6379, 6379),), interfaces=("eth0",)),
            Flow(
                "mail", ("redis_t",), ("httpd_t",), "udp", ((25, 25),),
                destination_addresses=("203.0.113.0/25", "2001:db8:1::/64"),
            ),
        ),
        ("httpd_t", "cron_t"),
    ),
    Wish((Flow("web", ("httpd_t",), ("redis_t",), "tcp", tuple((port, port + 3) for port in range(1000, 1120, 10))),)),
)  # fmt: skip

Change = Callable[[str], str]


class Mutation(NamedTuple):
    """A fault. ``rules`` changes each text of rules, ``policy`` the CIL."""

    name: str
    rules: Change | None = None
    policy: Change | None = None
    ipv6: Change | None = None

    def of(self, texts: Emitted) -> Emitted:
        if self.rules:
            texts = Emitted(self.rules(texts.ipv4), self.rules(texts.ipv6), self.rules(texts.nft), texts.cil)
        if self.policy:
            texts = texts._replace(cil=self.policy(texts.cil))
        if self.ipv6:
            texts = texts._replace(ipv6=self.ipv6(texts.ipv6), nft=self.ipv6(texts.nft))
        return texts


class Outcome(NamedTuple):
    """The backends whose texts a mutation changed, and those where the oracle saw it."""

    changed: frozenset[str]
    found: frozenset[str]


def outcome(mutation: Mutation, frames: int = 40) -> Outcome:
    """Try a mutation on one example after the other, until both backends have shown it."""
    changed: set[str] = set()
    found: set[str] = set()
    for wish in EXAMPLES:
        sound = _sound(wish)
        texts = mutation.of(sound)
        if texts == sound:
            continue
        changed.update(_changed(sound, texts))
        tally = Tally()
        judge(wish, texts, tally, frames, until_found=True)
        found |= tally.found()
        if found == set(BACKENDS):
            break
    return Outcome(frozenset(changed), frozenset(found))


@cache
def _sound(wish: Wish) -> Emitted:
    return emitted(wish)


def _changed(sound: Emitted, texts: Emitted) -> set[str]:
    if sound.cil != texts.cil:
        return set(BACKENDS)
    changed = {"iptables"} if (sound.ipv4, sound.ipv6) != (texts.ipv4, texts.ipv6) else set()
    return changed | ({"nftables"} if sound.nft != texts.nft else set())


def _without(pattern: str) -> Change:
    """Lines with this left out."""
    return lambda text: "".join(line for line in text.splitlines(True) if not re.search(pattern, line))


def _without_rule(pattern: str) -> Change:
    """The rules of a policy with this left out, wherever they stand."""
    rule = r"\((?:audit)?allow \S+ \S+ \(\w+ \([^()]*\)\)\)"
    return lambda text: re.sub(rule, lambda match: "" if re.search(pattern, match.group()) else match.group(), text)


def _sub(pattern: str, new: str, count: int = 0) -> Change:
    return lambda text: re.sub(pattern, new, text, count=count, flags=re.MULTILINE)


def _exchanged(one: str, other: str, where: str = "") -> Change:
    """Both words put in the place of each other, in the lines with that."""

    def change(text: str) -> str:
        lines = []
        words = f"{one}|{other}"
        for line in text.splitlines(True):
            swaps = bool(re.search(where, line))
            lines.append(re.sub(words, lambda match: other if match.group() == one else one, line) if swaps else line)
        return "".join(lines)

    return change


def _turned(text: str) -> str:
    """What is asked of originals asked of replies, and the other way round. Names of chains stay."""
    other = {"original": "reply", "reply": "original", "ORIGINAL": "REPLY", "REPLY": "ORIGINAL"}
    words = r"(?<=ctdir )(?:ORIGINAL|REPLY)|(?<=direction )(?:original|reply)|\b(?:original|reply)(?= : )"
    return re.sub(words, lambda match: other[match.group()], text)


def _reordered(text: str) -> str:
    """Each chain's rules that label, the other way round."""
    result: list[str] = []
    run: list[str] = []
    chain = ""
    for line in [*text.splitlines(True), ""]:
        words = line.split()
        labels = ("SECMARK" in line or "secmark set" in line) and _DEFAULT not in line
        here = words[1] if labels and line.startswith("-A") else ""
        if run and (not labels or here != chain):
            result += reversed(run)
            run = []
        chain = here
        (run if labels else result).append(line)
    return "".join(result)


def _default_last(text: str) -> str:
    """A last rule of all that gives the default label."""
    if text.startswith("*"):
        last = f"-j SECMARK --selctx system_u:object_r:{_DEFAULT}:s0\n"
        return text.replace("COMMIT", f"-A INPUT {last}-A OUTPUT {last}COMMIT")
    chain = '\tchain late_{0} {{\n\t\ttype filter hook {0} priority 60;\n\t\tmeta secmark set "{1}"\n\t}}\n'
    return (
        text.rstrip("}\n") + "\n\t}\n" + "".join(chain.format(hook, _DEFAULT) for hook in ("input", "output")) + "}\n"
    )


def _sampled(text: str) -> str:
    """Whatever port a connection has, it counts as one of the observed flow's."""
    text = re.sub(r"(?m)^(-A \S+_(?:old|few)) -p \S+ -m conntrack --ctproto \d+ --ct\w+ \S+", r"\1", text)
    text = re.sub(r"meta l4proto \w+ (ct status assured) ct \w+ proto-src \S+ jump", r"\1 jump", text)
    rule = r"meta l4proto \w+ meta secmark set ct \w+ proto-src map @\w+_(\w+)_unlogged"
    return re.sub(rule, r'meta secmark set "senet_watch_\1_unlogged_packet_t"', text)


def _one_way(text: str) -> str:
    """What is for replies is for originals, or the verdict for originals is that for replies."""
    text = re.sub(r"(original : (\w+ \w+), reply : )\w+ \w+", r"\1\2", text)
    return text.replace("--ctdir REPLY", "--ctdir ORIGINAL").replace("ct direction reply", "ct direction original")


def _v4_only(text: str) -> str:
    """Rules that label leave IPv6 alone, but for the default label."""
    if text.startswith("*"):
        return _without(rf"^-A (?!.*{_DEFAULT})")(text)
    return _sub(rf"^(\s+)(?=\S.*secmark set)(?!.*{_DEFAULT})", r"\1meta nfproto ipv4 ")(text)


def _granted(pattern: str) -> Change:
    """Every type of that kind granted to every domain."""
    return lambda text: (
        text
        + "".join(
            f"(allow domain {name} (packet (send recv)))\n"
            for name in re.findall(rf"^\(type ({pattern})\)$", text, re.M)
        )
    )


_HEADER_PORTS = r"--{0}port |\b(?:tcp|udp|sctp|dccp|th) {0}port "
_DEFAULT = "senet_default_packet_t"
_CLIENT, _SERVER = "_client_packet_t", "_server_packet_t"

MUTATIONS = (
    Mutation("the port that answers is not looked for", rules=_without("ctreplsrcport|ct reply proto-src")),
    Mutation(
        "connections seen from the server's side first are left out",
        rules=_without("ctorigsrcport|ct original proto-src"),
    ),
    Mutation("ports of the packet itself are not looked for", rules=_without(_HEADER_PORTS.format("[sd]"))),
    Mutation("source ports of the packet itself are not looked for", rules=_without(_HEADER_PORTS.format("s"))),
    Mutation(
        "a client's first packet counts as a server's", rules=_without("(?<!! )--tcp-flags SYN,ACK SYN| == syn ")
    ),
    Mutation("how a connection began is forgotten", rules=_without("connlabel|ct label")),
    Mutation("the rules stand in the opposite order", rules=_reordered),
    Mutation("the default label overrides all others", rules=_default_last),
    Mutation("no default label", rules=_without(rf"(SECMARK|secmark set).*{_DEFAULT}")),
    Mutation("IPv6 is left out", ipv6=_v4_only),
    Mutation("replies count as originals", rules=_one_way),
    Mutation("original and reply are exchanged", rules=_turned),
    Mutation(
        "client and server are exchanged in the rules", rules=_exchanged(_CLIENT, _SERVER, r"--selctx|secmark set| : ")
    ),
    Mutation("clients of other addresses are not refused", rules=_without(r"(SECMARK|secmark set).*_refused_packet_t")),
    Mutation("interfaces do not count", rules=_sub(r"(-A \S+) -[io] \S+ |[io]ifname (?:\{[^}]*\}|\S+) ", r"\1 ")),
    Mutation(
        "addresses do not count",
        rules=_sub(r"(?:-[sd]|--ct(?:orig|repl)src) \S+ |(?:ct \w+ )?ip6? [sd]addr (?:\{[^}]*\}|\S+) ", ""),
    ),
    Mutation("a range is its first port", rules=_sub(r"(port \d+):\d+|^(\s*\d+)-\d+( :)", r"\1\2\3")),
    Mutation("udp is left out", rules=_without(r"-p udp|(?:l4proto|secmark set) udp|udp [sd]port")),
    Mutation("incoming packets are left out", rules=_without(r"^-I INPUT |hook input")),
    Mutation("a source domain too many", policy=_sub(rf"\(allow httpd_t (\S+{_CLIENT})", r"(allow domain \1")),
    Mutation("a destination domain too many", policy=_sub(rf"\(allow redis_t (\S+{_SERVER})", r"(allow domain \1")),
    Mutation(
        "sources may send as servers", policy=_sub(rf"(\(allow \S+ \S+{_SERVER} \(packet \()recv\)", r"\1send recv)")
    ),
    Mutation(
        "destinations may not send", policy=_sub(rf"(\(allow \S+ \S+{_SERVER} \(packet \()send recv\)", r"\1recv)")
    ),
    Mutation("nobody receives", policy=_sub(rf"(\(allow \S+ \S+{_CLIENT} \(packet \()send recv\)", r"\1send)")),
    Mutation("the kernel may not answer", policy=_without_rule(r"allow kernel_t")),
    Mutation("the default label is everybody's", policy=_sub(rf"\(allow \S+ {_DEFAULT}", f"(allow domain {_DEFAULT}")),
    Mutation("the default label is nobody's", policy=_without_rule(rf"\(allow \S+ {_DEFAULT}")),
    Mutation(
        "unlabelled packets are everybody's",
        policy=_sub(r"\(allow \S+ unlabeled_t \(packet \(send", "(allow domain unlabeled_t (packet (send"),
    ),
    Mutation("unlabelled packets are nobody's", policy=_without_rule(r"unlabeled_t \(packet \(send")),
    Mutation("one confined domain is forgotten", policy=_sub(r"(\(and \(domain\) \(not \()[\w.]+", r"\1")),
    Mutation("enforced flows are granted as observed ones", policy=_granted(rf"\w+{_CLIENT}")),
    Mutation("refused clients are let in", policy=_granted(r"\w+_refused_packet_t")),
    Mutation("an observed flow refuses", policy=_without_rule(r"\(allow domain \S+_(client|server)_packet_t")),
    Mutation("nobody is logged", policy=_sub("auditallow", "dontaudit")),
    Mutation("new connections are sampled too", rules=_sub(r" -m conntrack --ctstatus ASSURED|ct status assured ", "")),
    Mutation("what is beyond the rate is refused", policy=_without_rule(r"allow \S+ \w+_unlogged_packet_t")),
    Mutation("enforced flows are sampled", rules=_sampled),
    Mutation("watched domains are not logged", policy=_without_rule(rf"auditallow \S+ {_DEFAULT}")),
    Mutation("forwarded packets are refused", policy=_without_rule("forward_in")),
    Mutation("a label without a role", policy=_without(rf"roletype object_r \S+{_SERVER}")),
    Mutation("labels that nobody may load", policy=_sub("relabelto", "relabelfrom")),
)
