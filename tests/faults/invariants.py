"""What must add up for the session of a load once everything has arrived, whatever was killed meanwhile."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, LiteralString

import psycopg

from tests.faults.kinds import AGENT, KINDS
from tests.faults.system import System

if TYPE_CHECKING:
    from tests.faults.load import Load

# Two columns that must be equal, of one session.
_SUMS: dict[str, LiteralString] = {
    "actions and responses are numbered without a gap, each once": """
        select array[count(*), count(distinct number)], array[coalesce(max(number), 0), coalesce(max(number), 0)]
        from (
            select number from actions where session_id = %(id)s
            union all select number from responses where session_id = %(id)s
        ) as noted
    """,
    "the session counts what it has": """
        select array[action_count, response_count, conversation_chunk_count, memory_count, task_count], array[
            (select count(*) from actions where session_id = sessions.id),
            (select count(*) from responses where session_id = sessions.id),
            (select count(*) from conversation_chunks where session_id = sessions.id),
            (select count(*) from memories where session_id = sessions.id),
            (select count(*) from tasks where session_id = sessions.id)
        ] from sessions where id = %(id)s
    """,
    "the state has one version for each change": """
        select coalesce((select version from session_states where session_id = %(id)s), 0),
            (select count(*) from session_states, json_object_keys(members) where session_id = %(id)s)
            + (select count(*) from session_goals where session_id = %(id)s)
    """,
    "the versions of each key have no gap": """
        select array_agg(array[first, last] order by key), array_agg(array[1, count] order by key) from (
            select key, min(version) as first, max(version) as last, count(*) as count from (
                select key, version from memories where session_id = %(id)s
                union all select key, version from memory_versions where session_id = %(id)s
            ) as kept group by key
        ) as keys
    """,
    "every event that was numbered is recorded, once": """
        select array[seq, seq, seq], (
            select array[count(*), count(distinct session_seq), coalesce(max(session_seq), 0)]
            from events where session_id = sessions.id
        ) from sessions where id = %(id)s
    """,
    "every task is done": """
        select count(*), count(*) filter (where status = 'completed') from tasks
        where session_id = %(id)s and agent_name = %(agent)s
    """,
}

_VERSIONS: LiteralString = "select key, version from memories where session_id = %s"

# How many rows of the audit log each of these writes has.
_AUDITED: LiteralString = "select message_id, count(*) from audit where message_id = any(%s) group by 1"

# Of every write by a door so far, the load's or not: those that have not exactly one row. A batch has more.
_NOT_AUDITED_ONCE: LiteralString = """
    select handled.command, handled.message_id, count(audit.id)
    from handled_messages as handled left join audit on audit.message_id = handled.message_id
    where handled.caller is not null and handled.command not in ('batch', 'receive_webhook', 'receive_claude_hook')
    group by handled.command, handled.message_id having count(audit.id) <> 1 limit 3
"""

# What is owed to this URL: of which task or command, under which id, and whether it was taken.
_OWED: LiteralString = "select coalesce(task_id, message_id), id, status from callbacks where url = %s"

_OWING_TASKS: LiteralString = "select id from tasks where callback_url = %s and completed is not null"

# As if the minute had passed after which another sender takes over what a dead one had in hand, and likewise for what
# failed once.
_HURRY: LiteralString = (
    "update callbacks set next_attempt = now() where url = %s and status = 'pending' and next_attempt > now()"
    " returning id"
)


async def broken(system: System, load: Load) -> list[str]:
    """What does not add up (yet)."""
    return [
        *await _sums(system, load.session_id),
        *await _memories_told(system, load),
        *await _audited(system, load),
        *await _called_back(system, load),
    ]


async def hurry_callbacks(system: System, load: Load) -> None:
    """Have callbacks sent now that wait for the end of their dead sender's lease."""
    await system.sql(_HURRY, load.callback_url)


async def _sums(system: System, session_id: str) -> list[str]:
    wrong = []
    async with await psycopg.AsyncConnection.connect(system.database.url) as connection:
        for name, statement in _SUMS.items():
            found = await connection.execute(statement, {"id": session_id, "agent": AGENT})
            wrong += [f"{name}: {one} is not {other}" for one, other in await found.fetchall() if one != other]
    return wrong


async def _memories_told(system: System, load: Load) -> list[str]:
    """Updates of a key may be told together: what they count adds up to its version, which is the last one told."""
    told: Counter[str] = Counter()
    last: dict[str, int] = {}
    for event in _events(load):
        if event["type"] == "memory_update":
            key, version = event["exchange"]["key"], event["exchange"]["version"]
            told[key] += event["count"]
            last[key] = max(last.get(key, 0), version)
    versions = dict(await system.sql(_VERSIONS, load.session_id))
    return [
        f"memory {key} is at version {version}, the last told is {last.get(key)}, and {told[key]} were counted"
        for key, version in versions.items()
        if not version == last.get(key) == told[key]
    ]


async def _audited(system: System, load: Load) -> list[str]:
    writes = {message: KINDS[name].audited for message, name in load.accepted.items() if KINDS[name].command}
    rows = dict(await system.sql(_AUDITED, list(writes)))
    others = await system.sql(_NOT_AUDITED_ONCE)
    return [f"in the audit log: {row}" for row in others] + [
        f"the {load.accepted[message]} {message} has {rows.get(message, 0)} rows in the audit log, not {expected}"
        for message, expected in writes.items()
        if rows.get(message, 0) != expected
    ]


async def _called_back(system: System, load: Load) -> list[str]:
    """Each task that ended and each command that asked for it is owed one callback, which came under its one id."""
    owing = {message for message, name in load.accepted.items() if KINDS[name].calls_back}
    owing |= {task for (task,) in await system.sql(_OWING_TASKS, load.callback_url)}
    rows = await system.sql(_OWED, load.callback_url)
    owed = Counter(about for about, _, _ in rows)
    wrong = [f"{owed[about]} callbacks are owed for {about}" for about in owing if owed[about] != 1]
    secret = system.stack.environment.get("SWITCHYARD_CALLBACK_SECRET")
    came: dict[str, set[str]] = {}
    for received in system.receiver.received:
        if load.callback_url.endswith(received.path):
            data = received.verified(secret)["data"]
            about = data["task"]["task_id"] if "task" in data else data["message_id"]
            came.setdefault(about, set()).add(received.webhook_id)
    return wrong + [
        f"the callback {callback_id} for {about} is {status}, and came under {came.get(about)}"
        for about, callback_id, status in rows
        if status != "delivered" or came.get(about) != {callback_id}
    ]


def _events(load: Load) -> list[dict[str, Any]]:
    """The session's events, each once."""
    own = [event for event in load.events() if event.get("session_id") == load.session_id]
    return list({event["message_id"]: event for event in own}.values())
