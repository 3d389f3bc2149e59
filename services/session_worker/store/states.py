"""SQL of sessions' states as a whole."""

from typing import LiteralString

from services.session_worker.states import State, first_members
from shared.database import Transaction, psycopg_of

# A session's state with its goals and agents, their own JSON as it was sent, by the primary keys of the four tables.
# Members nobody has patched are those the session was opened with.
_FIND: LiteralString = """
    select coalesce(state.members, session.initial)::text, coalesce(state.version, 0), state.members is null,
        (select string_agg(row_to_json(goal)::text, ',' order by created, goal_id) from (
            select goal_id, description, status, priority, metadata,
                to_char(created, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as created,
                to_char(updated, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as updated
            from session_goals where session_id = session.id
        ) as goal),
        (select string_agg(row_to_json(agent)::text, ',' order by created, agent_id) from (
            select agent_id, type, description, status, metadata, result, spawned_by,
                to_char(created, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as created,
                to_char(completed, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as completed
            from session_agents where session_id = session.id
        ) as agent)
    from sessions as session left join session_states as state on state.session_id = session.id
    where session.id = %s
"""

# Patched members and the new version, by the primary key.
_SAVE: LiteralString = """
    insert into session_states (session_id, members, version) values (%s, %s::json, %s)
    on conflict (session_id) do update set members = excluded.members, version = excluded.version, updated = now()
"""

# How much the goals and agents of a session take, by the primary key.
_SIZE: LiteralString = "select parts_size from session_states where session_id = %s"

# Another version, for a goal or an agent that changed, and what they all take now; by the primary key.
_COUNT_CHANGE: LiteralString = """
    insert into session_states as state (session_id, version, parts_size) values (%s, 1, %s)
    on conflict (session_id) do update
        set version = state.version + 1, parts_size = excluded.parts_size, updated = now()
    returning version
"""


async def find_state(tx: Transaction, session_id: str) -> State | None:
    """A session's state; None when there is no such session."""
    # Planned each time: a plan kept from when there were few goals would read all of them.
    cursor = await (await psycopg_of(tx)).execute(_FIND, [session_id], prepare=False)
    row = await cursor.fetchone()
    if row is None:
        return None
    members, version, untouched, goals, agents = row
    return State(
        session_id,
        first_members(members) if untouched else members.encode(),
        f"[{goals or ''}]".encode(),
        f"[{agents or ''}]".encode(),
        version,
    )


async def save_members(tx: Transaction, state: State) -> None:
    """Write a state's members and version; the session must be locked."""
    await (await psycopg_of(tx)).execute(_SAVE, [state.session_id, state.members.decode(), state.version])


async def parts_size(tx: Transaction, session_id: str) -> int:
    """How many bytes a session's goals and agents take."""
    cursor = await (await psycopg_of(tx)).execute(_SIZE, [session_id])
    row = await cursor.fetchone()
    return row[0] if row else 0


async def count_change(tx: Transaction, session_id: str, size: int) -> int:
    """Note that a goal or an agent changed, and what they all take now; returns the state's new version."""
    cursor = await (await psycopg_of(tx)).execute(_COUNT_CHANGE, [session_id, size])
    row = await cursor.fetchone()
    assert row is not None
    version: int = row[0]
    return version
