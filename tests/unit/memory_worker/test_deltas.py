"""What changed between two contents."""

import json

import jsonpatch
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.memory_worker.deltas import MAX_BYTES, between
from tests.examples import examples

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=examples(40), deadline=None)
@given(st.dictionaries(st.text(max_size=3), VALUES), st.dictionaries(st.text(max_size=3), VALUES))
def test_a_delta_leads_exactly_from_one_content_to_the_other(before, after):
    text = json.dumps(after)
    delta = between(json.dumps(before), text)
    if delta.patch is None:
        assert delta.omitted == "not_smaller"
    else:
        assert len(delta.patch.text) < len(text)
        # As text: to Python True is 1 and 1.0.
        assert json.dumps(jsonpatch.apply_patch(before, json.loads(delta.patch.text)), sort_keys=True) == json.dumps(
            after, sort_keys=True
        )


@pytest.mark.parametrize(
    ("told", "content", "reason"),
    [
        (None, "{}", "too_large"),
        ("{}", f'{{"a": "{"x" * MAX_BYTES}"}}', "too_large"),
        ("[]", json.dumps(list(range(1000))), "too_large"),
        ('"a"', '"b"', "not_smaller"),
        ("[1]", '{"a": 1}', "not_smaller"),
        ('{"a": 1e400}', '{"a": 1}', "inexact"),
        ('{"a": 0.1234567890123456789}', '{"a": 1}', "inexact"),
        ('{"a": 36893488147419103232}', '{"a": 1}', "inexact"),
    ],
)
def test_a_delta_that_would_not_help_is_left_out_with_the_reason(told, content, reason):
    assert between(told, content) == (None, reason)


def test_nothing_changed_is_an_empty_delta():
    delta = between('{"a": [1, 2]}', '{ "a": [1, 2] }')
    assert delta.patch is not None
    assert delta.patch.value() == []
