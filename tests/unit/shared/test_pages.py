"""Cursors of lists."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Rejected
from shared.pages import cursor_after, page_of, sort_key

MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
LISTS = [(datetime, str), (int,), (datetime, str, str), (float, datetime, str, str)]


@given(st.text().filter(lambda text: "\0" not in text))
def test_a_cursor_brings_back_the_sort_key_to_the_microsecond(identifier):
    assert sort_key(cursor_after(MOMENT, identifier), datetime, str) == (MOMENT, identifier)


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**63), 2**63 - 1))
def test_numbers_come_back_exactly(rank, number):
    assert sort_key(cursor_after(float(rank), number), float, int) == (rank, number)


def test_no_cursor_is_the_beginning():
    assert sort_key(None, datetime, str) is None


@given(
    st.one_of(
        st.text(min_size=1),
        st.sampled_from(
            [cursor_after("x", "y"), cursor_after(1, 2), cursor_after("a\0", "b"), cursor_after(True), "W10"]
        ),
    )
)
@pytest.mark.parametrize("kinds", LISTS)
def test_anything_else_is_refused_as_invalid(kinds, text):
    with pytest.raises(Rejected) as refusal:
        sort_key(text, *kinds)
    assert refusal.value.code == "invalid"


@pytest.mark.parametrize(
    "cursor",
    [
        cursor_after(MOMENT, "s1"),
        cursor_after(7),
        cursor_after("2026-01-01T00:00:00", "without a zone", ""),
        cursor_after(MOMENT, "a\0b", "k"),
    ],
)
def test_a_cursor_of_another_list_is_refused(cursor):
    with pytest.raises(Rejected):
        sort_key(cursor, datetime, str, str)


def test_one_row_more_than_the_page_says_that_another_page_follows():
    assert page_of([1, 2, 3], 2) == ([1, 2], 2)
    assert page_of([1, 2], 2) == ([1, 2], None)
    assert page_of([], 2) == ([], None)
