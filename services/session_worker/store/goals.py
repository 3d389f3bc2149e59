"""SQL of goals."""

from sqlalchemy import text

from shared.database import Transaction
from shared.messages import JsonText, rfc3339
from shared.messages.state import Goal

# One goal of a session, by the primary key.
_FIND = text("""
    select session_id, goal_id, description, status, priority, metadata::text as metadata, created, updated
    from session_goals where session_id = :session_id and goal_id = :goal_id
""")

# A goal as it is now, by the primary key.
_SAVE = text("""
    insert into session_goals (session_id, goal_id, description, status, priority, metadata, created, updated)
    values (:session_id, :goal_id, :description, :status, :priority, cast(:metadata as json), :created, :updated)
    on conflict (session_id, goal_id) do update set
        description = excluded.description, status = excluded.status, priority = excluded.priority,
        metadata = excluded.metadata, updated = excluded.updated
""")


async def find_goal(tx: Transaction, session_id: str, goal_id: str) -> Goal | None:
    """A goal of a session; None when there is none."""
    row = (await tx.execute(_FIND, {"session_id": session_id, "goal_id": goal_id})).one_or_none()
    if row is None:
        return None
    return Goal(
        session_id=row.session_id,
        goal_id=row.goal_id,
        description=row.description,
        status=row.status,
        priority=row.priority,
        metadata=JsonText(row.metadata.encode()),
        created=rfc3339(row.created),
        updated=rfc3339(row.updated),
    )


async def save_goal(tx: Transaction, goal: Goal) -> None:
    """Write a goal, new or changed; the session must be locked."""
    await tx.execute(_SAVE, {**goal.__dict__, "metadata": str(goal.metadata)})
