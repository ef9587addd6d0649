# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sets of numbers, and boxes of several dimensions, with what is in one and not in another. No I/O."""

from typing import Dict, Iterable, List, Sequence, Tuple

# Ranges, both ends included, sorted, none touching another
Span = Tuple[Tuple[int, int], ...]
# One span a dimension: all combinations of what is in them
Box = Tuple[Span, ...]


def span(ranges: Iterable[Tuple[int, int]]) -> Span:
    """Ranges in any order as a span."""
    joined = []  # type: List[Tuple[int, int]]
    for low, high in sorted(ranges):
        if joined and low <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(joined[-1][1], high))
        else:
            joined.append((low, high))
    return tuple(joined)


def common(first: Span, second: Span) -> Span:
    """What is in both."""
    found = []
    one, other = 0, 0
    while one < len(first) and other < len(second):
        low = max(first[one][0], second[other][0])
        high = min(first[one][1], second[other][1])
        if low <= high:
            found.append((low, high))
        if first[one][1] < second[other][1]:
            one += 1
        else:
            other += 1
    return tuple(found)


def less(first: Span, second: Span) -> Span:
    """What is in the first and not in the second."""
    gaps = []
    low = first[0][0] if first else 0
    for begin, end in second:
        gaps.append((low, begin - 1))
        low = max(low, end + 1)
    gaps.append((low, first[-1][1] if first else 0))
    return common(first, tuple(gap for gap in gaps if gap[0] <= gap[1]))


def boxes_less(boxes: Iterable[Box], others: Iterable[Box]) -> List[Box]:
    """What is in some of the boxes and in none of the others, as boxes that do not overlap if the given do not."""
    rest = list(boxes)
    for other in _joined(others):
        rest = [part for box in rest for part in _box_less(box, other)]
    return rest


def boxes_common(boxes: Sequence[Box], others: Iterable[Box]) -> List[Box]:
    """What is in some of the boxes and in some of the others."""
    return boxes_less(boxes, boxes_less(boxes, others))


def _joined(boxes: Iterable[Box]) -> Iterable[Box]:
    """The same boxes, fewer where many differ in one dimension, such as flows for one address each."""
    joined = list(boxes)
    for number in range(len(joined[0]) if len(joined) > 1 else 0):
        groups = {}  # type: Dict[Tuple[Box, Box], List[Span]]
        for box in joined:
            groups.setdefault((box[:number], box[number + 1 :]), []).append(box[number])
        joined = [
            front + (span(part for own in spans for part in own),) + back for (front, back), spans in groups.items()
        ]
    return joined


def _box_less(box: Box, other: Box) -> List[Box]:
    both = tuple(common(mine, its) for mine, its in zip(box, other))
    if not all(both):
        return [box]
    parts = []
    for number, mine in enumerate(box):
        own = less(mine, both[number])
        if own:
            parts.append(both[:number] + (own,) + box[number + 1 :])
    return parts
