"""claim_task: many claims in one transaction, those alike in one statement."""

from collections import Counter
from typing import NamedTuple

from services.task_worker import tasks
from services.task_worker.store import agents, claims
from shared.bus.parking import Wait
from shared.bus.replies import BatchHandler, Reply
from shared.database import Transaction
from shared.errors import Rejected
from shared.messages import Command
from shared.messages.task import ClaimedTask, ClaimTask

AGEING_SECONDS = 60.0


class _Kind(NamedTuple):
    """What claims have in common that look at the same heads."""

    agent_name: str
    capabilities: frozenset[str]
    session_id: str | None


def claim_task(ageing_seconds: float) -> BatchHandler:
    """The handler of `claim_task`; a waiting task's priority goes up by one every `ageing_seconds`."""

    async def claim(tx: Transaction, commands: list[Command]) -> list[Reply | Rejected]:
        """Hand out the first tasks of agents' queues, each under a lease of its own; fewer when fewer wait.

        The first of several claims that look at the same queues gets what it wants first.
        """
        names = sorted({command.data.agent_name for command in commands})
        known = await claims.find_agents(tx, names)
        limits = {name: each.limit for name, each in known.items() if each.limit}
        in_hand: Counter[str] = Counter()
        if limits:
            limits = await claims.lock_agents(tx, list(limits))
            for name in limits:
                in_hand[name] = await claims.count_in_hand(tx, name)
        answers: dict[int, Reply | Rejected] = {}
        alike: dict[_Kind, list[tuple[int, ClaimTask]]] = {}
        registered: list[str] | None = None
        for at, command in enumerate(commands):
            data: ClaimTask = command.data
            if data.agent_name not in known:
                registered = registered if registered is not None else await agents.agent_names(tx)
                answers[at] = tasks.unknown_agent(data.agent_name, registered)
                continue
            able = known[data.agent_name].capabilities if data.capabilities is None else data.capabilities
            alike.setdefault(_Kind(data.agent_name, frozenset(able), data.session_id), []).append((at, data))
        for kind, asked in alike.items():
            wanted = sum(data.count for _, data in asked)
            count = tasks.claimable(limits.get(kind.agent_name, 0), wanted, in_hand[kind.agent_name])
            workers = [data.worker_id for _, data in asked for _ in range(data.count)][:count]
            taken: list[ClaimedTask] = []
            if count:
                taken = await claims.claim_tasks(
                    tx,
                    known[kind.agent_name].queues_for(kind.capabilities),
                    workers=workers,
                    tokens=tasks.lease_tokens(count),
                    session_id=kind.session_id,
                    ageing_seconds=ageing_seconds,
                )
                in_hand[kind.agent_name] += len(taken)
            for at, data in asked:
                answers[at] = _reply(kind, data, taken[: data.count])
                del taken[: data.count]
        silent = [name for name, each in known.items() if each.is_silent]
        if silent:
            await agents.hear(tx, silent)
        return [answers[at] for at in range(len(commands))]

    return claim


def _reply(kind: _Kind, data: ClaimTask, taken: list[ClaimedTask]) -> Reply:
    wait = None
    if not taken and data.wait_s:
        wait = Wait(kind.agent_name, kind.capabilities, kind.session_id, data.wait_s)
    return Reply({"tasks": taken}, [tasks.claimed(task) for task in taken], wait=wait)
