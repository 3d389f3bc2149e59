"""Opening sessions and moving them from status to status."""

from collections.abc import Callable

from services.session_worker import sessions, store
from services.session_worker.forks import forked_state
from shared.bus.replies import Handler, Reply
from shared.database import Transaction
from shared.errors import conflict, invalid, not_found
from shared.messages import Command, new_id
from shared.messages.session import (
    CompleteSession,
    CreateSession,
    FailSession,
    PauseSession,
    ResumeSession,
    Session,
    SessionCreated,
)


async def create_session(tx: Transaction, command: Command) -> Reply:
    """Open a session; an id that is taken is a conflict."""
    asked: CreateSession = command.data
    session_id = asked.session_id or new_id()
    forked = None
    if asked.fork_of is not None:
        asked = asked.model_copy(update={"initial": await forked_state(tx, asked)})
        forked = f"forked from {asked.fork_of}" + ("" if asked.fork_seq is None else f" at {asked.fork_seq}")
    elif asked.fork_seq is not None:
        raise invalid("`fork_seq` belongs to `fork_of`, the session it is a number in", fork_seq=asked.fork_seq)
    session = await store.sessions.insert_session(tx, session_id, asked)
    if session is None:
        raise conflict(f"session {session_id!r} exists already", session_id=session_id)
    await store.sessions.add_transition(
        tx, session, before=None, by=command.sender_agent_id, reason=forked, message_id=command.message_id
    )
    session = sessions.told(session)
    return Reply({"session": session}, [SessionCreated(session_id=session_id, session=session)])


async def pause_session(tx: Transaction, command: Command) -> Reply:
    """Pause an active session; pausing a paused one changes nothing."""
    asked: PauseSession = command.data
    return await _move(tx, command, asked.reason, lambda session: sessions.pause(session, asked.reason))


async def resume_session(tx: Transaction, command: Command) -> Reply:
    """Resume a paused session; resuming an active one changes nothing."""
    asked: ResumeSession = command.data
    return await _move(tx, command, asked.reason, lambda session: sessions.resume(session, asked.reason))


async def complete_session(tx: Transaction, command: Command) -> Reply:
    """Close an active session as done."""
    asked: CompleteSession = command.data
    return await _move(tx, command, asked.summary, lambda session: sessions.complete(session, asked.summary))


async def fail_session(tx: Transaction, command: Command) -> Reply:
    """Close an active session as failed."""
    asked: FailSession = command.data
    return await _move(tx, command, asked.reason, lambda session: sessions.fail(session, asked.reason))


async def archive_session(tx: Transaction, command: Command) -> Reply:
    """Put a completed or failed session away."""
    return await _move(tx, command, None, sessions.archive)


async def _move(
    tx: Transaction, command: Command, reason: str | None, decide: Callable[[Session], sessions.Moved]
) -> Reply:
    session_id: str = command.data.session_id
    session = await store.sessions.lock_session(tx, session_id)
    if session is None:
        raise not_found("session", session_id)
    moved, events = decide(session)
    if events:
        moment = await store.sessions.save_status(tx, moved)
        await store.sessions.add_transition(
            tx, moved, before=session.status, by=command.sender_agent_id, reason=reason, message_id=command.message_id
        )
        moved = moved.model_copy(update={"last_activity": moment})
        for event in events:
            event.session = moved
    return Reply({"session": moved}, list(events))


HANDLERS: dict[str, Handler] = {
    handler.__name__: handler
    for handler in (create_session, pause_session, resume_session, complete_session, fail_session, archive_session)
}
