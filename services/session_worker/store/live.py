"""SQL of the live layer: which connections were resumed, and which tokens are out of force."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Literal

from sqlalchemy import TextClause, text
from sqlalchemy.engine import Row

from shared.database import Transaction
from shared.messages.live import RevokedTokens, UseResumeToken

Noted = Literal["resumed_connections", "revoked_tokens"]

# Connections that were resumed, but for those that were before; whoever does so at the same time is waited for, by all
# in the same order. By the primary key.
_INSERT_RESUMED = text("""
    insert into resumed_connections (connection_id, agent_id, resumed_as)
    select * from unnest(cast(:connections as text[]), cast(:agents as text[]), cast(:successors as text[]))
    on conflict (connection_id) do nothing
    returning connection_id
""")

# Tokens out of force. One token is so for good; an agent's are again whenever it is said, with those made since. By
# the primary key.
_REVOKE = text("""
    insert into revoked_tokens as r (kind, id, made_until, revoked_by, reason)
    values (:kind, :id, clock_timestamp(), :by, :reason)
    on conflict (kind, id) do update set
        made_until = case when r.kind = 'agent' then excluded.made_until else r.made_until end,
        revoked_by = excluded.revoked_by, reason = excluded.reason
    returning kind, id, extract(epoch from made_until)::float8 as made_until
""")

# Tokens out of force that may not have expired yet: the whole table, which is small.
_LIST_REVOKED = text("""
    select kind, id, extract(epoch from made_until)::float8 as made_until from revoked_tokens
    where made_until > now() - cast(:kept as interval) order by made_until
""")

_MOMENTS: tuple[tuple[Noted, str], ...] = (("resumed_connections", "at"), ("revoked_tokens", "made_until"))
# Small batches of what no token can refer to any more: by resumed_connections_by_age, and of a small table.
_EXPIRE: dict[Noted, TextClause] = {
    table: text(f"""
        delete from {table} where ctid = any(array(
            select ctid from {table} where {moment} < now() - cast(:kept as interval)
            order by {moment} limit :limit for update skip locked
        ))
    """)  # noqa: S608
    for table, moment in _MOMENTS
}


async def insert_resumed(tx: Transaction, uses: Iterable[UseResumeToken]) -> set[str]:
    """Note that connections, each named once, were resumed; returns those of them that were not before."""
    rows = sorted(uses, key=lambda use: use.connection_id)
    values = {
        "connections": [use.connection_id for use in rows],
        "agents": [use.agent_id for use in rows],
        "successors": [use.resumed_as for use in rows],
    }
    return set((await tx.execute(_INSERT_RESUMED, values)).scalars())


async def revoke_tokens(tx: Transaction, kind: str, identifier: str, *, by: str, reason: str | None) -> RevokedTokens:
    """Put a token, or an agent's tokens made until now, out of force."""
    values = {"kind": kind, "id": identifier, "by": by, "reason": reason}
    return _tokens((await tx.execute(_REVOKE, values)).one())


async def list_revoked(tx: Transaction, kept: timedelta) -> list[RevokedTokens]:
    """What was put out of force within that time, the longest ago first."""
    return [_tokens(row) for row in await tx.execute(_LIST_REVOKED, {"kept": kept})]


async def expire(tx: Transaction, table: Noted, kept: timedelta, limit: int) -> int:
    """Delete up to `limit` rows of a table that are older than that; returns how many there were."""
    return (await tx.execute(_EXPIRE[table], {"kept": kept, "limit": limit})).rowcount


def _tokens(row: Row[Any]) -> RevokedTokens:
    is_token = row.kind == "token"
    return RevokedTokens(
        token_id=row.id if is_token else None, agent_id=None if is_token else row.id, made_until=row.made_until
    )
