"""SQL of mentions."""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import text

from shared.database import Transaction
from shared.messages import encode, rfc3339
from shared.messages.mentions import KeptMention

_COLUMNS = """mention_id, agent_id, author, message, target_agents, context_refs, session_id, sidebar_id, priority,
    hops, trust, created"""

# The session a mention names, by the primary key; the worker runtime has locked it if it is there.
_SESSION = text("select true from sessions where id = :id")

# Mentions made by one command, in their order.
_INSERT = text(f"""
    insert into mentions ({_COLUMNS})
    select {_COLUMNS} from rows from (json_to_recordset(cast(:mentions as json)) as (
        mention_id text, agent_id text, author text, message text, target_agents text[], context_refs text[],
        session_id text, sidebar_id text, priority text, hops int, trust text, created timestamptz
    )) with ordinality as m ({_COLUMNS}, place) order by place
""")  # noqa: S608

# What is too much for an agent, the oldest of it; by mentions_of_agent. Rows that somebody marks just now are his.
_DROP_OLDEST = text("""
    delete from mentions where ctid = any(array(
        select ctid from mentions where mention_id = any(array(
            select old.mention_id from unnest(cast(:agents as text[])) as a (agent_id), lateral (
                select mention_id from mentions where mentions.agent_id = a.agent_id
                order by number desc offset :kept
            ) as old
        )) for update skip locked
    )) returning agent_id
""")

# What has reached its agents, by the primary key and in one order, so that two never wait for each other.
_DELETE = text("""
    delete from mentions where ctid = any(array(
        select ctid from mentions where mention_id = any(cast(:ids as text[])) order by mention_id for update
    ))
""")

# What waits for an agent, in the order in which it was made; by mentions_of_agent. All of it, when what it is to follow
# waits no more.
_LIST = text(f"""
    select {_COLUMNS} from mentions where agent_id = :agent_id and number > coalesce(
        (select number from mentions where mention_id = :after and agent_id = :agent_id), 0
    ) order by number limit :limit
""")  # noqa: S608

# A small batch of mentions past their week, by mentions_by_age.
_EXPIRE = text("""
    delete from mentions where ctid = any(array(
        select ctid from mentions where created < now() - cast(:kept as interval)
        order by created limit :limit for update skip locked
    ))
""")


async def session_exists(tx: Transaction, session_id: str) -> bool:
    """Whether there is such a session, whatever its status."""
    return (await tx.execute(_SESSION, {"id": session_id})).one_or_none() is not None


async def insert_mentions(tx: Transaction, mentions: Sequence[KeptMention]) -> None:
    """Keep mentions until they have reached their agents."""
    await tx.execute(_INSERT, {"mentions": encode(list(mentions)).decode()})


async def drop_oldest(tx: Transaction, agents: Sequence[str], kept: int) -> dict[str, int]:
    """Delete what these agents have more than `kept`, the oldest first; returns how many of each."""
    rows = await tx.execute(_DROP_OLDEST, {"agents": list(agents), "kept": kept})
    return dict(Counter(row.agent_id for row in rows))


async def delete_mentions(tx: Transaction, mention_ids: Sequence[str]) -> int:
    """Delete mentions; returns how many there were."""
    return (await tx.execute(_DELETE, {"ids": list(mention_ids)})).rowcount


async def list_mentions(tx: Transaction, agent_id: str, limit: int, after: str | None) -> list[KeptMention]:
    """Up to `limit` mentions that wait for an agent, the oldest first; after one of them, if that still waits."""
    rows = await tx.execute(_LIST, {"agent_id": agent_id, "limit": limit, "after": after})
    return [KeptMention(**{**row._mapping, "created": rfc3339(row.created)}) for row in rows]


async def expire(tx: Transaction, kept: timedelta, limit: int) -> int:
    """Delete up to `limit` mentions older than that; returns how many there were."""
    return (await tx.execute(_EXPIRE, {"kept": kept, "limit": limit})).rowcount
