"""The task worker without a broker."""

from collections.abc import Iterator
from typing import Any

import pytest

from services.task_worker.handlers import BATCH_HANDLERS, HANDLERS, SHARING
from services.task_worker.queries import QUERIES
from shared.bus.commit import Outcome
from tests.integration.handling import Handling, result_of


class TaskWorker(Handling):
    """Delegates, claims, completes and asks."""

    handlers = HANDLERS
    batch_handlers = BATCH_HANDLERS
    sharing = SHARING
    queries = QUERIES

    async def write(self, *commands: tuple[str, dict[str, Any] | str]) -> list[Outcome]:
        """Commands in one transaction."""
        return await self.commit(*(self.command(name, data) for name, data in commands))

    async def do(self, name: str, **data: Any) -> dict[str, Any]:
        """The result of one command, or its error."""
        (outcome,) = await self.write((name, data))
        return result_of(outcome)

    def delegate(self, agent_name: str = "codex", **data: Any) -> dict[str, Any]:
        return self.run(self.do("delegate_task", session_id="s1", agent_name=agent_name, task_type="t", **data))["task"]

    def claim(self, agent_name: str = "codex", worker_id: str = "w1", **data: Any) -> list[dict[str, Any]]:
        return self.run(self.do("claim_task", agent_name=agent_name, worker_id=worker_id, **data))["tasks"]

    def complete(self, task: dict[str, Any], lease_token: str | None = None, **data: Any) -> dict[str, Any]:
        token = lease_token or task["lease_token"]
        return self.run(self.do("complete_task", task_id=task["task_id"], lease_token=token, **data))

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


@pytest.fixture
def worker(database_url: str) -> Iterator[TaskWorker]:
    """A task worker on a fresh database with the sessions s1 and s2, and agents without a limit."""
    worker = TaskWorker(database_url)
    worker.sql("insert into sessions (id) values ('s1'), ('s2')")
    worker.sql("update agents set max_concurrent = 0")
    yield worker
    worker.close()
