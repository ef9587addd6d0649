# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The oracle at length, into a file: python -m tests.oracle build/oracle.json [VERDICTS]"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from tests.collection_tree import link

sys.path.insert(0, str(link()))

from hypothesis import HealthCheck, Phase, given, seed, settings

from .compilers import emitted
from .judge import BACKENDS, DOMAINS, Tally, judge
from .mutations import MUTATIONS, outcome
from .promise import Wish
from .wishes import wishes

VERDICTS = 20_000_000
_BATCH = 25
_FRAMES = 150


def main(path: Path, wanted: int = VERDICTS) -> int:
    """Draw wishes until so many verdicts are compared, and try the mutations; 0 if all agree and all are found."""
    start = time.monotonic()
    tally = Tally()
    batch = 0
    while sum(tally.verdicts.values()) < wanted and not tally.disagreements:
        batch += 1
        _compare(tally, batch)
        print(
            f"[{time.monotonic() - start:4.0f} s] {tally.wishes} sets, {sum(tally.verdicts.values())} verdicts",
            flush=True,
        )
    outcomes = {mutation.name: outcome(mutation) for mutation in MUTATIONS}
    missed = [name for name, one in outcomes.items() if one.found != set(BACKENDS)]
    examples = [f"{found}; of {found.wish}" for found in tally.trim()]
    report = {
        "sets": tally.wishes,
        "seconds": round(time.monotonic() - start),
        "domains": list(DOMAINS),
        "backends": {backend: _of_backend(tally, backend) for backend in BACKENDS},
        "left open by the promise": _left_open(tally),
        "mutations": {
            "tried": len(outcomes),
            "found": {backend: sum(backend in one.found for one in outcomes.values()) for backend in BACKENDS},
            "missed": missed,
        },
        "examples": examples,
    }
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(report, indent=2) + "\n")
    for example in examples[:5]:
        print(example, file=sys.stderr)
    print(f"{path} is written: {sum(tally.disagreements.values())} disagreements")
    return 1 if tally.disagreements or missed else 0


def _compare(tally: Tally, batch: int) -> None:
    """A batch of wishes, the same in each run."""

    @seed(batch)
    @settings(
        max_examples=_BATCH,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(wishes())
    def compare(wish: Wish) -> None:
        judge(wish, emitted(wish), tally, _FRAMES, seed=tally.wishes)

    compare()


def _of_backend(tally: Tally, backend: str) -> dict[str, Any]:
    return {
        "packets": tally.packets[backend],
        "verdicts": tally.verdicts[backend],
        "disagreements": sum(count for name, count in tally.disagreements.items() if name.startswith(backend)),
        "known": {hole: count for (hole, of), count in sorted(tally.known.items()) if of == backend},
    }


def _left_open(tally: Tally) -> dict[str, dict[str, int]]:
    words = sorted({word for word, _count in tally.open}, key=lambda word: word.name)
    return {word.value: {"allowed": tally.open[word, True], "refused": tally.open[word, False]} for word in words}


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *map(int, sys.argv[2:])))
