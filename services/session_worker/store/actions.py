"""SQL of actions and responses."""

from collections.abc import Sequence
from typing import Any, LiteralString

from psycopg.types.json import Json
from sqlalchemy import text
from sqlalchemy.engine import Row

from services.session_worker.actions import Draft, Kind, Noted, Place
from shared.database import Transaction, psycopg_of
from shared.messages import JsonText, encode, rfc3339
from shared.messages.actions import Action, Response

# Many rows in one statement, each with the next number of its session; those whose id is taken are left out and take no
# number. The session must be locked, so that nobody else takes numbers meanwhile; what this transaction has written
# before is seen. The last number by actions_by_number and responses_by_number, the ids by the primary key.
_INSERT: LiteralString = """
    with draft as materialized (
        select * from json_to_recordset(%s) as draft (
            at int, session_id text, id text, type text, details text, content text, "timestamp" timestamptz,
            action_id text, agent_id text, author text, message_id text
        )
    ), fresh as (
        select *, row_number() over (partition by session_id order by at) as place from draft
        where not exists (
            select from {table} as there where there.session_id = draft.session_id and there.{key} = draft.id
        )
    ), last as materialized (
        select session_id, greatest(
            0,
            (select number from actions where session_id = named.session_id order by number desc limit 1),
            (select number from responses where session_id = named.session_id order by number desc limit 1)
        ) as number
        from (select distinct session_id from fresh) as named
    )
    insert into {table} (
        session_id, {key}, number, type, details, "timestamp", agent_id, author, message_id, created{more_columns}
    )
    select session_id, id, last.number + place, type, details::json, coalesce("timestamp", moment), agent_id, author,
        message_id, moment{more_values}
    from fresh join last using (session_id),
        lateral (select statement_timestamp() + at * interval '1 microsecond') as now (moment)
    returning session_id, {key}, number, "timestamp", created
"""
_INSERTS: dict[Kind, LiteralString] = {
    "action": _INSERT.format(table="actions", key="action_id", more_columns="", more_values=""),
    "response": _INSERT.format(
        table="responses",
        key="response_id",
        more_columns=", action_id, content",
        more_values=", action_id, content::json",
    ),
}

# A stretch of a session's actions and responses after a number, by actions_by_number and responses_by_number.
_ACTIONS = """
    (select 'action' as kind, number, action_id as id, type, details::text as details, "timestamp", agent_id, author,
        message_id, created, null as action_id, null as content
    from actions where session_id = :session_id and number > :after order by number limit :limit)
"""
_RESPONSES = """
    (select 'response' as kind, number, response_id as id, type, details::text as details, "timestamp", agent_id,
        author, message_id, created, action_id, content::text as content
    from responses where session_id = :session_id and number > :after order by number limit :limit)
"""
_PAGES = {
    "action": text(_ACTIONS),
    "response": text(_RESPONSES),
    None: text(f"{_ACTIONS} union all {_RESPONSES} order by number limit :limit"),
}


async def insert(tx: Transaction, kind: Kind, drafts: Sequence[Draft]) -> dict[Place, Noted]:
    """Note drafts down, each under another id; returns the numbers of those whose id was free."""
    # Planned each time: a plan kept from when the table was small reads the whole of it.
    connection = await psycopg_of(tx)
    cursor = await connection.execute(_INSERTS[kind], [Json(encode(drafts), dumps=_as_is)], prepare=False)
    return {(session_id, key): Noted(*moments) for session_id, key, *moments in await cursor.fetchall()}


async def list_page(
    tx: Transaction, session_id: str, kind: Kind | None, after: int, limit: int
) -> list[Action | Response]:
    """Up to `limit` actions and responses of a session after a number, in their order."""
    rows = await tx.execute(_PAGES[kind], {"session_id": session_id, "after": after, "limit": limit})
    return [_action(session_id, row) if row.kind == "action" else _response(session_id, row) for row in rows]


def _action(session_id: str, row: Row[Any]) -> Action:
    return Action(
        session_id=session_id,
        action_id=row.id,
        number=row.number,
        type=row.type,
        details=JsonText(row.details.encode()),
        timestamp=rfc3339(row.timestamp),
        agent_id=row.agent_id,
        author=row.author,
        message_id=row.message_id,
        created=rfc3339(row.created),
    )


def _response(session_id: str, row: Row[Any]) -> Response:
    return Response(
        session_id=session_id,
        response_id=row.id,
        number=row.number,
        action_id=row.action_id,
        type=row.type,
        content=JsonText(row.content.encode()),
        details=JsonText(row.details.encode()),
        timestamp=rfc3339(row.timestamp),
        agent_id=row.agent_id,
        author=row.author,
        message_id=row.message_id,
        created=rfc3339(row.created),
    )


def _as_is(text: bytes) -> bytes:
    return text
