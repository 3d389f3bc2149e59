"""The arithmetic behind the printed figures."""

import math

import pytest

from bench.figures import OURS, Goal, Measure, percentile, spread
from bench.report import number


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1), (0.5, 50), (0.99, 99), (1.0, 100)])
def test_a_percentile_is_the_nearest_rank(share: float, expected: int) -> None:
    assert percentile(range(100, 0, -1), share) == expected


def test_a_single_value_is_every_percentile_of_itself() -> None:
    assert percentile([7.0], 0.01) == percentile([7.0], 0.99) == 7.0


def test_there_is_no_percentile_of_nothing() -> None:
    assert math.isnan(percentile([], 0.5))


def test_the_spread_is_relative_to_the_median() -> None:
    assert spread([90, 100, 120]) == pytest.approx(0.3)
    assert spread([5]) == 0


def measured(better: str, **medians: float) -> Measure:
    measure = Measure("m", "u", better)  # type: ignore[arg-type]
    for name, value in medians.items():
        measure.add(name, value)
    return measure


@pytest.mark.parametrize(
    ("better", "ours", "met"), [("higher", 96, True), ("higher", 94, False), ("lower", 94, True), ("lower", 96, False)]
)
def test_a_goal_is_a_share_of_its_reference(better: str, ours: float, met: bool) -> None:
    measure = measured(better, **{OURS: ours, "other": 100})
    assert measure.meets(Goal(OURS, 0.95, "other")) is met


def test_a_goal_without_its_reference_is_neither_met_nor_missed() -> None:
    assert measured("higher", **{OURS: 5}).meets(Goal(OURS, 1, "other")) is None


def test_a_goal_may_be_a_plain_value() -> None:
    measure = measured("lower", **{OURS: 19.9})
    assert measure.meets(Goal(OURS, value=20)) is True
    assert measure.bound(Goal(OURS, value=20)) == 20


def test_the_median_of_the_runs_is_what_counts() -> None:
    measure = Measure("m", "u")
    for value in (10, 1000, 11):
        measure.add(OURS, value)
    assert measure.figures[OURS].median == 11


@pytest.mark.parametrize(
    ("value", "text"), [(0.1234, "0.123"), (4.567, "4.57"), (99.6, "99.6"), (12345.6, "12,346"), (math.nan, "—")]
)
def test_numbers_are_printed_short(value: float, text: str) -> None:
    assert number(value) == text
