"""The arithmetic of the figures: medians, spreads, percentiles, and what a goal asks of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Literal

OURS = "switchyard"


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` (0-1) of the values do not exceed (nearest rank); NaN without values."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def spread(values: Sequence[float]) -> float:
    """How far apart the runs lie: (largest - smallest) / median, 0 for a single run."""
    if len(values) < 2:
        return 0.0
    middle = median(values)
    return (max(values) - min(values)) / abs(middle) if middle else 0.0


@dataclass
class Figure:
    """One contestant's value of one measure, over all runs."""

    contestant: str
    runs: list[float] = field(default_factory=list)
    note: str = ""

    @property
    def median(self) -> float:
        known = [value for value in self.runs if not math.isnan(value)]
        return median(known) if known else math.nan

    @property
    def spread(self) -> float:
        return spread([value for value in self.runs if not math.isnan(value)])


@dataclass(frozen=True)
class Goal:
    """What a contestant of ours must reach: `factor` × the reference's median, or the plain `value`."""

    contestant: str
    factor: float = 1.0
    reference: str | None = None
    value: float | None = None


@dataclass
class Measure:
    """One quantity, such as requests a second, with a figure for each contestant."""

    name: str
    unit: str
    better: Literal["higher", "lower"] = "higher"
    figures: dict[str, Figure] = field(default_factory=dict)
    goals: tuple[Goal, ...] = ()

    def add(self, contestant: str, value: float, note: str = "") -> None:
        """Record one run."""
        figure = self.figures.setdefault(contestant, Figure(contestant))
        figure.runs.append(value)
        figure.note = note or figure.note

    def bound(self, goal: Goal) -> float | None:
        """The value the goal asks for; None when its reference was not measured."""
        if goal.value is not None:
            return goal.value
        reference = self.figures.get(goal.reference or "")
        if reference is None or math.isnan(reference.median):
            return None
        return goal.factor * reference.median

    def meets(self, goal: Goal) -> bool | None:
        """Whether the contestant reaches the goal; None when one of the two figures is missing."""
        bound, ours = self.bound(goal), self.figures.get(goal.contestant)
        if bound is None or ours is None or math.isnan(ours.median):
            return None
        return ours.median >= bound if self.better == "higher" else ours.median <= bound


@dataclass
class Benchmark:
    """Everything one benchmark found, ready to print."""

    name: str
    title: str
    measures: list[Measure]
    notes: list[str] = field(default_factory=list)
