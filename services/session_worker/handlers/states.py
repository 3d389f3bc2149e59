"""Changing a session's state: patches of its members, its goals, and the agents spawned in it.

The session must be locked, as the worker runtime does it: so nobody changes the state between look and leap.
"""

from services.session_worker import agents, goals, states, store
from shared.bus.replies import Handler, Reply
from shared.database import Transaction
from shared.errors import not_found
from shared.messages import Command, encode, now
from shared.messages.state import (
    AgentCompleted,
    AgentSpawned,
    CompleteAgent,
    Goal,
    GoalAdded,
    GoalUpdated,
    SpawnedAgent,
    StateUpdated,
    UpdateGoal,
    UpdateState,
)


async def update_state(tx: Transaction, command: Command) -> Reply:
    """Patch the state's members; a patch that changes nothing makes no new version."""
    asked: UpdateState = command.data
    state = await store.states.find_state(tx, asked.session_id)
    if state is None:
        raise not_found("session", asked.session_id)
    patched = states.patched(state, asked.patch, asked.if_version)
    whole = patched.whole()
    result = {"state": whole, "version": patched.version}
    if patched is state:
        return Reply(result)
    await store.states.save_members(tx, patched)
    event = StateUpdated(session_id=asked.session_id, state=whole, version=patched.version, patch=asked.patch)
    return Reply(result, [event])


async def add_goal(tx: Transaction, command: Command) -> Reply:
    """Set the session a goal; an id that it has already is a conflict."""
    goal = goals.goal_of(command, now())
    if await store.goals.find_goal(tx, goal.session_id, goal.goal_id) is not None:
        raise goals.taken(goal)
    size = await _size_with(tx, goal, None)
    await store.goals.save_goal(tx, goal)
    version = await store.states.count_change(tx, goal.session_id, size)
    return Reply({"goal": goal}, [GoalAdded(session_id=goal.session_id, goal=goal, version=version)])


async def update_goal(tx: Transaction, command: Command) -> Reply:
    """Change a goal; what it is already makes no new version."""
    asked: UpdateGoal = command.data
    before = await store.goals.find_goal(tx, asked.session_id, asked.goal_id)
    if before is None:
        raise goals.missing(asked.session_id, asked.goal_id)
    goal = goals.updated(before, asked, now())
    if goal is before:
        return Reply({"goal": goal})
    size = await _size_with(tx, goal, before)
    await store.goals.save_goal(tx, goal)
    version = await store.states.count_change(tx, goal.session_id, size)
    return Reply({"goal": goal}, [GoalUpdated(session_id=goal.session_id, goal=goal, version=version)])


async def spawn_agent(tx: Transaction, command: Command) -> Reply:
    """Note down a spawned agent; an id that the session has already is a conflict."""
    agent = agents.agent_of(command, now())
    if await store.agents.find_agent(tx, agent.session_id, agent.agent_id) is not None:
        raise agents.taken(agent)
    size = await _size_with(tx, agent, None)
    await store.agents.save_agent(tx, agent)
    version = await store.states.count_change(tx, agent.session_id, size)
    return Reply({"agent": agent}, [AgentSpawned(session_id=agent.session_id, agent=agent, version=version)])


async def complete_agent(tx: Transaction, command: Command) -> Reply:
    """Note down that an agent is done or has failed; a second time is a conflict."""
    asked: CompleteAgent = command.data
    before = await store.agents.find_agent(tx, asked.session_id, asked.agent_id)
    if before is None:
        raise agents.missing(asked.session_id, asked.agent_id)
    agent = agents.completed(before, asked, now())
    size = await _size_with(tx, agent, before)
    await store.agents.save_agent(tx, agent)
    version = await store.states.count_change(tx, agent.session_id, size)
    return Reply({"agent": agent}, [AgentCompleted(session_id=agent.session_id, agent=agent, version=version)])


async def _size_with(tx: Transaction, part: Goal | SpawnedAgent, before: Goal | SpawnedAgent | None) -> int:
    """What the session's goals and agents take with this one as it is now. Raises `Rejected("too_large")`."""
    size = await store.states.parts_size(tx, part.session_id)
    grown = len(encode(part)) - (0 if before is None else len(encode(before)))
    if grown > 0:
        states.check_room(part.session_id, size + grown)
    return size + grown


HANDLERS: dict[str, Handler] = {
    handler.__name__: handler for handler in (update_state, add_goal, update_goal, spawn_agent, complete_agent)
}
