"""Searching memories by their words: `query_memories` over HTTP beside the plain query one would write first."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import AsyncExitStack
from statistics import median
from typing import Any

import psycopg

from bench import preload, systems
from bench.figures import OURS, Benchmark, Goal, Measure, percentile
from bench.plan import Plan
from cli.local.stack import Stack

REFERENCE = "plain SQL, every match ranked"
QUERIES = 100  # of each case in a run
REFERENCE_QUERIES = 10  # some take half a second
GOAL_MS = 30.0
SERVICES = ["session_worker", "memory_worker", "ingress"]

_PLAIN = """
    select session_id, key, content::text, ts_rank_cd(search, query) as rank
    from memories, websearch_to_tsquery('english', %(text)s) as query
    where search @@ query and (%(session_id)s::text is null or session_id = %(session_id)s)
        and (%(tags)s::text[] is null or tags @> %(tags)s)
    order by rank desc, updated desc limit 20
"""


async def run(plan: Plan) -> Benchmark:
    """Every case in turn, in every run, on one table of memories."""
    everything = Measure("all of them together, p99", "ms", "lower", goals=(Goal(OURS, value=GOAL_MS),))
    measures = {name: Measure(f"{name}, p99", "ms", "lower", goals=(Goal(OURS, value=GOAL_MS),)) for name in cases()}
    notes: list[str] = []
    async with AsyncExitStack() as stack:
        plan.say("memory_search: starting everything")
        servers = systems.start_servers(plan, stack)
        running = systems.start_services(plan, stack, servers, SERVICES)
        plan.say(f"memory_search: loading {plan.rows:,} memories")
        seconds = await asyncio.to_thread(preload.load_memories, servers.database.url, plan.rows)
        notes.append(f"{plan.rows:,} memories of 25 words loaded by COPY and indexed in {seconds:.0f} s")
        notes.append(_frequencies(servers.database.url))
        for query in cases().values():
            await asyncio.to_thread(_ours, running, query, 3)
        for number in range(plan.runs):
            plan.noise.sample()
            took: list[float] = []
            for name, query in cases().items():
                plan.say(f"memory_search {number + 1}/{plan.runs}: {name}")
                ours = await asyncio.to_thread(_ours, running, query, QUERIES)
                took += ours
                measures[name].add(OURS, percentile(ours, 0.99), f"p50 {median(ours):.1f} ms")
                if plan.wants(REFERENCE) and "as_of" not in query:
                    plain = await asyncio.to_thread(_plain, servers.database.url, query)
                    measures[name].add(REFERENCE, percentile(plain, 0.99), f"p50 {median(plain):.1f} ms")
            everything.add(OURS, percentile(took, 0.99), f"p50 {median(took):.1f} ms")
    title = f"Text search: query_memories over {plan.rows:,} memories, request to answer over HTTP"
    return Benchmark("memory_search", title, [everything, *measures.values()], notes)


def words() -> dict[str, str]:
    """A word of each kind, by how many of the phrases it stands in."""
    counts = Counter(word for phrase in preload.phrases() for word in set(phrase.split()))
    ordered = counts.most_common()
    atmost = {"a rare word": 1, "a medium word": 12, "a frequent word": 110, "a common word": 1_000}
    return {
        "the commonest word": ordered[0][0],
        **{kind: next(word for word, count in ordered if count <= most) for kind, most in atmost.items()},
    }


def cases() -> dict[str, dict[str, Any]]:
    """What is asked, by its name in the table."""
    kinds = words()
    commonest, common, frequent = (kinds[f"{kind} word"] for kind in ("the commonest", "a common", "a frequent"))
    return {
        **{kind: {"text": word} for kind, word in kinds.items()},
        "two common words": {"text": f"{commonest} {common}"},
        "two frequent words": {"text": f"{common} {frequent}"},
        "one of two words": {"text": f"{common} or {frequent}"},
        "a phrase": {"text": f'"{commonest} {common}"'},
        "the commonest word in a session": {"text": commonest, "session_id": "old-0007"},
        "the commonest word with a tag of all": {"text": commonest, "tags": ["old"]},
        "the commonest word with a tag of none": {"text": commonest, "tags": ["none"]},
        "the commonest word as of a moment": {"text": commonest, "as_of": "2026-01-01T12:00:00Z"},
        "a rare word as of a moment": {"text": kinds["a rare word"], "as_of": "2026-01-01T12:00:00Z"},
    }


def _ours(running: Stack, query: dict[str, Any], count: int) -> list[float]:
    """Milliseconds each of so many requests took, one after the other."""
    took = []
    for _ in range(count):
        began = time.perf_counter()
        systems.post(running, "/api/commands/query_memories", {**query, "limit": 20})
        took.append((time.perf_counter() - began) * 1000)
    return took


def _plain(database_url: str, query: dict[str, Any]) -> list[float]:
    values = {"session_id": None, "tags": None, **query}
    took = []
    with psycopg.connect(database_url, autocommit=True, prepare_threshold=None) as connection:
        for _ in range(REFERENCE_QUERIES):
            began = time.perf_counter()
            connection.execute(_PLAIN, values).fetchall()
            took.append((time.perf_counter() - began) * 1000)
    return took


def _frequencies(database_url: str) -> str:
    count = "select count(*) from memories where search @@ websearch_to_tsquery('english', %s)"
    with psycopg.connect(database_url, autocommit=True) as connection:
        found = {kind: connection.execute(count, [word]).fetchone() for kind, word in words().items()}
    return "matches: " + ", ".join(f"{kind} {row[0]:,}" for kind, row in found.items() if row)
