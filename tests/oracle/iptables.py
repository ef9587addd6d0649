# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What iptables-restore makes of its input on a host without rules. A match, target or option that does not stand here
is an error that names it."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from functools import partial

from . import xt_match
from .packet import Chains, Packet, Rule, Ruleset, Step, Unknown, Verdict

# The order of the tables at a hook
TABLES = ("raw", "mangle", "filter", "security")
_BUILT_IN = ("INPUT", "OUTPUT", "FORWARD", "PREROUTING", "POSTROUTING")
_VERDICTS = {"ACCEPT": "accept", "DROP": "drop", "RETURN": "return"}


def read(text: str, family: int) -> Ruleset:
    """The rules in force once iptables-restore --noflush, or ip6tables-restore, has taken this."""
    chains: dict[str, list[Rule]] = {}
    entries: dict[str, list[str]] = {}
    table = ""
    for line in text.splitlines():
        words = shlex.split(line) if '"' in line else line.split()
        if not words or words[0].startswith("#"):
            continue
        if words[0].startswith("*"):
            table = words[0][1:]
            if table not in TABLES:
                raise Unknown(f"table of iptables: {table}")
            for name in _BUILT_IN:
                chains.setdefault(f"{table} {name}", [])
        elif words[0].startswith(":"):
            if len(words) > 1 and words[1] not in ("-", "ACCEPT"):
                raise Unknown(f"policy of iptables: {line}")
            chains[f"{table} {words[0][1:]}"] = []
        elif words[0] == "COMMIT":
            table = ""
        else:
            _command(chains, table, words, family)
    for name in TABLES:
        for hook in _BUILT_IN:
            if chains.get(f"{name} {hook}"):
                entries.setdefault(hook, []).append(f"{name} {hook}")
    _check_targets(chains)
    return Ruleset(chains, entries)


def _command(chains: dict[str, list[Rule]], table: str, words: list[str], family: int) -> None:
    command, chain = words[0], f"{table} {words[1]}"
    if command in ("-N", "--new-chain", "-F", "--flush"):
        chains[chain] = []
        return
    if chain not in chains:
        raise Unknown(f"chain of iptables: {chain}")
    if command in ("-X", "--delete-chain"):
        del chains[chain]
    elif command in ("-A", "--append"):
        chains[chain].append(_rule(table, words[2:], family))
    elif command in ("-I", "--insert"):
        at = int(words.pop(2)) if len(words) > 2 and words[2].isdigit() else 1
        chains[chain].insert(at - 1, _rule(table, words[2:], family))
    else:
        raise Unknown(f"command of iptables: {' '.join(words)}")


def _check_targets(chains: Chains) -> None:
    for name, rules in chains.items():
        for rule in rules:
            target = getattr(rule[-1], "target", None)
            if target is not None and target not in chains:
                raise Unknown(f"chain that the rules of {name} go to: {target}")


class _Words:
    """The words of a rule, with the negation that stands before an option."""

    def __init__(self, words: list[str]) -> None:
        self.words = words
        self.at = 0

    def next(self) -> tuple[bool, str]:
        inverted = self.words[self.at] == "!"
        self.at += inverted
        self.at += 1
        return inverted, self.words[self.at - 1]

    def value(self) -> str:
        self.at += 1
        if self.at > len(self.words):
            raise Unknown(f"end of a rule of iptables: {' '.join(self.words)}")
        return self.words[self.at - 1]

    def __bool__(self) -> bool:
        return self.at < len(self.words)


def _rule(table: str, options: list[str], family: int) -> Rule:
    words = _Words(options)
    matches: list[xt_match.Match] = [xt_match.Basic(family)]
    target: Step | None = None
    while words:
        inverted, option = words.next()
        if option in ("-m", "--match"):
            matches.append(xt_match.named(words.value(), family))
        elif option in ("-j", "--jump", "-g", "--goto"):
            target = _target(table, option in ("-g", "--goto"), words)
        else:
            # As iptables does it: the match named last that has the option, or the protocol's own
            owner = next((match for match in reversed(matches) if match.arity(option) is not None), None)
            if owner is None:
                owner = xt_match.implied(matches[0], option, family)
                matches.append(owner)
            arity = owner.arity(option)
            assert arity is not None
            owner.take(option, [words.value() for _each in range(arity)], inverted)
    steps = [step for match in matches for step in match.steps()]
    return (*steps, target) if target is not None else tuple(steps)


def _target(table: str, goto: bool, words: _Words) -> Step:
    name = words.value()
    if goto or (name not in _VERDICTS and name not in _TARGETS):
        return _Fixed(Verdict("goto" if goto else "jump", f"{table} {name}"))
    if name in _VERDICTS:
        return _Fixed(Verdict(_VERDICTS[name]))
    if name in ("SECMARK", "CONNSECMARK") and table not in ("mangle", "security"):
        raise Unknown(f"{name} in the table {table}, where the kernel refuses it")
    return _TARGETS[name](words)


class _Fixed:
    """The end of a rule that names a chain or a verdict."""

    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict
        self.target = verdict.chain or None

    def __call__(self, packet: Packet) -> Verdict:
        return self.verdict


def _options(words: _Words, known: dict[str, int]) -> dict[str, str]:
    """The options of a target, which end its rule."""
    found = {}
    while words:
        inverted, option = words.next()
        if inverted or option not in known:
            raise Unknown(f"option of a target of iptables: {option}")
        found[option] = words.value() if known[option] else ""
    return found


def _secmark(words: _Words) -> Step:
    context = _options(words, {"--selctx": 1})["--selctx"]

    def step(packet: Packet) -> bool:
        packet.secmark = context
        return True

    return step


def _connsecmark(words: _Words) -> Step:
    option = next(iter(_options(words, {"--save": 0, "--restore": 0})))
    return _save_secmark if option == "--save" else _restore_secmark


def _save_secmark(packet: Packet) -> bool:
    # The kernel keeps what is there already, on both ways.
    if packet.secmark and packet.connection is not None and not packet.connection.secmark:
        packet.connection.secmark = packet.secmark
    return True


def _restore_secmark(packet: Packet) -> bool:
    if not packet.secmark and packet.connection is not None:
        packet.secmark = packet.connection.secmark
    return True


def _mark(words: _Words) -> Step:
    value, mask = _new_mark(_options(words, dict.fromkeys(_MARK_OPTIONS, 1)))

    def step(packet: Packet) -> bool:
        packet.mark = packet.mark & ~mask ^ value
        return True

    return step


def _connmark(words: _Words) -> Step:
    found = _options(
        words,
        {
            **dict.fromkeys(_MARK_OPTIONS, 1),
            "--save-mark": 0,
            "--restore-mark": 0,
            "--nfmask": 1,
            "--ctmask": 1,
            "--mask": 1,
        },
    )
    if "--save-mark" in found or "--restore-mark" in found:
        both = found.get("--mask", "0xffffffff")
        nfmask, ctmask = (int(found.get(option, both), 0) for option in ("--nfmask", "--ctmask"))
        return partial(_save_mark if "--save-mark" in found else _restore_mark, nfmask, ctmask)
    value, mask = _new_mark(found)

    def step(packet: Packet) -> bool:
        if packet.connection is not None:
            packet.connection.mark = packet.connection.mark & ~mask ^ value
        return True

    return step


def _save_mark(nfmask: int, ctmask: int, packet: Packet) -> bool:
    if packet.connection is not None:
        packet.connection.mark = packet.connection.mark & ~ctmask ^ packet.mark & nfmask
    return True


def _restore_mark(nfmask: int, ctmask: int, packet: Packet) -> bool:
    if packet.connection is not None:
        packet.mark = packet.mark & ~nfmask ^ packet.connection.mark & ctmask
    return True


_MARK_OPTIONS = ("--set-mark", "--set-xmark", "--and-mark", "--or-mark", "--xor-mark")


def _new_mark(found: dict[str, str]) -> tuple[int, int]:
    """The value to exclusive-or, and the bits to clear before."""
    option, text = next((option, text) for option, text in found.items() if option in _MARK_OPTIONS)
    value, mask = xt_match.value_and_mask(text)
    if option == "--set-mark":
        return value, value | mask
    if option == "--set-xmark":
        return value, mask
    if option == "--and-mark":
        return 0, ~value & 0xFFFFFFFF
    return value, value if option == "--or-mark" else 0


_TARGETS: dict[str, Callable[[_Words], Step]] = {
    "SECMARK": _secmark,
    "CONNSECMARK": _connsecmark,
    "MARK": _mark,
    "CONNMARK": _connmark,
}
