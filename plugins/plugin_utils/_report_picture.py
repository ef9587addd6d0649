# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the parts of the picture of flows are: sources at the left, flows in the middle, destinations at the right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.senet.firewall.plugins.module_utils._values.fields import EVERY_DOMAIN

# More than these would be no picture any more; the table below it has all.
MOST = 40
_WIDTH = 760
_BOX = 200
_LEFT, _MIDDLE, _RIGHT = 10, 280, 550
_ROW = 52
_HIGH = 38
_LETTERS = 27


def picture(flows: Sequence[Mapping[str, Any]], confined: frozenset[str]) -> dict[str, Any]:
    """Boxes and lines of the first flows, and how many were left out."""
    shown = flows[:MOST]
    sources = _in_order(shown, "source")
    destinations = _in_order(shown, "destination")
    height = max(1, len(shown), len(sources), len(destinations)) * _ROW
    left = _column(sources, height)
    middle = _column([str(number) for number in range(len(shown))], height)
    right = _column(destinations, height)
    boxes = [_domain(name, _LEFT, y, confined) for name, y in left.items()]
    boxes += [_domain(name, _RIGHT, y, confined) for name, y in right.items()]
    lines = []
    for number, flow in enumerate(shown):
        y = middle[str(number)]
        service = f"{flow['protocol']}/{','.join(flow['ports'])}"
        boxes.append(_box(flow["name"], service, _MIDDLE, y, f"flow {flow['mode']}"))
        dashed = flow["mode"] == "observe"
        lines += [_line(_LEFT + _BOX, left[name], _MIDDLE, y, dashed) for name in flow["source"]]
        lines += [_line(_MIDDLE + _BOX, y, _RIGHT, right[name], dashed) for name in flow["destination"]]
    return {"width": _WIDTH, "height": height, "boxes": boxes, "lines": lines, "left_out": len(flows) - len(shown)}


def _in_order(flows: Sequence[Mapping[str, Any]], side: str) -> list[str]:
    """The domains of one side, each near the middle of its flows."""
    rows: dict[str, list[int]] = {}
    for number, flow in enumerate(flows):
        for domain in flow[side]:
            rows.setdefault(domain, []).append(number)
    return sorted(rows, key=lambda domain: (sum(rows[domain]) / len(rows[domain]), domain))


def _column(names: Sequence[str], height: int) -> dict[str, int]:
    """The middle of each box, spread evenly."""
    return {name: round(height * (number + 0.5) / len(names)) for number, name in enumerate(names)}


def _domain(name: str, x: int, y: int, confined: frozenset[str]) -> dict[str, Any]:
    held = name in confined
    shown = "every domain" if name == EVERY_DOMAIN else name
    return _box(shown, "confined" if held else "", x, y, "domain confined" if held else "domain")


def _box(name: str, below: str, x: int, y: int, kind: str) -> dict[str, Any]:
    return {
        "x": x, "y": y - _HIGH // 2, "width": _BOX, "height": _HIGH, "kind": kind, "middle": x + _BOX // 2,
        "name": _cut(name), "below": _cut(below), "name_y": y + (-2 if below else 5), "below_y": y + 14,
        "title": f"{name} {below}".strip(),
    }  # fmt: skip


def _line(x: int, y: int, x2: int, y2: int, dashed: bool) -> dict[str, Any]:
    half = (x + x2) // 2
    return {"path": f"M{x} {y} C{half} {y} {half} {y2} {x2} {y2}", "dashed": dashed}


def _cut(text: str) -> str:
    return text if len(text) <= _LETTERS else text[: _LETTERS - 1] + "…"
