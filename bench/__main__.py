"""`python -m bench [NAME …]`: run benchmarks and print their figures beside their references."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import signal
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from bench import report
from bench.figures import Benchmark
from bench.plan import Plan
from cli.local.processes import LocalError, raise_file_limit

NAMES = (
    "ingress", "fanout", "path", "commands", "memory_search", "tasks", "live", "chat", "runner", "runs", "extraction",
    "growth",
)  # fmt: skip


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Our figures beside their references, in one run."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which benchmarks: {' '.join(NAMES)} (default: all)")
    parser.add_argument("--runs", type=int, default=3, help="alternating runs of each contestant (default 3)")
    parser.add_argument("--seconds", type=float, help="length of one run")
    parser.add_argument("--minutes", type=float, default=0.5, help="growth: minutes under load for the memory figures")
    parser.add_argument("--rows", type=int, default=1_000_000, help="growth, memory_search: memories loaded beforehand")
    parser.add_argument("--log-level", default="warning", help="of our services (default warning)")
    parser.add_argument(
        "--only", action="append", default=[], metavar="PART", help="contestants by a part of their name"
    )
    parser.add_argument(
        "--json", metavar="FILE", help="write every figure there as JSON too (-: to stdout, instead of tables)"
    )
    chosen = parser.parse_args()
    if unknown := set(chosen.names) - set(NAMES):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))} (there are {', '.join(NAMES)})")
    return chosen


async def run_all(names: list[str], plan: Plan, console: Console) -> tuple[list[Benchmark], bool]:
    """Run them in turn; one that fails says why and leaves the others alone. Returns whether all went well."""
    results, well = [], True
    for name in names:
        try:
            benchmark: Benchmark = await importlib.import_module(f"bench.{name}").run(plan)
        except (RuntimeError, LocalError, OSError) as error:
            console.print(f"[red]{name} failed:[/red] {escape(str(error))}")
            well = False
            continue
        report.print_table(benchmark, console)
        results.append(benchmark)
    plan.noise.sample()
    report.print_noise(plan.noise, console)
    return results, well


def main() -> None:
    chosen = arguments()
    raise_file_limit()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that everything started is stopped
    out = sys.stderr if chosen.json == "-" else sys.stdout
    console = Console(file=out, width=None if out.isatty() else 130)
    with tempfile.TemporaryDirectory(prefix="switchyard-bench-") as directory, console.status("starting") as status:
        plan = Plan(
            directory=Path(directory),
            runs=chosen.runs,
            seconds=chosen.seconds,
            minutes=chosen.minutes,
            rows=chosen.rows,
            log_level=chosen.log_level,
            only=frozenset(chosen.only),
            say=status.update,
        )
        try:
            results, well = asyncio.run(run_all(chosen.names or list(NAMES), plan, console))
        except KeyboardInterrupt:
            sys.exit(130)
    if chosen.json:
        text = json.dumps(report.as_json(results, plan.noise), indent=2)
        if chosen.json == "-":
            sys.stdout.write(text + "\n")
        else:
            Path(chosen.json).write_text(text + "\n")
    sys.exit(0 if well else 1)


if __name__ == "__main__":
    main()
