"""The rate limit of a door."""

import pytest

from shared.limits import Bucket


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    bucket = Bucket(10, 3, now=0)
    assert [bucket.take(0) for _ in range(4)] == [True, True, True, False]
    assert [bucket.take(0.1), bucket.take(0.1)] == [True, False]
    assert [bucket.take(100) for _ in range(4)] == [True, True, True, False]


def test_an_empty_bucket_says_when_the_next_one_is_there() -> None:
    bucket = Bucket(0.5, 1, now=0)
    assert bucket.take(0)
    assert not bucket.take(0.5)
    assert bucket.wait_s == pytest.approx(1.5)
    assert bucket.take(0.5 + bucket.wait_s)
