"""SQL that reads what happened to memories lately."""

from datetime import timedelta

from services.memory_worker.heat_map import Activity
from services.memory_worker.store.memories import rows_of
from shared.database import Transaction

# More would be slow to count, and say little more.
NEWEST = 5_000

_COLUMNS = "session_id, key, type, tags, author, updated"


async def latest_activity(tx: Transaction, session_id: str | None, lately: timedelta) -> list[Activity]:
    """The versions of memories made lately, the newest first, up to 5,000; of one session or of all.

    By memories_newest or _by_session and memory_versions_newest or its primary key.
    """
    within = "and session_id = %(session_id)s" if session_id else ""
    parts = " union all ".join(
        f"""(
            select {_COLUMNS} from {table} where updated > now() - %(lately)s::interval and forgotten is null {within}
            order by updated desc, session_id desc, key desc limit {NEWEST}
        )"""  # noqa: S608
        for table in ("memories", "memory_versions")
    )
    statement = f"{parts} order by updated desc, session_id desc, key desc limit {NEWEST}"
    rows = await rows_of(tx, statement, {"session_id": session_id, "lately": lately})
    return [Activity(row.session_id, row.key, row.type, row.tags, row.author, row.updated) for row in rows]
