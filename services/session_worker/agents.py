"""Agents that were spawned in a session; pure."""

from shared.errors import Rejected, conflict
from shared.messages import Command, JsonText, new_id
from shared.messages.state import CompleteAgent, SpawnAgent, SpawnedAgent

_NULL = JsonText(b"null")


def agent_of(command: Command, moment: str) -> SpawnedAgent:
    """The agent a `spawn_agent` tells of, under an id of our making when it names none."""
    asked: SpawnAgent = command.data
    return SpawnedAgent(
        session_id=asked.session_id,
        agent_id=asked.agent_id or new_id(),
        type=asked.type,
        description=asked.description,
        status="active",
        metadata=asked.metadata or JsonText(b"{}"),
        result=_NULL,
        spawned_by=command.sender_agent_id,
        created=moment,
        completed=None,
    )


def completed(agent: SpawnedAgent, asked: CompleteAgent, moment: str) -> SpawnedAgent:
    """The agent once it is done or has failed. Raises `Rejected("conflict")` when it was so before."""
    if agent.status != "active":
        raise conflict(
            f"agent {agent.agent_id!r} of session {agent.session_id!r} is {agent.status} since {agent.completed}",
            session_id=agent.session_id,
            agent_id=agent.agent_id,
            status=agent.status,
        )
    return agent.model_copy(update={"status": asked.status, "result": asked.result or _NULL, "completed": moment})


def taken(agent: SpawnedAgent) -> Rejected:
    """The refusal of an agent whose id the session has already."""
    return conflict(
        f"session {agent.session_id!r} has an agent {agent.agent_id!r} already",
        session_id=agent.session_id,
        agent_id=agent.agent_id,
    )


def missing(session_id: str, agent_id: str) -> Rejected:
    """There is no such agent in the session."""
    return Rejected(
        "not_found", f"session {session_id!r} has no agent {agent_id!r}", session_id=session_id, agent_id=agent_id
    )
