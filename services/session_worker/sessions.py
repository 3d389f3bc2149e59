"""Sessions: which status may follow which, and what is told of a move; pure."""

from shared.errors import conflict
from shared.messages.session import (
    Session,
    SessionArchived,
    SessionCompleted,
    SessionEvent,
    SessionFailed,
    SessionPaused,
    SessionResumed,
    SessionStatus,
)

# By the status it has: the statuses it may move to. What is not here is refused.
TRANSITIONS: dict[SessionStatus, frozenset[SessionStatus]] = {
    "active": frozenset({"paused", "completed", "failed"}),
    "paused": frozenset({"active"}),
    "completed": frozenset({"archived"}),
    "failed": frozenset({"archived"}),
    "archived": frozenset(),
}

Moved = tuple[Session, list[SessionEvent]]


def pause(session: Session, reason: str | None) -> Moved:
    """Pause an active session; a paused one stays as it is. Raises `Rejected("conflict")`."""
    if session.status == "paused":
        return session, []
    paused = _moved(session, "paused")
    return paused, [SessionPaused(session_id=session.session_id, session=paused, reason=reason)]


def resume(session: Session, reason: str | None) -> Moved:
    """Resume a paused session; an active one stays as it is. Raises `Rejected("conflict")`."""
    if session.status == "active":
        return session, []
    active = _moved(session, "active")
    return active, [SessionResumed(session_id=session.session_id, session=active, reason=reason)]


def complete(session: Session, summary: str | None) -> Moved:
    """Close an active session as done. Raises `Rejected("conflict")`."""
    completed = _moved(session, "completed")
    return completed, [SessionCompleted(session_id=session.session_id, session=completed, summary=summary)]


def fail(session: Session, reason: str | None) -> Moved:
    """Close an active session as failed. Raises `Rejected("conflict")`."""
    failed = _moved(session, "failed")
    return failed, [SessionFailed(session_id=session.session_id, session=failed, reason=reason)]


def archive(session: Session) -> Moved:
    """Put a closed session away. Raises `Rejected("conflict")`."""
    archived = _moved(session, "archived")
    return archived, [SessionArchived(session_id=session.session_id, session=archived)]


def _moved(session: Session, status: SessionStatus) -> Session:
    if status not in TRANSITIONS[session.status]:
        raise conflict(
            f"session {session.session_id!r} is {session.status}, and can't become {status}",
            session_id=session.session_id,
            status=session.status,
            wanted=status,
        )
    return told(session.model_copy(update={"status": status}))


def told(session: Session) -> Session:
    """The session as its next event tells of it: that event's number is the session's last."""
    return session.model_copy(update={"seq": session.seq + 1})
