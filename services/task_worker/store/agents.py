"""SQL of the agent registry."""

from collections.abc import Sequence
from typing import Any, LiteralString

from services.task_worker.store.rows import SILENT, json_rows, run
from shared.database import Transaction
from shared.messages import JsonText, encode, rfc3339
from shared.messages.agent import Agent, CountedAgent, RegisterAgent

# How long an agent may be silent before it counts as away: more than twice what a waiting claim or a lease takes.
AWAY_SECONDS = 150

_COLUMNS: LiteralString = """
    agents.name, agents.type, agents.command, agents.capabilities, agents.max_concurrent, agents.status,
    agents.last_heartbeat, agents.metadata::text
"""

# An agent as it is wanted; what is null stays as it was. By the primary key.
_REGISTER: LiteralString = f"""
    insert into agents (name, type, command, capabilities, max_concurrent, metadata, last_heartbeat)
    values (%(name)s, %(type)s, coalesce(%(command)s, ''), coalesce(%(capabilities)s::jsonb, '[]'),
        coalesce(%(max_concurrent)s, 0), coalesce(%(metadata)s::json, '{{}}'), now())
    on conflict (name) do update set
        type = excluded.type, command = coalesce(%(command)s, agents.command),
        capabilities = coalesce(%(capabilities)s::jsonb, agents.capabilities),
        max_concurrent = coalesce(%(max_concurrent)s, agents.max_concurrent),
        metadata = coalesce(%(metadata)s::json, agents.metadata), last_heartbeat = now()
    returning {_COLUMNS}
"""  # noqa: S608
_MAKE_QUEUE: LiteralString = "insert into task_queues (agent_name) values (%s) on conflict do nothing"

# Every agent with what waits for it, counted up to 10,000 in each of its queues, and what it has in hand. By
# task_queues_once, tasks_queue and tasks_in_hand.
_LIST: LiteralString = f"""
    select {_COLUMNS},
        (select coalesce(sum(waiting.count), 0) from task_queues, lateral (
            select count(*) as count from (
                select from tasks where queue = task_queues.id and claimable limit 10000
            ) as head
        ) as waiting where task_queues.agent_name = agents.name),
        (select count(*) from tasks where tasks.agent_name = agents.name and lease_expires is not null),
        agents.last_heartbeat < statement_timestamp() - make_interval(secs => %s)
    from agents order by agents.name
"""  # noqa: S608

# Agents that nothing was heard of for a while; whoever is being changed just now was heard of by somebody else. By the
# primary key. No index holds what changes.
_HEAR: LiteralString = f"""
    update agents set last_heartbeat = statement_timestamp() from (
        select name from agents
        where name = any (array(select json_array_elements_text(%s))) and {SILENT}
        order by name for no key update skip locked
    ) as silent
    where agents.name = silent.name
"""  # noqa: S608

_NAMES: LiteralString = "select name from agents order by name limit 100"


async def register_agent(tx: Transaction, asked: RegisterAgent) -> Agent:
    """Make an agent known with its queue, or change it."""
    values: dict[str, Any] = {
        "name": asked.name,
        "type": asked.type,
        "command": asked.command,
        "capabilities": None if asked.capabilities is None else encode(asked.capabilities).decode(),
        "max_concurrent": asked.max_concurrent,
        "metadata": None if asked.metadata is None else str(asked.metadata),
    }
    (row,) = await run(tx, _REGISTER, **values)
    await run(tx, _MAKE_QUEUE, asked.name)
    return Agent(**_fields(row))


async def list_agents(tx: Transaction) -> list[CountedAgent]:
    """Every agent by name, with its counts, and the status they tell."""
    return [_counted(row) for row in await run(tx, _LIST, AWAY_SECONDS)]


async def hear(tx: Transaction, names: Sequence[str]) -> None:
    """Note that these agents were heard of just now, unless that was noted in the last seconds."""
    await run(tx, _HEAR, json_rows(sorted(names)))


async def agent_names(tx: Transaction) -> list[str]:
    """The names of the registered agents, the first hundred."""
    return [row[0] for row in await run(tx, _NAMES)]


def _counted(row: Sequence[Any]) -> CountedAgent:
    fields = _fields(row)
    waiting, in_hand, is_silent = row[8:]
    if 0 < fields["max_concurrent"] <= in_hand:
        fields["status"] = "busy"
    elif is_silent:
        fields["status"] = "away"
    return CountedAgent(**fields, waiting=int(waiting), in_hand=int(in_hand))


def _fields(row: Sequence[Any]) -> dict[str, Any]:
    return {
        "name": row[0],
        "type": row[1],
        "command": row[2],
        "capabilities": row[3],
        "max_concurrent": row[4],
        "status": row[5],
        "last_heartbeat": rfc3339(row[6]) if row[6] else None,
        "metadata": JsonText(row[7].encode()),
    }
