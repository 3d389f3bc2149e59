"""SQL of sessions and their history."""

from datetime import datetime
from typing import Any, cast

from sqlalchemy import text
from sqlalchemy.engine import Row

from shared.database import Transaction
from shared.messages import JsonText, encode, rfc3339
from shared.messages.session import CreateSession, Session, SessionStatus

_COLUMNS = """id, title, user_id, participants, status, initial::text as initial, created, last_activity,
    conversation_chunk_count, memory_count, task_count, artifact_count, action_count, response_count, seq"""

# A new session; nothing when the id is taken. Serves create_session, by the primary key.
_INSERT = text(f"""
    insert into sessions (id, title, user_id, participants, initial)
    values (:id, :title, :user_id, cast(:participants as jsonb), cast(:initial as json))
    on conflict (id) do nothing
    returning {_COLUMNS}
""")  # noqa: S608

# A session to be changed, by the primary key; writers of other tables may still point at it.
_LOCK = text(f"select {_COLUMNS} from sessions where id = :id for no key update")  # noqa: S608

# A session to be looked at, by the primary key.
_FIND = text(f"select {_COLUMNS} from sessions where id = :id")  # noqa: S608

# A session's new status, by the primary key.
_SET_STATUS = text("""
    update sessions set status = :status, last_activity = greatest(last_activity, now()) where id = :id
    returning last_activity
""")

# What a session was opened with, by the primary key.
_INITIAL = text("select initial::text from sessions where id = :id")

# The history of a session's status.
_INSERT_TRANSITION = text("""
    insert into session_transitions (session_id, from_status, to_status, by_agent, reason, message_id)
    values (:session_id, :from_status, :to_status, :by_agent, :reason, :message_id)
""")

_LIST = f"select {_COLUMNS} from sessions"  # noqa: S608
_ORDER = "order by last_activity desc, id desc limit :limit"
_AFTER = "(last_activity, id) < (:activity, :id)"

# Sessions, the most recently active first; all by sessions_by_activity, those of one status by sessions_by_status.
_LISTS = {
    (False, False): text(f"{_LIST} {_ORDER}"),
    (False, True): text(f"{_LIST} where {_AFTER} {_ORDER}"),
    (True, False): text(f"{_LIST} where status = :status {_ORDER}"),
    (True, True): text(f"{_LIST} where status = :status and {_AFTER} {_ORDER}"),
}


async def insert_session(tx: Transaction, session_id: str, asked: CreateSession) -> Session | None:
    """Make the session; None when the id is taken."""
    row = (
        await tx.execute(
            _INSERT,
            {
                "id": session_id,
                "title": asked.title,
                "user_id": asked.user_id,
                "participants": encode(asked.participants).decode(),
                "initial": None if asked.initial is None else str(asked.initial),
            },
        )
    ).one_or_none()
    return _session(row) if row else None


async def find_initial(tx: Transaction, session_id: str) -> str | None:
    """What a session was opened with, as JSON."""
    initial: str | None = (await tx.execute(_INITIAL, {"id": session_id})).scalar_one()
    return initial


async def lock_session(tx: Transaction, session_id: str) -> Session | None:
    """The session, locked until the transaction ends; None when there is none."""
    row = (await tx.execute(_LOCK, {"id": session_id})).one_or_none()
    return _session(row) if row else None


async def find_session(tx: Transaction, session_id: str) -> Session | None:
    """The session as it is now; None when there is none."""
    row = (await tx.execute(_FIND, {"id": session_id})).one_or_none()
    return _session(row) if row else None


async def save_status(tx: Transaction, session: Session) -> str:
    """Write the session's status; returns the moment, its last activity."""
    moment: datetime = (
        await tx.execute(_SET_STATUS, {"id": session.session_id, "status": session.status})
    ).scalar_one()
    return rfc3339(moment)


async def add_transition(
    tx: Transaction, session: Session, *, before: SessionStatus | None, by: str, reason: str | None, message_id: str
) -> None:
    """Write the move of a session to the status it has now into its history."""
    await tx.execute(
        _INSERT_TRANSITION,
        {
            "session_id": session.session_id,
            "from_status": before,
            "to_status": session.status,
            "by_agent": by,
            "reason": reason,
            "message_id": message_id,
        },
    )


async def list_sessions(
    tx: Transaction, status: SessionStatus | None, after: tuple[datetime, str] | None, limit: int
) -> list[Session]:
    """Up to `limit` sessions after a sort key, the most recently active first."""
    activity, identifier = after or (None, None)
    values = {"status": status, "activity": activity, "id": identifier, "limit": limit}
    rows = await tx.execute(_LISTS[status is not None, after is not None], values)
    return [_session(row) for row in rows]


def _session(row: Row[Any]) -> Session:
    return Session(
        session_id=row.id,
        title=row.title,
        user_id=row.user_id,
        participants=row.participants,
        status=cast("SessionStatus", row.status),
        initial=None if row.initial is None else JsonText(row.initial.encode()),
        created=rfc3339(row.created),
        last_activity=rfc3339(row.last_activity),
        conversation_chunk_count=row.conversation_chunk_count,
        memory_count=row.memory_count,
        task_count=row.task_count,
        artifact_count=row.artifact_count,
        action_count=row.action_count,
        response_count=row.response_count,
        seq=row.seq,
    )
