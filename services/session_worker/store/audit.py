"""SQL of the audit log beside the worker runtime's: its pages, and its pruning."""

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import TextClause, text

from shared.database import Transaction
from shared.messages import rfc3339
from shared.messages.access import AuditEntry

# What each filter adds to the question.
_FILTERS = {
    "key": "key = :key",
    "command": "command = :command",
    "session_id": "session_id = :session_id",
    "since": "at >= :since",
    "until": "at < :until",
    "before": "(at, id) < (:before_at, :before_id)",
}

# What happened elsewhere than in a command, a batch at a time.
_INSERT = text("""
    insert into audit (at, key, agent_id, command, message_id, target, outcome)
    values (:at, :key, :agent_id, :command, :message_id, :target, :outcome)
""")

# A small batch of rows past their time, by the primary key.
_PRUNE = text("""
    delete from audit where ctid = any(array(
        select ctid from audit where at < :before order by at limit :limit for update skip locked
    ))
""")


@cache
def _list(filters: frozenset[str]) -> TextClause:
    """Audit entries, the newest first; one statement for each set of filters, so that the planner knows what is given.

    All by the primary key, those of one session, key or command by audit_of_session, audit_of_key or audit_of_command.
    """
    where = " and ".join(_FILTERS[name] for name in sorted(filters)) or "true"
    return text(f"""
        select id, at, key, agent_id, command, message_id, session_id, target, outcome from audit
        where {where} order by at desc, id desc limit :limit
    """)  # noqa: S608 (the conditions are constants above)


async def list_entries(
    tx: Transaction, filters: dict[str, Any], before: tuple[datetime, int] | None, limit: int
) -> list[AuditEntry]:
    """Up to `limit` entries before a sort key that pass the filters, the newest first.

    Filters: `key`, `command`, `session_id`; the moments `since` (inclusive) and `until` (exclusive).
    """
    given = {name: value for name, value in filters.items() if value is not None}
    names, values = frozenset(given), {**given, "limit": limit}
    if before is not None:
        names, values = names | {"before"}, {**values, "before_at": before[0], "before_id": before[1]}
    rows = await tx.execute(_list(names), values)
    return [
        AuditEntry(
            audit_id=row.id,
            timestamp=rfc3339(row.at),
            key=row.key,
            agent_id=row.agent_id,
            command=row.command,
            message_id=row.message_id,
            session_id=row.session_id,
            target=row.target,
            outcome=row.outcome,
        )
        for row in rows
    ]


async def insert_entries(tx: Transaction, entries: Sequence[dict[str, Any]]) -> None:
    """Write entries, each with its `at key agent_id command message_id target outcome`; there must be one."""
    await tx.execute(_INSERT, entries)


async def prune(tx: Transaction, before: datetime, limit: int) -> int:
    """Delete up to `limit` entries from before a moment; returns how many there were."""
    return (await tx.execute(_PRUNE, {"before": before, "limit": limit})).rowcount
