# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disagreements that are known, by name. Each line of ``HOLES`` goes with its repair: a hole that nothing shows any
more fails the test."""

from __future__ import annotations

from collections.abc import Callable

from .model import Step
from .packet import PROTOCOLS
from .promise import Seen, Wish, Word, in_place


def _from_a_flow(wish: Wish, seen: Seen) -> bool:
    """Whether only the caller's end is in the place of a flow."""
    return any(in_place(flow, seen, seen.caller) for flow in wish.flows) and not any(
        in_place(flow, seen, seen.called) for flow in wish.flows
    )


def _source_port(wish: Wish, step: Step, domain: str, sends: bool, word: Word) -> bool:
    """A TCP connection whose beginning was seen, from a flow's port to a port of none, is read as the flow's own."""
    return step.seen.began and step.packet.connection is not None and _from_a_flow(wish, step.seen)


def _untracked_source_port(wish: Wish, step: Step, domain: str, sends: bool, word: Word) -> bool:
    """The same of a SYN that is untracked, invalid, or of a connection that was there before."""
    return step.seen.opens and word is Word.NO and _from_a_flow(wish, step.seen)


def _observed_flow(wish: Wish, step: Step, domain: str, sends: bool, word: Word) -> bool:
    """A flow that is only observed lets confined domains through that it does not name."""
    seen = step.seen
    return domain in wish.confined and any(
        flow.observe and in_place(flow, seen, end) for flow in wish.flows for end in (seen.caller, seen.called)
    )


def _ipsec(wish: Wish, step: Step, domain: str, sends: bool, word: Word) -> bool:
    """The packets of IPsec meet the rules of OUTPUT once more, and lose the label of what they carry."""
    return step.packet.protocol in (PROTOCOLS["esp"], PROTOCOLS["ah"])


HOLES: dict[str, Callable[[Wish, Step, str, bool, Word], bool]] = {
    "source port of a flow": _source_port,
    "source port of a flow, untracked": _untracked_source_port,
    "observed flow and confined domain": _observed_flow,
    "ipsec": _ipsec,
}
