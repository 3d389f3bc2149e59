"""What agents did in a session and what came back: actions and responses, in one order, never changed afterwards."""

from datetime import UTC, datetime
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from shared.messages.commands import CommandData
from shared.messages.envelope import Event, Id, Model
from shared.messages.json_text import JsonText, rfc3339
from shared.messages.memory import Moment
from shared.messages.registry import command
from shared.messages.session import Cursor, Limit

ActionType = Annotated[str, Field(min_length=1, max_length=100)]


def _in_utc(text: str) -> str:
    try:
        return rfc3339(datetime.fromisoformat(text.upper()).astimezone(UTC))
    except (ValueError, OverflowError) as error:
        raise ValueError(f"there is no such moment: {error}") from None


# A moment of the sender's, as messages write moments.
SentMoment = Annotated[Moment, AfterValidator(_in_utc)]


class Action(Model):
    """Something that was done in a session; `timestamp` is when, by the word of who did it."""

    session_id: str
    action_id: str
    # Its place among the session's actions and responses, which are counted together, from 1 without a gap.
    number: int
    type: str
    details: JsonText
    timestamp: str
    agent_id: str | None
    author: str
    message_id: str
    created: str


class Response(Model):
    """What came back in a session, for an action if it names one; `timestamp` is when, by the sender's word."""

    session_id: str
    response_id: str
    # Its place among the session's actions and responses, which are counted together, from 1 without a gap.
    number: int
    action_id: str | None
    type: str
    content: JsonText
    details: JsonText
    timestamp: str
    agent_id: str | None
    author: str
    message_id: str
    created: str


@command(
    "session",
    result={"action": Action},
    creates=True,
    example={
        "session_id": "demo",
        "action_id": "run-tests-1",
        "type": "task_start",
        "details": {"task": "run the tests", "files": 12},
        "timestamp": "2026-01-31T12:00:00Z",
        "agent_id": "claude_code",
    },
)
class LogAction(CommandData):
    """Note down what was done in a session; it gets the next number among the session's actions and responses."""

    session_id: Id
    action_id: Id | None = None
    type: ActionType
    details: JsonText | None = None
    timestamp: SentMoment | None = None
    agent_id: Id | None = None


@command(
    "session",
    result={"response": Response},
    creates=True,
    example={"session_id": "demo", "action_id": "run-tests-1", "content": {"passed": 212, "failed": 0}},
)
class LogResponse(CommandData):
    """Note down what came back, for an action if one is named; the action may still be on its way."""

    session_id: Id
    response_id: Id | None = None
    action_id: Id | None = None
    type: ActionType = "response"
    content: JsonText | None = None
    details: JsonText | None = None
    timestamp: SentMoment | None = None
    agent_id: Id | None = None


@command(
    "session",
    result={"actions": list[Action], "responses": list[Response], "next": str | None},
    reads=True,
    example={"session_id": "demo", "limit": 50},
)
class GetActions(CommandData):
    """A session's actions and responses in their order; a page holds those of its stretch of numbers."""

    session_id: Id
    kind: Literal["action", "response"] | None = None
    limit: Limit = 100
    cursor: Cursor | None = None


class ActionLogged(Event):
    """Something was done in a session."""

    topic: ClassVar = "session.{session_id}.action"
    type: Literal["action_logged"] = "action_logged"
    action: Action


class ResponseLogged(Event):
    """Something came back in a session."""

    topic: ClassVar = "session.{session_id}.response"
    type: Literal["response_logged"] = "response_logged"
    response: Response
