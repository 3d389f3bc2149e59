"""SQL of conversation chunks."""

from sqlalchemy import text

from shared.database import Transaction
from shared.messages import encode
from shared.messages.session import Chunk

# Many chunks in one statement, their JSON spliced in as it was sent; those whose id is taken are left out. By the
# primary key; each row also goes into conversation_chunks_search and conversation_chunks_by_session. A JSON null comes
# out of a recordset as SQL's.
_INSERT = text("""
    insert into conversation_chunks
        (session_id, chunk_id, content, format, extracted_items, metadata, message_id, created)
    select session_id, chunk_id, content, format, extracted_items, coalesce(metadata, 'null'), message_id, created
    from json_to_recordset(cast(:rows as json)) as row (
        session_id text, chunk_id text, content text, format text, extracted_items json, metadata json,
        message_id text, created timestamptz
    )
    on conflict (session_id, chunk_id) do nothing
    returning session_id, chunk_id
""")


async def insert_chunks(tx: Transaction, chunks: list[tuple[Chunk, str]]) -> set[tuple[str, str]]:
    """Write chunks, each with the id of its message; returns (session id, chunk id) of those whose id was free."""
    rows = encode([{**chunk.__dict__, "message_id": message_id} for chunk, message_id in chunks])
    written = await tx.execute(_INSERT, {"rows": rows.decode()})
    return {(row.session_id, row.chunk_id) for row in written}
