"""What is asked about runs is found by an index, among many."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest

from services.task_worker.store import extractions, output, run_reading, runs, searching, sessions
from services.task_worker.store import retention as forgetting
from services.task_worker.store.rows import json_rows, run
from services.task_worker.store.searching import Wanted
from tests.integration.task_worker.conftest import TaskWorker
from tests.integration.task_worker.runs_kit import EMPTY

BEGAN, NOW = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 10, tzinfo=UTC)


@pytest.fixture(scope="module")
def many(module_worker: TaskWorker) -> TaskWorker:
    """10,000 runs of a hundred agents in a thousand sessions; 20,000 extractions and as many lines of one of them."""
    for statement in EMPTY.split(";"):
        if statement.strip():
            module_worker.sql(statement)
    module_worker.sql("insert into sessions (id) select 'n' || n from generate_series(0, 999) as n")
    module_worker.sql("""
        insert into agent_runs (run_id, name, agent_name, session_id, task_id, command, state, started, ended)
        select 'r' || n, 'n', 'a' || n % 100, 'n' || n % 1000, 't' || n, 'c',
            case when n % 1000 = 0 then 'running' when n % 500 = 0 then 'lost' else 'completed' end,
            timestamptz '2026-01-01' + n * interval '1 second', now()
        from generate_series(1, 10000) as n
    """)
    module_worker.sql("""
        insert into extraction_states (run_id, since)
        select run_id, case when run_id = 'r1' then now() end from agent_runs
    """)
    module_worker.sql("""
        insert into extractions (run_id, session_id, agent_name, type, pattern, risk, text, data, stream, first_line,
            last_line, created)
        select 'r' || n % 1000 + 1, 'n' || n % 1000, 'a' || n % 100, 't' || n % 100, 'p' || n % 200,
            case when n % 500 = 0 then 'critical' else 'low' end, 'text', '{}', 'stdout', n, n,
            timestamptz '2026-01-01' + n * interval '1 second'
        from generate_series(1, 20000) as n
    """)
    module_worker.sql("""
        insert into agent_output (run_id, number, stream, text, partial, at)
        select 'r1', n, 'stdout', 'x', false, now() from generate_series(1, 20000) as n
    """)
    module_worker.sql("analyze sessions, agent_runs, extraction_states, extractions, agent_output")
    return module_worker


def plan_of(worker: TaskWorker, statement: Any, *values: Any, **named: Any) -> str:
    """How a statement that only reads is run, by a connection for questions."""

    async def explain() -> str:
        async with worker.database.reading() as tx:
            # As a connection for questions has it.
            for setting in ("enable_seqscan", "enable_hashjoin", "enable_mergejoin", "plan_cache_mode"):
                await run(tx, f"set {setting} to default")  # type: ignore[arg-type]
            plan = await run(tx, "explain (costs off) " + statement, *values, **named)
            return "\n".join(row[0] for row in plan)

    return worker.run(explain())


def searched(worker: TaskWorker, what: searching.Searched, **wanted: Any) -> str:
    after = wanted.pop("after", None)
    asked = Wanted(wanted, since=NOW, until=NOW, after=after)
    return plan_of(
        worker, searching.statement(what, asked), **wanted, since=NOW, until=NOW, limit=51, most=searching.LOOKED_AT,
        after=after and after[0], after_key=after and after[1],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        ({}, "agent_runs_newest"),
        ({"agent_name": "a1", "after": (NOW, "r")}, "agent_runs_by_agent"),
        ({"session_id": "n1", "agent_name": "a1"}, "agent_runs_by_session"),
        ({"state": "lost"}, "agent_runs_by_state"),
        ({"task_id": "t1", "state": "lost"}, "agent_runs_by_task"),
    ],
)
def test_runs_are_found_by_an_index(many, wanted, index):
    plan = searched(many, run_reading.RUNS, **wanted)
    assert index in plan and "Seq Scan" not in plan, plan


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        ({}, "extractions_newest"),
        ({"type": "t1", "text": "x"}, "extractions_by_type"),
        ({"pattern": "p1", "type": "t1"}, "extractions_by_pattern"),
        ({"session_id": "n1", "pattern": "p1", "risk": "low", "after": (NOW, 7)}, "extractions_by_session"),
        ({"agent_name": "a1", "risk": "critical"}, "extractions_by_agent"),
        ({"risk": "critical"}, "extractions_by_risk"),
        ({"run_id": "r1", "auto_confirm": True}, "extractions_by_run"),
    ],
)
def test_extractions_are_found_by_an_index(many, wanted, index):
    plan = searched(many, extractions.EXTRACTIONS, **wanted)
    assert index in plan and "Seq Scan" not in plan, plan


@pytest.mark.parametrize(
    ("statement", "values", "index"),
    [
        (run_reading._FIGURES, {"agent_name": "a1", "since": NOW, "until": NOW, "most": 10_000}, "agent_runs_by_agent"),
        (runs._LIVE_OF_AGENT, ("a1",), "agent_runs_live"),
        (runs._IS_ANY_SILENT, (30.0,), "agent_runs_(?:live|by_state)"),
        (output._PAGE, ("r1", 5_000, 200), "agent_output_pkey"),
        (output._LAST, ("r1", 10), "agent_output_pkey"),
        (sessions._LATEST_RUNS, {"session_ids": json_rows(["n1"]), "agent_name": None}, "agent_runs_by_session"),
        (sessions.search_statement(BEGAN, None, None), {
            "agent_name": "a1", "since": BEGAN, "status": None, "limit": 50, "most": 2_000,
        }, "agent_runs_by_agent"),
        (sessions.sessions_statement("active", NOW, None, (NOW, "x")), {
            "status": "active", "since": NOW, "after": NOW, "after_id": "x", "limit": 50,
        }, "sessions_by_(?:status|activity)"),
    ],
)  # fmt: skip
def test_what_is_read_is_found_by_an_index(many, statement, values, index):
    plan = plan_of(many, statement, **values) if isinstance(values, dict) else plan_of(many, statement, *values)
    assert re.search(index, plan) and not re.search("Seq Scan on (?!json)", plan), plan


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        (forgetting._LINES, "agent_output_stored"),
        (forgetting._EXTRACTIONS, "extractions_newest"),
        (forgetting._BLOCKS, "code_blocks_last_seen"),
    ],
)
def test_what_is_forgotten_is_found_by_an_index(many, statement, index):
    async def explain() -> str:
        async with many.database.transaction() as tx:
            return "\n".join(row[0] for row in await run(tx, "explain (costs off) " + statement, 86_400.0, 2_000))

    plan = many.run(explain())
    assert index in plan and "Seq Scan" not in plan, plan


def test_the_next_run_to_look_through_is_found_by_an_index(many):
    async def explain() -> str:
        async with many.database.transaction() as tx:
            values = {"all": False, "wait": 5.0, "lines": 100, "lease": 30.0, "gone": 3600.0}
            return "\n".join(row[0] for row in await run(tx, "explain (costs off) " + extractions._TAKE, **values))

    plan = many.run(explain())
    assert "extraction_states_waiting" in plan and "Seq Scan" not in plan, plan
