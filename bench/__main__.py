"""`python -m bench [ingress fanout path growth]`: run benchmarks and print their figures beside their references."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import resource
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from bench import report
from bench.figures import Benchmark
from bench.plan import Plan

NAMES = ("ingress", "fanout", "path", "growth")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Our figures beside their references, in one run."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which benchmarks: {' '.join(NAMES)} (default: all)")
    parser.add_argument("--runs", type=int, default=3, help="alternating runs of each contestant (default 3)")
    parser.add_argument("--seconds", type=float, help="length of one run")
    parser.add_argument("--minutes", type=float, default=0.5, help="growth: minutes under load for the memory figures")
    parser.add_argument("--rows", type=int, default=1_000_000, help="growth: memories loaded beforehand")
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


def raise_file_limit() -> None:
    """A thousand sockets a server, and the broker's own files: as many as the machine allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def run_all(names: list[str], plan: Plan, console: Console) -> list[Benchmark]:
    results = []
    for name in names:
        benchmark: Benchmark = await importlib.import_module(f"bench.{name}").run(plan)
        report.print_table(benchmark, console)
        results.append(benchmark)
    plan.noise.sample()
    report.print_noise(plan.noise, console)
    return results


def main() -> None:
    chosen = arguments()
    raise_file_limit()
    stderr = chosen.json == "-"
    console = Console(stderr=stderr, width=None if (sys.stderr if stderr else sys.stdout).isatty() else 130)
    with tempfile.TemporaryDirectory(prefix="switchyard-bench-") as directory, console.status("starting") as status:
        plan = Plan(
            directory=Path(directory), runs=chosen.runs, seconds=chosen.seconds, minutes=chosen.minutes, rows=chosen.rows,
            only=frozenset(chosen.only), say=status.update,
        )  # fmt: skip
        results = asyncio.run(run_all(chosen.names or list(NAMES), plan, console))
    if chosen.json:
        text = json.dumps(report.as_json(results, plan.noise), indent=2)
        if chosen.json == "-":
            sys.stdout.write(text + "\n")
        else:
            Path(chosen.json).write_text(text + "\n")


if __name__ == "__main__":
    main()
