"""SQL of what others were told of the agents that are there."""

from collections.abc import Mapping

from sqlalchemy import text

from shared.database import Transaction
from shared.messages import JsonText

# The last event of each agent, by the primary key.
_SAVE = text("""
    insert into presences (agent_id, cursor, body)
    select agent_id, cursor, cast(body as json)
    from unnest(cast(:agents as text[]), cast(:cursors as bigint[]), cast(:bodies as text[]))
        as told (agent_id, cursor, body)
    on conflict (agent_id) do update set cursor = excluded.cursor, body = excluded.body
""")

# Those that were told offline, by the primary key.
_DELETE = text("delete from presences where agent_id = any(:agents)")

# A page by agent, by the primary key.
_LIST = text("""
    select agent_id, body::text as body from presences where agent_id > :after order by agent_id limit :limit
""")


async def save_presences(tx: Transaction, told: Mapping[str, tuple[int, bytes] | None]) -> None:
    """Keep the last event of each agent, with its cursor; None for an agent that is told to be offline."""
    there = {agent_id: event for agent_id, event in told.items() if event is not None}
    if gone := [agent_id for agent_id in told if agent_id not in there]:
        await tx.execute(_DELETE, {"agents": gone})
    if there:
        values = {
            "agents": list(there),
            "cursors": [cursor for cursor, _ in there.values()],
            "bodies": [body.decode() for _, body in there.values()],
        }
        await tx.execute(_SAVE, values)


async def list_presences(tx: Transaction, after: str, limit: int) -> list[tuple[str, JsonText]]:
    """The agents that were told to be there after an id, by id, each with its last event."""
    rows = await tx.execute(_LIST, {"after": after, "limit": limit})
    return [(row.agent_id, JsonText(row.body.encode())) for row in rows]
