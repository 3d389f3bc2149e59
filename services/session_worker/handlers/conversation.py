"""Keeping what was said: chunks of conversation, and insights about it."""

from datetime import UTC, datetime, timedelta

from services.session_worker import store
from services.session_worker.conversation import chunk_of
from shared.bus.replies import BatchHandler, Handler, Reply
from shared.database import Transaction
from shared.errors import Rejected, conflict
from shared.messages import Command, rfc3339
from shared.messages.session import Chunk, ConversationChunkAdded, LlmConversationInsight, RecordInsight


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


HANDLERS: dict[str, Handler] = {"record_insight": record_insight}
BATCH_HANDLERS: dict[str, BatchHandler] = {"conversation_chunk": conversation_chunk}
