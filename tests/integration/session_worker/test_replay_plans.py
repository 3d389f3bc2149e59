"""What a replay begins with is found by an index, in a session of 100,000 events too."""

from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString

import pytest

from services.session_worker.store import timeline
from tests.integration.session_worker.conftest import SessionWorker

EVENTS = 100_000
SINCE = datetime.now(UTC) - timedelta(minutes=50)


@pytest.fixture(scope="module")
def long(module_worker: SessionWorker) -> SessionWorker:
    """A session with an event every 30 ms for 50 minutes, and no state, beside others."""
    module_worker.sql("insert into sessions (id, seq) values ('long', :events)", events=EVENTS)
    module_worker.sql(
        """
        insert into events (cursor, timestamp, message_id, type, routing_key, session_id, session_seq, body)
        select n, cast(:since as timestamptz) + (n / 2) * interval '30 milliseconds', 'm' || n, 'agent_output_added',
            'agent.codex.output', case when n % 2 = 0 then 'long' else 's' || n % 99 end, n / 2,
            json_build_object('type', 'agent_output_added', 'lines', md5(n::text))
        from generate_series(1, 2 * cast(:events as int)) n
        """,
        since=SINCE.isoformat(), events=EVENTS,
    )  # fmt: skip
    module_worker.sql("analyze events")
    return module_worker


# The later a place is, the more of the index is gone through: the worst of each.
STATEMENTS: dict[str, tuple[LiteralString, dict[str, Any]]] = {
    "find_recorded": (timeline._RECORDED, {}),
    "find_first_since": (timeline._FIRST_SINCE, {"since": SINCE + timedelta(minutes=49)}),
    "find_moment": (timeline._MOMENT_OF, {"seq": EVENTS - 7}),
    "find_state_at": (timeline._STATE_AT, {"seq": EVENTS}),
}


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_place_in_a_long_session_is_found_by_the_sessions_index(long: SessionWorker, name: str) -> None:
    statement, more = STATEMENTS[name]
    values = {"session_id": "long", "since": SINCE, "until": SINCE + timedelta(hours=1), **more}

    async def explained() -> str:
        async with long.database.transaction() as tx:
            connection = await timeline.psycopg_of(tx)
            rows = await (await connection.execute(f"explain (analyze) {statement}", values)).fetchall()
            return "\n".join(row[0] for row in rows)

    plan = long.run(explained())
    assert "session_id_session_seq_idx" in plan, plan
    # Partitions without rows are read through for nothing.
    assert not [line for line in plan.splitlines() if "Seq Scan" in line and "rows=0" not in line], plan
