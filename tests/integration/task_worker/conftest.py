"""The task worker without a broker."""

from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from services.task_worker.handlers import BATCH_HANDLERS, HANDLERS, SHARING
from services.task_worker.queries import QUERIES
from shared.bus.commit import Outcome
from tests.integration.handling import Handling, result_of

# What a test leaves behind is gone for the next; the three agents of the first migration stay.
EMPTY = """
    truncate tasks, task_dependencies, sessions, handled_messages, callbacks cascade;
    delete from task_queues where capabilities <> '{}';
    delete from task_queues where agent_name not in ('claude_code', 'codex', 'researcher');
    delete from agents where name not in ('claude_code', 'codex', 'researcher');
    update agents set max_concurrent = 0, capabilities = '[]';
    insert into sessions (id) values ('s1'), ('s2');
"""


class TaskWorker(Handling):
    """Delegates, claims, completes and asks."""

    handlers = HANDLERS
    batch_handlers = BATCH_HANDLERS
    queries = QUERIES
    sharing = SHARING

    async def write(self, *commands: tuple[str, dict[str, Any] | str]) -> list[Outcome]:
        """Commands in one transaction."""
        return await self.commit(*(self.command(name, data) for name, data in commands))

    async def do(self, name: str, /, **data: Any) -> dict[str, Any]:
        """The result of one command, or its error."""
        (outcome,) = await self.write((name, data))
        return result_of(outcome)

    def send(self, name: str, /, **data: Any) -> dict[str, Any]:
        """The result of one command, or its error."""
        return self.run(self.do(name, **data))

    def told(self, name: str, /, **data: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """The result of one command, and its events."""
        (outcome,) = self.run(self.write((name, data)))
        return result_of(outcome), [orjson.loads(event.body) for event in outcome.events]

    def delegate(self, agent_name: str = "codex", session_id: str = "s1", **data: Any) -> dict[str, Any]:
        result = self.send("delegate_task", session_id=session_id, agent_name=agent_name, task_type="t", **data)
        task: dict[str, Any] = result["task"]
        return task

    def claim(self, agent_name: str = "codex", worker_id: str = "w1", **data: Any) -> list[dict[str, Any]]:
        tasks: list[dict[str, Any]] = self.send("claim_task", agent_name=agent_name, worker_id=worker_id, **data)[
            "tasks"
        ]
        return tasks

    def report(self, name: str, task: dict[str, Any], **data: Any) -> dict[str, Any]:
        """The result, or error, of a command about a claimed task under its lease."""
        return self.send(name, **{"task_id": task["task_id"], "lease_token": task["lease_token"], **data})

    def complete(self, task: dict[str, Any], lease_token: str | None = None, **data: Any) -> dict[str, Any]:
        token = lease_token or task["lease_token"]
        return self.send("complete_task", task_id=task["task_id"], lease_token=token, **data)

    def task(self, task_id: str) -> dict[str, Any]:
        """A task as it is now."""
        found: dict[str, Any] = self.ask("get_task", task_id=task_id)["task"]
        return found

    def fill(self, count: int, agent_name: str = "codex", session_id: str = "s1", priority: str = "5") -> None:
        """Put many tasks into an agent's queue at once: t1, t2 …; `priority` may be made of the number n."""
        self.sql(
            f"""
            insert into tasks (id, session_id, agent_name, task_type, priority, queue, claimable, turn, queued)
            select 't' || n, :session_id, agent_name, 't', {priority}, id, true, n, now() + n * interval '1 us'
            from task_queues, generate_series(1, {count}) as n
            where agent_name = :agent_name and capabilities = '{{}}'
            """,
            agent_name=agent_name,
            session_id=session_id,
        )

    def let_leases_lapse(self) -> None:
        self.sql("update tasks set lease_expires = now() - interval '1 second' where lease_expires is not null")

    def let_time_come(self) -> None:
        """Whatever waits for a moment has waited for it."""
        self.sql(
            "update tasks set due = now() - interval '1 second', run_at = least(run_at, now()) where due is not null"
        )


@pytest.fixture(scope="module")
def module_worker(module_database_url: str) -> Iterator[TaskWorker]:
    """A task worker for all tests of a module."""
    worker = TaskWorker(module_database_url)
    yield worker
    worker.close()


@pytest.fixture
def worker(module_worker: TaskWorker) -> TaskWorker:
    """A task worker with the sessions s1 and s2, and agents without a limit; nothing else is there."""
    for statement in EMPTY.split(";"):
        if statement.strip():
            module_worker.sql(statement)
    return module_worker
