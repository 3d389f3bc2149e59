"""Cursors of the memory worker's lists."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.memory_worker import pages
from shared.errors import Rejected

MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
ids = st.text(st.characters(min_codepoint=32, exclude_categories=["Cs", "Cc"]), min_size=1, max_size=255)


@given(ids, ids)
def test_a_cursor_leads_back_to_its_row(session_id, key):
    assert pages.by_time(pages.cursor_after(MOMENT, session_id, key)) == (MOMENT, session_id, key)


@given(st.floats(0, 1000, width=32))
def test_a_rank_keeps_every_digit(rank):
    assert pages.by_rank(pages.cursor_after(rank, MOMENT, "s", "k")) == (rank, MOMENT, "s", "k")


def test_a_last_page_has_no_next():
    assert pages.page_of([1, 2, 3], 3) == ([1, 2, 3], None)
    assert pages.page_of([1, 2, 3], 2) == ([1, 2], 2)
    assert pages.page_of([], 2) == ([], None)


def test_no_cursor_is_the_first_page():
    assert pages.by_time(None) is None
    assert pages.by_rank(None) is None


@given(st.text(max_size=60))
def test_nonsense_is_refused_by_name(text):
    for read in (pages.by_time, pages.by_rank):
        with pytest.raises(Rejected, match="`cursor` is not one that this list gave"):
            read(text)


@pytest.mark.parametrize(
    "key",
    [(), ("x", "s", "k"), ("2026-01-01T00:00:00", "s", "k"), (MOMENT, "s"), (MOMENT, "s", "k\0"), (MOMENT, 1, "k")],
)
def test_another_sort_key_is_refused(key):
    with pytest.raises(Rejected):
        pages.by_time(pages.cursor_after(*key))
