"""Artifacts by their id."""

from typing import Any

from services.session_worker import store
from shared.bus.queries import QueryHandler
from shared.database import Transaction
from shared.errors import Rejected, not_found
from shared.messages import Command
from shared.messages.artifacts import GetArtifact


async def get_artifact(tx: Transaction, command: Command) -> dict[str, Any]:
    """One artifact with its content."""
    asked: GetArtifact = command.data
    artifact, session_exists = await store.artifacts.find_artifact(tx, asked.session_id, asked.artifact_id)
    if not session_exists:
        raise not_found("session", asked.session_id)
    if artifact is None:
        raise Rejected(
            "not_found",
            f"session {asked.session_id!r} has no artifact {asked.artifact_id!r}",
            session_id=asked.session_id,
            artifact_id=asked.artifact_id,
        )
    return {"artifact": artifact}


QUERIES: dict[str, QueryHandler] = {"get_artifact": get_artifact}
