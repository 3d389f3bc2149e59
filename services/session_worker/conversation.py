"""Conversation chunks: what is kept of a piece of text; pure."""

from services.session_worker.extraction import extract
from shared.messages import Command, JsonText, new_id
from shared.messages.session import Chunk, ConversationChunk

_NOTHING = JsonText(b"{}")


def chunk_of(command: Command, created: str) -> Chunk:
    """The chunk a `conversation_chunk` command asks for, with the items found in its text."""
    asked: ConversationChunk = command.data
    return Chunk(
        session_id=asked.session_id,
        chunk_id=asked.chunk_id or new_id(),
        content=asked.content,
        format=asked.format,
        extracted_items=JsonText.of(extract(asked.content)),
        metadata=asked.metadata or _NOTHING,
        created=created,
    )
