"""Queues of ours with so many tasks waiting: filled by commands, or, for very many, by SQL from one task as a model."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from bench.ours.tasks import SESSIONS, Client, session
from shared.messages import JsonText

AT_ONCE = 50

_INDEXES = """
    select indexname, indexdef from pg_indexes where tablename = 'tasks' and indexname in
      (select indexrelid::regclass::text from pg_index where indrelid = 'tasks'::regclass and not indisprimary)
"""
_COLUMNS = """
    select column_name from information_schema.columns
    where table_name = 'tasks' and is_generated = 'NEVER' order by ordinal_position
"""
# What the copies of a task have of their own: the sessions take turns, and each task is a little younger than the last.
_OWN = {
    "id": "'waiting-' || n",
    "session_id": f"'bench-' || n % {SESSIONS}",
    "turn": f"turn + n / {SESSIONS}",
    "queued": "queued + n * interval '1 microsecond'",
    "created": "created + n * interval '1 microsecond'",
}


@dataclass(frozen=True)
class Queue:
    """The tasks of one agent."""

    client: Client
    agent: str

    @classmethod
    async def of(cls, client: Client, agent: str) -> Queue:
        await client.ask("register_agent", {"name": agent, "type": "bench", "max_concurrent": 0})
        return cls(client, agent)

    async def fill(self, count: int) -> None:
        """Delegate so many tasks, and wait until they can be claimed."""
        task = {"agent_name": self.agent, "task_type": "no-op"}
        sending = (self.client.ask("delegate_task", {**task, "session_id": session(n)}) for n in range(count))
        await asyncio.gather(*sending)

    async def claims(self, count: int, *, refill: bool = False) -> list[float]:
        """Claim fifty tasks, so often, and complete them in between; milliseconds of each claim.

        Raises RuntimeError when a claim gives fewer: then the queue was shorter than said.
        """
        took = []
        for _ in range(count):
            began = time.monotonic()
            claim = {"agent_name": self.agent, "worker_id": "w1", "count": AT_ONCE}
            tasks = (await self.client.ask("claim_task", claim))["tasks"]
            took.append((time.monotonic() - began) * 1e3)
            if len(tasks) != AT_ONCE:
                raise RuntimeError(f"a claim of {AT_ONCE} from the queue of {self.agent!r} gave {len(tasks)}")
            await asyncio.gather(*(self.client.ask("complete_task", _done(task)) for task in tasks))
            if refill:
                await self.fill(AT_ONCE)
        return took


def _done(task: dict[str, Any]) -> dict[str, Any]:
    return {"task_id": task["task_id"], "lease_token": task["lease_token"], "output_data": JsonText(b"null")}


def load(url: str, agent: str, count: int) -> float:
    """Copy the one task that waits for an agent so many times; returns the seconds it took."""
    began = time.monotonic()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("set maintenance_work_mem = '512MB'")
        indexes = connection.execute(_INDEXES).fetchall()
        columns = [name for (name,) in connection.execute(_COLUMNS)]
        # All of it or nothing: nobody claims by a table without its indexes.
        with connection.transaction():
            for name, _ in indexes:
                connection.execute(sql.SQL("drop index {}").format(sql.Identifier(name)))
            connection.execute(
                sql.SQL(
                    "insert into tasks ({}) select {} from tasks, generate_series(1, {}) n where agent_name = {}"
                ).format(
                    sql.SQL(", ").join(map(sql.Identifier, columns)),
                    sql.SQL(", ").join(
                        sql.SQL(_OWN[each]) if each in _OWN else sql.Identifier(each) for each in columns
                    ),
                    sql.Literal(count),
                    sql.Literal(agent),
                )
            )
            for _, definition in indexes:
                connection.execute(definition)
        connection.execute("vacuum (analyze) tasks")
        connection.execute("checkpoint")
    return time.monotonic() - began
