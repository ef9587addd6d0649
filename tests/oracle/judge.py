# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The comparison: every packet of the model, as the compilers' texts decide it and as the promise does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from random import Random
from typing import NamedTuple

from . import cil, iptables, nft
from .compilers import Emitted
from .known import HOLES
from .model import Journey, Step, journeys
from .packet import Ruleset
from .promise import KERNEL, End, Seen, Wish, Word, enforced, promise, promise_elsewhere

BACKENDS = ("iptables", "nftables")
NAMED = ("httpd_t", "postgresql_t", "redis_t")
CONFINABLE = ("httpd_t", "redis_t", "cron_t")
# The domains of the model: those of flows, one that may be confined only, one that nothing names, and the kernel.
DOMAINS = (*NAMED, "cron_t", "other_t", KERNEL)
# Two policies to stand on: Debian lets no domain use unlabelled packets, Fedora every one. iptables_t is in both, other
# loaders are not.
BASE = cil.Base(
    frozenset((*DOMAINS, "unconfined_t", "iptables_t", "unlabeled_t")),
    {"domain": frozenset((*DOMAINS, "unconfined_t", "iptables_t"))},
)
FEDORA = BASE._replace(rules="(allow domain unlabeled_t (packet (send recv)))")

Hole = Callable[[Wish, Step, str, bool, Word], bool]


class Disagreement(NamedTuple):
    """What a backend's texts say otherwise than the promise."""

    backend: str
    domain: str
    sends: bool
    allowed: bool
    word: Word
    label: str
    step: Step
    wish: Wish
    logged: bool = True

    def size(self) -> int:
        return len(repr(self.wish)) + self.step.packet.reply

    def __str__(self) -> str:
        does, seen, packet = "send" if self.sends else "receive", self.step.seen, self.step.packet
        what = f"promised: {self.word.value}" if self.logged else "would be refused if enforced, and is not logged"
        return (
            f"{self.backend}: {self.domain} may {'' if self.allowed else 'not '}{does}, {what}; "
            f"{seen.protocol} (packet {packet.protocol}) {_end(seen.caller)} -> {_end(seen.called)}, from the "
            f"{'caller' if seen.from_caller else 'called'}, {packet.state} {packet.chunk}, beginning "
            f"{'seen' if seen.began else 'not seen'}, {packet.hook} {packet.interface}, label {self.label or 'none'}"
        )


def _end(end: End) -> str:
    return f"[{end.address}]:{end.port}"


_CLEAR = (Word.YES, Word.NO)


class Tally:
    """What was compared, and how it came out."""

    def __init__(self) -> None:
        self.wishes = 0
        self.packets = dict.fromkeys(BACKENDS, 0)
        self.verdicts = dict.fromkeys(BACKENDS, 0)
        self.open: Counter[tuple[Word, bool]] = Counter()
        self.known: Counter[tuple[str, str]] = Counter()
        self.disagreements: Counter[str] = Counter()
        # The plainest disagreements, so many of them
        self.examples: list[Disagreement] = []
        self.kept = 20

    def found(self) -> set[str]:
        """The backends that have shown a disagreement."""
        return {backend for backend in BACKENDS if any(name.startswith(backend) for name in self.disagreements)}

    def trim(self) -> list[Disagreement]:
        self.examples.sort(key=Disagreement.size)
        del self.examples[self.kept :]
        return self.examples


# The domains that must get through and those that may, as bits, and each domain's word
_Promised = tuple[int, int, list[Word]]


def judge(
    wish: Wish,
    texts: Emitted,
    tally: Tally,
    frames: int,
    seed: int = 0,
    holes: Mapping[str, Hole] = HOLES,
    until_found: bool = False,
) -> None:
    """Compare a wish's texts with the promise, over so many frames of the model, or until both backends differ."""
    trial = _Trial(wish, texts, tally, holes)
    tally.wishes += 1
    trial.elsewhere()
    for journey in journeys(wish, frames, Random(seed)):
        trial.follow(journey)
        if until_found and tally.found() == set(BACKENDS):
            return


class _Trial:
    """One wish against both backends. Domains stand as bits of a number, so that one comparison serves all."""

    def __init__(self, wish: Wish, texts: Emitted, tally: Tally, holes: Mapping[str, Hole]) -> None:
        self.wish = wish
        self.tally = tally
        self.holes = holes
        self.policy, self.fedora = cil.Policy(BASE, texts.cil), cil.Policy(FEDORA, texts.cil)
        tables = nft.read(texts.nft)
        self.rules: dict[tuple[str, int], Ruleset] = {
            ("iptables", 4): iptables.read(texts.ipv4, 4),
            ("iptables", 6): iptables.read(texts.ipv6, 6),
            ("nftables", 4): tables.of_family(4),
            ("nftables", 6): tables.of_family(6),
        }
        self._granted: dict[tuple[str, bool], tuple[int, int]] = {}
        self._promised: dict[tuple[Seen, bool], _Promised] = {}
        self._strict = enforced(wish)
        self._refused: dict[tuple[Seen, bool], int] = {}
        self._audited: dict[tuple[str, bool], int] = {}

    def follow(self, journey: Journey) -> None:
        for backend in BACKENDS:
            for step in journey:
                if step.packet.connection is not None:
                    step.packet.connection.forget()
            last = journey[0]
            # By end of the connection, the caller's being True
            owed, logged = {True: 0, False: 0}, {True: 0, False: 0}
            for step in journey:
                packet = step.packet
                packet.secmark, packet.mark = (last.packet.secmark, last.packet.mark) if step.carries else ("", 0)
                label = self.rules[backend, packet.family].label(packet)
                self.tally.packets[backend] += 1
                self._compare(backend, step, label, packet.hook == "OUTPUT")
                if packet.hook == "OUTPUT" and packet.interface != "lo":
                    # In a namespace of this host without rules the packet arrives as it left.
                    self._compare(backend, step, label, False)
                last = step
                if self._strict != self.wish:
                    sends = packet.hook == "OUTPUT"
                    if not (packet.assured and packet.over):
                        owed[sends == step.seen.from_caller] |= self._would_be_refused(step, label, sends)
                    logged[sends == step.seen.from_caller] |= self._logs(label, sends)
            for end in (True, False):
                if owed[end] & ~logged[end]:
                    self._report_unlogged(backend, journey, owed[end] & ~logged[end])

    def elsewhere(self) -> None:
        """Packets that the host's rules never see: of namespaces without rules, and on their way through the host."""
        words = {domain: promise_elsewhere(self.wish, domain) for domain in DOMAINS}
        wanted = sum(1 << at for at, domain in enumerate(DOMAINS) if words[domain] is Word.YES)
        for backend in BACKENDS:
            self.tally.verdicts[backend] += 2 * len(DOMAINS)
            for sends in (True, False):
                kernel = 1 << DOMAINS.index(KERNEL)
                if (self._grants("", sends)[0] ^ wanted) & ~kernel:
                    self.tally.disagreements[f"{backend}: unlabelled packets of other namespaces"] += 1
            for label in ("unlabeled_t", *sorted(self._labels())):
                self.tally.verdicts[backend] += 1
                if not all(self.policy.may("unlabeled_t", label, way) for way in ("forward_in", "forward_out")):
                    self.tally.disagreements[f"{backend}: forwarded packets with {label}"] += 1
            for loader in ("unconfined_t", "iptables_t"):
                self.tally.verdicts[backend] += 1
                if not all(self.policy.may(loader, label, "relabelto") for label in self._labels()):
                    self.tally.disagreements[f"{backend}: labels that {loader} may not load"] += 1

    def _labels(self) -> set[str]:
        return {name for name in self.policy.types - BASE.types if name in self.policy.objects}

    def _compare(self, backend: str, step: Step, label: str, sends: bool) -> None:
        granted, fedora = self._grants(label, sends)
        must, may, words = self._words(step.seen, sends)
        self.tally.verdicts[backend] += len(DOMAINS)
        wrong = (must & ~granted) | (fedora & ~may)
        if wrong:
            self._report(
                Disagreement(backend, "", sends, False, Word.NO, label, step, self.wish),
                granted | fedora & wrong,
                wrong,
                words,
            )
        if must != may:
            for at, word in enumerate(words):
                if word not in _CLEAR:
                    self.tally.open[word, bool(granted >> at & 1)] += 1

    def _grants(self, label: str, sends: bool) -> tuple[int, int]:
        """The domains that the policy lets use a label, on Debian and on Fedora; for a context that is none, nobody."""
        key = label, sends
        if key not in self._granted:
            packet_type = self.policy.type_of(label) if label else "unlabeled_t"
            way = "send" if sends else "recv"
            self._granted[key] = (_bits(self.policy, packet_type, way), _bits(self.fedora, packet_type, way))
        return self._granted[key]

    def _words(self, seen: Seen, sends: bool) -> _Promised:
        key = seen, sends
        if key not in self._promised:
            words = [promise(self.wish, seen, domain, sends) for domain in DOMAINS]
            self._promised[key] = (
                sum(1 << at for at, word in enumerate(words) if word is Word.YES),
                sum(1 << at for at, word in enumerate(words) if word is not Word.NO),
                words,
            )
        return self._promised[key]

    def _report(self, found: Disagreement, granted: int, wrong: int, words: list[Word]) -> None:
        for at, (domain, word) in enumerate(zip(DOMAINS, words, strict=True)):
            if not wrong >> at & 1:
                continue
            one = found._replace(domain=domain, allowed=bool(granted >> at & 1), word=word)
            hole = next(
                (name for name, is_it in self.holes.items() if is_it(self.wish, one.step, domain, one.sends, word)), ""
            )
            if hole:
                self.tally.known[hole, one.backend] += 1
            else:
                self.tally.disagreements[one.backend] += 1
                self.tally.examples.append(one)
                if len(self.tally.examples) > 2 * self.tally.kept:
                    self.tally.trim()

    def _would_be_refused(self, step: Step, label: str, sends: bool) -> int:
        """The domains that get through only because something is observed. The kernel's own sending is left out."""
        key = step.seen, sends
        if key not in self._refused:
            words = [promise(self._strict, step.seen, domain, sends) for domain in DOMAINS]
            self._refused[key] = sum(
                1 << at for at, word in enumerate(words) if word is Word.NO and DOMAINS[at] != KERNEL
            )
        return self._refused[key] & self._grants(label, sends)[0]

    def _logs(self, label: str, sends: bool) -> int:
        key = label, sends
        if key not in self._audited:
            packet_type, way = self.policy.type_of(label) or "unlabeled_t", "send" if sends else "recv"
            audited = self.policy.audited
            self._audited[key] = sum(
                1 << at for at, domain in enumerate(DOMAINS) if way in audited.get((domain, packet_type, "packet"), ())
            )
        return self._audited[key]

    def _report_unlogged(self, backend: str, journey: Journey, missing: int) -> None:
        for at, domain in enumerate(DOMAINS):
            if not missing >> at & 1:
                continue
            hole = next(
                (
                    name
                    for name, is_it in self.holes.items()
                    if any(is_it(self._strict, step, domain, True, Word.NO) for step in journey)
                ),
                "",
            )
            if hole:
                self.tally.known[hole, backend] += 1
                continue
            self.tally.disagreements[f"{backend}: not logged"] += 1
            first = journey[0]
            label, sends = first.packet.secmark, first.packet.hook == "OUTPUT"
            self.tally.examples.append(
                Disagreement(backend, domain, sends, True, Word.NO, label, first, self.wish, logged=False)
            )


def _bits(policy: cil.Policy, packet_type: str, way: str) -> int:
    return sum(1 << at for at, domain in enumerate(DOMAINS) if policy.may(domain, packet_type, way))
