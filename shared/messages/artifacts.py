"""Artifacts of a session: code, documents and whatever else was made in it."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from shared.messages.commands import CommandData
from shared.messages.envelope import Event, Id, Model, Text
from shared.messages.json_text import JsonText
from shared.messages.registry import command

Name = Annotated[str, StringConstraints(min_length=1, max_length=500)]
Kind = Annotated[str, Field(min_length=1, max_length=100)]


class Artifact(Model):
    """Something that was made in a session, whole."""

    session_id: str
    artifact_id: str
    name: str
    type: str
    content: str
    format: str | None
    metadata: JsonText
    author: str
    message_id: str
    created: str


@command(
    "session",
    result={"artifact": Artifact},
    creates=True,
    example={
        "session_id": "demo",
        "artifact_id": "plan-1",
        "name": "plan.md",
        "type": "document",
        "content": "# Plan\n1. Measure\n2. Mend",
        "format": "markdown",
    },
)
class AddArtifact(CommandData):
    """Keep something that was made in the session, such as code or a document; an id is made when none is given."""

    session_id: Id
    artifact_id: Id | None = None
    name: Name
    type: Kind
    content: Text
    format: Kind | None = None
    metadata: JsonText | None = None


@command(
    "session",
    result={"artifact": Artifact},
    reads=True,
    example={"session_id": "demo", "artifact_id": "plan-1"},
)
class GetArtifact(CommandData):
    """One artifact with its content."""

    session_id: Id
    artifact_id: Id


class ArtifactAdded(Event):
    """Something that was made in a session was kept."""

    topic: ClassVar = "session.{session_id}.artifact"
    type: Literal["artifact_added"] = "artifact_added"
    artifact: Artifact
