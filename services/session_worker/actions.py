"""Actions and responses: what is noted down, under which id; pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from shared.errors import Rejected, conflict
from shared.messages import Command, JsonText, new_id, rfc3339
from shared.messages.actions import Action, LogAction, LogResponse, Response

Kind = Literal["action", "response"]
Place = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Draft:
    """An action or response to be noted down; `at` is its place in the batch. Its fields are those of the statements.

    JSON stands in it as text: within JSON a string's escapes would be written anew by PostgreSQL.
    """

    at: int
    session_id: str
    id: str
    type: str
    details: str
    timestamp: str | None
    agent_id: str | None
    author: str
    message_id: str
    action_id: str | None = None
    content: str = "null"

    @property
    def place(self) -> Place:
        """Where it is kept: its session and its id."""
        return self.session_id, self.id


@dataclass(frozen=True, slots=True)
class Noted:
    """What became of a draft: its number in the session, and its moments."""

    number: int
    timestamp: datetime
    created: datetime


def action_draft(at: int, command: Command) -> Draft:
    """What a `log_action` asks to be noted down, under an id of our making when it names none."""
    asked: LogAction = command.data
    return Draft(
        at,
        asked.session_id,
        asked.action_id or new_id(),
        asked.type,
        _text(asked.details, "{}"),
        asked.timestamp,
        asked.agent_id,
        command.sender_agent_id,
        command.message_id,
    )


def response_draft(at: int, command: Command) -> Draft:
    """What a `log_response` asks to be noted down, under an id of our making when it names none."""
    asked: LogResponse = command.data
    return Draft(
        at,
        asked.session_id,
        asked.response_id or new_id(),
        asked.type,
        _text(asked.details, "{}"),
        asked.timestamp,
        asked.agent_id,
        command.sender_agent_id,
        command.message_id,
        asked.action_id,
        _text(asked.content, "null"),
    )


def first_of_each(drafts: Iterable[Draft]) -> list[Draft]:
    """The drafts without those whose id an earlier one of the batch takes."""
    first: dict[Place, Draft] = {}
    for draft in drafts:
        first.setdefault(draft.place, draft)
    return list(first.values())


def action_of(draft: Draft, noted: Noted) -> Action:
    """The action as it is kept."""
    return Action(
        session_id=draft.session_id,
        action_id=draft.id,
        number=noted.number,
        type=draft.type,
        details=JsonText(draft.details.encode()),
        timestamp=rfc3339(noted.timestamp),
        agent_id=draft.agent_id,
        author=draft.author,
        message_id=draft.message_id,
        created=rfc3339(noted.created),
    )


def response_of(draft: Draft, noted: Noted) -> Response:
    """The response as it is kept."""
    return Response(
        session_id=draft.session_id,
        response_id=draft.id,
        number=noted.number,
        action_id=draft.action_id,
        type=draft.type,
        content=JsonText(draft.content.encode()),
        details=JsonText(draft.details.encode()),
        timestamp=rfc3339(noted.timestamp),
        agent_id=draft.agent_id,
        author=draft.author,
        message_id=draft.message_id,
        created=rfc3339(noted.created),
    )


def taken(kind: Kind, draft: Draft) -> Rejected:
    """The refusal of a draft whose id the session has already."""
    return conflict(
        f"session {draft.session_id!r} has {'an action' if kind == 'action' else 'a response'} {draft.id!r} already",
        session_id=draft.session_id,
        **{f"{kind}_id": draft.id},
    )


def _text(value: JsonText | None, otherwise: str) -> str:
    return otherwise if value is None else str(value)
