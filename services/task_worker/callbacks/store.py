"""Every SQL statement about callbacks but the one that keeps them (shared/bus/handled.py)."""

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from typing import Any, LiteralString, NamedTuple

from psycopg.rows import namedtuple_row
from psycopg.types.json import Json
from sqlalchemy import text

from services.task_worker.callbacks.verdicts import Verdict
from shared.database import Transaction, psycopg_of
from shared.messages import encode, rfc3339
from shared.messages.callbacks import Callback, CallbackAttempt, CallbackStatus

_COLUMNS: LiteralString = "id, type, url, message_id, task_id, status, created, next_attempt, finished"
# The host, with its port, as written; what follows it may be somebody's secret, and would make two hosts of one.
_HOST: LiteralString = "lower(split_part(translate(url, '?#', '//'), '/', 3))"

# What is due, leased in the same statement, with the row of the attempt that begins; at most so many at once to one
# host, counting those under way, whoever is sending something just now left out. By callbacks_due alone, however many
# were delivered.
_CLAIM: LiteralString = f"""
    with due as materialized (
        select id, {_HOST} as host, next_attempt from callbacks
        where status = 'pending' and next_attempt <= statement_timestamp()
            and coalesce((%(under_way)s::jsonb ->> {_HOST})::int, 0) < %(per_host)s
        order by next_attempt limit %(limit)s
        for update skip locked
    ), placed as (
        select id as due_id, host, row_number() over (partition by host order by next_attempt) as place from due
    ), claimed as (
        update callbacks set
            attempts = attempts + 1, next_attempt = statement_timestamp() + make_interval(secs => %(lease)s)
        from placed
        where id = due_id and place <= %(per_host)s - coalesce((%(under_way)s::jsonb ->> host)::int, 0)
        returning id, url, host, body, message_id, task_id, attempts as number,
            extract(epoch from statement_timestamp() - created)::float8 as age
    ), begun as (
        insert into callback_attempts (callback_id, number) select id, number from claimed
    )
    select * from claimed
"""  # noqa: S608 (the names are constants above)

# What came of an attempt. The callback itself only if no other sender has taken it over meanwhile; its body goes with
# the last attempt. By the primary keys.
_SAVE_ATTEMPT = text("""
    update callback_attempts set status = :http_status, error = :error, response = :response, ms = :ms
    where callback_id = :id and number = :number
""")
_SAVE_CALLBACK = text("""
    update callbacks set
        status = :status,
        next_attempt = statement_timestamp() + make_interval(secs => cast(:wait as float8)),
        finished = case when :status <> 'pending' then statement_timestamp() end,
        body = case when :status = 'pending' then body end
    where id = :id and attempts = :number and status = 'pending'
""")

# By the primary key.
_ATTEMPTS = text("""
    select callback_id, number, started, status, error, response, ms from callback_attempts
    where callback_id = any (array(select json_array_elements_text(cast(:ids as json))))
    order by callback_id, number
""")

# A small batch of those that nobody has sent for long, since there was no secret to sign them with, or no task worker;
# by callbacks_due.
_GIVE_UP_OVERDUE = text("""
    update callbacks set status = 'failed', finished = now(), next_attempt = null, body = null
    where ctid = any (array(
        select ctid from callbacks
        where status = 'pending' and next_attempt < now() - make_interval(days => :days)
        order by next_attempt limit :limit
        for update skip locked
    ))
""")

# A small batch of those that ended long ago, their attempts with them; by callbacks_finished.
_DELETE_OLD = text("""
    delete from callbacks where ctid = any (array(
        select ctid from callbacks where finished < now() - make_interval(days => :days)
        order by finished limit :limit
        for update skip locked
    ))
""")


class Claimed(NamedTuple):
    """A callback to be sent now: its attempt has a number, and `age` is how many seconds ago it was owed."""

    id: str
    url: str
    host: str
    body: str
    message_id: str
    task_id: str | None
    number: int
    age: float


class Filter(NamedTuple):
    """Which callbacks are asked for; None: any."""

    task_id: str | None
    message_id: str | None
    status: CallbackStatus | None


async def claim_callbacks(
    tx: Transaction, under_way: Mapping[str, int], *, per_host: int, limit: int, lease: float
) -> list[Claimed]:
    """Take up to `limit` callbacks that are due, for `lease` seconds; `under_way` counts those in hand by host."""
    values = {"under_way": Json(dict(under_way)), "per_host": per_host, "limit": limit, "lease": lease}
    async with (await psycopg_of(tx)).cursor(row_factory=namedtuple_row) as cursor:
        # Planned each time: a plan kept from when the table was small would read all of it.
        await cursor.execute(_CLAIM, values, prepare=False)
        return [Claimed(*row) for row in await cursor.fetchall()]


async def save_attempt(tx: Transaction, claimed: Claimed, verdict: Verdict, ms: int) -> None:
    """Write what came of an attempt."""
    values = {"id": claimed.id, "number": claimed.number}
    what = {"http_status": verdict.http_status, "error": verdict.error, "response": verdict.response, "ms": ms}
    await tx.execute(_SAVE_ATTEMPT, {**values, **what})
    await tx.execute(_SAVE_CALLBACK, {**values, "status": verdict.status, "wait": verdict.wait})


async def list_callbacks(
    tx: Transaction, wanted: Filter, after: tuple[datetime, str] | None, limit: int
) -> list[Callback]:
    """Up to `limit` callbacks after a sort key, the newest first, with their attempts.

    By callbacks_by_task, callbacks_by_message, callbacks_by_status or callbacks_newest.
    """
    created, identifier = after or (None, None)
    values = {**wanted._asdict(), "created": created, "id": identifier, "limit": limit}
    conditions = [f"{name} = :{name}" for name, value in wanted._asdict().items() if value is not None]
    if after is not None:
        conditions.append("(created, id) < (:created, :id)")
    where = f"where {' and '.join(conditions)}" if conditions else ""
    statement = f"select {_COLUMNS} from callbacks {where} order by created desc, id desc limit :limit"  # noqa: S608
    rows = list(await tx.execute(text(statement), values))
    attempts = await _attempts(tx, [row.id for row in rows])
    return [_callback(row, attempts[row.id]) for row in rows]


async def give_up_overdue(tx: Transaction, days: int, limit: int) -> int:
    """Give up to `limit` callbacks up that have been due for more than `days` days; returns how many there were."""
    return (await tx.execute(_GIVE_UP_OVERDUE, {"days": days, "limit": limit})).rowcount


async def delete_old(tx: Transaction, days: int, limit: int) -> int:
    """Delete up to `limit` callbacks that ended more than `days` days ago; returns how many there were."""
    return (await tx.execute(_DELETE_OLD, {"days": days, "limit": limit})).rowcount


async def _attempts(tx: Transaction, ids: list[str]) -> defaultdict[str, list[CallbackAttempt]]:
    attempts: defaultdict[str, list[CallbackAttempt]] = defaultdict(list)
    for row in await tx.execute(_ATTEMPTS, {"ids": encode(ids).decode()}):
        attempts[row.callback_id].append(
            CallbackAttempt(
                number=row.number,
                started=rfc3339(row.started),
                status=row.status,
                error=row.error,
                response=row.response,
                ms=row.ms,
            )
        )
    return attempts


def _callback(row: Any, attempts: list[CallbackAttempt]) -> Callback:
    return Callback(
        callback_id=row.id,
        type=row.type,
        url=row.url,
        message_id=row.message_id,
        task_id=row.task_id,
        status=row.status,
        created=rfc3339(row.created),
        next_attempt=rfc3339(row.next_attempt) if row.next_attempt else None,
        finished=rfc3339(row.finished) if row.finished else None,
        attempts=attempts,
    )
