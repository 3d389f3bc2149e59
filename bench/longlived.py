"""A session with a long life: its events written straight into the table, its state, and how SQL alone reads them."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import LiteralString

import psycopg

SESSION = "bench-long"
ENTRIES = 100_000
_CONNECTIONS = 8

# Two days of events, one every 1.7 s; their cursors lie below those of the stream.
_LOAD = (
    f"""
    insert into sessions (id, title, seq, created, last_activity)
    values ('{SESSION}', 'A long life', {ENTRIES}, now() - interval '2 days', now())
    """,
    f"""
    insert into events (cursor, timestamp, message_id, type, routing_key, session_id, session_seq, body)
    select n - 2 * {ENTRIES}, moment, id, 'action_logged', 'session.{SESSION}.action', '{SESSION}', n,
        json_build_object(
            'type', 'action_logged', 'message_id', id, 'timestamp', moment, 'sender_agent_id', 'claude_code',
            'session_id', '{SESSION}', 'priority', 'normal', 'session_seq', n, 'hops', 0, 'trust', 'trusted',
            'action', json_build_object(
                'session_id', '{SESSION}', 'action_id', 'action-' || n, 'number', n, 'type', 'tool_use',
                'details', json_build_object('tool', 'edit_file', 'path', 'services/ingress/front.py', 'lines', n % 97),
                'timestamp', moment, 'agent_id', null, 'author', 'claude_code', 'message_id', id, 'created', moment
            )
        )
    from (
        select n, 'long-' || n as id, now() - interval '2 days' + n * (interval '2 days' / {ENTRIES}) as moment
        from generate_series(1, {ENTRIES}) as n
    ) as numbered
    """,
    f"""
    insert into session_states (session_id, members, version) values ('{SESSION}', json_build_object(
        'phase', 'execution', 'current_step', 'review', 'files',
        (select json_agg('services/part_' || n || '.py') from generate_series(1, 40) as n)), 7)
    """,
    f"""
    insert into session_goals (session_id, goal_id, description, status, priority, metadata)
    select '{SESSION}', 'goal-' || n, 'The tests of part ' || n || ' pass', 'pending', 'medium', '{{}}'
    from generate_series(1, 10) as n
    """,
    f"""
    insert into session_agents (session_id, agent_id, type, metadata, result, spawned_by)
    select '{SESSION}', 'agent-' || n, 'reviewer', '{{}}', 'null', 'claude_code' from generate_series(1, 5) as n
    """,
    "vacuum (analyze) events",
)

# By the primary keys; the state as three pieces of JSON.
_STATE: LiteralString = """
    select members::text,
        (select json_agg(goal)::text from session_goals as goal where goal.session_id = state.session_id),
        (select json_agg(agent)::text from session_agents as agent where agent.session_id = state.session_id)
    from session_states as state where session_id = %s
"""
# By events_by_session of each partition.
_PAGE: LiteralString = """
    select session_seq, cursor, body::text from events where session_id = %s and session_seq > %s
    order by session_seq limit 100
"""


def load(database_url: str) -> None:
    """Write the session, on a database that our services have migrated."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        for statement in _LOAD:
            connection.execute(statement.encode())


class Reader:
    """Reads the state over several connections in turn."""

    def __init__(self, database_url: str) -> None:
        self._url = database_url
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Reader:
        opened = [
            await self._stack.enter_async_context(
                await psycopg.AsyncConnection.connect(self._url, autocommit=True, prepare_threshold=0)
            )
            for _ in range(_CONNECTIONS)
        ]
        self._turns = itertools.cycle(opened)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def state(self) -> None:
        """The session's state."""
        cursor = await next(self._turns).execute(_STATE, [SESSION])
        assert await cursor.fetchone()


def page_by_sql(database_url: str) -> Callable[[str | None], tuple[float, list[int], str | None]]:
    """A reader of pages: the milliseconds it took, the numbers of its entries, and where the next begins."""
    connection = psycopg.connect(database_url, autocommit=True, prepare_threshold=0)

    def page(after: str | None) -> tuple[float, list[int], str | None]:
        began = time.monotonic()
        rows = connection.execute(_PAGE, [SESSION, int(after or 0)]).fetchall()
        took = (time.monotonic() - began) * 1e3
        numbers = [row[0] for row in rows]
        return took, numbers, str(numbers[-1]) if numbers[-1] < ENTRIES else None

    return page
