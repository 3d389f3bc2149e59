"""register_agent."""

from services.task_worker.store import agents
from shared.bus.parking import Wake
from shared.bus.replies import Reply
from shared.database import Transaction
from shared.messages import Command
from shared.messages.agent import AgentRegistered, RegisterAgent


async def register_agent(tx: Transaction, command: Command) -> Reply:
    """Make an agent known, or change it."""
    data: RegisterAgent = command.data
    agent = await agents.register_agent(tx, data)
    # There may be room under a new limit.
    return Reply({"agent": agent}, [AgentRegistered(name=agent.name, agent=agent)], wakes=[Wake(agent.name)])
