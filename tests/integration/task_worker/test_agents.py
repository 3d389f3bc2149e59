"""register_agent, list_agents and import_tasks on a real database."""

import asyncio
from typing import Any

from sqlalchemy import text


def agents(worker: Any) -> dict[str, dict[str, Any]]:
    return {agent["name"]: agent for agent in worker.ask("list_agents")["agents"]}


def test_the_three_agents_of_the_first_migration_are_there(worker):
    assert {"claude_code", "codex", "researcher"} <= set(agents(worker))


def test_an_agent_is_made_known_and_takes_work(worker):
    result, (event,) = worker.told(
        "register_agent", name="re.viewer", type="code_reviewer", capabilities=["b", "a", "b"]
    )
    agent = result["agent"]
    assert (agent["capabilities"], agent["max_concurrent"], agent["metadata"]) == (["a", "b"], 0, {})
    assert (event["type"], event["agent"]) == ("agent_registered", agent)
    task = worker.delegate("re.viewer")
    assert [each["task_id"] for each in worker.claim("re.viewer")] == [task["task_id"]]


def test_what_a_registration_leaves_out_stays_as_it_was(worker):
    first = worker.send(
        "register_agent", name="x", type="t", command="run", capabilities=["a"], max_concurrent=3, metadata={"b": 1}
    )["agent"]
    again = worker.send("register_agent", name="x", type="u")["agent"]
    assert {**again, "last_heartbeat": None} == {**first, "type": "u", "last_heartbeat": None}


def test_an_agents_metadata_is_kept_as_it_was_written(worker):
    worker.send("register_agent", name="x", type="t")
    data = '{"name":"x","type":"t","metadata":{"z":1e2,"a":1180591620717411303424}}'
    (outcome,) = worker.run(worker.write(("register_agent", data)))
    assert b'{"z":1e2,"a":1180591620717411303424}' in outcome.reply
    assert b'{"z":1e2,"a":1180591620717411303424}' in worker.ask_text("list_agents")


def test_the_list_counts_what_waits_and_what_is_in_hand(worker):
    for needs in ([], ["gpu"], []):
        worker.delegate(capabilities=needs)
    worker.delegate(run_at="2100-01-01T00:00:00Z")
    worker.claim()
    assert {name: (each["waiting"], each["in_hand"]) for name, each in agents(worker).items()} == {
        "claude_code": (0, 0),
        "codex": (2, 1),
        "researcher": (0, 0),
    }


def heard(worker: Any) -> Any:
    ((moment,),) = worker.sql("select last_heartbeat from agents where name = 'codex'")
    return moment


def last_heard(worker: Any, when: str) -> None:
    worker.sql(f"update agents set last_heartbeat = {when} where name = 'codex'")


def test_claims_and_heartbeats_tell_that_an_agent_is_there(worker):
    worker.delegate()
    last_heard(worker, "null")
    (task,) = worker.claim()
    first = heard(worker)
    assert first is not None
    # Noted once in a while, not each time.
    worker.claim()
    worker.report("heartbeat_task", task)
    assert heard(worker) == first
    last_heard(worker, "now() - interval '11 seconds'")
    worker.report("heartbeat_task", task)
    assert heard(worker) > first
    # Also a claim that finds nothing.
    last_heard(worker, "now() - interval '11 seconds'")
    assert worker.claim() == []
    assert heard(worker) > first


def test_an_agent_that_is_being_changed_is_not_waited_for(worker):
    last_heard(worker, "null")

    async def claim_meanwhile() -> None:
        async with worker.database.transaction() as tx:
            await tx.execute(text("update agents set command = 'x' where name = 'codex'"))
            await asyncio.wait_for(worker.do("claim_task", agent_name="codex", worker_id="w"), 10)

    worker.run(claim_meanwhile())
    assert heard(worker) is None


def test_an_agents_status_says_whether_it_can_take_more_and_is_there(worker):
    for _ in range(2):
        worker.delegate()
    worker.claim()
    assert agents(worker)["codex"]["status"] == "available"
    worker.send("register_agent", name="codex", type="t", max_concurrent=1)
    assert agents(worker)["codex"]["status"] == "busy"
    worker.send("register_agent", name="codex", type="t", max_concurrent=2)
    assert agents(worker)["codex"]["status"] == "available"
    last_heard(worker, "now() - interval '151 seconds'")
    assert agents(worker)["codex"]["status"] == "away"
    worker.claim()
    assert agents(worker)["codex"]["status"] == "busy"


def test_tasks_are_imported_as_they_were(worker):
    first = worker.delegate(input_data={"z": 1, "a": 2})
    second = worker.delegate(depends_on=[first["task_id"]], priority=9)
    third = worker.delegate(max_attempts=1)
    fourth = worker.delegate(run_at="2100-01-01T00:00:00Z")
    (held, dying) = worker.claim(count=2)
    worker.report("fail_task", dying, error_message="x")
    tasks = worker.ask("list_tasks", session_id="s1")["tasks"]
    worker.sql("truncate tasks cascade")
    assert worker.send("import_tasks", session_id="s1", tasks=tasks) == {"imported": 4}
    assert worker.send("import_tasks", session_id="s1", tasks=tasks) == {"imported": 0}
    back = {**worker.task(held["task_id"]), "started": held["started"], "claimed_by": "w1", "status": "claimed"}
    assert back in tasks
    assert [worker.task(each["task_id"]) in tasks for each in (second, third, fourth)] == [True, True, True]
    assert [task["task_id"] for task in worker.claim(count=9)] == [first["task_id"]]


def test_an_import_is_refused_when_another_task_is_there_in_its_place(worker):
    made = worker.delegate(input_data={"a": 1}, idempotency_key="k", callback_url="https://hooks.example.com/x")
    (claimed,) = worker.claim()
    worker.complete(claimed, output_data=[1])
    done = worker.task(made["task_id"])

    def imported(**changes: Any) -> Any:
        fresh = {**done, "task_id": "fresh", "idempotency_key": None}
        return worker.send("import_tasks", session_id="s1", tasks=[fresh, {**done, **changes}])

    for different in (
        {"description": "x"}, {"input_data": {"a": 2}}, {"input_data": None}, {"output_data": [2]}, {"priority": 9},
        {"status": "failed"}, {"error_message": "x"}, {"callback_url": "https://other.example.com/"},
        {"created": "2020-01-01T00:00:00.000000Z"}, {"capabilities": ["gpu"]}, {"task_id": "same-key"},
    ):  # fmt: skip
        refused = imported(**different)
        assert refused.get("code") == "conflict", different
        assert refused["details"]["task_id"] == different.get("task_id", done["task_id"])
        assert worker.ask("get_task", task_id="fresh")["code"] == "not_found"
    # As it is, with its URL and without, and as it was before it went on.
    assert imported() == {"imported": 1}
    assert imported(callback_url="https://hooks.example.com/x") == {"imported": 0}
    assert imported(status="pending", attempt=0, completed=None, started=None, output_data=None) == {"imported": 0}
    assert worker.task(made["task_id"]) == done


def test_an_imported_task_waits_for_none_of_another_session(worker):
    elsewhere = worker.delegate(session_id="s2")
    task = {**worker.delegate(), "task_id": "imported", "depends_on": [elsewhere["task_id"]]}
    assert worker.send("import_tasks", session_id="s1", tasks=[task]) == {"imported": 1}
    assert "imported" in {each["task_id"] for each in worker.claim(count=9)}


def test_an_import_names_what_is_wrong(worker):
    task = worker.delegate()
    for wrong in (
        {"tasks": 1},
        {"tasks": [1]},
        {"tasks": [{**task, "priority": "x"}]},
        {"tasks": [{**task, "session_id": "s2"}]},
    ):
        refused = worker.send("import_tasks", session_id="s1", **wrong)
        assert (refused["code"], "tasks" in refused["message"]) == ("invalid", True)
    known, unknown = {**task, "task_id": "known"}, {**task, "task_id": "new", "agent_name": "nobody"}
    assert worker.send("import_tasks", session_id="s1", tasks=[known, unknown])["code"] == "not_found"
    taken = {**task, "session_id": "s2"}
    refused = worker.send("import_tasks", session_id="s2", tasks=[{**known, "session_id": "s2"}, taken])
    assert (refused["code"], refused["details"]) == ("conflict", {"task_id": task["task_id"]})
    # All or nothing.
    assert worker.ask("get_task", task_id="known")["code"] == "not_found"
