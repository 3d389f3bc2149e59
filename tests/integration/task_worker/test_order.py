"""Who is claimed first: priorities, age, turns, capabilities; and what a claim costs however many wait."""

from collections import defaultdict
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.task_worker.store import claims, rows
from tests.examples import examples


def age(worker: Any, task: dict[str, Any], seconds: float) -> None:
    worker.sql(
        "update tasks set queued = queued - make_interval(secs => :s) where id = :id", s=seconds, id=task["task_id"]
    )


@pytest.mark.parametrize(("seconds", "first"), [(100, 1), (140, 0)])
def test_a_waiting_task_rises_by_one_a_minute(worker, seconds, first):
    made = [worker.delegate(priority=3), worker.delegate(priority=5)]
    age(worker, made[0], seconds)
    assert worker.claim()[0]["task_id"] == made[first]["task_id"]


def test_a_flood_of_one_session_does_not_starve_another(worker):
    data = {"session_id": "s1", "agent_name": "codex", "task_type": "flood"}
    worker.run(worker.write(*[("delegate_task", data)] * 50))
    for _ in range(3):
        worker.delegate(session_id="s2")
    sessions = [task["session_id"] for task in worker.claim(count=8)]
    assert sessions == ["s1", "s2", "s1", "s2", "s1", "s2", "s1", "s1"]


def test_whoever_comes_late_to_a_queue_waits_for_no_more_than_his_turn(worker):
    data = {"session_id": "s1", "agent_name": "codex", "task_type": "flood"}
    worker.run(worker.write(*[("delegate_task", data)] * 60))
    worker.claim(count=30)
    late = [worker.delegate(session_id="s2")["task_id"] for _ in range(2)]
    assert [task["task_id"] in late for task in worker.claim(count=4)] == [False, True, False, True]


@settings(max_examples=examples(15), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(["s1", "s2", "s3"]), st.integers(0, 9)), min_size=1, max_size=40))
def test_of_equal_priority_no_session_is_ever_two_ahead(worker, wanted):
    worker.sql("truncate tasks cascade")
    worker.sql("insert into sessions (id) values ('s3') on conflict do nothing")
    worker.run(
        worker.write(
            *(
                (
                    "delegate_task",
                    {"session_id": session, "agent_name": "codex", "task_type": "t", "priority": priority},
                )
                for session, priority in wanted
            )
        )
    )
    order = [(task["priority"], task["session_id"]) for task in worker.claim(count=50)]
    assert sorted(order) == sorted((priority, session) for session, priority in wanted)
    assert [priority for priority, _ in order] == sorted((priority for priority, _ in order), reverse=True)
    left: dict[tuple[int, str], int] = defaultdict(int)
    for each in order:
        left[each] += 1
    taken: dict[tuple[int, str], int] = defaultdict(int)
    for priority, session in order:
        taken[priority, session] += 1
        left[priority, session] -= 1
        others = [other for other in ("s1", "s2", "s3") if other != session and left[priority, other]]
        assert all(taken[priority, session] - taken[priority, other] <= 1 for other in others)


def test_a_task_is_claimed_by_one_who_has_all_it_needs(worker):
    plain = worker.delegate()
    able = worker.delegate(capabilities=["gpu", "python", "gpu"])
    assert able["capabilities"] == ["gpu", "python"]
    assert [task["task_id"] for task in worker.claim(count=9, capabilities=["gpu"])] == [plain["task_id"]]
    assert [task["task_id"] for task in worker.claim(capabilities=["sql", "python", "gpu"])] == [able["task_id"]]


def test_an_agents_own_capabilities_count_unless_a_claim_names_others(worker):
    worker.sql("update agents set capabilities = '[\"gpu\"]' where name = 'codex'")
    worker.delegate(capabilities=["gpu"])
    assert worker.claim(capabilities=[]) == []
    assert len(worker.claim()) == 1


def test_priorities_count_across_capabilities(worker):
    made = [
        worker.delegate(priority=priority, capabilities=needs) for priority, needs in ((4, []), (6, ["gpu"]), (5, []))
    ]
    order = [task["task_id"] for task in worker.claim(count=3, capabilities=["gpu"])]
    assert order == [made[1]["task_id"], made[2]["task_id"], made[0]["task_id"]]


def test_a_claim_may_be_of_one_session_only(worker):
    worker.delegate(priority=9)
    wanted = worker.delegate(session_id="s2")
    assert [task["task_id"] for task in worker.claim(count=9, session_id="s2")] == [wanted["task_id"]]
    assert worker.claim(session_id="s2") == []


def test_more_claims_than_tasks_are_served_in_their_order(worker):
    worker.fill(5)
    asked = [("claim_task", {"agent_name": "codex", "worker_id": f"w{n}", "count": 2}) for n in range(4)]
    outcomes = worker.run(worker.write(*asked))
    rows_of = worker.sql("select claimed_by, count(*) from tasks group by 1 order by 1")
    assert [tuple(row) for row in rows_of] == [("w0", 2), ("w1", 2), ("w2", 1)]
    assert [len(outcome.events) for outcome in outcomes] == [2, 2, 1, 0]


def test_a_claim_reads_only_the_heads_of_long_queues(worker):
    """Also with plans as for small tables, and whatever waits that it can't take."""
    worker.delegate()
    worker.sql("analyze tasks")
    worker.fill(30_000, priority="n % 10")
    worker.sql("insert into task_queues (agent_name, capabilities) values ('codex', '{gpu}')")
    worker.sql("""
        insert into tasks (id, session_id, agent_name, task_type, queue, claimable, turn)
        select 'g' || n, 's1', 'codex', 't', task_queues.id, true, 0 from task_queues, generate_series(1, 30000) as n
        where capabilities = '{gpu}'
    """)

    async def explain() -> str:
        async with worker.database.transaction() as tx:
            found = (await claims.find_agents(tx, ["codex"]))["codex"].queues_for(frozenset())
            values = {
                "queues": rows.json_rows(found), "window": 70, "ageing": 60.0, "count": 50, "seconds": 60.0,
                "workers": rows.json_rows(["w"] * 50), "tokens": rows.json_rows(["a"] * 50), "session_id": None,
            }  # fmt: skip
            plan = await rows.run(tx, "explain (analyze, costs off, timing off) " + claims._ANY, **values)
            return "\n".join(row[0] for row in plan)

    plan = worker.run(explain())
    assert "using tasks_queue on tasks" in plan
    assert "Seq Scan on tasks" not in plan
    read = [line for line in plan.splitlines() if "using tasks_queue" in line]
    assert all("rows=70" in line for line in read), plan


@pytest.mark.parametrize(
    ("statement", "values", "index"),
    [
        ("timers._NEXT", {}, "tasks_in_hand"),
        ("timers._NEXT", {}, "tasks_due"),
        ("timers._LAPSED", {"limit": 500}, "tasks_in_hand"),
        ("claims._COUNT_IN_HAND", ("codex",), "tasks_in_hand"),
        ("timers._DUE", (500,), "tasks_due"),
    ],
)
def test_what_is_asked_often_is_found_by_its_index(worker, statement, values, index):
    worker.sql("""
        insert into tasks (id, session_id, agent_name, task_type, status, queue, lease_expires)
        select 't' || n, 's1', 'codex', 't', 'claimed', 1, now() + interval '1 hour' from generate_series(1, 5000) as n
    """)
    worker.sql("""
        insert into tasks (id, session_id, agent_name, task_type, queue, due)
        select 'd' || n, 's1', 'codex', 't', 1, now() + interval '1 hour' from generate_series(1, 5000) as n
    """)
    from services.task_worker.store import claims, timers

    text = getattr({"timers": timers, "claims": claims}[statement.split(".")[0]], statement.split(".")[1])

    async def explain() -> str:
        async with worker.database.transaction() as tx:
            named = values if isinstance(values, dict) else {}
            plan = await rows.run(tx, "explain (costs off) " + text, *(values if not named else ()), **named)
            return "\n".join(row[0] for row in plan)

    plan = worker.run(explain())
    assert index in plan, plan
    assert "Seq Scan on tasks" not in plan, plan
