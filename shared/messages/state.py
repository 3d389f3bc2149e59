"""The state of a session: a document its agents patch, with their goals and the agents they spawned."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, StringConstraints, WithJsonSchema

from shared.messages.commands import CommandData
from shared.messages.envelope import Event, Id, Label, Model
from shared.messages.json_text import JsonText, slices
from shared.messages.registry import command

GoalStatus = Literal["pending", "in_progress", "completed", "blocked", "abandoned"]
GoalPriority = Literal["low", "medium", "high", "critical"]
Description = Annotated[str, StringConstraints(min_length=1, max_length=10_000)]
AgentType = Annotated[str, Field(min_length=1, max_length=100)]
Version = Annotated[int, Field(ge=0, lt=2**31)]

# Members of a state that commands of their own change.
RESERVED = {
    "goals": "add_goal and update_goal change them",
    "agents": "spawn_agent and complete_agent change them",
    "session_id": "a session keeps its id",
    "sessionId": "a session keeps its id",
}


def _patch(patch: JsonText) -> JsonText:
    if not patch.text.lstrip().startswith(b"{"):
        raise ValueError("a patch is an object, whose members replace the state's")
    for name in slices(patch.text):
        if name in RESERVED:
            raise ValueError(f"{name!r} can't be patched: {RESERVED[name]}")
    return patch


# Kept as its sender wrote it.
Patch = Annotated[
    JsonText,
    AfterValidator(_patch),
    WithJsonSchema(
        {
            "type": "object",
            "additionalProperties": True,
            "description": "JSON Merge Patch (RFC 7386): members replace those of the state, null takes one away",
        }
    ),
]


class Goal(Model):
    """Something a session is to achieve."""

    session_id: str
    goal_id: str
    description: str
    status: GoalStatus
    priority: GoalPriority
    metadata: JsonText
    created: str
    updated: str


class SpawnedAgent(Model):
    """An agent that was spawned in a session; `result` is what it came back with."""

    session_id: str
    agent_id: str
    type: str
    description: str | None
    status: Literal["active", "completed", "failed"]
    metadata: JsonText
    result: JsonText
    spawned_by: str
    created: str
    completed: str | None


@command(
    "session",
    result={"state": dict[str, Any], "version": int},
    reads=True,
    example={"session_id": "demo"},
)
class GetState(CommandData):
    """A session's state: its members, then its goals and spawned agents; `version` counts the changes."""

    session_id: Id


@command(
    "session",
    result={"state": dict[str, Any], "version": int},
    example={"session_id": "demo", "patch": {"phase": "execution", "current_step": "tests", "blocked_by": None}},
)
class UpdateState(CommandData):
    """Change a session's state by a JSON Merge Patch (RFC 7386): members replace those there, null takes one away.

    With `if_version` only while the state has that version, or one of those in a list.
    """

    session_id: Id
    patch: Patch
    if_version: Version | Annotated[list[Version], Field(max_length=100)] | None = None


@command(
    "session",
    result={"goal": Goal},
    creates=True,
    example={"session_id": "demo", "goal_id": "goal-1", "description": "All tests pass", "priority": "high"},
)
class AddGoal(CommandData):
    """Set a session a goal; an id is made when none is given."""

    session_id: Id
    goal_id: Id | None = None
    description: Description
    status: GoalStatus = "pending"
    priority: GoalPriority = "medium"
    metadata: JsonText | None = None


@command(
    "session",
    result={"goal": Goal},
    idempotent=True,
    example={"session_id": "demo", "goal_id": "goal-1", "status": "in_progress"},
)
class UpdateGoal(CommandData):
    """Change a goal's status, description, priority or metadata; what is left out stays as it is.

    `metadata` is a JSON Merge Patch (RFC 7386): members replace those there, null takes one away.
    """

    session_id: Id
    goal_id: Id
    status: GoalStatus | None = None
    description: Description | None = None
    priority: GoalPriority | None = None
    metadata: JsonText | None = None


@command(
    "session",
    result={"agent": SpawnedAgent},
    creates=True,
    example={"session_id": "demo", "agent_id": "reviewer-1", "type": "reviewer", "description": "Reads the diff"},
)
class SpawnAgent(CommandData):
    """Note down that an agent was spawned in a session; it is active until it is completed."""

    session_id: Id
    agent_id: Id | None = None
    type: AgentType
    description: Label | None = None
    metadata: JsonText | None = None


@command(
    "session",
    result={"agent": SpawnedAgent},
    example={"session_id": "demo", "agent_id": "reviewer-1", "result": {"comments": 3}},
)
class CompleteAgent(CommandData):
    """Note down that a spawned agent is done or has failed, with what it came back with; only once."""

    session_id: Id
    agent_id: Id
    status: Literal["completed", "failed"] = "completed"
    result: JsonText | None = None


class StateUpdated(Event):
    """A session's state was patched; `state` is the whole, as `get_state` shows it."""

    topic: ClassVar = "session.{session_id}.state"
    type: Literal["state_updated"] = "state_updated"
    state: JsonText
    version: int
    patch: JsonText


class GoalAdded(Event):
    """A session was set a goal; `version` is the state's."""

    topic: ClassVar = "session.{session_id}.goal_added"
    type: Literal["goal_added"] = "goal_added"
    goal: Goal
    version: int


class GoalUpdated(Event):
    """A goal of a session changed; `version` is the state's."""

    topic: ClassVar = "session.{session_id}.goal_updated"
    type: Literal["goal_updated"] = "goal_updated"
    goal: Goal
    version: int


class AgentSpawned(Event):
    """An agent was spawned in a session; `version` is the state's."""

    topic: ClassVar = "session.{session_id}.agent_spawned"
    type: Literal["agent_spawned"] = "agent_spawned"
    agent: SpawnedAgent
    version: int


class AgentCompleted(Event):
    """A spawned agent is done or has failed; `version` is the state's."""

    topic: ClassVar = "session.{session_id}.agent_completed"
    type: Literal["agent_completed"] = "agent_completed"
    agent: SpawnedAgent
    version: int
