"""SQL of the queues: what can be claimed, in which order.

Each queue has, for each priority, an order of its own: by `turn`, then by the moment. Turns make sessions alternate, as
in start-time fair queueing: a task gets the turn after the last of its session that still waits, but no earlier than
the head's. So whoever has a thousand tasks waiting is a thousand turns ahead of nobody.
"""

from collections.abc import Sequence
from typing import Any, LiteralString

from services.task_worker.store.rows import COLUMNS, json_rows, run, task_of
from shared.database import Transaction
from shared.messages.task import Task

# The turn of the first task to be put into each class (queue, priority, session) that a CTE `entering` names, and that
# of the head of its queue. By the heads of tasks_queue and the ends of tasks_turns.
TURNS: LiteralString = """
    turns as materialized (
        select class.*, head.turn as head, greatest(head.turn, last.turn + 1, 0) as turn
        from (select distinct queue, priority, session_id from entering where claimable) as class
        left join lateral (
            select turn from tasks where queue = class.queue and priority = class.priority and claimable
            order by turn, queued limit 1
        ) as head on true
        left join lateral (
            select turn from tasks
            where queue = class.queue and priority = class.priority and session_id = class.session_id and claimable
            order by turn desc, queued desc limit 1
        ) as last on true
    )
"""

# Waiting tasks whose dependencies are done go into their queue, or wait on for their moment. One that has been tried
# before comes first in its queue, and is as old as it was. By the primary key, and by task_dependencies_by_task.
_RELEASE: LiteralString = f"""
    with entering as materialized (
        select id, queue, priority, session_id, attempt, run_at,
            run_at is null or run_at <= statement_timestamp() as claimable,
            row_number() over (partition by queue, priority, session_id order by created, id) - 1 as behind
        from tasks
        where id = any (array(select json_array_elements_text(%s))) and status = 'pending' and not claimable
            and cron is null and not exists (select from task_dependencies where task_id = tasks.id)
    ), {TURNS}
    update tasks set
        claimable = entering.claimable,
        due = case when not entering.claimable then entering.run_at end,
        turn = case
            when not entering.claimable then 0 when entering.attempt > 0 then coalesce(head, 0) else turns.turn + behind
        end,
        queued = case when entering.attempt > 0 then tasks.queued else statement_timestamp() end
    from entering left join turns using (queue, priority, session_id)
    where tasks.id = entering.id
    returning {COLUMNS}, tasks.claimable
"""  # noqa: S608

# Queues that are missing, for agents there are. By the primary key of agents.
_MAKE_QUEUES: LiteralString = """
    insert into task_queues (agent_name, capabilities)
    select agents.name, asked.capabilities
    from json_to_recordset(%s) as asked (agent_name text, capabilities text[])
    join agents on agents.name = asked.agent_name
    on conflict do nothing
"""


async def release(tx: Transaction, task_ids: Sequence[str]) -> list[tuple[Task, bool]]:
    """Let tasks into their queue that have nothing more to wait for, each with whether it can be claimed now.

    Those that wait for another task, or wait no more, are left alone. Their sessions must be locked.
    """
    rows = await run(tx, _RELEASE, json_rows(list(task_ids)))
    return [(task_of(row), row[-1]) for row in rows]


async def make_queues(tx: Transaction, asked: Sequence[dict[str, Any]]) -> None:
    """Make the queues of these agents and capabilities, where the agents exist."""
    await run(tx, _MAKE_QUEUES, json_rows(asked))
