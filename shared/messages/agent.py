"""The agent registry: who takes work, what each can do, and how much each has to do."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from shared.messages.commands import CommandData
from shared.messages.envelope import Event, Id, Label, Model
from shared.messages.json_text import JsonText
from shared.messages.registry import command
from shared.messages.task import Capabilities


class Agent(Model):
    """A kind of worker with a queue of its own; `max_concurrent` 0: any number of its tasks may be in hand at once.

    `last_heartbeat` is its last registration, claim or heartbeat, give or take 10 s.
    """

    name: str
    type: str
    command: str
    capabilities: list[str]
    max_concurrent: int
    status: str
    last_heartbeat: str | None
    metadata: JsonText


class CountedAgent(Agent):
    """An agent with how many tasks wait in its queue (counted up to 10,000) and how many are in hand.

    `status` is `busy` at its limit, `away` when it was heard of before and not for 150 s, else `available`.
    """

    waiting: int
    in_hand: int


@command(
    "agent",
    result={"agent": Agent},
    needs_session=False,
    scope="agent",
    idempotent=True,
    example={"name": "reviewer", "type": "code_reviewer", "capabilities": ["code_review"], "max_concurrent": 4},
)
class RegisterAgent(CommandData):
    """Make an agent known, or change it: what is left out stays as it was; at first: no limit, no capabilities."""

    name: Id
    type: Id
    command: Label | None = None
    capabilities: Capabilities | None = None
    max_concurrent: Annotated[int, Field(ge=0, le=100_000)] | None = None
    metadata: JsonText | None = None


@command("agent", result={"agents": list[CountedAgent]}, reads=True, example={})
class ListAgents(CommandData):
    """Every registered agent by name, with what waits for it and what it has in hand."""


class AgentRegistered(Event):
    """An agent was made known or changed."""

    topic: ClassVar = "agent.{name}.registered"
    type: Literal["agent_registered"] = "agent_registered"
    name: str
    agent: Agent
