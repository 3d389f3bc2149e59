"""The writing commands of sessions: one transaction each, or one for a batch of them."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from services.session_worker import sessions, store
from services.session_worker.conversation import chunk_of
from shared.bus.commit import BatchHandler, Handler, Reply
from shared.database import Transaction
from shared.errors import Rejected, conflict, not_found
from shared.messages import Command, new_id, rfc3339
from shared.messages.session import (
    Chunk,
    CompleteSession,
    ConversationChunkAdded,
    CreateSession,
    LlmConversationInsight,
    PauseSession,
    RecordInsight,
    ResumeSession,
    Session,
    SessionCreated,
)
from shared.messages.system import Delivery, ReceiveWebhook, RedriveDeadLetters, Webhook


async def create_session(tx: Transaction, command: Command) -> Reply:
    """Open a session; an id that is taken is a conflict."""
    asked: CreateSession = command.data
    session_id = asked.session_id or new_id()
    session = await store.sessions.insert_session(tx, session_id, asked)
    if session is None:
        raise conflict(f"session {session_id!r} exists already", session_id=session_id)
    await store.sessions.add_transition(
        tx, session, before=None, by=command.sender_agent_id, reason=None, message_id=command.message_id
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


async def conversation_chunk(tx: Transaction, commands: list[Command]) -> list[Reply | Rejected]:
    """Keep pieces of conversation; a chunk id that the session has already is a conflict."""
    start = datetime.now(UTC)
    # A microsecond apart, so that those of one batch keep their order in the session.
    chunks = [chunk_of(command, rfc3339(start + timedelta(microseconds=n))) for n, command in enumerate(commands)]
    first: dict[tuple[str, str], int] = {}
    for n, chunk in enumerate(chunks):
        first.setdefault((chunk.session_id, chunk.chunk_id), n)
    written = await store.chunks.insert_chunks(tx, [(chunks[n], commands[n].message_id) for n in first.values()])
    return [
        _chunk_added(chunk) if first[key] == n and key in written else _chunk_taken(chunk)
        for n, chunk in enumerate(chunks)
        if (key := (chunk.session_id, chunk.chunk_id))
    ]


def _chunk_added(chunk: Chunk) -> Reply:
    event = ConversationChunkAdded(session_id=chunk.session_id, chunk=chunk)
    return Reply({"chunk": chunk}, [event], {"conversation_chunk_count": 1})


def _chunk_taken(chunk: Chunk) -> Rejected:
    return conflict(
        f"session {chunk.session_id!r} has a chunk {chunk.chunk_id!r} already",
        session_id=chunk.session_id,
        chunk_id=chunk.chunk_id,
    )


async def record_insight(tx: Transaction, command: Command) -> Reply:
    """Tell of an LLM's insight; nothing is kept but the event."""
    asked: RecordInsight = command.data
    event = LlmConversationInsight(session_id=asked.session_id, insight=asked.insight)
    return Reply({"message_id": event.message_id}, [event])


async def receive_webhook(tx: Transaction, commands: list[Command]) -> list[Reply | Rejected]:
    """Record verified webhooks; one that was recorded before makes no second event, however long ago that was."""
    received = rfc3339(datetime.now(UTC))
    deliveries = {command.message_id: _delivery(command, received) for command in commands}
    written = await store.deliveries.insert_deliveries(tx, list(deliveries.values()))
    before = [message_id for message_id in deliveries if message_id not in written]
    recorded = await store.deliveries.find_recorded(tx, before) if before else {}
    replies: list[Reply | Rejected] = []
    for message_id, delivery in deliveries.items():
        if message_id in recorded:
            replies.append(Reply({"delivery": recorded[message_id]}))
        else:
            # The reply is kept for days, so it does not repeat the payload.
            replies.append(Reply({"delivery": delivery.model_copy(update={"payload": None})}, [_webhook(delivery)]))
    return replies


def _delivery(command: Command, received: str) -> Delivery:
    asked: ReceiveWebhook = command.data
    return Delivery(
        delivery_id=asked.delivery_id,
        message_id=command.message_id,
        source=asked.source,
        event=asked.event,
        action=asked.action,
        received=received,
        payload=asked.payload,
    )


def _webhook(delivery: Delivery) -> Webhook:
    assert delivery.payload is not None
    return Webhook(
        source=delivery.source,
        event=delivery.event,
        action=delivery.action,
        delivery_id=delivery.delivery_id,
        payload=delivery.payload,
    )


async def redrive_dead_letters(tx: Transaction, command: Command) -> Reply:
    """Have dead letters published again, soon after; those that were already, or wait for it, are not counted."""
    asked: RedriveDeadLetters = command.data
    return Reply({"redriven": await store.dead_letters.ask_redrive(tx, asked.dead_letter_ids)})


HANDLERS: dict[str, Handler] = {
    handler.__name__: handler
    for handler in (
        create_session,
        pause_session,
        resume_session,
        complete_session,
        record_insight,
        redrive_dead_letters,
    )
}
BATCH_HANDLERS: dict[str, BatchHandler] = {
    handler.__name__: handler for handler in (conversation_chunk, receive_webhook)
}
