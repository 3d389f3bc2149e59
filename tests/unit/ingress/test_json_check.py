"""The check of JSON at the doors reads depth and NULs off the text; here it is held against a walk of the document."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Rejected
from shared.messages import check_json
from shared.messages.json_text import MAX_DEPTH

TRICKY = st.text(alphabet='[]{}"\\u0\0a/\n', max_size=8)
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | TRICKY,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TRICKY, inner, max_size=4),
    max_leaves=30,
)


def depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth, value), default=0)
    return 0


def has_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any(has_nul(name) or has_nul(item) for name, item in value.items())
    return isinstance(value, list) and any(map(has_nul, value))


@given(DOCUMENTS, st.integers(MAX_DEPTH - 6, MAX_DEPTH), st.booleans())
def test_depth_and_nuls_are_found_whatever_stands_in_the_strings(document: Any, wrapped: int, ascii_only: bool) -> None:
    for _ in range(wrapped):
        document = {"]": document}
    text = json.dumps(document, ensure_ascii=ascii_only).encode()
    fault = ""
    try:
        assert check_json(text) == document
    except Rejected as error:
        fault = error.details["reason"]
    expected = "nul" if has_nul(document) else "depth" if depth(document) > MAX_DEPTH else ""
    assert fault == expected


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_64_levels_are_the_limit(opening: str) -> None:
    closing = "]" if opening == "[" else "}"
    check_json((opening * 64 + "1" * (opening != "[") + closing * 64).encode())
    with pytest.raises(Rejected, match="deeper than 64"):
        check_json((opening * 65 + "1" * (opening != "[") + closing * 65).encode())
