"""Reciprocal rank fusion."""

import pytest

from services.memory_worker.ranking import fused


def test_what_both_lists_know_comes_before_what_only_one_has_first():
    scores = fused(["a", "b", "c"], ["d", "b", "e"])
    assert sorted(scores, key=lambda each: -scores[each])[0] == "b"
    assert scores["b"] == pytest.approx(2 / 62)
    assert scores["a"] == scores["d"] == pytest.approx(1 / 61)


def test_one_list_keeps_its_order():
    scores = fused(["x", "y", "z"])
    assert sorted(scores, key=lambda each: -scores[each]) == ["x", "y", "z"]
