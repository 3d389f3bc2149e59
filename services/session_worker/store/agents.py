"""SQL of agents that were spawned in sessions."""

from sqlalchemy import text

from shared.database import Transaction
from shared.messages import JsonText, rfc3339
from shared.messages.state import SpawnedAgent

# One agent of a session, by the primary key.
_FIND = text("""
    select session_id, agent_id, type, description, status, metadata::text as metadata, result::text as result,
        spawned_by, created, completed
    from session_agents where session_id = :session_id and agent_id = :agent_id
""")

# An agent as it is now, by the primary key.
_SAVE = text("""
    insert into session_agents
        (session_id, agent_id, type, description, status, metadata, result, spawned_by, created, completed)
    values (
        :session_id, :agent_id, :type, :description, :status, cast(:metadata as json), cast(:result as json),
        :spawned_by, :created, :completed
    )
    on conflict (session_id, agent_id) do update set
        status = excluded.status, result = excluded.result, completed = excluded.completed
""")


async def find_agent(tx: Transaction, session_id: str, agent_id: str) -> SpawnedAgent | None:
    """An agent of a session; None when there is none."""
    row = (await tx.execute(_FIND, {"session_id": session_id, "agent_id": agent_id})).one_or_none()
    if row is None:
        return None
    return SpawnedAgent(
        session_id=row.session_id,
        agent_id=row.agent_id,
        type=row.type,
        description=row.description,
        status=row.status,
        metadata=JsonText(row.metadata.encode()),
        result=JsonText(row.result.encode()),
        spawned_by=row.spawned_by,
        created=rfc3339(row.created),
        completed=None if row.completed is None else rfc3339(row.completed),
    )


async def save_agent(tx: Transaction, agent: SpawnedAgent) -> None:
    """Write an agent, new or completed; the session must be locked."""
    await tx.execute(_SAVE, {**agent.__dict__, "metadata": str(agent.metadata), "result": str(agent.result)})
