# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import FlowSet
from ansible_collections.senet.firewall.plugins.module_utils._values.intent import Intent, compile_intent, parse_intent
from tests.unit.flows import SEVERAL, flow_sets

PATH = "/etc/senet/flows.json"
WHOLE = json.loads(compile_intent(Intent(SEVERAL, "iptables")))


@given(flow_sets(), st.sampled_from(["iptables", "nftables"]))
def test_an_intent_comes_back_as_it_was(flows: FlowSet, backend: str) -> None:
    intent = Intent(flows, backend)
    text = compile_intent(intent)
    assert parse_intent(text, PATH) == intent
    assert compile_intent(parse_intent(text, PATH)) == text
    assert text.isascii()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def damaged(text: str) -> bool:
    """Whether the text is refused, which is always with the same words."""
    try:
        parse_intent(text, PATH)
    except SenetError as error:
        said = str(error)
    else:
        return False
    assert said.startswith(f"The file {PATH} is damaged (")
    assert said.endswith("remove it and run the play again.")
    return True


@given(st.text() | JSON.map(json.dumps))
def test_what_is_no_intent_is_called_damaged(text: str) -> None:
    assert damaged(text)


@given(st.sampled_from(["format", "backend", "flows"]), st.sampled_from(sorted(WHOLE["flows"][0])), JSON)
def test_a_part_of_a_wrong_kind_is_read_or_called_damaged(key: str, part: str, value: Any) -> None:
    for change in ({key: value}, {"flows": [{**WHOLE["flows"][0], part: value}]}):
        text = json.dumps({**WHOLE, **change})
        if not damaged(text):
            intent = parse_intent(text, PATH)
            assert parse_intent(compile_intent(intent), PATH) == intent


@pytest.mark.parametrize("cut", range(0, len(compile_intent(Intent(SEVERAL, "iptables"))) - 2, 7))
def test_a_file_that_was_cut_short_is_damaged(cut: int) -> None:
    assert damaged(compile_intent(Intent(SEVERAL, "iptables"))[:cut])


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"format": None},
        {"flows": None},
        {"flows": [WHOLE["flows"][0], WHOLE["flows"][0]]},
        {"flows": [{**WHOLE["flows"][0], "source": ["a b"]}]},
        {"flows": ["web_db"]},
    ],
)
def test_a_part_that_is_wrong_is_damage(change: dict[str, Any]) -> None:
    assert damaged(json.dumps({**WHOLE, **change}))


@pytest.mark.parametrize("key", sorted(WHOLE))
def test_a_part_that_is_missing_is_damage(key: str) -> None:
    assert damaged(json.dumps({name: value for name, value in WHOLE.items() if name != key}))
