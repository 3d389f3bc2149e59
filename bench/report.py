"""The figures as a compact table for people and as JSON for programs."""

from __future__ import annotations

import math
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.figures import Benchmark, Figure, Goal, Measure
from bench.noise import Noise


def number(value: float) -> str:
    """Three significant digits or whole thousands: 0.123, 4.56, 789, 12,345."""
    if math.isnan(value):
        return "—"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _is_ours(name: str) -> bool:
    return name.startswith("switchyard")


def _verdict(measure: Measure, goal: Goal) -> str:
    met, bound = measure.meets(goal), measure.bound(goal)
    sign = "≥" if measure.better == "higher" else "≤"
    asked = f"{sign} {goal.factor:g} of {goal.reference}" if goal.value is None else f"{sign} {number(goal.value)}"
    if met is None or bound is None:
        return f"[dim]{asked}: not measured[/dim]"
    ours = measure.figures[goal.contestant].median
    found = f": {ours / measure.figures[goal.reference].median:.2f}" if goal.reference else ""
    colour, word = ("green", "met") if met else ("red", "MISSED")
    return f"[{colour}]{word}[/{colour}] {asked}{found}"


def _row(table: Table, measure: Measure, figure: Figure, first: bool) -> None:
    ours = _is_ours(figure.contestant)
    verdicts = [_verdict(measure, goal) for goal in measure.goals if goal.contestant == figure.contestant]
    table.add_row(
        f"{measure.name}\n[dim]{measure.unit}[/dim]" if first else "",
        figure.contestant,
        number(figure.median),
        f"±{figure.spread / 2:.0%}" if len(figure.runs) > 1 else "",
        "\n".join(verdicts) or f"[dim]{figure.note}[/dim]",
        style="bold" if ours else "",
        end_section=False,
    )


def print_table(benchmark: Benchmark, console: Console) -> None:
    """One table for each benchmark: our rows in bold, with what the goal asked of them."""
    table = Table(title=benchmark.title, title_justify="left", title_style="bold", pad_edge=False)
    table.add_column("measure")
    table.add_column("who")
    table.add_column("median", justify="right")
    table.add_column("spread", justify="right")
    table.add_column("goal / remark")
    for measure in benchmark.measures:
        for at, figure in enumerate(measure.figures.values()):
            _row(table, measure, figure, first=at == 0)
        table.add_section()
    console.print(table)
    for note in benchmark.notes:
        console.print(f"  · {note}", highlight=False)


def print_noise(noise: Noise, console: Console) -> None:
    found = noise.summary()
    console.print(
        f"Machine: {found['cores']} cores, load average {found['load_before']} before the first run. A fixed piece of"
        f" work, timed {found['samples']} times between the runs, varied by {found['spread']:.0%}."
        " The spread of a figure is half of (largest - smallest) / median.",
        highlight=False,
    )


def as_json(benchmarks: list[Benchmark], noise: Noise) -> dict[str, Any]:
    """Everything the tables show and every single run; a missing value is null."""

    def known(value: float | None) -> float | None:
        return None if value is None or math.isnan(value) else round(value, 4)

    def measure(one: Measure) -> dict[str, Any]:
        return {
            "name": one.name,
            "unit": one.unit,
            "better": one.better,
            "figures": [
                {
                    "contestant": figure.contestant,
                    "median": known(figure.median),
                    "spread": known(figure.spread),
                    "runs": [known(value) for value in figure.runs],
                    "note": figure.note,
                }
                for figure in one.figures.values()
            ],
            "goals": [
                {
                    "contestant": goal.contestant,
                    "reference": goal.reference,
                    "factor": goal.factor,
                    "bound": known(one.bound(goal)),
                    "met": one.meets(goal),
                }
                for goal in one.goals
            ],
        }

    return {
        "noise": noise.summary(),
        "benchmarks": [
            {"name": one.name, "title": one.title, "notes": one.notes, "measures": [measure(m) for m in one.measures]}
            for one in benchmarks
        ],
    }
