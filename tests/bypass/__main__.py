# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every attempt, without flows and with them by each backend, into a file: python -m tests.bypass build/bypass.json."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tests.lab.controller import Controller
from tests.lab.lab import Lab

from .attempts import ATTEMPTS, PERMITTED, REFERRED, Asker, Attempt
from .on_host.ask import HOW
from .scene import BACKENDS, FLOWS, Outcome, Scene
from .verdicts import LIMIT, good, limits, missing_tests, permitted, verdict


def main(path: Path) -> int:
    """Write what became of each attempt; 0 if all are blocked or a limit of the docs."""
    entries = [entry for one in REFERRED for entry in _referred(one)]
    with Lab() as lab, lab.start("web", state="slim") as host, Controller(host) as controller:
        scene = Scene(host)
        before = scene.outcomes("none", ATTEMPTS)
        lab.progress(f"{len(before)} attempts without flows")
        for backend in BACKENDS:
            result = controller.module(
                host, "senet.firewall.flows", flows=FLOWS, confine=["httpd_t"], backend=backend, confirm_timeout=120
            )
            if result.get("failed") or result.get("backend") != backend:
                raise SystemExit(f"The flows are not in force by {backend}: {result}")
            allowed = scene.outcomes(f"{backend}-permitted", PERMITTED)
            after = scene.outcomes(backend, ATTEMPTS)
            entries += [_permitted(key, one, backend) for key, one in allowed.items()]
            entries += [_made(key, before[key], one, backend) for key, one in after.items()]
            lab.progress(f"{len(after)} attempts with {backend}")
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(entries, indent=2) + "\n")
    return _tell(path, entries)


Key = tuple[Attempt, Asker, str]


def _made(key: Key, before: Outcome, after: Outcome, backend: str) -> dict[str, Any]:
    attempt, asker, family = key
    said = verdict(before.happened, after.happened, attempt.limit_for(asker, backend), attempt.never)
    if asker.by == "process" and after.domain != asker.domain:
        said = f"WRONG ASKER: it was in {after.domain}"
    return {
        "name": attempt.name,
        "domain": asker.domain,
        "user": asker.user,
        "by": asker.by,
        "backend": backend,
        "family": family,
        "without flows": before.happened,
        "happened": after.happened,
        "verdict": said,
        "shown by": shown_by(attempt),
    }


def shown_by(attempt: Attempt) -> str:
    """The function that makes it, as pytest names things."""
    return f"{HOW[attempt.how].__module__.replace('.', '/')}.py::{attempt.how}"


def _permitted(key: Key, outcome: Outcome, backend: str) -> dict[str, Any]:
    entry = _made(key, outcome, outcome, backend)
    del entry["without flows"]
    return {**entry, "verdict": permitted(outcome.happened, key[0].limit_for(key[1], backend))}


def _referred(one: Any) -> list[dict[str, Any]]:
    return [
        {"name": one.name, "domain": asker.domain, "user": asker.user, "by": asker.by, "backend": "each",
         "family": "each of the test", "happened": "see the test", "verdict": one.verdict,
         "shown by": ", ".join(one.tests)}
        for asker in one.askers
    ]  # fmt: skip


def _tell(path: Path, entries: list[dict[str, Any]]) -> int:
    wrong = [entry for entry in entries if not good(entry["verdict"])]
    met = {entry["verdict"].removeprefix(LIMIT) for entry in entries if entry["verdict"].startswith(LIMIT)}
    missing = missing_tests([test for one in REFERRED for test in one.tests])
    for entry in wrong:
        words = ("verdict", "name", "domain", "user", "by", "backend", "family", "without flows", "happened")
        print(" | ".join(str(entry.get(word, "")) for word in words), file=sys.stderr)
    for name in sorted(met - limits()):
        print(f"No limit of the docs has the name {name!r}", file=sys.stderr)
    for test in missing:
        print(f"There is no test {test}", file=sys.stderr)
    print(f"{path} is written: {len(entries)} entries, {len(wrong)} wrong, {len(met)} limits met")
    return 1 if wrong or met - limits() or missing else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
