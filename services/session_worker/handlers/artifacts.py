"""Keeping what was made in a session."""

from services.session_worker import store
from shared.bus.replies import Handler, Reply
from shared.database import Transaction
from shared.errors import conflict
from shared.messages import Command, JsonText, new_id, now
from shared.messages.artifacts import AddArtifact, Artifact, ArtifactAdded


async def add_artifact(tx: Transaction, command: Command) -> Reply:
    """Keep an artifact; an id that the session has already is a conflict."""
    asked: AddArtifact = command.data
    artifact = Artifact(
        session_id=asked.session_id,
        artifact_id=asked.artifact_id or new_id(),
        name=asked.name,
        type=asked.type,
        content=asked.content,
        format=asked.format,
        metadata=asked.metadata or JsonText(b"{}"),
        author=command.sender_agent_id,
        message_id=command.message_id,
        created=now(),
    )
    if not await store.artifacts.insert_artifact(tx, artifact):
        raise conflict(
            f"session {artifact.session_id!r} has an artifact {artifact.artifact_id!r} already",
            session_id=artifact.session_id,
            artifact_id=artifact.artifact_id,
        )
    event = ArtifactAdded(session_id=artifact.session_id, artifact=artifact)
    return Reply({"artifact": artifact}, [event], {"artifact_count": 1})


HANDLERS: dict[str, Handler] = {"add_artifact": add_artifact}
