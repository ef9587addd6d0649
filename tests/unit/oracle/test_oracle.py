# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The oracle over drawn sets of flows, over a hole that it found once, and over deliberate faults."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracle import cil
from tests.oracle.compilers import Emitted, emitted
from tests.oracle.judge import BACKENDS, BASE, NAMED, Tally, judge
from tests.oracle.known import HOLES
from tests.oracle.mutations import MUTATIONS, Mutation, outcome
from tests.oracle.promise import Flow, Wish
from tests.oracle.wishes import wishes

HOLE = Path(__file__).parents[2] / "oracle" / "holes" / "source_port_of_a_flow"
WEB = Wish(
    (
        Flow("web_db", ("httpd_t",), ("postgresql_t",), "tcp", ((5432, 5432),)),
        Flow("web", ("domain",), ("httpd_t",), "tcp", ((80, 80), (8080, 8080))),
    ),
    ("httpd_t",),
)
OBSERVED = Wish((Flow("dns", ("redis_t",), ("redis_t",), "udp", ((53, 53),), observe=True),), ("httpd_t",))


@settings(max_examples=12)
@given(wishes())
def test_the_compilers_keep_the_promise(wish: Wish) -> None:
    tally = Tally()
    judge(wish, emitted(wish), tally, frames=8)
    assert not tally.disagreements, "\n".join(map(str, [*tally.trim()[:3], wish]))


@settings(max_examples=20)
@given(wishes(), st.sampled_from(NAMED))
def test_a_domain_that_the_policy_does_not_have_takes_nothing_from_the_others(wish: Wish, gone: str) -> None:
    text = emitted(wish).cil
    attributes = {name: types - {gone} for name, types in BASE.attributes.items()}
    whole, less = cil.Policy(BASE, text), cil.Policy(cil.Base(BASE.types - {gone}, attributes), text)
    assert less.allowed == {key: perms for key, perms in whole.allowed.items() if key[0] != gone}


def test_each_known_hole_is_still_there() -> None:
    tally = Tally()
    for wish in (WEB, OBSERVED):
        judge(wish, emitted(wish), tally, frames=40)
    assert not tally.disagreements
    assert {hole for hole, _count in tally.known} == set(HOLES), "take what is repaired out of known.py"


def test_a_confined_domain_that_connects_from_a_flows_port_was_found() -> None:
    """As the compilers wrote it once: httpd_t is confined to its flows, and reached port 22 from 8080 all the same."""
    texts = Emitted(*((HOLE / name).read_text() for name in ("ipv4.rules", "ipv6.rules", "table.nft", "policy.cil")))
    tally = Tally()
    tally.kept = 10000
    judge(WEB, texts, tally, frames=120, holes={})
    for backend in BACKENDS:
        assert any(
            found.backend == backend and found.domain == "httpd_t" and found.allowed and found.sends
            and found.step.packet.chunk == "syn" and found.step.seen.began and found.step.packet.hook == "OUTPUT"
            and (found.step.seen.caller.port, found.step.seen.called.port) == (8080, 22)
            for found in tally.examples
        )  # fmt: skip


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name.replace(" ", "-"))
def test_a_fault_is_seen(mutation: Mutation) -> None:
    seen = outcome(mutation)
    assert seen.changed == set(BACKENDS), "the fault changes nothing any more; write it anew"
    assert seen.found == seen.changed
