"""SQL of artifacts."""

from sqlalchemy import text

from shared.database import Transaction
from shared.messages import JsonText, rfc3339
from shared.messages.artifacts import Artifact

# A new artifact; nothing when the session has the id already. By the primary key; it also goes into artifacts_search.
_INSERT = text("""
    insert into artifacts (session_id, artifact_id, name, type, content, format, metadata, author, message_id, created)
    values (
        :session_id, :artifact_id, :name, :type, :content, :format, cast(:metadata as json), :author, :message_id,
        :created
    )
    on conflict (session_id, artifact_id) do nothing
""")

# One artifact beside whether its session exists, by the primary keys of both tables.
_FIND = text("""
    select artifact.* from sessions left join lateral (
        select session_id, artifact_id, name, type, content, format, metadata::text as metadata, author, message_id,
            created
        from artifacts where session_id = sessions.id and artifact_id = :artifact_id
    ) as artifact on true
    where sessions.id = :session_id
""")


async def insert_artifact(tx: Transaction, artifact: Artifact) -> bool:
    """Write the artifact; False when the session has one with its id already."""
    written = await tx.execute(_INSERT, {**artifact.__dict__, "metadata": str(artifact.metadata)})
    return written.rowcount == 1


async def find_artifact(tx: Transaction, session_id: str, artifact_id: str) -> tuple[Artifact | None, bool]:
    """An artifact, and whether its session exists."""
    row = (await tx.execute(_FIND, {"session_id": session_id, "artifact_id": artifact_id})).one_or_none()
    if row is None or row.artifact_id is None:
        return None, row is not None
    artifact = Artifact(
        session_id=row.session_id,
        artifact_id=row.artifact_id,
        name=row.name,
        type=row.type,
        content=row.content,
        format=row.format,
        metadata=JsonText(row.metadata.encode()),
        author=row.author,
        message_id=row.message_id,
        created=rfc3339(row.created),
    )
    return artifact, True
