"""SQL of claims."""

from collections.abc import Sequence
from typing import LiteralString, NamedTuple

from services.task_worker.store.rows import COLUMNS, SILENT, claimed_task_of, json_rows, rest_of, run
from services.task_worker.tasks import LEASE_SECONDS
from shared.database import Transaction
from shared.messages.task import ClaimedTask

# How many tasks beyond those wanted a claim looks at, in case others are claiming the same just now.
_SPARE = 20

# The heads of the queues of each priority are looked at, and those taken first whose priority, with what its age adds,
# is the highest. As no task overtakes another of its queue and priority, each counts as old as the oldest behind it.
# Whatever others are claiming just now is left out. By the heads of {index} alone, however many tasks wait.
_CLAIM: LiteralString = """
    with heads as materialized (
        select head.*, queue.id as queue, priority.number as priority
        from (select json_array_elements_text(%(queues)s)::int) as queue (id),
            generate_series(0, 9) as priority (number), lateral (
                select id as task_id, turn, queued from tasks
                where queue = queue.id and tasks.priority = priority.number and claimable {in_session}
                order by turn, queued limit %(window)s
            ) as head
    ), aged as (
        select task_id, priority, turn, queued, min(queued) over (
            partition by queue, priority order by turn, queued rows between current row and unbounded following
        ) as since
        from heads
    ), numbered as (
        select task_id, row_number() over (
            order by since - priority * make_interval(secs => %(ageing)s), priority desc, turn, queued, task_id
        ) as place
        from aged
    ), candidates as materialized (
        select task_id, place from numbered order by place limit %(window)s
    ), taken as materialized (
        select task_id, place from (select * from candidates order by place) as candidate, lateral (
            -- Said so that the primary key serves: a plan from when none waited would read tasks_queue whole.
            select from tasks where id = task_id and claimable::int = 1 for update skip locked
        ) as locked limit %(count)s
    ), leased as (
        select task_id, row_number() over (order by place) as number from taken
    ), claimed as (
        update tasks set
            status = 'claimed', claimable = false, claimed_by = (cast(%(workers)s as json) ->> (number - 1)::int),
            attempt = attempt + 1, started = statement_timestamp(),
            lease_token = (cast(%(tokens)s as json) ->> (number - 1)::int),
            deadline = statement_timestamp() + make_interval(secs => timeout_s),
            lease_expires = statement_timestamp() + make_interval(secs => least(%(seconds)s, timeout_s))
        from leased where tasks.id = leased.task_id
        returning {columns}, tasks.lease_token, tasks.lease_expires, leased.number
    )
    select claimed.*, (select count(*) from candidates) from (select) as one left join claimed on true
"""
_ANY: LiteralString = _CLAIM.replace("{columns}", COLUMNS).replace("{in_session}", "")
_OF_SESSION: LiteralString = _CLAIM.replace("{columns}", COLUMNS).replace(
    "{in_session}", "and session_id = %(session_id)s"
)

# Agents with their limits and queues; those with a limit are locked, so that claims for them take turns. By the primary
# key, and by task_queues_once.
_FIND_AGENTS: LiteralString = f"""
    select name, max_concurrent, capabilities, (
        select json_agg(json_build_array(id, capabilities)) from task_queues where agent_name = agents.name
    ), {SILENT}
    from agents where name = any (array(select json_array_elements_text(%s)))
"""  # noqa: S608
_LOCK_AGENTS: LiteralString = """
    select name, max_concurrent from agents
    where name = any (array(select json_array_elements_text(%s))) and max_concurrent > 0
    order by name for no key update
"""
# What an agent has in hand; by tasks_in_hand.
_COUNT_IN_HAND: LiteralString = "select count(*) from tasks where agent_name = %s and lease_expires is not null"


class Known(NamedTuple):
    """A registered agent: its limit, what it can do, and its queues, each with what its tasks need."""

    limit: int
    capabilities: list[str]
    queues: list[tuple[int, list[str]]]
    # Whether it is time to note that it was heard of.
    is_silent: bool

    def queues_for(self, able: frozenset[str]) -> list[int]:
        """The queues whose tasks need nothing but this."""
        return [queue for queue, needs in self.queues if able.issuperset(needs)]


async def find_agents(tx: Transaction, names: Sequence[str]) -> dict[str, Known]:
    """Those of these agents that are registered."""
    rows = await run(tx, _FIND_AGENTS, json_rows(list(names)))
    return {name: Known(limit, able, queues or [], silent) for name, limit, able, queues, silent in rows}


async def lock_agents(tx: Transaction, names: Sequence[str]) -> dict[str, int]:
    """Lock those of these agents that have a limit; no other claim for them goes on until the transaction ends."""
    return dict(await run(tx, _LOCK_AGENTS, json_rows(sorted(names))))


async def count_in_hand(tx: Transaction, agent_name: str) -> int:
    """How many of an agent's tasks are claimed or running."""
    ((count,),) = await run(tx, _COUNT_IN_HAND, agent_name)
    return int(count)


async def claim_tasks(
    tx: Transaction,
    queues: Sequence[int],
    *,
    workers: Sequence[str],
    tokens: Sequence[str],
    session_id: str | None = None,
    ageing_seconds: float,
) -> list[ClaimedTask]:
    """Claim up to one task for each worker named, under its token, from the heads of these queues; in their order.

    Of one session, if one is given.
    """
    taken: list[ClaimedTask] = []
    wanted = len(tokens)
    window = wanted + _SPARE
    while wanted and queues:
        done = len(taken)
        rows = await run(
            tx, _ANY if session_id is None else _OF_SESSION, queues=json_rows(list(queues)), window=window,
            ageing=ageing_seconds, count=wanted, workers=json_rows(list(workers[done:])),
            tokens=json_rows(list(tokens[done:])), seconds=float(LEASE_SECONDS), session_id=session_id,
        )  # fmt: skip
        seen = rows[0][-1]
        found = sorted((row for row in rows if row[0] is not None), key=lambda row: rest_of(row)[2])
        taken += [claimed_task_of(row) for row in found]
        wanted -= len(found)
        if seen < window:
            break
        # As many wait as were looked at, and others are claiming these just now.
        window *= 4
    return taken
