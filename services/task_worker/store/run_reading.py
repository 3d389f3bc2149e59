"""SQL of questions about runs, and of an agent's figures."""

from datetime import datetime
from typing import Any, LiteralString

from services.task_worker.store.rows import run
from services.task_worker.store.runs import COLUMNS, run_of
from services.task_worker.store.searching import Searched, Wanted, search
from shared.database import Transaction
from shared.messages.runs import Run

# By agent_runs_by_task, …_by_session, …_by_agent, …_by_state or …_newest.
RUNS = Searched("agent_runs", "run_id", "started", COLUMNS, leads=("task_id", "session_id", "agent_name", "state"))

# How many runs the figures of an agent are made of at most.
COUNTED = 10_000

# The newest runs of an agent within a stretch of time, in figures; by agent_runs_by_agent.
_FIGURES: LiteralString = """
    with counted as materialized (
        select state, extract(epoch from ended - started) as seconds, lines, bytes, input_tokens, output_tokens,
            cost_usd
        from agent_runs where agent_name = %(agent_name)s and started >= %(since)s and started < %(until)s
        order by started desc, run_id desc limit %(most)s
    )
    select count(*), coalesce(json_object_agg(state, runs) filter (where state is not null), '{}'),
        (select avg(seconds)::float8 from counted),
        (select percentile_cont(0.5) within group (order by seconds) from counted where seconds is not null),
        (select percentile_cont(0.95) within group (order by seconds) from counted where seconds is not null),
        coalesce(sum(lines), 0)::bigint, coalesce(sum(bytes), 0)::bigint, coalesce(sum(input_tokens), 0)::bigint,
        coalesce(sum(output_tokens), 0)::bigint, coalesce(sum(cost_usd), 0), (select count(*) from counted)
    from (
        select state, count(*) as runs, sum(lines) as lines, sum(bytes) as bytes, sum(input_tokens) as input_tokens,
            sum(output_tokens) as output_tokens, sum(cost_usd) as cost_usd
        from counted group by state
    ) as by_state
"""

# The tasks of these runs by status; by agent_runs_by_agent and the primary key of tasks.
_TASKS: LiteralString = """
    with counted as materialized (
        select task_id from agent_runs
        where agent_name = %(agent_name)s and started >= %(since)s and started < %(until)s
        order by started desc, run_id desc limit %(most)s
    )
    select status, count(*) from (select distinct task_id from counted where task_id is not null) as worked
        cross join lateral (select status from tasks where id = worked.task_id offset 0) as task
    group by status
"""

# What was found in an agent's output, by the day; by the primary key.
_FOUND: LiteralString = """
    select type, risk, sum(found)::bigint from extraction_counts
    where agent_name = %(agent_name)s and day >= %(since)s::date and day <= %(until)s::date
    group by type, risk
"""


async def search_runs(tx: Transaction, wanted: Wanted, limit: int) -> tuple[list[Run], tuple[datetime, str] | None]:
    """Up to `limit` runs that are wanted, the newest first, and where the search has stopped, if it was early."""
    rows, edge = await search(tx, RUNS, wanted, limit)
    return [run_of(row) for row in rows], edge


async def figures(tx: Transaction, agent_name: str, since: datetime, until: datetime) -> dict[str, Any]:
    """An agent's runs, tasks and extractions in figures, without what can be told from them."""
    values = {"agent_name": agent_name, "since": since, "until": until, "most": COUNTED}
    (row,) = await run(tx, _FIGURES, **values)
    tasks = dict(await run(tx, _TASKS, **values))
    found = await run(tx, _FOUND, agent_name=agent_name, since=since, until=until)
    by_type: dict[str, int] = {}
    by_risk: dict[str, int] = {}
    for kind, risk, count in found:
        by_type[kind] = by_type.get(kind, 0) + count
        by_risk[risk] = by_risk.get(risk, 0) + count
    return {
        "runs": row[10],
        "by_state": row[1],
        "mean_duration_s": row[2],
        "median_duration_s": row[3],
        "p95_duration_s": row[4],
        "lines": row[5],
        "bytes": row[6],
        "input_tokens": row[7],
        "output_tokens": row[8],
        "cost_usd": row[9],
        "tasks": tasks,
        "extractions": sum(by_type.values()),
        "extractions_by_type": by_type,
        "extractions_by_risk": by_risk,
    }
