"""Cursors of the task worker's lists."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.task_worker import pages
from shared.errors import Rejected
from shared.messages import rfc3339

ids = st.text(st.characters(min_codepoint=32, exclude_categories=["Cs", "Cc"]), min_size=1, max_size=255)


@given(st.datetimes(timezones=st.just(UTC)), ids)
def test_a_cursor_leads_back_to_its_row(moment, identifier):
    assert pages.by_time(pages.cursor_after(rfc3339(moment), identifier)) == (moment, identifier)


@given(st.text(max_size=60))
def test_nonsense_is_refused_by_name(text):
    with pytest.raises(Rejected, match="`cursor` is not one that this list gave"):
        pages.by_time(text)


@pytest.mark.parametrize("key", [("now", "t"), ("2026-01-01T00:00:00", "t"), (rfc3339(datetime.now(UTC)), "t\0")])
def test_another_sort_key_is_refused(key):
    with pytest.raises(Rejected):
        pages.by_time(pages.cursor_after(*key))


def test_a_last_page_has_no_next():
    assert pages.by_time(None) is None
    assert pages.page_of([1, 2], 2) == ([1, 2], None)
    assert pages.page_of([1, 2, 3], 2) == ([1, 2], 2)
