"""list_tasks among many tasks: what a page costs, however rare what it looks for."""

import re
from typing import Any

import pytest

from services.task_worker.store import reading
from services.task_worker.store.rows import run


def pages(worker: Any, **query: Any) -> list[dict[str, Any]]:
    found = [worker.ask("list_tasks", **query)]
    while found[-1]["next"] is not None:
        found.append(worker.ask("list_tasks", **query, cursor=found[-1]["next"]))
    return found


@pytest.fixture
def many(worker):
    """5,000 tasks in two sessions, two of them dead: the 1st and the 2,500th."""
    worker.sql("""
        insert into tasks (id, session_id, agent_name, queue, task_type, status, created)
        select 't' || n, 's' || n % 2 + 1, 'codex', 1, 't', case when n in (1, 2500) then 'dead' else 'completed' end,
            timestamptz '2026-01-01' + n / 4 * interval '1 second'
        from generate_series(1, 5000) as n
    """)
    worker.sql("analyze tasks")
    return worker


def test_a_search_goes_on_where_it_has_looked_at_enough(many):
    found = pages(many, status="dead")
    assert [[task["task_id"] for task in page["tasks"]] for page in found] == [[], ["t2500"], ["t1"]]
    assert [[task["task_id"] for task in page["tasks"]] for page in pages(many, status="dead", session_id="s2")] == [
        [],
        ["t1"],
    ]


def test_pages_of_a_search_hold_each_task_once(many):
    found = [task["task_id"] for page in pages(many, agent_name="codex", limit=300) for task in page["tasks"]]
    assert len(found) == len(set(found)) == 5000
    assert pages(many, agent_name="nobody")[-1] == {"tasks": [], "next": None}


@pytest.mark.parametrize(
    ("query", "index"),
    [
        ({"status": "dead"}, "tasks_newest"),
        ({"schedule_id": "x", "agent_name": "codex", "task_type": "t"}, "tasks_newest"),
        ({"status": "dead", "session_id": "s1"}, "tasks_(?:by_session|newest)"),
        ({"session_id": "s1"}, "tasks_(?:by_session|newest)"),
        ({}, "tasks_newest"),
    ],
)
def test_a_page_reads_no_more_than_it_looks_at(many, monkeypatch, query, index):
    plans = []

    async def explained(tx: Any, statement: Any, *values: Any, **named: Any) -> list[Any]:
        plan = await run(tx, "explain (analyze, costs off, timing off) " + statement, *values, **named)
        plans.append("\n".join(row[0] for row in plan))
        return await run(tx, statement, *values, **named)

    monkeypatch.setattr(reading, "run", explained)
    many.ask("list_tasks", **query)
    (plan,) = plans
    read = [float(count) for count in re.findall(rf"using {index} on tasks.*?rows=([\d.]+)", plan)]
    assert read, plan
    assert "Seq Scan on tasks" not in plan
    assert sum(read) <= reading.LOOKED_AT + 10, plan
