"""Output searched and masked: megabytes a second of one worker's processor, on logs, on an agent's JSON, on what was
made to be slow.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable

from bench.figures import OURS, Benchmark, Measure
from bench.plan import Plan
from services.task_worker.extraction import Extractor, Line, mask_lines

BATCH = 500
MEGABYTES = 4


async def run(plan: Plan) -> Benchmark:
    """Every text in turn, in every run."""
    extractor = Extractor()
    found = {name: Measure(f"{name}: searched", "MB/s of CPU", "higher") for name in TEXTS}
    masked = {name: Measure(f"{name}: masked", "MB/s of CPU", "higher") for name in TEXTS}
    notes = []
    for number in range(plan.runs):
        plan.noise.sample()
        for name, make in TEXTS.items():
            plan.say(f"extraction {number + 1}/{plan.runs}: {name}")
            lines = _lines(make)
            size = sum(len(line.text.encode()) + 1 for line in lines) / 1e6
            seconds, findings = await asyncio.to_thread(_searched, extractor, lines)
            found[name].add(OURS, size / seconds)
            masked[name].add(OURS, size / await asyncio.to_thread(_masked, lines))
            if number == 0:
                notes.append(f"{name}: {len(lines):,} lines, {size:.1f} MB, {findings:,} findings")
    measures = [measure for name in TEXTS for measure in (found[name], masked[name])]
    return Benchmark(
        "extraction", "Extraction: lines of output in batches of 500, state kept between them", measures, notes
    )


def _searched(extractor: Extractor, lines: list[Line]) -> tuple[float, int]:
    state, count = {}, 0
    began = time.process_time()
    for start in range(0, len(lines), BATCH):
        state, findings = extractor.feed(state, lines[start : start + BATCH])
        count += len(findings)
    count += len(extractor.finish(state)[1])
    return time.process_time() - began, count


def _masked(lines: list[Line]) -> float:
    state: dict[str, object] = {}
    began = time.process_time()
    for start in range(0, len(lines), BATCH):
        state, _ = mask_lines(state, lines[start : start + BATCH])
    return time.process_time() - began


def _lines(make: Callable[[int], str]) -> list[Line]:
    lines, size = [], 0
    while size < MEGABYTES * 1e6:
        text = make(len(lines))
        lines.append(Line(len(lines) + 1, text))
        size += len(text) + 1
    return lines


def _log(number: int) -> str:
    return (
        f"2026-01-01 12:00:00.{number % 1000:03} INFO worker-{number % 7} handled request {number} in {number % 90} ms"
    )


def _build(number: int) -> str:
    kinds = [
        "+ gcc -O2 -c src/module_{}.c -o build/module_{}.o",
        "src/module_{}.c:12:5: warning: unused variable 'x'",
        "   Compiling crate_{} v0.1.0 (https://example.org/crates/{})",
        "tests/test_{}.py ........................................ [ 50%]",
        "ERROR: module_{} has no section .text",
    ]
    return kinds[number % len(kinds)].replace("{}", str(number))


def _agent(number: int) -> str:
    say = {
        "type": "text",
        "text": f"Looking at file {number}.\n\n```python\nx = {number}\n```\nNow I go on with the next one.",
    }
    use = {
        "type": "tool_use",
        "id": f"t{number}",
        "name": "Bash",
        "input": {"command": f"pytest -q tests/test_{number}.py"},
    }
    return json.dumps({"type": "assistant", "message": {"role": "assistant", "content": [say, use]}})


def _paths(number: int) -> str:
    return "/a/b" * 500


TEXTS: dict[str, Callable[[int], str]] = {
    "a log with nothing in it": _log,
    "a build, something in every line": _build,
    "an agent's stream-json": _agent,
    "one path of 2,000 letters after another": _paths,
}
