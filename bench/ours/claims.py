"""What a claim costs PostgreSQL with few and with many tasks waiting: `python -m bench.ours.claims [ROWS]`.

On DATABASE_URL, a migrated database that may be thrown away.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time

from psycopg.types.json import Json

from services.task_worker.store import claims, queues
from services.task_worker.store.rows import run
from shared.database import Database

AGENT = "bench-claims"
ROUNDS = 40

_FILL = """
    insert into tasks (id, session_id, agent_name, task_type, priority, queue, capabilities, claimable, turn, queued)
    -- In the order of their making, as the ids of tasks are.
    select %s || to_char(n, 'FM00000000'), 'bench-' || n %% 20, %s, 't', n %% 10, task_queues.id, capabilities,
        true, n / 20, now() + n * interval '1 us'
    from generate_series(1, %s) as n, task_queues where agent_name = %s and capabilities = array(
        select json_array_elements_text(%s)
    )
"""


async def measure(rows: int) -> None:
    """Fill the queue up to each depth in turn, and time claims of 1 and of 50 at each; also beside tasks for others."""
    database = Database(os.environ["DATABASE_URL"], name="bench")
    async with database.transaction() as tx:
        await run(tx, "set local statement_timeout = 0")
        await run(
            tx, "insert into sessions (id) select 'bench-' || n from generate_series(0, 19) n on conflict do nothing"
        )
        await run(
            tx,
            "insert into agents (name, type, command, metadata) values (%s, 't', '', '{}') on conflict do nothing",
            AGENT,
        )
        for needs in ([], ["gpu"]):
            await queues.make_queues(tx, [{"agent_name": AGENT, "capabilities": needs}])
        await run(tx, _FILL, "other-", AGENT, rows, AGENT, Json(["gpu"]))
    for depth in (100, 10_000, rows):
        async with database.transaction() as tx:
            await run(tx, "set local statement_timeout = 0")
            await run(tx, "delete from tasks where agent_name = %s and capabilities = '{}'", AGENT)
            await run(tx, _FILL, f"{depth}-", AGENT, depth + 51 * ROUNDS, AGENT, Json([]))
        for count in (1, 50):
            took = []
            for _ in range(ROUNDS):
                async with database.transaction() as tx:
                    found = (await claims.find_agents(tx, [AGENT]))[AGENT].queues_for(frozenset())
                    began = time.perf_counter()
                    taken = await claims.claim_tasks(
                        tx, found, workers=["w"] * count, tokens=["t"] * count, ageing_seconds=60
                    )
                    took.append((time.perf_counter() - began) * 1000)
                assert len(taken) == count
            took.sort()
            sys.stdout.write(
                f"{depth:>9} waiting, {rows} for others: claim of {count:>2}: "
                f"p50 {took[len(took) // 2]:.2f} ms, p90 {took[int(len(took) * 0.9)]:.2f} ms\n"
            )
    await database.close()


if __name__ == "__main__":
    asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000))
