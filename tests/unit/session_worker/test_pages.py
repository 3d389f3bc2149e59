"""Cursors of lists."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.session_worker.pages import cursor_after, moment_and_id, number, page_of
from shared.errors import Rejected


def test_a_cursor_brings_back_the_sort_key_to_the_microsecond():
    moment = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
    assert moment_and_id(cursor_after(moment, "ä/ 1")) == (moment, "ä/ 1")
    assert number(cursor_after(2**62)) == 2**62


def test_no_cursor_is_the_beginning():
    assert moment_and_id(None) is None
    assert number(None) is None


@given(
    st.one_of(
        st.text(min_size=1),
        st.sampled_from([cursor_after("x", "y"), cursor_after(1, 2), cursor_after("a\0", "b"), "W10"]),
    )
)
@pytest.mark.parametrize("read", [moment_and_id, number])
def test_anything_else_is_refused_as_invalid(read, text):
    with pytest.raises(Rejected) as refusal:
        read(text)
    assert refusal.value.code == "invalid"


def test_a_cursor_of_another_list_is_refused():
    with pytest.raises(Rejected):
        number(cursor_after(datetime.now(UTC), "s1"))
    with pytest.raises(Rejected):
        moment_and_id(cursor_after(7))
    with pytest.raises(Rejected):
        moment_and_id(cursor_after("2026-01-01T00:00:00", "without a zone"))


def test_one_row_more_than_the_page_says_that_another_page_follows():
    assert page_of([1, 2, 3], 2) == ([1, 2], 2)
    assert page_of([1, 2], 2) == ([1, 2], None)
    assert page_of([], 2) == ([], None)
